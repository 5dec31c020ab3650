//! The client assertions that were used, so that none is accepted twice (RFC 7523 §3).

use diesel::prelude::*;

use super::connection::{SqlConnection, any_of, each};
use super::tables::client_assertions;
use crate::domain::Timestamp;

/// Marks an assertion as used, by the hash of its client and `jti`. Of several concurrent calls, one gets `true`.
pub fn take(connection: &mut SqlConnection, jti_hash: &str, expires: Timestamp) -> QueryResult<bool> {
    let row = (
        client_assertions::jti_hash.eq(jti_hash),
        client_assertions::expires.eq(expires.0),
    );
    each!(connection, c => diesel::insert_into(client_assertions::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(c))
    .map(|rows| rows == 1)
}

/// Deletes at most `limit` of the assertions that expired by `now`; returns their number.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = client_assertions::table
        .filter(client_assertions::expires.le(now.0))
        .select(client_assertions::jti_hash)
        .limit(limit)
        .load(connection)?;
    diesel::delete(
        client_assertions::table.filter(any_of(client_assertions::jti_hash, next.iter().map(String::as_str))),
    )
    .execute(connection)
}
