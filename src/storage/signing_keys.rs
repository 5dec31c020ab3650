//! The keys that sign ID tokens; their private parts are stored sealed.

use diesel::prelude::*;

use super::connection::SqlConnection;
use super::tables::signing_keys;
use crate::domain::Timestamp;

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub(crate) struct SigningKeyRecord {
    /// The key id: the RFC 7638 thumbprint of its public part.
    pub kid: String,
    /// The algorithm it signs with, as JOSE names it (RFC 7518 §3.1).
    pub algorithm: String,
    /// Its private part, sealed for `signing_keys/KID`.
    pub sealed: Vec<u8>,
    /// The time at which it was created.
    pub created: Timestamp,
    /// The time from which it signs; until then it is only published.
    pub signs_from: Timestamp,
    /// The time at which another key replaced it.
    pub retired: Option<Timestamp>,
}

/// Prevents other processes from adding keys until the open transaction ends. On SQLite the transaction already has the
/// write lock.
pub(crate) fn lock(connection: &mut SqlConnection) -> QueryResult<()> {
    use diesel::connection::SimpleConnection;
    match connection {
        SqlConnection::Postgres(c) => c.batch_execute("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"),
        SqlConnection::Sqlite(_) => Ok(()),
    }
}

/// Returns all keys, the one that signs from the latest time first.
pub(crate) fn all(connection: &mut SqlConnection) -> QueryResult<Vec<SigningKeyRecord>> {
    signing_keys::table
        .order((signing_keys::signs_from.desc(), signing_keys::kid))
        .load(connection)
}

/// Adds a key.
pub(crate) fn insert(connection: &mut SqlConnection, key: &SigningKeyRecord) -> QueryResult<()> {
    diesel::insert_into(signing_keys::table)
        .values((
            signing_keys::kid.eq(&key.kid),
            signing_keys::algorithm.eq(&key.algorithm),
            signing_keys::sealed.eq(&key.sealed),
            signing_keys::created.eq(key.created.0),
            signing_keys::signs_from.eq(key.signs_from.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Marks every active key as retired at `at`.
pub(crate) fn retire_all(connection: &mut SqlConnection, at: Timestamp) -> QueryResult<()> {
    diesel::update(signing_keys::table.filter(signing_keys::retired.is_null()))
        .set(signing_keys::retired.eq(Some(at.0)))
        .execute(connection)
        .map(|_| ())
}

/// Deletes every key.
pub(crate) fn delete_all(connection: &mut SqlConnection) -> QueryResult<usize> {
    diesel::delete(signing_keys::table).execute(connection)
}

/// Deletes the keys that retired by `at`; returns their number.
pub(crate) fn delete_retired(connection: &mut SqlConnection, at: Timestamp) -> QueryResult<usize> {
    diesel::delete(signing_keys::table.filter(signing_keys::retired.le(at.0))).execute(connection)
}
