//! OAuth error codes, errors for clients and for pages, and internal failures.

use crate::directory::DirectoryError;
use crate::storage::StorageError;

use super::keys::KeysError;

/// The OAuth error codes in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// A parameter is missing, repeated or malformed (RFC 6749 §4.1.2.1, §5.2).
    InvalidRequest,
    /// The response type is not `code` (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// The scope is unknown or malformed (RFC 6749 §4.1.2.1).
    InvalidScope,
    /// The user or a rule denied the request (RFC 6749 §4.1.2.1).
    AccessDenied,
    /// The server failed (RFC 6749 §4.1.2.1).
    ServerError,
    /// The server is temporarily unavailable (RFC 6749 §4.1.2.1).
    TemporarilyUnavailable,
    /// The client sends more requests than it may (RFC 9126 §2.3).
    TooManyRequests,
    /// The request is larger than this server stores (RFC 9126 §2.3).
    RequestTooLarge,
    /// `prompt=none`, but the user must log in (OpenID Connect Core §3.1.2.6).
    LoginRequired,
    /// `prompt=none`, but a page must be shown to the user (OpenID Connect Core §3.1.2.6).
    InteractionRequired,
    /// `prompt=none`, but the user must give consent (OpenID Connect Core §3.1.2.6).
    ConsentRequired,
    /// A requested class of authentication cannot be met (OpenID Connect Core Error Code
    /// `unmet_authentication_requirements` §2).
    UnmetAuthenticationRequirements,
    /// `request` is not supported (OpenID Connect Core §3.1.2.6).
    RequestNotSupported,
    /// `request_uri` is not supported (OpenID Connect Core §3.1.2.6).
    RequestUriNotSupported,
    /// `registration` is not supported (OpenID Connect Core §3.1.2.6).
    RegistrationNotSupported,
    /// `resource` names no resource that this server issues tokens for (RFC 8707 §2).
    InvalidTarget,
    /// Client authentication failed (RFC 6749 §5.2).
    InvalidClient,
    /// The code or refresh token is invalid (RFC 6749 §5.2).
    InvalidGrant,
    /// The grant type is not supported (RFC 6749 §5.2).
    UnsupportedGrantType,
    /// The client may not use this grant type (RFC 6749 §5.2).
    UnauthorizedClient,
    /// The access token is invalid (RFC 6750 §3.1).
    InvalidToken,
    /// The access token lacks a required scope (RFC 6750 §3.1).
    InsufficientScope,
}

impl ErrorCode {
    /// Returns the code as it is sent in responses.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status for errors that are answered directly, not by redirect.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    const fn row(self) -> (&'static str, u16) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400),
            Self::UnsupportedResponseType => ("unsupported_response_type", 400),
            Self::InvalidScope => ("invalid_scope", 400),
            Self::AccessDenied => ("access_denied", 403),
            Self::ServerError => ("server_error", 500),
            Self::TemporarilyUnavailable => ("temporarily_unavailable", 503),
            Self::TooManyRequests => ("temporarily_unavailable", 429),
            Self::RequestTooLarge => ("invalid_request", 413),
            Self::LoginRequired => ("login_required", 400),
            Self::InteractionRequired => ("interaction_required", 400),
            Self::ConsentRequired => ("consent_required", 400),
            Self::UnmetAuthenticationRequirements => ("unmet_authentication_requirements", 400),
            Self::RequestNotSupported => ("request_not_supported", 400),
            Self::RequestUriNotSupported => ("request_uri_not_supported", 400),
            Self::RegistrationNotSupported => ("registration_not_supported", 400),
            Self::InvalidTarget => ("invalid_target", 400),
            Self::InvalidClient => ("invalid_client", 401),
            Self::InvalidGrant => ("invalid_grant", 400),
            Self::UnsupportedGrantType => ("unsupported_grant_type", 400),
            Self::UnauthorizedClient => ("unauthorized_client", 400),
            Self::InvalidToken => ("invalid_token", 401),
            Self::InsufficientScope => ("insufficient_scope", 403),
        }
    }

    /// Returns this error with a description. It is a constant text, so nothing of the request is echoed.
    pub(super) const fn because(self, description: &'static str) -> OAuthError {
        OAuthError {
            code: self,
            description,
        }
    }
}

/// An error that is sent to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct OAuthError {
    /// The error code.
    pub code: ErrorCode,
    /// A description for the client's developer.
    pub description: &'static str,
}

/// An error that is shown to the user on a page, since there is no verified URI to redirect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PageError {
    /// Names the page's text: `invalid_client`, `invalid_redirect_uri`, `invalid_request`.
    pub code: &'static str,
    /// The message: the fault and the next step.
    pub message: &'static str,
}

impl PageError {
    /// No client has this `client_id`.
    pub(crate) const UNKNOWN_CLIENT: Self = Self {
        code: "invalid_client",
        message: "The application that sent you here is not registered. Tell its operator.",
    };
    /// The `redirect_uri` is not registered.
    pub(crate) const REDIRECT_URI: Self = Self {
        code: "invalid_redirect_uri",
        message: "The application that sent you here gave a return address that is not registered. Tell its operator.",
    };
    /// A parameter that decides where the answer goes is missing or repeated.
    pub(crate) const MALFORMED: Self = Self {
        code: "invalid_request",
        message: "The application that sent you here sent an invalid request. Go back and try again, or tell its operator.",
    };
    /// The `request_uri` names no valid pushed request of this client.
    pub(crate) const REQUEST_URI: Self = Self {
        code: "invalid_request",
        message: "The request that the application prepared has expired or was already used. Go back and try again.",
    };
    /// The `post_logout_redirect_uri` is not registered.
    pub(crate) const AFTER_LOGOUT: Self = Self {
        code: "invalid_redirect_uri",
        message: "The application asked to send you to an address that is not registered. You are still logged in.",
    };
}

/// An internal failure, not caused by the request.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A userstore failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The signing keys are not available.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The decision who may enter failed.
    #[error("whether a person may enter could not be decided")]
    Entry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The credentials of the account, or the identity of the login, changed between the login and its session.
    #[error("the account changed after this login")]
    Outdated,
}

impl OidcError {
    /// Returns the error code for the client, which tells whether to retry soon.
    pub fn code(&self) -> ErrorCode {
        use crate::userstore::StoreError;
        match self {
            Self::Storage(StorageError::Unavailable(_))
            | Self::Keys(KeysError::Storage(StorageError::Unavailable(_)))
            | Self::Directory(DirectoryError::Store(StoreError::Unavailable(_))) => ErrorCode::TemporarilyUnavailable,
            Self::Outdated => ErrorCode::AccessDenied,
            _ => ErrorCode::ServerError,
        }
    }
}

/// The reason why a request of a client failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientFailure {
    /// The request was refused.
    #[error(transparent)]
    Refused(#[from] OAuthError),
    /// Ours.
    #[error(transparent)]
    Failed(#[from] OidcError),
}

/// The reason why a page shows an error instead of a redirect.
#[derive(Debug, thiserror::Error)]
pub enum PageFailure {
    /// The request was refused, and the user must be told.
    #[error(transparent)]
    Refused(#[from] PageError),
    /// Ours.
    #[error(transparent)]
    Failed(#[from] OidcError),
}

impl From<StorageError> for ClientFailure {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<KeysError> for ClientFailure {
    fn from(error: KeysError) -> Self {
        Self::Failed(error.into())
    }
}
