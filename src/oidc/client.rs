//! The settings of service providers as OAuth clients, and their lookup by `client_id`.

use std::collections::HashMap;
use std::time::Duration;

use super::client_keys::ClientKeys;
use super::endpoint::Endpoint;
use super::redirect;
use crate::domain::{Secret, ServiceProviderName};
use crate::jose::Algorithm;

/// The lifetimes of the tokens that a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// ID tokens.
    pub id_token: Duration,
    /// Access tokens.
    pub access_token: Duration,
    /// One refresh token that is not used.
    pub refresh_token: Duration,
    /// All refresh tokens of one login together, however often they are used.
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
    /// The keys that it signs its assertions with. If set, it authenticates with `private_key_jwt` only.
    pub keys: Option<ClientKeys>,
    /// The redirect URIs that codes may be sent to, compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// The URIs that a browser may be sent to after logout, compared byte for byte.
    pub post_logout_redirect_uris: Vec<String>,
    /// Its back-channel logout URI, where it is notified of ended sessions.
    pub backchannel_logout: Option<Endpoint>,
    /// How its ID tokens are signed.
    pub id_token_alg: Algorithm,
    /// Whether it must use PKCE. Public clients always must.
    pub require_pkce: bool,
    /// Whether its requests must be pushed (RFC 9126 §6).
    pub require_pushed_requests: bool,
    /// The lifetime of SCIM access tokens from the client credentials grant; `None` if it may not use this grant.
    pub scim_tokens: Option<Duration>,
    /// The lifetimes of its tokens.
    pub lifetimes: Lifetimes,
}

impl Client {
    /// Returns whether it is a public client, one without a secret or keys.
    pub(crate) fn is_public(&self) -> bool {
        self.secret.is_none() && self.keys.is_none()
    }

    /// Whether it must use PKCE.
    pub(crate) fn needs_pkce(&self) -> bool {
        self.require_pkce || self.is_public()
    }

    /// Returns whether a code may be sent to `uri`. It must equal a registered URI byte for byte; only the port of a
    /// loopback address may differ, for public clients (RFC 8252 §7.3).
    pub(crate) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|registered| {
            registered == uri || (self.is_public() && redirect::differs_in_loopback_port(registered, uri))
        })
    }

    /// Returns the problems in the settings: the setting and a sentence about each.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.client_id.is_empty()
            || self.client_id.len() > 255
            || !self.client_id.bytes().all(|b| (0x20..0x7f).contains(&b))
        {
            problems.push(("client_id", "must be 1 to 255 visible ASCII characters".to_owned()));
        }
        if self.secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            problems.push(("client_secret", "is empty: leave it out for a public client".to_owned()));
        }
        if self.secret.is_some() && self.keys.is_some() {
            problems.push(("client_secret", "and jwks exclude each other: set only one".to_owned()));
        }
        if matches!(&self.keys, Some(ClientKeys::Inline(keys)) if keys.is_empty()) {
            problems.push(("jwks", "holds no key for ES256, RS256, PS256 or EdDSA".to_owned()));
        }
        if self.scim_tokens.is_some() && self.is_public() {
            problems.push(("client_credentials", "needs a client_secret or keys".to_owned()));
        }
        if self.redirect_uris.is_empty() && self.scim_tokens.is_none() {
            problems.push((
                "redirect_uris",
                "is empty: an application with a client_id needs the addresses that authorization codes are sent to"
                    .to_owned(),
            ));
        }
        let after_logout = self.post_logout_redirect_uris.iter();
        let after_logout = after_logout.map(|uri| ("post_logout_redirect_uris", uri));
        let of_codes = self.redirect_uris.iter().map(|uri| ("redirect_uris", uri));
        for (setting, uri) in of_codes.chain(after_logout) {
            if let Some(problem) = redirect::problem(uri) {
                problems.push((setting, format!("{uri:?} cannot be a redirect URI: it {problem}")));
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

    /// Returns whether the predicate holds for any client.
    pub(super) fn any(&self, is_true: impl Fn(&Client) -> bool) -> bool {
        self.0.values().any(is_true)
    }

    /// Returns the longest ID token lifetime of all clients.
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
    fn valid_settings_have_no_problem() {
        assert_eq!(public().problems(), Vec::new());
        assert_eq!(confidential().problems(), Vec::new());
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let client = Client {
            client_id: String::new(),
            secret: Some(Secret::new("")),
            redirect_uris: vec!["https://*.example/cb".to_owned(), "http://app.example/cb".to_owned()],
            ..confidential()
        };
        assert_eq!(client.problems().len(), 4, "{:?}", client.problems());
    }
}
