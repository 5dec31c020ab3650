//! Home-realm discovery: the domain of an e-mail address tells where somebody signs in.

use url::Url;

use super::denial::Denial;
use super::login::{Federation, FederationError};
use super::policy::ServiceProviderPolicy;
use super::step::Wrong;
use crate::domain::email::Email;
use crate::domain::{IdentityProviderName, name};

impl Federation {
    /// Sends the person to the identity provider that speaks for the domain of their e-mail address. None if there is no
    /// such one: the page then says so.
    pub fn choose_by_email(
        &self,
        handle: &str,
        address: &str,
    ) -> Result<Result<Option<(String, Url)>, Denial>, FederationError> {
        let Some((mut held, policy)) = self.held(handle)? else {
            return Ok(Err(Denial::NotUnderWay));
        };
        let Some(provider) = self.responsible(address, policy) else {
            held.transaction.username = address.chars().take(name::LONGEST).collect();
            held.transaction.wrong = Some(Wrong::Address);
            let stands = self.transactions.advance(&mut held)?;
            return Ok(if stands { Ok(None) } else { Err(Denial::NotUnderWay) });
        };
        Ok(self
            .choose(handle, &provider)?
            .map(|url| Some((self.called(&provider), url))))
    }

    /// The one identity provider of an application that speaks for the domain of an address.
    pub(super) fn responsible(&self, address: &str, policy: &ServiceProviderPolicy) -> Option<IdentityProviderName> {
        let email = Email::parse(address.trim())?;
        let mut providers = policy.identity_providers.iter().filter(|name| {
            let domains = self
                .upstream(name)
                .map(|upstream| &upstream.settings.trusted_email_domains);
            domains.is_some_and(|domains| domains.iter().any(|domain| email.is_at(domain)))
        });
        match (providers.next(), providers.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        }
    }
}
