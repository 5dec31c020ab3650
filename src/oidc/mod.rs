//! The OpenID provider for service providers.
//!
//! It supports OpenID Connect Core with the authorization code flow, PKCE, rotating refresh tokens and RP-initiated
//! logout. The login itself happens elsewhere, and its result comes in as an
//! [`Authentication`].

use std::sync::Arc;
use std::time::Duration;

use crate::directory::{Directory, DirectoryError};
use crate::domain::login::{Authentication, Entry, EntryPurpose};
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, ServiceProviderName};
use crate::gate::Allowances;
use crate::http_client::HttpClients;
use crate::storage::grants::Grant;
use crate::storage::{
    Database, SecretBox, client_assertions, grants, identity_locks, pushed_requests, removals, scim_tokens, sessions,
    sweep, tokens,
};

mod assertion;
mod authorization_endpoint;
pub mod authorization_request;
mod authorization_response;
mod backchannel;
pub mod claims;
pub mod client;
mod client_authentication;
mod client_credentials;
mod client_keys;
mod discovery;
mod endpoint;
pub mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod id_token;
mod introspection;
mod keys;
mod logout;
mod parameters;
mod pkce;
mod pushed;
pub mod redirect;
mod requested_claims;
mod revocation;
mod session;
mod token;
mod userinfo;

pub use client::Client;

pub use authorization_endpoint::Authorized;
pub use authorization_response::AuthorizationResponse;
pub(crate) use client::Lifetimes;
pub use client_keys::ClientKeys;
pub use endpoint::Endpoint;
pub use error::ClientFailure;
pub(crate) use error::{ErrorCode, OAuthError, OidcError, PageFailure};
pub(crate) use keys::PUBLISHED_FRESH;
pub(crate) use logout::{Confirmation, LoggedOut};

/// The lifetime of an authorization code.
const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// The settings of the provider.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL where browsers and service providers reach this server; also the issuer.
    pub public_url: String,
    /// The longest that a session lasts.
    pub session_lifetime: Duration,
    /// The service providers.
    pub clients: Vec<Client>,
}

impl Settings {
    /// The default session lifetime.
    pub(crate) const SESSION_LIFETIME: Duration = Duration::from_hours(12);
}

/// Decides whether a login is enough to enter a service provider at this moment.
pub type Entries =
    Arc<dyn Fn(&ServiceProviderName, &Authentication, EntryPurpose) -> Result<Entry, OidcError> + Send + Sync>;

