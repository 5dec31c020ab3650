//! The client assertions that were used, so that none is used twice (RFC 7523 §3).

use diesel::prelude::*;

use super::connection::{SqlConnection, each};
use super::tables::client_assertions;
use crate::domain::Timestamp;

/// Uses an assertion up, by the hash of whose it is and what it is called. Of many who try at once, one gets `true`.
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

/// Forgets the assertions that were over by `now`; returns how many.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<usize> {
    diesel::delete(client_assertions::table.filter(client_assertions::expires.le(now.0))).execute(connection)
}
