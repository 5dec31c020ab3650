//! Seam 2: an external issuer that says who somebody is.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use crate::federation::idp::id_token::TokenDefect;
use crate::http_client::HttpError;

/// An identity provider through which people may sign in. Methods block.
pub trait IdentityProvider: Send + Sync {
    /// Begins a login: where the browser goes, and what the adapter needs when it comes back to `callback`.
    fn begin(&self, callback: &Url, hint: &Hint) -> Result<Begun, ProviderError>;

    /// Whether the parameters answer the login of this state. Nothing is fetched.
    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool;

    /// Verifies the answer and returns the identity. Called once per login, after [`IdentityProvider::answers`].
    fn finish(&self, parameters: &CallbackParameters, state: &LoginSecret) -> Result<Identity, ProviderError>;
}

/// What may help the identity provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The name that the person is likely to use there.
    pub login: Option<String>,
    /// Whether a session that exists there is not enough.
    pub reauthenticate: bool,
}

/// A login that has begun at an identity provider.
pub struct Begun {
    /// Where the browser goes.
    pub redirect: Url,
    /// What the adapter needs to verify the answer.
    pub state: LoginSecret,
}

/// What an adapter remembers of a login while the browser is away, in a form of its own. Kept sealed, never in a URL.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct LoginSecret(Value);

impl LoginSecret {
    /// Keeps what an adapter remembers.
    pub fn new(memory: impl Serialize) -> Self {
        Self(serde_json::to_value(memory).unwrap_or_default())
    }

    /// Reads what [`LoginSecret::new`] kept. The error means that another kind of adapter wrote it: the settings have
    /// changed since the login began.
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
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for CallbackParameters {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(parameters: I) -> Self {
        let pairs = parameters.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.collect())
    }
}

/// Somebody, as an upstream knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Who says so.
    pub issuer: String,
    /// Their stable name within the issuer.
    pub subject: String,
    /// What else is said, as it came.
    pub claims: Map<String, Value>,
}

/// Why an upstream did not say who somebody is.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached, or was not a moment ago.
    #[error("the identity provider cannot be reached")]
    Unavailable(#[source] Option<HttpError>),
    /// Its metadata or an answer of it cannot be used.
    #[error("the identity provider gave an unusable answer: {0}")]
    Unusable(String),
    /// The person, or the upstream, said no (`access_denied`).
    #[error("the sign-in was cancelled at the identity provider")]
    Declined,
    /// It answered with another error code of RFC 6749 or OpenID Connect Core.
    #[error("the identity provider answered {0}")]
    Answered(&'static str),
    /// Somebody else answered than was asked, or nobody said who (RFC 9207).
    #[error("the answer does not come from the identity provider that was asked")]
    MixUp,
    /// There is neither a code nor an error in what the browser brought.
    #[error("the answer holds no code")]
    NoCode,
    /// What it says of somebody holds no stable name for them.
    #[error("the answer holds no subject that is a text or a whole number")]
    NoSubject,
    /// The ID token is not good.
    #[error("the ID token is not acceptable: {0}")]
    Token(#[from] TokenDefect),
}

impl ProviderError {
    /// A stable word for logs and audits.
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

    /// The error for a code that came from outside: only known codes are repeated.
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
            // GitHub's own.
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
        Self::Unavailable(Some(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
