//! Locked identities: external subjects that cannot log in, nor can the users linked to them.

use diesel::prelude::*;

use super::connection::SqlConnection;
use super::tables::{identity_locks, links};
use super::{credential_versions, grants, sessions};
use crate::domain::{Link, ResourceId, Timestamp};

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityLock {
    /// The identity.
    pub identity: Link,
    /// A message for the person in addition to the standard one; empty for none.
    pub reason: String,
    /// The time at which it was locked.
    pub at: Timestamp,
}

/// Locks an identity and ends the sessions and grants of its user; a second lock replaces the first. Returns the user,
/// if the identity is linked.
pub fn lock(connection: &mut SqlConnection, lock: &IdentityLock) -> QueryResult<Option<ResourceId>> {
    unlock(connection, &lock.identity)?;
    diesel::insert_into(identity_locks::table)
        .values((
            identity_locks::identity_provider.eq(lock.identity.identity_provider.as_str()),
            identity_locks::issuer.eq(&lock.identity.issuer),
            identity_locks::subject.eq(&lock.identity.subject),
            identity_locks::reason.eq(&lock.reason),
            identity_locks::at.eq(lock.at.0),
        ))
        .execute(connection)?;
    let user: Option<ResourceId> = links::table
        .find(key(&lock.identity))
        .select(links::resource_id)
        .first(connection)
        .optional()?;
    if let Some(user) = &user {
        credential_versions::advance(connection, user)?;
        sessions::delete_of_user(connection, user, lock.at)?;
        grants::revoke_of_user(connection, user, lock.at)?;
    }
    Ok(user)
}

/// Lifts a lock. `false` if there was none.
pub fn unlock(connection: &mut SqlConnection, identity: &Link) -> QueryResult<bool> {
    diesel::delete(identity_locks::table.find(key(identity)))
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Returns the reason for the lock of an identity, if it is locked.
pub fn of_identity(connection: &mut SqlConnection, identity: &Link) -> QueryResult<Option<String>> {
    identity_locks::table
        .find(key(identity))
        .select(identity_locks::reason)
        .first(connection)
        .optional()
}

/// Returns the reason for the lock of one of a user's identities, if one is locked.
pub fn of_user(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<Option<String>> {
    identity_locks::table
        .inner_join(
            links::table.on(links::identity_provider
                .eq(identity_locks::identity_provider)
                .and(links::issuer.eq(identity_locks::issuer))
                .and(links::subject.eq(identity_locks::subject))),
        )
        .filter(links::resource_id.eq(user.as_str()))
        .select(identity_locks::reason)
        .first(connection)
        .optional()
}

/// Returns all locks, oldest first.
pub fn all(connection: &mut SqlConnection) -> QueryResult<Vec<IdentityLock>> {
    let rows: Vec<(String, String, String, String, i64)> =
        identity_locks::table.order(identity_locks::at).load(connection)?;
    let lock = |(identity_provider, issuer, subject, reason, at): (String, String, String, String, i64)| IdentityLock {
        identity: Link {
            identity_provider: identity_provider.into(),
            issuer,
            subject,
        },
        reason,
        at: Timestamp(at),
    };
    Ok(rows.into_iter().map(lock).collect())
}

fn key(identity: &Link) -> (&str, &str, &str) {
    (identity.identity_provider.as_str(), &identity.issuer, &identity.subject)
}
