//! A model of the identity providers: people with claims that change, sessions in browsers, codes that count once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use url::Url;
use vestibule::domain::Timestamp;
use vestibule::federation::idp::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError,
};
use vestibule::storage::random;

use super::people::Person;

/// The names of the providers.
pub(crate) const PROVIDERS: [&str; 2] = ["google", "okta"];

/// The login behind a code of a provider.
struct Issued {
    provider: String,
    state: String,
    claims: Map<String, Value>,
}

/// The state of all providers.
#[derive(Default)]
pub(crate) struct ProviderState {
    /// The claims of each person at each provider.
    pub(crate) claims: BTreeMap<(usize, Person), Map<String, Value>>,
    /// The providers that do not ask again for a password, whatever they are told.
    pub(crate) stubborn: BTreeSet<usize>,
    /// The providers that do not answer.
    pub(crate) down: BTreeSet<usize>,
    /// The person who is signed in at a provider in a browser, and since when.
    sessions: BTreeMap<(usize, usize), (Person, Timestamp)>,
    codes: BTreeMap<String, Issued>,
}

/// The providers, shared between the people of the simulation and the processes.
#[derive(Clone, Default)]
pub(crate) struct Providers(Arc<Mutex<ProviderState>>);

/// The answer of a provider to a browser.
#[derive(Clone, Debug)]
pub(crate) struct ProviderAnswer {
    /// The path and query that the browser is sent back to.
    pub(crate) path: String,
    /// When the person proved who they are; none if they did not.
    pub(crate) proved: Option<Timestamp>,
    /// Whether the claims say nothing certain about groups.
    pub(crate) is_silent_about_groups: bool,
}

impl Providers {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ProviderState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The adapter of a provider.
    pub(crate) fn adapter(&self, name: &str) -> Box<dyn IdentityProvider> {
        let number = PROVIDERS
            .iter()
            .position(|known| *known == name)
            .expect("a known provider");
        Box::new(Adapter {
            number,
            state: self.clone(),
        })
    }

    /// Signs a person in at the provider that a browser was sent to, or lets them cancel.
    pub(crate) fn sign_in(&self, (browser, person): (usize, Person), sent_to: &Url, now: Timestamp) -> ProviderAnswer {
        let parameter = |name: &str| {
            let mut pairs = sent_to.query_pairs();
            pairs
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        let state = parameter("state").unwrap_or_default();
        let name = sent_to
            .host_str()
            .unwrap_or_default()
            .trim_end_matches(".example")
            .to_owned();
        let number = PROVIDERS
            .iter()
            .position(|known| *known == name)
            .expect("a known provider");
        let mut providers = self.lock();
        let max_age = parameter("max_age").and_then(|text| text.parse::<i64>().ok());
        let open = providers.sessions.get(&(number, browser)).copied();
        let kept = open.filter(|(known, since)| {
            let is_recent = max_age.is_none_or(|limit| now.0 - since.0 <= limit * 1000);
            let may_stay = is_recent && parameter("prompt").is_none();
            *known == person && (may_stay || providers.stubborn.contains(&number))
        });
        let (_, proved) = kept.unwrap_or((person, now));
        providers.sessions.insert((number, browser), (person, proved));
        let mut claims = providers.claims[&(number, person)].clone();
        claims.insert("auth_time".to_owned(), json!(proved.0 / 1000));
        let is_silent_about_groups = !claims.get("groups").is_some_and(Value::is_array);
        let code = random::token();
        let path = format!("/federation/{name}/callback?code={code}&state={state}");
        providers.codes.insert(
            code,
            Issued {
                provider: name,
                state,
                claims,
            },
        );
        ProviderAnswer {
            path,
            proved: Some(proved),
            is_silent_about_groups,
        }
    }
}

/// The subject of a person at a provider.
pub(crate) fn subject(provider: usize, person: Person) -> String {
    format!("{}-{}", PROVIDERS[provider], person.name())
}

/// The issuer of a provider.
pub(crate) fn issuer(provider: usize) -> String {
    format!("https://{}.example", PROVIDERS[provider])
}

struct Adapter {
    number: usize,
    state: Providers,
}

impl IdentityProvider for Adapter {
    fn begin(&self, _callback: &Url, hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        if self.state.lock().down.contains(&self.number) {
            return Err(ProviderError::Unavailable("it is down".to_owned()));
        }
        let state = random::token();
        let mut redirect = Url::parse(&issuer(self.number)).expect("an issuer is a URL");
        redirect.query_pairs_mut().append_pair("state", &state);
        if hint.reauthenticate {
            redirect.query_pairs_mut().append_pair("prompt", "login");
        }
        if let Some(age) = hint.max_age {
            redirect
                .query_pairs_mut()
                .append_pair("max_age", &age.as_secs().to_string());
        }
        Ok(AuthorizationStart {
            redirect,
            state: LoginSecret::new(state),
        })
    }

    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool {
        parameters.get("state") == state.read::<String>().ok().as_deref()
    }

    fn finish(&self, parameters: &CallbackParameters, state: &LoginSecret) -> Result<Identity, ProviderError> {
        if let Some(error) = parameters.get("error") {
            return Err(ProviderError::from_code(error));
        }
        let mut providers = self.state.lock();
        if providers.down.contains(&self.number) {
            return Err(ProviderError::Unavailable("it is down".to_owned()));
        }
        let code = parameters.get("code").ok_or(ProviderError::NoCode)?;
        let issued = providers
            .codes
            .remove(code)
            .ok_or(ProviderError::Answered("invalid_grant"))?;
        // A code is bound to the request that it answers, as by PKCE and nonce.
        if issued.provider != PROVIDERS[self.number] || issued.state != state.read::<String>()? {
            return Err(ProviderError::MixUp);
        }
        Ok(Identity {
            issuer: issuer(self.number),
            subject: issued.claims["sub"].as_str().unwrap_or_default().to_owned(),
            claims: issued.claims,
            token: None,
        })
    }
}
