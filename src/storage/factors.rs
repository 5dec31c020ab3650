//! Second factors of users, and their recovery codes.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::credential_versions;
use super::tables::{factors, recovery_codes};
use crate::domain::lockout::locked_until;
use crate::domain::{ResourceId, Timestamp};

/// The kind of a factor that generates time-based codes (RFC 6238).
pub const TOTP: &str = "totp";

/// A stored factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factor {
    /// The secret key, sealed.
    pub sealed: Vec<u8>,
    /// The time step of the last accepted code, so that no code is accepted twice (RFC 6238 §5.2).
    pub last_step: i64,
}

/// The result of starting a check of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorAttempt {
    /// The user has no such factor.
    Absent,
    /// The factor is locked after too many wrong codes.
    Locked,
    /// Compare the code with this factor. The attempt counts as a failure until [`pass`] is called; the flag says whether that
    /// failure locks the factor.
    Compare(Factor, bool),
}

/// Adds a factor. `false` if the user already has one of the kind, which is kept.
pub fn insert(
    connection: &mut SqlConnection,
    user: &ResourceId,
    kind: &str,
    factor: &Factor,
    at: Timestamp,
) -> QueryResult<bool> {
    let rows = diesel::insert_into(factors::table)
        .values((
            factors::resource_id.eq(user.as_str()),
            factors::kind.eq(kind),
            factors::sealed.eq(&factor.sealed),
            factors::last_step.eq(factor.last_step),
            factors::created.eq(at.0),
        ))
        .suffix(" ON CONFLICT (resource_id, kind) DO NOTHING")
        .execute(connection)?;
    if rows == 1 {
        credential_versions::advance(connection, user)?;
    }
    Ok(rows == 1)
}

/// Whether a user has a factor of a kind.
pub fn has(connection: &mut SqlConnection, user: &ResourceId, kind: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(factors::table.find((user.as_str(), kind)))).get_result(connection)
}

/// Starts a check of a code. Attempts of one user wait for each other until the open transaction ends, so none escapes
/// the count.
pub fn attempt(
    connection: &mut SqlConnection,
    user: &ResourceId,
    kind: &str,
    now: Timestamp,
) -> QueryResult<FactorAttempt> {
    let row: Option<(Vec<u8>, i64, i32, i64)> = factors::table
        .find((user.as_str(), kind))
        .select((
            factors::sealed,
            factors::last_step,
            factors::failures,
            factors::locked_until,
        ))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?
        .pop();
    let Some((sealed, last_step, failures, until)) = row else {
        return Ok(FactorAttempt::Absent);
    };
    if until > now.0 {
        return Ok(FactorAttempt::Locked);
    }
    let until_next = locked_until(failures + 1, now);
    diesel::update(factors::table.find((user.as_str(), kind)))
        .set((
            factors::failures.eq(failures + 1),
            factors::locked_until.eq(until_next.0),
        ))
        .execute(connection)?;
    let locks = until_next.0 > now.0;
    Ok(FactorAttempt::Compare(Factor { sealed, last_step }, locks))
}

/// Records a correct code: clears the failures and stores the time step of the code.
pub(crate) fn pass(connection: &mut SqlConnection, user: &ResourceId, kind: &str, last_step: i64) -> QueryResult<()> {
    diesel::update(factors::table.find((user.as_str(), kind)))
        .set((
            factors::last_step.eq(last_step),
            factors::failures.eq(0),
            factors::locked_until.eq(0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Replaces all recovery codes with new ones, given by their hashes.
pub(crate) fn set_recovery_codes(
    connection: &mut SqlConnection,
    user: &ResourceId,
    hashes: &[String],
) -> QueryResult<()> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::resource_id.eq(user.as_str()))).execute(connection)?;
    for hash in hashes {
        diesel::insert_into(recovery_codes::table)
            .values((
                recovery_codes::resource_id.eq(user.as_str()),
                recovery_codes::hash.eq(hash),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Uses up a recovery code. `false` if there is none with this hash.
pub fn use_recovery_code(connection: &mut SqlConnection, user: &ResourceId, hash: &str) -> QueryResult<bool> {
    diesel::delete(recovery_codes::table.find((user.as_str(), hash)))
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Returns the number of recovery codes that a user has left.
pub(crate) fn recovery_codes_left(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<i64> {
    recovery_codes::table
        .filter(recovery_codes::resource_id.eq(user.as_str()))
        .count()
        .get_result(connection)
}

/// Deletes all of a user's factors and recovery codes; returns the number of factors.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<usize> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::resource_id.eq(user.as_str()))).execute(connection)?;
    let factors = diesel::delete(factors::table.filter(factors::resource_id.eq(user.as_str()))).execute(connection)?;
    if factors > 0 {
        credential_versions::advance(connection, user)?;
    }
    Ok(factors)
}
