//! Pushed authorization requests, stored until a browser presents their `request_uri` (RFC 9126).

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, any_of};
use super::tables::pushed_requests;
use crate::domain::Timestamp;

/// A pushed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedRequest {
    /// The client that pushed it.
    pub client_id: String,
    /// Its parameters, as JSON.
    pub parameters: String,
    /// The time at which it expires.
    pub expires: Timestamp,
}

/// Stores a request under the hash of its handle.
pub fn insert(connection: &mut SqlConnection, handle_hash: &str, request: &PushedRequest) -> QueryResult<()> {
    diesel::insert_into(pushed_requests::table)
        .values((
            pushed_requests::handle_hash.eq(handle_hash),
            pushed_requests::client_id.eq(&request.client_id),
            pushed_requests::parameters.eq(&request.parameters),
            pushed_requests::expires.eq(request.expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Uses up a client's request and returns its parameters, unless it expired by `now`. Of several concurrent calls, one
/// gets them.
pub fn take(
    connection: &mut SqlConnection,
    handle_hash: &str,
    client_id: &str,
    now: Timestamp,
) -> QueryResult<Option<String>> {
    let good = pushed_requests::table
        .find(handle_hash)
        .filter(pushed_requests::client_id.eq(client_id))
        .filter(pushed_requests::expires.gt(now.0));
    diesel::delete(good)
        .returning(pushed_requests::parameters)
        .prepared()
        .load::<String>(connection)
        .map(|mut taken| taken.pop())
}

/// Deletes at most `limit` of the requests that expired by `now`; returns their number.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = pushed_requests::table
        .filter(pushed_requests::expires.le(now.0))
        .select(pushed_requests::handle_hash)
        .limit(limit)
        .load(connection)?;
    diesel::delete(pushed_requests::table.filter(any_of(pushed_requests::handle_hash, next.iter().map(String::as_str))))
        .execute(connection)
}
