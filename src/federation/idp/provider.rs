//! Seam 2: the identity provider that authenticates a person.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::domain::login::ProviderToken;
use crate::domain::{IdentityProviderName, Link};
use crate::federation::idp::id_token::TokenDefect;
use crate::http_client::HttpError;

/// An identity provider through which people may sign in. Methods block.
pub trait IdentityProvider: Send + Sync {
    /// Begins a login. Returns the authorization URL for the browser, and the state that the adapter needs when the
    /// browser comes back to `callback`.
    fn begin(&self, callback: &Url, hint: &LoginHint) -> Result<AuthorizationStart, ProviderError>;

    /// Whether the parameters answer the login of this state. Nothing is fetched.
    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool;

    /// Verifies the answer and returns the identity. Called once per login, after [`IdentityProvider::answers`].
    fn finish(&self, parameters: &CallbackParameters, state: &LoginSecret) -> Result<Identity, ProviderError>;

    /// Returns the URL that ends the browser's session at the provider and sends the browser back; none if the provider
    /// has no such URL.
    fn logout(&self, _request: &LogoutRequest<'_>) -> Result<Option<Url>, ProviderError> {
        Ok(None)
    }
}

/// A request to end a session at the identity provider (OpenID Connect RP-Initiated Logout §2).
#[derive(Clone, Copy, Debug)]
pub struct LogoutRequest<'a> {
    /// Its ID token for the session (`id_token_hint`).
    pub token: Option<&'a ProviderToken>,
    /// Where the browser comes back (`post_logout_redirect_uri`).
    pub back: &'a Url,
    /// A text that the browser brings back (`state`).
    pub state: &'a str,
}

/// Hints for the sign-in page of the identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginHint {
    /// The user name that the person is likely to use there (`login_hint`).
    pub login: Option<String>,
    /// Whether the provider must authenticate again, even with a session there (`prompt=login`).
    pub reauthenticate: bool,
    /// The longest time since the person proved who they are (`max_age`). The provider then says when that was.
    pub max_age: Option<Duration>,
}

/// The parameters of an authorization request that depend on the identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestOptions {
    /// Further parameters, such as `acr_values`.
    pub parameters: BTreeMap<String, String>,
    /// Whether the answer comes back as a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    pub form_post: bool,
}

impl RequestOptions {
    /// The parameters that every login sets itself.
    pub(crate) const RESERVED: [&str; 12] = [
        "response_type",
        "response_mode",
        "client_id",
        "client_secret",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
    ];

    /// Returns the parameters for a request. A login that must authenticate again adds its `prompt` to the configured one.
    pub(crate) fn parameters(&self, hint: &LoginHint) -> Vec<(&str, String)> {
        let configured = self.parameters.iter();
        let mut parameters: Vec<(&str, String)> = configured
            .filter(|(name, _)| !(*name == "max_age" && hint.max_age.is_some()))
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        if hint.reauthenticate {
            match parameters.iter_mut().find(|(name, _)| *name == "prompt") {
                Some((_, prompt)) if prompt.split(' ').any(|word| word == "login") => {}
                Some((_, prompt)) => prompt.insert_str(0, "login "),
                None => parameters.push(("prompt", "login".to_owned())),
            }
        }
        if self.form_post {
            parameters.push(("response_mode", "form_post".to_owned()));
        }
        parameters
    }
}

/// A login that has begun at an identity provider.
pub struct AuthorizationStart {
    /// The authorization URL for the browser.
    pub redirect: Url,
    /// The state that the adapter needs to verify the answer.
    pub state: LoginSecret,
}

/// The state of an adapter while the browser is away, in a format of its own. Kept sealed, never in a URL.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct LoginSecret(Value);

impl LoginSecret {
    /// Stores the state of an adapter.
    pub fn new(memory: impl Serialize) -> Self {
        Self(serde_json::to_value(memory).unwrap_or_default())
    }

    /// Reads what [`LoginSecret::new`] stored. An error means that another kind of adapter wrote it, because the
    /// settings have changed since the login began.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ProviderError> {
        T::deserialize(&self.0).map_err(|_| ProviderError::MixUp)
    }
}

/// The parameters that the browser brought back, from the query or from a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackParameters(Vec<(String, String)>);

impl CallbackParameters {
    /// The value of a parameter; none if it is absent or occurs more than once (RFC 6749 §3.1).
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether a parameter occurs more than once.
    pub fn repeat(&self, name: &str) -> bool {
        self.0.iter().filter(|(known, _)| known == name).count() > 1
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for CallbackParameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(parameters: I) -> Self {
        let pairs = parameters.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.collect())
    }
}

