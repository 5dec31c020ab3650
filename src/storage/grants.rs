//! Grants: what one login gave to one service provider. A grant begins as an authorization code; every token that came
//! of it dies with it.

use diesel::prelude::*;

use super::columns::Words;
use super::connection::{PreparedDsl, SqlConnection};
use super::tables::grants;
use crate::domain::{ResourceId, StoreName, Timestamp};

/// A stored grant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// When the code stops being good.
    pub code_expires: Timestamp,
    /// Whom it was given to.
    pub client_id: String,
    /// The session that it came from.
    pub session_hash: String,
    /// The store of the user.
    pub store: StoreName,
    /// The user.
    #[diesel(column_name = resource_id)]
    pub user: ResourceId,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// The scopes, with spaces between.
    pub scope: String,
    /// The `nonce` of the request.
    pub nonce: Option<String>,
    /// The PKCE challenge of the request, S256.
    pub code_challenge: Option<String>,
    /// How the user logged in (RFC 8176).
    #[diesel(deserialize_as = Words)]
    pub amr: Vec<String>,
    /// When the user logged in.
    pub auth_time: Timestamp,
    /// When it was given.
    pub created: Timestamp,
    /// When nothing that came of it is good any more.
    pub expires: Timestamp,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
}

impl Grant {
    /// Whether it is neither taken back nor over at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires > now
    }
}

/// Writes a grant down whose code has this hash.
pub fn insert(connection: &mut SqlConnection, grant: &Grant, code_hash: &str) -> QueryResult<()> {
    diesel::insert_into(grants::table)
        .values((
            grants::id.eq(&grant.id),
            grants::code_hash.eq(code_hash),
            grants::code_expires.eq(grant.code_expires.0),
            grants::client_id.eq(&grant.client_id),
            grants::session_hash.eq(&grant.session_hash),
            grants::store.eq(grant.store.as_str()),
            grants::resource_id.eq(grant.user.as_str()),
            grants::redirect_uri.eq(&grant.redirect_uri),
            grants::scope.eq(&grant.scope),
            grants::nonce.eq(grant.nonce.as_ref()),
            grants::code_challenge.eq(grant.code_challenge.as_ref()),
            grants::amr.eq(grant.amr.join(" ")),
            grants::auth_time.eq(grant.auth_time.0),
            grants::created.eq(grant.created.0),
            grants::expires.eq(grant.expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// The grant whose code has this hash, used or not.
pub fn by_code(connection: &mut SqlConnection, code_hash: &str) -> QueryResult<Option<Grant>> {
    grants::table
        .filter(grants::code_hash.eq(code_hash))
        .select(Grant::as_select())
        .first(connection)
        .optional()
}

/// Uses the code of a live grant up; the grant then lasts until `expires`. Of many who try at once, one gets `true`.
pub fn take_code(connection: &mut SqlConnection, id: &str, now: Timestamp, expires: Timestamp) -> QueryResult<bool> {
    let unused = grants::table.find(id).filter(
        grants::code_used
            .is_null()
            .and(grants::code_expires.gt(now.0))
            .and(grants::revoked.is_null()),
    );
    diesel::update(unused)
        .set((grants::code_used.eq(Some(now.0)), grants::expires.eq(expires.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|taken| taken.len() == 1)
}

/// Takes a grant back, and with it every token that came of it.
pub fn revoke(connection: &mut SqlConnection, id: &str, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.find(id).filter(grants::revoked.is_null()))
        .set(grants::revoked.eq(Some(now.0)))
        .execute(connection)
        .map(|_| ())
}

/// Takes back all that a session gave.
pub fn revoke_of_session(connection: &mut SqlConnection, session_hash: &str, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::session_hash.eq(session_hash).and(grants::revoked.is_null())))
        .set(grants::revoked.eq(Some(now.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Takes back all that a user's logins gave.
pub fn revoke_of_user(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::resource_id.eq(user.as_str()).and(grants::revoked.is_null())))
        .set(grants::revoked.eq(Some(now.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Hands the grants of one session over to the session that takes its place.
pub fn move_to_session(connection: &mut SqlConnection, from: &str, to: &str) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::session_hash.eq(from)))
        .set(grants::session_hash.eq(to))
        .execute(connection)
        .map(|_| ())
}

/// Removes the grants that were over by `now`, with their tokens; returns how many grants.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<usize> {
    diesel::delete(grants::table.filter(grants::expires.le(now.0))).execute(connection)
}
