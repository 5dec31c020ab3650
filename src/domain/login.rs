//! The request and the result of a login, as passed between the front door and the OpenID provider.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{IdentityProviderName, ResourceId, StoreName, Timestamp};

/// A validated authorization request (OpenID Connect Core §3.1.2.1), kept until the login completes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The service provider's `client_id`.
    pub client_id: String,
    /// The address of the response: byte for byte one of the registered URIs.
    pub redirect_uri: String,
    /// The scopes asked for and allowed.
    pub scope: Vec<String>,
    /// How the response gets to the service provider (`response_mode`).
    #[serde(default)]
    pub response_mode: ResponseMode,
    /// Echoed to the service provider.
    pub state: Option<String>,
    /// Echoed in the ID token.
    pub nonce: Option<String>,
    /// The PKCE challenge, always S256 (RFC 7636).
    pub code_challenge: Option<String>,
    /// The identity provider that the service provider asks for (`idp_hint`).
    pub idp_hint: Option<IdentityProviderName>,
    /// The name to prefill (`login_hint`).
    pub login_hint: Option<String>,
    /// The languages that the person reads, best first (`ui_locales`).
    #[serde(default)]
    pub ui_locales: Vec<String>,
    /// The only user whose login satisfies the request (`id_token_hint`).
    #[serde(default)]
    pub subject: Option<ResourceId>,
    /// Whether an existing session is not enough (`prompt=login`, `max_age`).
    pub reauthenticate: bool,
    /// Whether the person is signed in already, which is not enough.
    #[serde(default)]
    pub again: bool,
    /// The earliest time at which the person may have proved who they are (`prompt=login`, `max_age`).
    #[serde(default)]
    pub fresh_since: Option<Timestamp>,
    /// The claims that are asked for one by one (`claims`, `acr_values`).
    #[serde(default)]
    pub claims: RequestedClaims,
}

/// How the response to an authorization request gets to the service provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseMode {
    /// In the query of the redirect URI (OAuth 2.0 Multiple Response Types §2.1).
    #[default]
    Query,
    /// In a form that the browser posts to the redirect URI (OAuth 2.0 Form Post Response Mode §2).
    FormPost,
}

/// A class of authentication, `acr` in an ID token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationClass {
    /// With one factor.
    OneFactor,
    /// With two factors.
    TwoFactors,
}

/// The claims that a service provider asks for one by one (OpenID Connect Core §5.5), by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedClaims {
    /// Those of the ID token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_token: Vec<String>,
    /// Those of the userinfo endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub userinfo: Vec<String>,
    /// The class of authentication, `acr` of the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<AuthenticationClass>,
}

impl AuthorizationRequest {
    /// A request of this server itself: the user returns to one of its pages, logged in as `subject` if that is given.
    pub(crate) fn of_ourselves(page: String, subject: Option<ResourceId>) -> Self {
        Self {
            client_id: String::new(),
            redirect_uri: page,
            scope: Vec::new(),
            response_mode: ResponseMode::Query,
            state: None,
            nonce: None,
            code_challenge: None,
            idp_hint: None,
            login_hint: None,
            ui_locales: Vec::new(),
            reauthenticate: subject.is_some(),
            again: subject.is_some(),
            fresh_since: None,
            claims: RequestedClaims::default(),
            subject,
        }
    }

    /// Whether a login with two factors is asked for, whatever the service provider asks for otherwise.
    pub(crate) fn asks_two_factors(&self) -> bool {
        self.claims.acr == Some(AuthenticationClass::TwoFactors)
    }

    /// The purpose of the entry decision for its code.
    pub(crate) fn purpose(&self) -> EntryPurpose {
        EntryPurpose::Code {
            fresh_since: self.fresh_since,
            two_factors: self.asks_two_factors(),
        }
    }

    /// Whether it is a request of this server itself. A service provider always has a `client_id`.
    pub fn is_of_ourselves(&self) -> bool {
        self.client_id.is_empty()
    }
}

/// A successful login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authentication {
    /// The store of the user.
    pub store: StoreName,
    /// The user.
    pub user: ResourceId,
    /// The methods: `pwd`, `fed` and the like (RFC 8176).
    pub amr: Vec<String>,
    /// The identity provider; none for a local password.
    pub identity_provider: Option<IdentityProviderName>,
    /// The time of the login here.
    pub at: Timestamp,
    /// The time at which the person proved who they are; none if the identity provider does not say.
    #[serde(default)]
    pub authenticated_at: Option<Timestamp>,
    /// The version of the account's credentials under which it was proved.
    #[serde(default)]
    pub credentials: i64,
    /// The ID token of the identity provider, kept if signing out here signs the person out there too.
    #[serde(default)]
    pub provider_token: Option<ProviderToken>,
}

/// The ID token of an identity provider, by which the provider knows the session there again (OpenID Connect RP-Initiated
/// Logout §2). It does not show in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderToken(String);

impl ProviderToken {
    /// The longest that is kept, in bytes: it goes into the URL of a logout.
    const LONGEST: usize = 4096;

    /// Keeps a token; none that is too long.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::LONGEST).then(|| Self(text.to_owned()))
    }

    /// The token, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Whether a person with a session may enter an application, as the facts are at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// They may enter.
    Granted,
    /// They may enter after a second factor.
    StepUp,
    /// They may enter after a consent.
    Consent,
    /// They must log in.
    Login,
}

/// The purpose of an entry decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPurpose {
    /// A new code.
    Code {
        /// The earliest time of the proof, if one is asked for.
        fresh_since: Option<Timestamp>,
        /// Whether a second factor is asked for, whatever the application asks for otherwise.
        two_factors: bool,
    },
    /// The further use of a grant: its code, its refresh token, its access token.
    Token,
}
