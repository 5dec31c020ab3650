//! Cache of the metadata and keys that an issuer publishes (OpenID Connect Discovery §3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
    CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::http::{Request, StatusCode, header};
use openidconnect::{AdditionalProviderMetadata, DiscoveryError, IssuerUrl, JsonWebKeySetUrl, ProviderMetadata};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::domain::{Clock, Timestamp};
use crate::federation::idp::provider::ProviderError;
use crate::gate::{Full, Gate};
use crate::http_client::{HttpClient, HttpError};

/// Time for which metadata is cached.
const FRESH: Duration = Duration::from_hours(1);
/// Time before an issuer that failed is asked again.
const BACK_OFF: Duration = Duration::from_secs(10);
/// Least time between two fetches of keys because of tokens with an unknown key.
const KEY_INTERVAL: Duration = Duration::from_mins(1);

/// The most callers that wait for a fetch, and the longest wait.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Additional {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for Additional {}

type Published = ProviderMetadata<
    Additional,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// The part of the metadata that a login needs.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) userinfo_endpoint: Option<Url>,
    pub(crate) algorithms: Vec<CoreJwsSigningAlgorithm>,
    /// Whether the secret goes into the body, because the issuer does not take it in a header.
    pub(crate) secret_in_body: bool,
    /// Whether every answer carries `iss` (RFC 9207 §3).
    pub(crate) promises_iss: bool,
    jwks_uri: JsonWebKeySetUrl,
    pub(crate) keys: CoreJsonWebKeySet,
    /// Issuer of each key by key id, where a key set for many issuers names it.
    pub(crate) key_issuers: HashMap<String, String>,
}

/// The metadata of one issuer, fetched on first use.
pub(crate) struct MetadataCache {
    issuer: IssuerUrl,
    /// URL of the metadata, if it does not follow from the issuer.
    place: Option<Url>,
    clock: Clock,
    state: Mutex<State>,
    /// Entered for a fetch; the others wait outside, and no lock is held meanwhile.
    fetching: Gate,
}

#[derive(Default)]
struct State {
    metadata: Option<(Arc<Metadata>, Timestamp)>,
    keys_fetched: Option<Timestamp>,
    failed: Option<Timestamp>,
}

impl MetadataCache {
    pub(crate) fn new(issuer: IssuerUrl, place: Option<Url>, clock: Clock) -> Self {
        Self {
            issuer,
            place,
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
        let _pass = self.fetching.enter().map_err(|Full| ProviderError::Unavailable(None))?;
        // Another caller may have fetched it meanwhile, or failed to.
        if let Some(known) = self.known() {
            return known;
        }
        match discover(&self.issuer, self.place.as_ref(), client) {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *self.state() = State {
                    metadata: Some((Arc::clone(&metadata), self.clock.now())),
                    ..State::default()
                };
                Ok(metadata)
            }
            Err(error) => {
                self.state().failed = Some(self.clock.now());
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
                let failed = state.failed.is_some_and(|failed| now < failed.plus(BACK_OFF));
                failed.then_some(Err(ProviderError::Unavailable(None)))
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
        let _pass = self.fetching.enter().map_err(|Full| ProviderError::Unavailable(None))?;
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

fn discover(issuer: &IssuerUrl, place: Option<&Url>, client: &HttpClient) -> Result<Metadata, ProviderError> {
    let (published, key_issuers) = match place {
        None => {
            let published = Published::discover(issuer, &|request| client.send(request)).map_err(discovery_failed)?;
            (published, HashMap::new())
        }
        Some(place) => discover_at(place, issuer, client)?,
    };
    let authorization_endpoint = published.authorization_endpoint().url().clone();
    client.check(&authorization_endpoint)?;
    let token_endpoint = published
        .token_endpoint()
        .map(|endpoint| endpoint.url().clone())
        .ok_or_else(|| ProviderError::Unusable("its metadata has no token_endpoint".to_owned()))?;
    let methods = published.token_endpoint_auth_methods_supported();
    let offers = |method| methods.is_some_and(|methods| methods.contains(&method));
    Ok(Metadata {
        authorization_endpoint,
        token_endpoint,
        userinfo_endpoint: published.userinfo_endpoint().map(|endpoint| endpoint.url().clone()),
        algorithms: published.id_token_signing_alg_values_supported().clone(),
        secret_in_body: offers(CoreClientAuthMethod::ClientSecretPost)
            && !offers(CoreClientAuthMethod::ClientSecretBasic),
        promises_iss: published
            .additional_metadata()
            .authorization_response_iss_parameter_supported,
        jwks_uri: published.jwks_uri().clone(),
        keys: published.jwks().clone(),
        key_issuers,
    })
}

/// Reads metadata from another URL, such as one for many tenants. It must still name the configured issuer.
fn discover_at(
    place: &Url,
    issuer: &IssuerUrl,
    client: &HttpClient,
) -> Result<(Published, HashMap<String, String>), ProviderError> {
    let published: Published = document(place, client)?;
    if published.issuer() != issuer {
        return Err(other_issuer());
    }
    let (keys, key_issuers) = fetch_keys(published.jwks_uri(), client)?;
    Ok((published.set_jwks(keys), key_issuers))
}

/// Fetches the keys, and the issuer of each key that names one.
fn fetch_keys(
    place: &JsonWebKeySetUrl,
    client: &HttpClient,
) -> Result<(CoreJsonWebKeySet, HashMap<String, String>), ProviderError> {
    let document: Value = document(place.url(), client)?;
    let listed = document.get("keys").and_then(Value::as_array).into_iter().flatten();
    let issuer = |key: &Value| {
        Some((
            key.get("kid")?.as_str()?.to_owned(),
            key.get("issuer")?.as_str()?.to_owned(),
        ))
    };
    let key_issuers = listed.filter_map(issuer).collect();
    let keys = serde_json::from_value(document).map_err(|_| unreadable())?;
    Ok((keys, key_issuers))
}

fn document<T: DeserializeOwned>(place: &Url, client: &HttpClient) -> Result<T, ProviderError> {
    let request = Request::get(place.as_str())
        .header(header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|_| unreadable())?;
    let response = client.send(request)?;
    let status = response.status();
    if status.is_server_error() {
        return Err(ProviderError::Unavailable(None));
    }
    if status != StatusCode::OK {
        return Err(bad_status(status));
    }
    serde_json::from_slice(response.body()).map_err(|_| unreadable())
}

fn bad_status(status: StatusCode) -> ProviderError {
    ProviderError::Unusable(format!(
        "its metadata came with status {}, or not as JSON",
        status.as_u16()
    ))
}

fn other_issuer() -> ProviderError {
    ProviderError::Unusable("its metadata names another issuer than the configuration".to_owned())
}

fn unreadable() -> ProviderError {
    ProviderError::Unusable("its metadata cannot be read".to_owned())
}

/// Converts a discovery error, without the body of the answer.
fn discovery_failed(error: DiscoveryError<HttpError>) -> ProviderError {
    match error {
        DiscoveryError::Request(error) => ProviderError::Unavailable(Some(error)),
        DiscoveryError::Response(status, _, _) if status.is_server_error() => ProviderError::Unavailable(None),
        DiscoveryError::Response(status, _, _) => bad_status(status),
        DiscoveryError::Validation(_) => other_issuer(),
        _ => unreadable(),
    }
}
