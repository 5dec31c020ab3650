//! Access and refresh tokens, stored as hashes; the grant holds what a token may do.

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, any_of};
use super::grants::Grant;
use super::tables::{access_tokens, grants, refresh_tokens};
use crate::domain::Timestamp;

/// A token to be stored.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The hash of the token.
    pub hash: String,
    /// The scopes, with spaces between.
    pub scope: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// A stored access token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct AccessToken {
    /// The grant that it was issued for.
    #[diesel(embed)]
    pub grant: Grant,
    /// The scopes, with spaces between.
    pub scope: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// A stored refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct RefreshToken {
    /// The grant that it was issued for.
    #[diesel(embed)]
    pub grant: Grant,
    /// The scopes, with spaces between.
    pub scope: String,
    /// When it expires.
    pub expires: Timestamp,
    /// The time of its use; a second use is a sign of theft.
    pub used: Option<Timestamp>,
}

/// Stores an access token.
pub fn insert_access(connection: &mut SqlConnection, grant_id: &str, token: &NewToken) -> QueryResult<()> {
    diesel::insert_into(access_tokens::table)
        .values((
            access_tokens::token_hash.eq(&token.hash),
            access_tokens::grant_id.eq(grant_id),
            access_tokens::scope.eq(&token.scope),
            access_tokens::expires.eq(token.expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Stores a refresh token.
pub(crate) fn insert_refresh(
    connection: &mut SqlConnection,
    grant_id: &str,
    token: &NewToken,
    created: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::token_hash.eq(&token.hash),
            refresh_tokens::grant_id.eq(grant_id),
            refresh_tokens::scope.eq(&token.scope),
            refresh_tokens::created.eq(created.0),
            refresh_tokens::expires.eq(token.expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns an access token that is valid at `now`.
pub fn access(connection: &mut SqlConnection, hash: &str, now: Timestamp) -> QueryResult<Option<AccessToken>> {
    access_tokens::table
        .inner_join(grants::table)
        .filter(access_tokens::token_hash.eq(hash).and(access_tokens::expires.gt(now.0)))
        .select(AccessToken::as_select())
        .first(connection)
        .optional()
        .map(|found| found.filter(|token: &AccessToken| token.grant.is_live(now)))
}

/// Returns a refresh token in any state.
pub fn refresh(connection: &mut SqlConnection, hash: &str) -> QueryResult<Option<RefreshToken>> {
    refresh_tokens::table
        .inner_join(grants::table)
        .filter(refresh_tokens::token_hash.eq(hash))
        .select(RefreshToken::as_select())
        .first(connection)
        .optional()
}

/// Uses up a refresh token. Of several concurrent calls, one gets `true`.
pub fn take_refresh(connection: &mut SqlConnection, hash: &str, now: Timestamp) -> QueryResult<bool> {
    let unused = refresh_tokens::table
        .find(hash)
        .filter(refresh_tokens::used.is_null().and(refresh_tokens::expires.gt(now.0)));
    diesel::update(unused)
        .set(refresh_tokens::used.eq(Some(now.0)))
        .returning(refresh_tokens::grant_id)
        .prepared()
        .load::<String>(connection)
        .map(|taken| taken.len() == 1)
}

/// Deletes an access token.
pub(crate) fn delete_access(connection: &mut SqlConnection, hash: &str) -> QueryResult<()> {
    diesel::delete(access_tokens::table.find(hash))
        .execute(connection)
        .map(|_| ())
}

/// Deletes at most `limit` of the access tokens that expired by `now`; returns their number. Used refresh tokens stay as long as their
/// grant, so that reuse is detected.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = access_tokens::table
        .filter(access_tokens::expires.le(now.0))
        .select(access_tokens::token_hash)
        .limit(limit)
        .load(connection)?;
    diesel::delete(access_tokens::table.filter(any_of(access_tokens::token_hash, next.iter().map(String::as_str))))
        .execute(connection)
}
