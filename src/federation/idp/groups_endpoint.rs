//! Groups that a provider leaves out of the claims because there are too many, as Entra ID does beyond 200: they are asked
//! for with the access token of the login.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use url::Url;

use super::calls;
use super::claim::is_left_out;
use super::provider::ProviderError;
use crate::http_client::HttpClient;

/// The most answers that one login waits for, and how long it goes on to ask.
const PAGES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the groups of a person are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsEndpoint {
    /// The claim that lists them.
    pub claim: String,
    /// The address: a list in the form of `OData` (`value`, and `@odata.nextLink` for the rest).
    pub url: Url,
}

impl GroupsEndpoint {
    /// Puts the whole list into the claims, if the provider left it out. A list that cannot be had leaves the claims as they
    /// are: nothing is taken back then.
    pub(crate) fn complete(&self, claims: &mut Map<String, Value>, client: &HttpClient, access_token: &str) {
        if claims.contains_key(&self.claim) || !is_left_out(claims, &self.claim) {
            return;
        }
        match self.ask(client, access_token) {
            Ok(groups) => {
                if let Some(names) = claims.get_mut("_claim_names").and_then(Value::as_object_mut) {
                    names.remove(&self.claim);
                }
                claims.remove("hasgroups");
                claims.insert(self.claim.clone(), groups.into());
            }
            Err(error) => log::warn!(
                "the groups of a person could not be read from {}: {error}",
                self.url.path()
            ),
        }
    }

    fn ask(&self, client: &HttpClient, access_token: &str) -> Result<Vec<Value>, ProviderError> {
        let unusable = |what: &str| ProviderError::Unusable(format!("its list of groups {what}"));
        let (mut groups, mut next) = (Vec::new(), self.url.clone());
        let begun = Instant::now();
        for _ in 0..PAGES {
            if begun.elapsed() > PATIENCE {
                return Err(unusable("takes too long"));
            }
            let Value::Object(mut page) = calls::ask(client, &next, access_token)? else {
                return Err(unusable("is not a JSON object"));
            };
            let Some(Value::Array(part)) = page.remove("value") else {
                return Err(unusable("has no value"));
            };
            groups.extend(part);
            let Some(more) = page.get("@odata.nextLink").and_then(Value::as_str) else {
                return Ok(groups);
            };
            // The access token goes to no other place than the one that was configured.
            next = Url::parse(more)
                .ok()
                .filter(|url| url.origin() == self.url.origin())
                .ok_or_else(|| unusable("goes on at another place"))?;
        }
        Err(unusable("is too long"))
    }
}
