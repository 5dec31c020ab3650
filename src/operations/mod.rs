//! The operations of administrators: plain functions that check rights and return values. The command line prints them.

pub mod approvals;
pub mod dialects;
pub mod error;
pub mod identities;
pub mod journal;
pub mod keys;
pub mod people;
pub mod providers;
pub(crate) mod rights;
pub mod targets;
pub mod tokens;
pub mod userstores;

use std::sync::Arc;

use crate::audit;
use crate::directory::Directory;
use crate::domain::password::PasswordPolicy;
use crate::domain::{
    Actor, Clock, IdentityProviderName, Kind, Resource, SecurityEvent, SecurityEventKind, ServiceProviderName,
    TargetName,
};
use crate::storage::Database;
pub(crate) use error::OperationError;
use people::UserRef;
pub use rights::{Administrator, Right};

/// The administrator, and the parts of the server that the operations use.
pub struct Context {
    /// The administrator on whose behalf operations are carried out.
    pub administrator: Administrator,
    /// The change pipeline.
    pub directory: Arc<Directory>,
    /// The database.
    pub database: Database,
    /// The current time.
    pub clock: Clock,
    /// The configured names that operations refer to.
    pub names: ConfiguredNames,
    /// The rules for passwords.
    pub passwords: PasswordPolicy,
}

/// The names in the configuration that operations refer to.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredNames {
    /// The service providers.
    pub service_providers: Vec<ServiceProviderName>,
    /// The identity providers, each with its issuer.
    pub identity_providers: Vec<(IdentityProviderName, String)>,
    /// The targets.
    pub targets: Vec<TargetName>,
}

impl Context {
    /// The actor of the administrator's changes.
    fn actor(&self) -> Actor {
        Actor::administrator(self.administrator.name())
    }

    /// Returns a user by name.
    fn user(&self, user: &UserRef) -> Result<Resource, OperationError> {
        let UserRef { store, user_name } = user;
        let found = self.directory.named(store, &Kind::USER, user_name)?;
        found.ok_or_else(|| OperationError::NotFound(format!("The userstore {store} has no user called {user_name}.")))
    }

    /// Records what the administrator did, by a stable code; `about` says what it concerns.
    fn record(&self, code: &str, about: impl FnOnce(&mut SecurityEvent)) {
        let mut event = SecurityEvent {
            actor: Some(self.actor().journal_name()),
            reason: Some(code.to_owned()),
            ..SecurityEvent::new(SecurityEventKind::Administration, self.clock.now())
        };
        about(&mut event);
        audit::record(&self.database, event);
    }
}

/// The configured name that equals a text; otherwise an error that lists the known ones.
fn configured<'a, N: AsRef<str>>(what: &'static str, names: &'a [N], name: &str) -> Result<&'a N, OperationError> {
    let found = names.iter().find(|known| known.as_ref() == name);
    found.ok_or_else(|| OperationError::NotConfigured {
        what,
        name: name.to_owned(),
        known: names.iter().map(|known| known.as_ref().to_owned()).collect(),
    })
}
