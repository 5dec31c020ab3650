//! Cache of the metadata and keys that an issuer publishes (OpenID Connect Discovery §3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::http::{Request, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use super::jws;
use super::provider::ProviderError;
use crate::domain::{Clock, Timestamp};
use crate::gate::{Full, Gate};
use crate::http_client::HttpClient;

/// Time for which metadata is cached.
const FRESH: Duration = Duration::from_hours(1);
/// Time before an issuer that failed is asked again.
const BACK_OFF: Duration = Duration::from_secs(10);
/// Least time between two fetches of keys because of tokens with an unknown key.
const KEY_INTERVAL: Duration = Duration::from_mins(1);

/// The most callers that wait for a fetch, and the longest wait.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an issuer publishes its endpoints and keys.
#[derive(Clone, Debug)]
pub(crate) enum MetadataSource {
    /// A document at this URL, which must name the issuer.
    Document(Url),
    /// The configuration, for an issuer that publishes no document.
    Configured(Box<Endpoints>),
}

impl MetadataSource {
    /// The document of an issuer (OpenID Connect Discovery §4).
    pub(crate) fn of_issuer(issuer: &str) -> Option<Self> {
        let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        Url::parse(&place).ok().map(Self::Document)
    }

    /// The URLs that are called or shown to browsers without a document that could name them.
    pub(crate) fn urls(&self) -> Vec<&Url> {
        match self {
            Self::Document(place) => vec![place],
            Self::Configured(endpoints) => {
                let needed = [&endpoints.authorization, &endpoints.token, &endpoints.keys];
                let optional = endpoints.userinfo.iter().chain(&endpoints.end_session);
                needed.into_iter().chain(optional).collect()
            }
        }
    }
}

/// The endpoints of an issuer that publishes no metadata.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// Authorization endpoint.
    pub authorization: Url,
    /// Token endpoint.
    pub token: Url,
    /// Userinfo endpoint.
    #[serde(default)]
    pub userinfo: Option<Url>,
    /// The address of its keys (`jwks_uri`).
    pub keys: Url,
    /// End session endpoint.
    #[serde(default)]
    pub end_session: Option<Url>,
}

/// The part of the metadata that a login needs.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) userinfo_endpoint: Option<Url>,
    /// Where a session there ends (OpenID Connect RP-Initiated Logout §2.1).
    pub(crate) end_session_endpoint: Option<Url>,
    pub(crate) algorithms: Vec<CoreJwsSigningAlgorithm>,
    /// Whether the secret goes into the body, because the issuer does not take it in a header.
    pub(crate) secret_in_body: bool,
    /// Whether every answer carries `iss` (RFC 9207 §3).
    pub(crate) promises_iss: bool,
    jwks_uri: Url,
    pub(crate) keys: CoreJsonWebKeySet,
    /// Issuer of each key by key id, where a key set for many issuers names it.
    pub(crate) key_issuers: HashMap<String, String>,
}

/// The metadata of one issuer, fetched on first use.
pub(crate) struct MetadataCache {
    issuer: String,
    source: MetadataSource,
    clock: Clock,
    state: Mutex<State>,
    /// Entered for a fetch; the others wait outside, and no lock is held meanwhile.
    fetching: Gate,
}

#[derive(Default)]
struct State {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    keys_fetched: Option<Timestamp>,
    failed: Option<(Timestamp, Failure)>,
}

/// A failure of a moment ago.
#[derive(Clone)]
struct Failure {
    is_unavailable: bool,
    cause: String,
}

impl Failure {
    fn new(error: &ProviderError) -> Self {
        match error {
            ProviderError::Unavailable(cause) => Self {
                is_unavailable: true,
                cause: cause.clone(),
            },
            ProviderError::Unusable(cause) => Self {
                is_unavailable: false,
                cause: cause.clone(),
            },
            other => Self {
                is_unavailable: false,
                cause: other.to_string(),
            },
        }
    }

    /// The error for those who come while the issuer is left alone.
    fn error(&self) -> ProviderError {
        let cause = format!("{} (asked less than {} s ago)", self.cause, BACK_OFF.as_secs());
        if self.is_unavailable {
            ProviderError::Unavailable(cause)
        } else {
            ProviderError::Unusable(cause)
        }
    }
}

