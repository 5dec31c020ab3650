//! External identities, by identity provider and subject: their locks, and the accounts that they are linked to.

use super::people::UserRef;
use super::{Context, OperationError, Right};
use crate::directory::DirectoryError;
use crate::domain::{
    Change, IdentityProviderName, Kind, Link, Operation, Precondition, Resource, ResourceId, SideRecord,
};
use crate::federation::unlink::UnlinkContext;
use crate::storage::identity_locks::{self, IdentityLock};
use crate::storage::{StorageError, links};
use crate::userstore::StoreError;

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

/// Links an identity to an account: its person signs in through it from now on, without a proof of the account.
pub fn link(context: &Context, identity: Link, user: &UserRef) -> Result<Resource, OperationError> {
    context.administrator.must(Right::ManagePeople)?;
    let user = context.user(user)?;
    if let Some(holder) = holder(context, &identity)? {
        return Err(OperationError::Invalid(if holder == user.id {
            "The identity is linked to this account already.".to_owned()
        } else {
            format!("The identity is linked to user {holder}. Unlink it there first.")
        }));
    }
    let provider = identity.identity_provider.clone();
    let change = Change {
        actor: context.actor(),
        operation: Operation::Patch {
            kind: Kind::USER,
            id: user.id.clone(),
            operations: Vec::new(),
            precondition: Precondition::None,
        },
        side_records: vec![SideRecord::Link(identity)],
    };
    match context.directory.apply(change) {
        Ok(_) => Ok(user),
        Err(DirectoryError::Store(StoreError::Superseded)) => Err(OperationError::Invalid(format!(
            "The identity provider {provider} has been removed. Restore it first: `vestibule idp restore {provider}`."
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Unlinks an identity from its account, with the memberships and sessions that came with it. Returns the account.
pub fn unlink(context: &Context, identity: &Link) -> Result<ResourceId, OperationError> {
    context.administrator.must(Right::ManagePeople)?;
    let holder = holder(context, identity)?;
    let user =
        holder.ok_or_else(|| OperationError::NotFound("This identity is not linked to an account.".to_owned()))?;
    let unlinking = UnlinkContext {
        directory: &context.directory,
        database: &context.database,
        actor: &context.actor(),
        spared: None,
        proof: None,
    };
    unlinking.unlink(&user, identity)?;
    Ok(user)
}

/// The account that an identity is linked to.
fn holder(context: &Context, identity: &Link) -> Result<Option<ResourceId>, OperationError> {
    let Link {
        identity_provider,
        issuer,
        subject,
    } = identity;
    let found = context
        .database
        .read::<_, StorageError>(|connection| links::find(connection, identity_provider, issuer, subject))?;
    Ok(found.map(|found| found.resource_id))
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
