//! Service providers as OAuth clients: their settings, and which of them a request names.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::client_keys::ClientKeys;
use super::endpoint::Endpoint;
use super::redirect;
use crate::domain::login::Authentication;
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};

/// How ID tokens are signed (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Deserialize)]
pub enum Algorithm {
    /// RSA with SHA-256; every client can check it.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// The curve P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Rs256, Self::Es256];

    /// Its name in JOSE.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// How long what a client gets is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// ID tokens.
    pub id_token: Duration,
    /// Access tokens.
    pub access_token: Duration,
    /// One refresh token, if it is not used.
    pub refresh_token: Duration,
    /// All refresh tokens that follow from one login, however often they are used.
    pub refresh_in_all: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            id_token: Duration::from_mins(5),
            access_token: Duration::from_mins(10),
            refresh_token: Duration::from_hours(14 * 24),
            refresh_in_all: Duration::from_hours(90 * 24),
        }
    }
}

/// One service provider as an OAuth client.
#[derive(Clone, Debug)]
pub struct Client {
    /// The service provider.
    pub name: ServiceProviderName,
    /// Its `client_id`.
    pub client_id: String,
    /// Its secret; none for a public client, such as an application on a phone.
    pub secret: Option<Secret>,
    /// What it signs its assertions with; if any, nothing else proves who it is (`private_key_jwt`).
    pub keys: Option<ClientKeys>,
    /// Where codes may go, compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// Where a browser may go after logout, compared byte for byte.
    pub post_logout_redirect_uris: Vec<String>,
    /// Where it is told of the end of a session.
    pub backchannel_logout: Option<Endpoint>,
    /// How its ID tokens are signed.
    pub id_token_alg: Algorithm,
    /// Whether it must use PKCE. A public client must in any case.
    pub require_pkce: bool,
    /// Whether its requests must be pushed (RFC 9126 §6).
    pub require_pushed_requests: bool,
    /// The identity providers whose logins it takes.
    pub identity_providers: Vec<IdentityProviderName>,
    /// Whether it takes logins with a local password.
    pub local_login: bool,
    /// The methods of which a login must have used one, such as `mfa` (RFC 8176); none if any login will do.
    pub required_methods: &'static [&'static str],
    /// How long tokens for SCIM are good that it gets in its own name; none if it gets no such token.
    pub scim_tokens: Option<Duration>,
    /// How long what it gets is good.
    pub lifetimes: Lifetimes,
}

impl Client {
    /// Whether it cannot keep a secret.
    pub fn is_public(&self) -> bool {
        self.secret.is_none() && self.keys.is_none()
    }

    /// Whether it must use PKCE.
    pub fn needs_pkce(&self) -> bool {
        self.require_pkce || self.is_public()
    }

    /// Whether a code may go to `uri`: byte for byte a registered one. For a public client on a loopback address the
    /// port may differ (RFC 8252 §7.3).
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| {
            registered == uri || (self.is_public() && redirect::differs_in_loopback_port(registered, uri))
        })
    }

    /// Whether it takes people who logged in like this.
    pub fn accepts(&self, authentication: &Authentication) -> bool {
        let by = match &authentication.identity_provider {
            Some(name) => self.identity_providers.contains(name),
            None => self.local_login,
        };
        let used = |required: &&str| authentication.amr.iter().any(|method| method == required);
        by && (self.required_methods.is_empty() || self.required_methods.iter().any(used))
    }

    /// What is wrong with the settings, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.client_id.is_empty()
            || self.client_id.len() > 255
            || !self.client_id.bytes().all(|b| (0x20..0x7f).contains(&b))
        {
            problems.push("client_id must be 1 to 255 visible ASCII characters".to_owned());
        }
        if self.secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            problems.push("client_secret is empty: leave it out for a public client".to_owned());
        }
        if self.secret.is_some() && self.keys.is_some() {
            problems.push("client_secret and jwks exclude each other: choose one proof".to_owned());
        }
        if matches!(&self.keys, Some(ClientKeys::Inline(keys)) if keys.is_empty()) {
            problems.push("jwks holds no key that checks ES256, RS256, PS256 or EdDSA".to_owned());
        }
        if self.scim_tokens.is_some() && self.is_public() {
            problems.push("client_credentials needs a client_secret or keys".to_owned());
        }
        if self.redirect_uris.is_empty() && self.scim_tokens.is_none() {
            problems.push("redirect_uris is empty: name where the service provider takes its codes".to_owned());
        }
        for uri in self.redirect_uris.iter().chain(&self.post_logout_redirect_uris) {
            if let Some(problem) = redirect::problem(uri) {
                problems.push(format!("{uri:?} cannot be a redirect URI: it {problem}"));
            }
        }
        problems
    }
}

/// The clients by `client_id`.
pub(super) struct Clients(HashMap<String, Client>);

impl Clients {
    pub(super) fn new(clients: Vec<Client>) -> Self {
        Self(
            clients
                .into_iter()
                .map(|client| (client.client_id.clone(), client))
                .collect(),
        )
    }

    pub(super) fn get(&self, client_id: &str) -> Option<&Client> {
        self.0.get(client_id)
    }

    /// Whether something is true of any of them.
    pub(super) fn any(&self, is_true: impl Fn(&Client) -> bool) -> bool {
        self.0.values().any(is_true)
    }

    /// The longest that any ID token is good.
    pub(super) fn longest_id_token(&self) -> Duration {
        self.0
            .values()
            .map(|client| client.lifetimes.id_token)
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{confidential, public};
    use super::*;

    #[test]
    fn only_a_public_client_may_vary_the_loopback_port() {
        let uri = "http://127.0.0.1:51000/cb";
        assert!(public().may_redirect_to(uri));
        let with_secret = Client {
            secret: Some(Secret::new("s")),
            ..public()
        };
        assert!(!with_secret.may_redirect_to(uri));
    }

    #[test]
    fn sound_settings_have_no_problem() {
        assert_eq!(public().problems(), Vec::<String>::new());
        assert_eq!(confidential().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let client = Client {
            client_id: String::new(),
            secret: Some(Secret::new("")),
            redirect_uris: vec!["https://*.example/cb".to_owned(), "http://app.example/cb".to_owned()],
            ..confidential()
        };
        assert_eq!(client.problems().len(), 4, "{:?}", client.problems());
    }

    #[test]
    fn a_login_through_an_identity_provider_that_is_not_listed_is_not_accepted() {
        let mut login = super::super::fixtures::authentication();
        assert!(confidential().accepts(&login));
        login.identity_provider = Some("github".into());
        assert!(!confidential().accepts(&login));
        login.identity_provider = Some("google".into());
        assert!(confidential().accepts(&login));
        login.identity_provider = None;
        assert!(
            !Client {
                local_login: false,
                required_methods: &[],
                ..confidential()
            }
            .accepts(&login)
        );
    }
}
