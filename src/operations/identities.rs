//! Locks of external identities, by identity provider and subject.

use super::{Context, OperationError, Right};
use crate::domain::{IdentityProviderName, Link, ResourceId};
use crate::storage::StorageError;
use crate::storage::identity_locks::{self, IdentityLock};

/// The longest reason, in bytes.
const LONGEST: usize = 500;

/// Locks an identity: its user cannot sign in by any method, and all their sessions end. Returns the user, if the
/// identity has an account.
pub fn lock(context: &Context, identity: Link, reason: &str) -> Result<Option<ResourceId>, OperationError> {
    context.administrator.must(Right::LockIdentities)?;
    if reason.len() > LONGEST || reason.contains(char::is_control) {
        return Err(OperationError::Invalid(format!(
            "The reason must be one line of at most {LONGEST} characters."
        )));
    }
    let locked = identity.clone();
    let lock = IdentityLock {
        identity,
        reason: reason.to_owned(),
        at: context.clock.now(),
    };
    let user = context
        .database
        .write::<_, StorageError>(move |connection| Ok(identity_locks::lock(connection, &lock)?))?;
    context.record("identity_locked", |event| {
        event.user.clone_from(&user);
        event.identity_provider = Some(locked.identity_provider);
        event.object = Some(locked.subject);
    });
    Ok(user)
}

/// Unlocks an identity.
pub fn unlock(context: &Context, identity: Link) -> Result<(), OperationError> {
    context.administrator.must(Right::LockIdentities)?;
    let known = identity.clone();
    let unlocked = context
        .database
        .write::<_, StorageError>(move |connection| Ok(identity_locks::unlock(connection, &identity)?))?;
    if !unlocked {
        return Err(OperationError::NotFound("This identity is not locked.".to_owned()));
    }
    context.record("identity_unlocked", |event| {
        event.identity_provider = Some(known.identity_provider);
        event.object = Some(known.subject);
    });
    Ok(())
}

/// The locked identities.
pub fn list(context: &Context) -> Result<Vec<IdentityLock>, OperationError> {
    context.administrator.must(Right::Read)?;
    Ok(context.database.read::<_, StorageError>(identity_locks::all)?)
}

/// The identity to lock or unlock, by its subject. Without an issuer it is the one of the configured identity provider.
pub fn identity(
    context: &Context,
    provider: &str,
    issuer: Option<&str>,
    subject: &str,
) -> Result<Link, OperationError> {
    context.administrator.must(Right::LockIdentities)?;
    if subject.is_empty() {
        return Err(OperationError::Invalid("The subject is empty.".to_owned()));
    }
    let name = IdentityProviderName::new(provider);
    let known = context.names.identity_providers.iter();
    let mut configured = known
        .filter(|(known, _)| *known == name)
        .map(|(_, issuer)| issuer.as_str());
    let issuer = issuer.or_else(|| configured.next()).ok_or_else(|| {
        OperationError::Invalid(format!(
            "No identity provider is called {name}. Use a name of the configuration, or give --issuer."
        ))
    })?;
    Ok(Link {
        identity_provider: name,
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    })
}