/// Looks up a user in any userstore.
pub type Users = Arc<dyn Fn(&ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync>;

/// Returns a lookup through the directory.
pub(crate) fn users_of(directory: Arc<Directory>) -> Users {
    Arc::new(move |id, relations| directory.get(&Kind::USER, id, relations))
}

/// The external dependencies of the provider.
pub struct Dependencies {
    /// The user lookup.
    pub users: Users,
    /// The decision who may enter.
    pub entries: Entries,
    /// Sends requests to service providers.
    pub http: Arc<HttpClients>,
    /// The clock.
    pub clock: Clock,
}

/// The OpenID provider.
pub struct Oidc {
    issuer: String,
    session_lifetime: Duration,
    clients: client::Clients,
    client_keys: client_keys::PublishedKeys,
    http: Arc<HttpClients>,
    database: Database,
    users: Users,
    entries: Entries,
    clock: Clock,
    keys: keys::Keys,
    secrets: Arc<SecretBox>,
    /// The remaining allowance of pushed requests of each client.
    pushes: Allowances,
}

impl Oidc {
    /// Opens the provider; generates the signing keys at the first start.
    ///
    /// # Errors
    /// If the database does not answer, or the master key is not the one that sealed the signing keys.
    pub fn open(
        settings: Settings,
        database: Database,
        secret_box: Arc<SecretBox>,
        dependencies: Dependencies,
    ) -> Result<Self, OidcError> {
        let Settings {
            public_url,
            session_lifetime,
            clients,
        } = settings;
        let Dependencies {
            users,
            entries,
            http,
            clock,
        } = dependencies;
        let client_keys = client_keys::PublishedKeys::new(&clients, Arc::clone(&http), clock.clone());
        let clients = client::Clients::new(clients);
        // An ID token also serves as a hint at logout, which comes at the end of a session.
        let kept = clients.longest_id_token().max(session_lifetime);
        let keys = keys::Keys::open(database.clone(), Arc::clone(&secret_box), clock.clone(), kept)?;
        let issuer = public_url.trim_end_matches('/').to_owned();
        Ok(Self {
            issuer,
            session_lifetime,
            clients,
            client_keys,
            http,
            database,
            users,
            entries,
            clock,
            keys,
            secrets: secret_box,
            pushes: Allowances::new(pushed::BURST, pushed::PER_SECOND),
        })
    }

    /// Returns the service provider with a `client_id`.
    pub fn service_provider(&self, client_id: &str) -> Option<&ServiceProviderName> {
        self.clients.get(client_id).map(|client| &client.name)
    }

    /// Returns whether browsers use TLS; this decides the name and attributes of the session cookie.
    pub(crate) fn is_secure(&self) -> bool {
        self.issuer.starts_with("https://")
    }

    /// Returns the public keys as a JWK set (RFC 7517 §5).
    pub fn jwks(&self) -> Result<serde_json::Value, OidcError> {
        Ok(self.keys.set()?.jwks())
    }

    /// Generates new signing keys. They are published at once and sign after ten minutes; the old ones stay published
    /// as long as tokens that they signed may be in use.
    pub(crate) fn rotate_keys(&self) -> Result<(), OidcError> {
        Ok(self.keys.rotate()?)
    }

    /// Replaces the signing keys at once, for keys that leaked. ID tokens that the old ones signed are worth nothing from
    /// now on.
    pub(crate) fn replace_keys(&self) -> Result<(), OidcError> {
        Ok(self.keys.replace()?)
    }

    /// Removes expired sessions, grants, tokens and other records, and retired keys. Returns the number of removed
    /// records.
    pub fn sweep(&self) -> Result<usize, OidcError> {
        let now = self.clock.now();
        let mut removed = 0;
        for delete in [
            sessions::delete_expired,
            tokens::delete_expired,
            grants::delete_expired,
            client_assertions::delete_expired,
            pushed_requests::delete_expired,
            scim_tokens::delete_expired,
        ] {
            removed += sweep::in_steps(&self.database, move |connection, limit| delete(connection, now, limit))?;
        }
        Ok(removed + self.expire_logouts()? + self.keys.sweep()?)
    }

    /// Returns the user of a login who may still be logged in: one that exists in the same userstore as at login, is
    /// active and has no locked identity, and whose identity provider is not removed. It is checked at every use of a
    /// session or token.
    fn user(&self, login: &Authentication, relations: Relations) -> Result<Option<Resource>, OidcError> {
        let found = (self.users)(&login.user, relations)?;
        let found = found.filter(|user| user.store == login.store && user.is_active());
        let has_ended = self.database.read::<_, OidcError>(|connection| {
            let locked = identity_locks::of_user(connection, &login.user)?.is_some();
            let provider = login.identity_provider.as_ref();
            Ok(locked
                || provider
                    .map_or(Ok(None), |name| removals::find(connection, name))?
                    .is_some())
        })?;
        Ok(found.filter(|_| !has_ended))
    }

    /// Whether the client of a grant still accepts the login that it was issued for.
    pub fn is_accepted(&self, grant: &Grant) -> Result<bool, OidcError> {
        Ok(self.user_of(grant, "")?.is_some())
    }

    /// Returns the user of a grant, if its client still accepts the login that it was issued for.
    fn user_of(&self, grant: &Grant, scope: &str) -> Result<Option<Resource>, OidcError> {
        let Some(client) = self.clients.get(&grant.client_id) else {
            return Ok(None);
        };
        let login = grant.authentication();
        let Some(user) = self.user(&login, relations_for(grant, scope))? else {
            return Ok(None);
        };
        let entry = (self.entries)(&client.name, &login, EntryPurpose::Token)?;
        Ok((entry == Entry::Granted).then_some(user))
    }
}

/// Returns the relations that the claims of a scope, and those of its grant, need.
fn relations_for(grant: &Grant, scope: &str) -> Relations {
    let mut asked = grant.claims.id_token.iter().chain(&grant.claims.userinfo);
    Relations {
        groups: scope.split(' ').any(|word| word == "groups") || asked.any(|claim| claim == "groups"),
        ..Relations::NONE
    }
}

#[cfg(test)]
mod tests;
