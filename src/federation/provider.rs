//! Seam 2: an external issuer that says who somebody is.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::fetch::FetchError;
use super::id_token::TokenDefect;

/// One upstream through which people may sign in. Methods block.
pub trait IdentityProvider: Send + Sync {
    /// Where to send the browser, and what to remember until it comes back to `callback`.
    fn begin(&self, callback: &Url, hint: &Hint) -> Result<(Url, Pending), ProviderError>;

    /// Who the upstream says this is. The caller has compared the state, and calls once per [`Pending`].
    fn finish(&self, returned: &Returned, pending: &Pending) -> Result<Identity, ProviderError>;
}

/// What may help the upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// The name that the person is likely to use there.
    pub login: Option<String>,
    /// Whether a session that exists there is not enough.
    pub reauthenticate: bool,
}

/// What is remembered of a login while the browser is away. Secret: kept sealed, never in a URL but for the state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The issuer that must answer.
    pub issuer: String,
    /// Where the browser comes back to.
    pub callback: Url,
    /// Ties the answer to this browser (RFC 6749 §10.12).
    pub state: String,
    /// Ties the ID token to this login (OpenID Connect Core §3.1.2.1).
    pub nonce: String,
    /// Ties the code to this login (RFC 7636).
    pub verifier: String,
}

/// What the browser brought back (OpenID Connect Core §3.1.2.5, §3.1.2.6).
#[derive(Clone, Default, Deserialize)]
pub struct Returned {
    /// The authorization code.
    pub code: Option<String>,
    /// Our state.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code. Its description is written by somebody else and shown to nobody.
    pub error: Option<String>,
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
    Unavailable(#[source] Option<FetchError>),
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

impl From<FetchError> for ProviderError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(Some(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
