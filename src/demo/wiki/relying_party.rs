//! The wiki as an OpenID relying party: authorization code with PKCE, state and nonce.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreClient, CoreGenderClaim, CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreResponseType, CoreTokenResponse,
};
use openidconnect::reqwest::blocking as http;
use openidconnect::reqwest::redirect::Policy;
use openidconnect::{
    AccessTokenHash, AdditionalClaims, AuthenticationFlow, AuthorizationCode, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl, Scope,
    TokenResponse, UserInfoClaims,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::WikiSettings;
use crate::domain::{Clock, Timestamp};

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// The tolerated clock skew between provider and wiki.
const LEEWAY: Duration = Duration::from_mins(1);

/// The timeout of one call to the provider.
const PATIENCE: Duration = Duration::from_secs(10);

/// The state of a pending login until the browser returns.
#[derive(Debug)]
pub(super) struct LoginAttempt {
    pub(super) state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

/// The verified claims about a person.
#[derive(Debug)]
pub(super) struct Person {
    /// The claims of the ID token and of the userinfo endpoint, as one object.
    pub(super) claims: Map<String, Value>,
    /// The provider's logout endpoint, if it has one.
    pub(super) logout: Option<String>,
}

/// The error of a login. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum WikiLoginError {
    /// The provider cannot be reached or does not support OpenID Connect.
    #[error("the provider cannot be asked: {0}")]
    Unavailable(String),
    /// The provider's response failed a check.
    #[error("the provider's answer cannot be trusted: {0}")]
    Untrusted(String),
}

impl WikiLoginError {
    /// The stable code of [`crate::server::messages`].
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "provider_unavailable",
            Self::Untrusted(_) => "provider_error",
        }
    }
}

/// All non-standard claims.
#[derive(Debug, Serialize, Deserialize)]
struct OtherClaims(Map<String, Value>);

impl AdditionalClaims for OtherClaims {}

/// The wiki's registration, and the checks. Its functions block.
pub(super) struct RelyingParty {
    settings: WikiSettings,
    clock: Clock,
}

impl RelyingParty {
    pub(super) fn new(settings: WikiSettings, clock: Clock) -> Self {
        Self { settings, clock }
    }

    /// The issuer identifier of the provider.
    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// The authorization URL, and the state to keep until the browser returns.
    pub(super) fn begin(&self) -> Result<(String, LoginAttempt), WikiLoginError> {
        let (client, _) = self.discover(&http_client()?)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let (url, state, nonce) = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scopes(["profile", "email", "groups"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .url();
        Ok((url.into(), LoginAttempt { state, nonce, verifier }))
    }

    /// Exchanges the code and validates the tokens (OpenID Connect Core §3.1.3.7).
    pub(super) fn finish(&self, pending: LoginAttempt, code: String) -> Result<Person, WikiLoginError> {
        let http = http_client()?;
        // Discovery runs again, so that a rotated key is known.
        let (client, end_session) = self.discover(&http)?;
        let answer: CoreTokenResponse = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(untrusted)?
            .set_pkce_verifier(pending.verifier)
            .request(&http)
            .map_err(untrusted)?;
        let token = answer.id_token().ok_or_else(|| untrusted("no ID token"))?;
        let checks = self.checks(&client);
        let stated = token.claims(&checks, &pending.nonce).map_err(untrusted)?;
        if let Some(expected) = stated.access_token_hash() {
            let algorithm = token.signing_alg().map_err(untrusted)?;
            let key = token.signing_key(&checks).map_err(untrusted)?;
            let actual = AccessTokenHash::from_token(answer.access_token(), algorithm, key).map_err(untrusted)?;
            if actual != *expected {
                return Err(untrusted("the access token is not the one that the ID token names"));
            }
        }
        let mut claims = payload(&token.to_string())?;
        if let Ok(request) = client.user_info(answer.access_token().clone(), Some(stated.subject().clone())) {
            let more: UserInfoClaims<OtherClaims, CoreGenderClaim> = request.request(&http).map_err(untrusted)?;
            if let Ok(Value::Object(more)) = serde_json::to_value(&more) {
                claims.extend(more);
            }
        }
        let logout = end_session.map(|request| request.set_id_token_hint(token).http_get_url().into());
        Ok(Person { claims, logout })
    }

    fn discover(&self, http: &http::Client) -> Result<(Client, Option<LogoutRequest>), WikiLoginError> {
        let settings = &self.settings;
        let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(unavailable)?;
        let metadata = ProviderMetadataWithLogout::discover(&issuer, http).map_err(unavailable)?;
        let client_id = ClientId::new(settings.client_id.clone());
        let home = PostLogoutRedirectUrl::new(format!("{}/", settings.public_url)).map_err(unavailable)?;
        let end_session = metadata
            .additional_metadata()
            .end_session_endpoint
            .clone()
            .map(|endpoint| {
                LogoutRequest::from(endpoint)
                    .set_client_id(client_id.clone())
                    .set_post_logout_redirect_uri(home)
            });
        let secret = ClientSecret::new(settings.client_secret.expose().to_owned());
        let callback = RedirectUrl::new(format!("{}/callback", settings.public_url)).map_err(unavailable)?;
        let client = CoreClient::from_provider_metadata(metadata, client_id, Some(secret)).set_redirect_uri(callback);
        Ok((client, end_session))
    }

    fn checks<'a>(&self, client: &'a Client) -> CoreIdTokenVerifier<'a> {
        let (now, clock) = (self.clock.clone(), self.clock.clone());
        client
            .id_token_verifier()
            // Never HS256: with it the client secret would be enough to forge an ID token for any person.
            .set_allowed_algs([
                CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
                CoreJwsSigningAlgorithm::EcdsaP256Sha256,
                CoreJwsSigningAlgorithm::EdDsa,
            ])
            .set_time_fn(move || moment(now.now().minus(LEEWAY)))
            .set_issue_time_verifier_fn(move |issued| {
                let latest = moment(clock.now().plus(LEEWAY));
                if issued <= latest {
                    Ok(())
                } else {
                    Err("issued in the future".to_owned())
                }
            })
    }
}

fn moment(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn http_client() -> Result<http::Client, WikiLoginError> {
    http::Client::builder()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(unavailable)
}

/// All claims of an ID token with an already verified signature.
fn payload(verified: &str) -> Result<Map<String, Value>, WikiLoginError> {
    let part = verified.split('.').nth(1).unwrap_or_default();
    let json = URL_SAFE_NO_PAD.decode(part).map_err(untrusted)?;
    serde_json::from_slice(&json).map_err(untrusted)
}

fn untrusted(cause: impl ToString) -> WikiLoginError {
    WikiLoginError::Untrusted(cause.to_string())
}

fn unavailable(cause: impl ToString) -> WikiLoginError {
    WikiLoginError::Unavailable(cause.to_string())
}