impl MetadataCache {
    pub(crate) fn new(issuer: String, source: MetadataSource, clock: Clock) -> Self {
        Self {
            issuer,
            source,
            clock,
            state: Mutex::default(),
            fetching: Gate::new(1, WAITING, PATIENCE),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the metadata, fetched if there is no fresh copy. Concurrent callers wait for one fetch, a while.
    pub(crate) fn get(&self, client: &HttpClient) -> Result<Arc<Metadata>, ProviderError> {
        if let Some(known) = self.known() {
            return known;
        }
        let _pass = self.fetching.enter().map_err(|Full| too_many_wait())?;
        // Another caller may have fetched it meanwhile, or failed to.
        if let Some(known) = self.known() {
            return known;
        }
        match self.load(client) {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *self.state() = State {
                    metadata: Some((Arc::clone(&metadata), self.clock.now())),
                    ..State::default()
                };
                Ok(metadata)
            }
            Err(error) => {
                self.state().failed = Some((self.clock.now(), Failure::new(&error)));
                Err(error)
            }
        }
    }

    /// The fresh metadata, or a failure of a moment ago.
    fn known(&self) -> Option<Result<Arc<Metadata>, ProviderError>> {
        let (state, now) = (self.state(), self.clock.now());
        match &state.metadata {
            Some((metadata, fetched)) if now < fetched.plus(FRESH) => Some(Ok(Arc::clone(metadata))),
            _ => {
                let recent = state.failed.as_ref().filter(|(at, _)| now < at.plus(BACK_OFF));
                recent.map(|(_, failure)| Err(failure.error()))
            }
        }
    }

    /// Fetches the keys again because a token names one that `seen` does not hold. Returns `None` if keys were fetched
    /// for that reason less than a minute ago.
    pub(crate) fn renew_keys(
        &self,
        seen: &Metadata,
        client: &HttpClient,
    ) -> Result<Option<Arc<Metadata>>, ProviderError> {
        let _pass = self.fetching.enter().map_err(|Full| too_many_wait())?;
        let now = self.clock.now();
        {
            let mut state = self.state();
            if let Some((current, _)) = &state.metadata
                && current.keys != seen.keys
            {
                return Ok(Some(Arc::clone(current)));
            }
            if state
                .keys_fetched
                .is_some_and(|fetched| now < fetched.plus(KEY_INTERVAL))
            {
                return Ok(None);
            }
            state.keys_fetched = Some(now);
        }
        let (keys, key_issuers) = fetch_keys(&seen.jwks_uri, client)?;
        let renewed = Arc::new(Metadata {
            keys,
            key_issuers,
            ..seen.clone()
        });
        if let Some((current, _)) = &mut self.state().metadata {
            *current = Arc::clone(&renewed);
        }
        Ok(Some(renewed))
    }
}

/// A document of metadata, of which only the members that a login needs are read. Members that are missing or of another
/// form than the standard's count only if a login needs them.
struct Published(Map<String, Value>);

impl Published {
    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.0.get(name)? {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
            _ => None,
        }
    }

    fn url(&self, name: &str) -> Option<Url> {
        Url::parse(self.0.get(name)?.as_str()?).ok()
    }

    fn needed_url(&self, name: &str) -> Result<Url, ProviderError> {
        self.url(name).ok_or_else(|| {
            let defect = if self.0.contains_key(name) {
                "is not a URL"
            } else {
                "is missing"
            };
            ProviderError::Unusable(format!("{name} {defect} in its metadata"))
        })
    }

    /// The signing algorithms, all that are supported here if it names none.
    fn algorithms(&self) -> Vec<CoreJwsSigningAlgorithm> {
        let Some(names) = self.texts("id_token_signing_alg_values_supported") else {
            return jws::ALGORITHMS.to_vec();
        };
        let known = |name: &str| serde_json::from_value(name.into()).ok();
        names.into_iter().filter_map(known).collect()
    }
}

