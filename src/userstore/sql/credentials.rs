//! Passwords of the users in the SQL userstore, and the account lock after too many failures.

use diesel::prelude::*;

use super::SqlUserstore;
use crate::domain::lockout::{FailureCount, locked_until};
use crate::domain::{ResourceId, Secret, Timestamp};
use crate::storage::connection::SuffixDsl;
use crate::storage::random;
use crate::storage::tables::{credentials, unknown_password_attempts};
use crate::storage::{SqlConnection, StorageError};
use crate::userstore::{PasswordCheck, StoreError};

/// The buckets of attempts without an account, so that they do not wait for each other.
const BUCKETS: u8 = 64;

/// Sets or removes the hash. Either way, earlier failures are cleared.
pub(super) fn set(
    connection: &mut SqlConnection,
    id: &ResourceId,
    hash: Option<&str>,
    at: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(credentials::table)
        .values((
            credentials::resource_id.eq(id.as_str()),
            credentials::hash.eq(hash),
            credentials::changed_at.eq(at.0),
        ))
        .suffix(
            " ON CONFLICT (resource_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at, \
             failures = 0, locked_until = 0",
        )
        .execute(connection)
        .map(|_| ())
}

/// Whether there is a hash to compare a password with.
pub(super) fn has(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<bool> {
    let known = credentials::table
        .find(id.as_str())
        .filter(credentials::hash.is_not_null());
    diesel::select(diesel::dsl::exists(known)).get_result(connection)
}

fn stored(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<Option<String>> {
    let found: Option<Option<String>> = credentials::table
        .find(id.as_str())
        .select(credentials::hash)
        .load(connection)?
        .pop();
    Ok(found.flatten())
}

/// Checks a password against the hash.
pub(super) fn verify(
    store: &SqlUserstore,
    id: &ResourceId,
    password: &Secret,
    counted: FailureCount,
) -> Result<PasswordCheck, StoreError> {
    if counted == FailureCount::Caller {
        let hash = store
            .database
            .read::<_, StorageError>(|connection| stored(connection, id))?;
        return Ok(PasswordCheck::of(store.hasher.verify(hash.as_deref(), password)));
    }
    let check = attempt(store, id, |hash| Ok(store.hasher.verify(hash, password)))?;
    if matches!(check, PasswordCheck::Locked { .. }) {
        // The same work as for an account that is not locked, whatever the password.
        store.hasher.verify(None, password);
    }
    Ok(check)
}

/// Counts the attempt as a failure before comparing, and clears it if the password is correct, so that parallel guesses
/// cannot exceed the limit.
pub(super) fn attempt(
    store: &SqlUserstore,
    id: &ResourceId,
    is_right: impl FnOnce(Option<&str>) -> Result<bool, StoreError>,
) -> Result<PasswordCheck, StoreError> {
    let (resource, now) = (id.clone(), store.clock.now());
    let attempt = store
        .database
        .write(move |connection| begin_attempt(connection, &resource, now).map_err(StoreError::from))?;
    match attempt {
        PasswordAttempt::Locked(until) => Ok(PasswordCheck::Locked { until }),
        PasswordAttempt::Compare(hash, until) => {
            if !is_right(hash.as_deref())? {
                return Ok(PasswordCheck::wrong(until, now));
            }
            let resource = id.clone();
            store
                .database
                .write(move |connection| unlock(connection, &resource).map_err(StoreError::from))?;
            Ok(PasswordCheck::Valid)
        }
    }
}

/// Whether there is a row to count failures in.
pub(super) fn has_room(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(credentials::table.find(id.as_str()))).get_result(connection)
}

/// Creates the row that counts failures of a user whose password is kept elsewhere.
pub(super) fn make_room(connection: &mut SqlConnection, id: &ResourceId, at: Timestamp) -> QueryResult<()> {
    diesel::insert_into(credentials::table)
        .values((
            credentials::resource_id.eq(id.as_str()),
            credentials::hash.eq(None::<String>),
            credentials::changed_at.eq(at.0),
        ))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)
        .map(|_| ())
}

enum PasswordAttempt {
    Locked(Timestamp),
    /// The hash to compare with, and the end of the lock that a wrong password begins; a time in the past if it begins none.
    Compare(Option<String>, Timestamp),
}

fn begin_attempt(connection: &mut SqlConnection, id: &ResourceId, now: Timestamp) -> QueryResult<PasswordAttempt> {
    let row: Option<(Option<String>, i32, i64)> = credentials::table
        .find(id.as_str())
        .select((credentials::hash, credentials::failures, credentials::locked_until))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?
        .pop();
    let Some((hash, failures, until)) = row else {
        count_unknown(connection)?;
        return Ok(PasswordAttempt::Compare(None, Timestamp(0)));
    };
    if until > now.0 {
        count_unknown(connection)?;
        return Ok(PasswordAttempt::Locked(Timestamp(until)));
    }
    let until = locked_until(failures + 1, now);
    diesel::update(credentials::table.find(id.as_str()))
        .set((
            credentials::failures.eq(failures + 1),
            credentials::locked_until.eq(until.0),
        ))
        .execute(connection)?;
    Ok(PasswordAttempt::Compare(hash, until))
}

/// Counts an attempt that has no row of its own or no use for it: the work of any other attempt.
fn count_unknown(connection: &mut SqlConnection) -> QueryResult<()> {
    let bucket = i64::from(random::bytes::<1>()[0] % BUCKETS);
    diesel::insert_into(unknown_password_attempts::table)
        .values((
            unknown_password_attempts::bucket.eq(bucket),
            unknown_password_attempts::failures.eq(1),
        ))
        .suffix(" ON CONFLICT (bucket) DO UPDATE SET failures = unknown_password_attempts.failures + 1")
        .execute(connection)
        .map(|_| ())
}

/// Returns how many attempts had no row of their own or no use for it.
pub fn failed_attempts_without_account(connection: &mut SqlConnection) -> QueryResult<i64> {
    let counts: Vec<i64> = unknown_password_attempts::table
        .select(unknown_password_attempts::failures)
        .load(connection)?;
    Ok(counts.iter().sum())
}

/// Clears failures and lifts the lock.
pub(super) fn unlock(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<()> {
    diesel::update(credentials::table.find(id.as_str()))
        .set((credentials::failures.eq(0), credentials::locked_until.eq(0)))
        .execute(connection)
        .map(|_| ())
}