/// A person as the identity provider knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Issuer that asserts the identity.
    pub issuer: String,
    /// Stable identifier within the issuer.
    pub subject: String,
    /// All claims, unchanged.
    pub claims: Map<String, Value>,
    /// The ID token that asserted it, if there is one.
    #[serde(default)]
    pub token: Option<ProviderToken>,
}

impl Identity {
    /// The link of this identity at a configured identity provider.
    pub fn link(&self, identity_provider: &IdentityProviderName) -> Link {
        Link {
            identity_provider: identity_provider.clone(),
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
        }
    }
}

/// Reason why an identity provider gave no identity.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, answered with a server error, or failed a moment ago.
    #[error("the identity provider cannot be reached: {0}")]
    Unavailable(String),
    /// Its metadata or its answer is unusable.
    #[error("the identity provider gave an unusable answer: {0}")]
    Unusable(String),
    /// The person or the provider refused (`access_denied`).
    #[error("the sign-in was cancelled at the identity provider")]
    Declined,
    /// It answered with another error code of RFC 6749 or OpenID Connect Core.
    #[error("the identity provider answered {0}")]
    Answered(&'static str),
    /// The answer names another issuer than was asked, or none although it must (RFC 9207).
    #[error("the answer does not come from the identity provider that was asked")]
    MixUp,
    /// The answer holds neither a code nor an error.
    #[error("the answer holds no code")]
    NoCode,
    /// The claims hold no usable subject.
    #[error("the answer holds no subject that is a string or an integer")]
    NoSubject,
    /// The ID token is invalid.
    #[error("the ID token is not acceptable: {0}")]
    Token(#[from] TokenDefect),
}

impl ProviderError {
    /// Returns a stable code for logs and audits.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "idp_unavailable",
            Self::Unusable(_) => "idp_unusable",
            Self::Declined => "idp_declined",
            Self::Answered(_) => "idp_error",
            Self::MixUp => "idp_mix_up",
            Self::NoCode => "idp_no_code",
            Self::NoSubject => "idp_no_subject",
            Self::Token(defect) => defect.reason(),
        }
    }

    /// Returns the error for an OAuth error code. Unknown codes are not repeated, since they are third-party text.
    pub fn from_code(code: &str) -> Self {
        const KNOWN: [&str; 17] = [
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unauthorized_client",
            "unsupported_grant_type",
            "unsupported_response_type",
            "invalid_scope",
            "server_error",
            "temporarily_unavailable",
            "interaction_required",
            "login_required",
            "account_selection_required",
            "consent_required",
            // Specific to GitHub.
            "bad_verification_code",
            "incorrect_client_credentials",
            "redirect_uri_mismatch",
            "unverified_user_email",
        ];
        if code == "access_denied" {
            return Self::Declined;
        }
        Self::Answered(
            KNOWN
                .into_iter()
                .find(|known| *known == code)
                .unwrap_or("an unknown error"),
        )
    }
}

impl From<HttpError> for ProviderError {
    fn from(error: HttpError) -> Self {
        Self::Unavailable(error.with_cause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authentication_again_keeps_the_configured_prompt() {
        let prompt = |configured: Option<&str>| {
            let configured = configured.map(|prompt| ("prompt".to_owned(), prompt.to_owned()));
            let options = RequestOptions {
                parameters: configured.into_iter().collect(),
                form_post: false,
            };
            let hint = LoginHint {
                reauthenticate: true,
                ..LoginHint::default()
            };
            let parameters = options.parameters(&hint).into_iter();
            parameters
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(prompt(None), ["prompt=login"]);
        assert_eq!(prompt(Some("login")), ["prompt=login"]);
        assert_eq!(prompt(Some("select_account")), ["prompt=login select_account"]);
    }

    #[test]
    fn a_parameter_that_occurs_twice_has_no_value() {
        let parameters: CallbackParameters = [("code", "a"), ("state", "s"), ("code", "b")].into_iter().collect();
        assert_eq!(parameters.get("state"), Some("s"));
        assert_eq!(parameters.get("code"), None);
        assert_eq!(parameters.get("iss"), None);
    }

    #[test]
    fn the_state_of_another_kind_of_adapter_is_refused() {
        let state = LoginSecret::new("a text");
        assert!(matches!(state.read::<Vec<u8>>(), Err(ProviderError::MixUp)));
        assert_eq!(state.read::<String>().unwrap(), "a text");
    }

    #[test]
    fn only_registered_error_codes_are_repeated() {
        assert!(matches!(
            ProviderError::from_code("access_denied"),
            ProviderError::Declined
        ));
        assert_eq!(
            ProviderError::from_code("invalid_scope").to_string(),
            "the identity provider answered invalid_scope"
        );
        let odd = ProviderError::from_code("<script>").to_string();
        assert_eq!(odd, "the identity provider answered an unknown error");
    }
}