impl MetadataCache {
    /// Fetches the metadata and the keys.
    fn load(&self, client: &HttpClient) -> Result<Metadata, ProviderError> {
        let endpoints = match &self.source {
            MetadataSource::Document(place) => return self.read_document(place, client),
            MetadataSource::Configured(endpoints) => endpoints,
        };
        let (keys, key_issuers) = fetch_keys(&endpoints.keys, client)?;
        Ok(Metadata {
            authorization_endpoint: endpoints.authorization.clone(),
            token_endpoint: endpoints.token.clone(),
            userinfo_endpoint: endpoints.userinfo.clone(),
            end_session_endpoint: endpoints.end_session.clone(),
            algorithms: jws::ALGORITHMS.to_vec(),
            secret_in_body: false,
            promises_iss: false,
            jwks_uri: endpoints.keys.clone(),
            keys,
            key_issuers,
        })
    }

    fn read_document(&self, place: &Url, client: &HttpClient) -> Result<Metadata, ProviderError> {
        let published = Published(document(place, client)?);
        let issuer = published.0.get("issuer").and_then(Value::as_str);
        if issuer != Some(&self.issuer) {
            let named = issuer.map_or_else(|| "no issuer".to_owned(), |issuer| format!("the issuer {issuer:?}"));
            return Err(ProviderError::Unusable(format!(
                "its metadata at {place} names {named}, and the configuration {:?}; they must be the same to the letter",
                self.issuer
            )));
        }
        let authorization_endpoint = published.needed_url("authorization_endpoint")?;
        client.check(&authorization_endpoint)?;
        let token_endpoint = published.needed_url("token_endpoint")?;
        let jwks_uri = published.needed_url("jwks_uri")?;
        let (keys, key_issuers) = fetch_keys(&jwks_uri, client)?;
        let methods = published.texts("token_endpoint_auth_methods_supported");
        let offers = |method| methods.as_ref().is_some_and(|methods| methods.contains(&method));
        Ok(Metadata {
            authorization_endpoint,
            token_endpoint,
            userinfo_endpoint: published.url("userinfo_endpoint"),
            end_session_endpoint: published.url("end_session_endpoint"),
            algorithms: published.algorithms(),
            secret_in_body: offers("client_secret_post") && !offers("client_secret_basic"),
            promises_iss: published.0.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true)),
            jwks_uri,
            keys,
            key_issuers,
        })
    }
}

/// Fetches the keys, and the issuer of each key that names one. Keys of unknown kinds are left out.
fn fetch_keys(place: &Url, client: &HttpClient) -> Result<(CoreJsonWebKeySet, HashMap<String, String>), ProviderError> {
    let document: Map<String, Value> = document(place, client)?;
    let listed = document.get("keys").and_then(Value::as_array).into_iter().flatten();
    let issuer = |key: &Value| {
        Some((
            key.get("kid")?.as_str()?.to_owned(),
            key.get("issuer")?.as_str()?.to_owned(),
        ))
    };
    let key_issuers = listed.filter_map(issuer).collect();
    let keys = serde_json::from_value(document.into())
        .map_err(|_| ProviderError::Unusable(format!("its keys at {place} are not a JSON Web Key Set")))?;
    Ok((keys, key_issuers))
}

fn document<T: DeserializeOwned>(place: &Url, client: &HttpClient) -> Result<T, ProviderError> {
    let unreadable = || ProviderError::Unusable(format!("the document at {place} is not a JSON object"));
    let request = Request::get(place.as_str())
        .header(header::ACCEPT, "application/json, application/jwk-set+json")
        .body(Vec::new())
        .map_err(|_| unreadable())?;
    let response = client.send(request)?;
    let status = response.status();
    let answered = || format!("{place} answered with status {}", status.as_u16());
    if status.is_server_error() {
        return Err(ProviderError::Unavailable(answered()));
    }
    if status != StatusCode::OK {
        return Err(ProviderError::Unusable(answered()));
    }
    serde_json::from_slice(response.body()).map_err(|_| unreadable())
}

/// The error of a login that would wait too long for the provider.
pub(crate) fn too_many_wait() -> ProviderError {
    ProviderError::Unavailable("too many logins wait for it".to_owned())
}
