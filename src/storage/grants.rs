//! Grants: the access that one login gives to one service provider.
//! A grant begins as an authorization code; revoking it revokes every token issued under it.

use diesel::prelude::*;

use super::columns::WordList;
use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, any_of};
use super::tables::grants;
use crate::domain::login::{Authentication, RequestedClaims};
use crate::domain::{IdentityProviderName, ResourceId, StoreName, Timestamp};

/// A stored grant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct Grant {
    /// The id of the grant.
    pub id: String,
    /// The time at which the code expires.
    pub code_expires: Timestamp,
    /// The client that the grant was issued to.
    pub client_id: String,
    /// The session in which the grant was issued.
    pub session_hash: String,
    /// The store of the user.
    pub store: StoreName,
    /// The user.
    #[diesel(column_name = resource_id)]
    pub user: ResourceId,
    /// The URI that the code was sent to.
    pub redirect_uri: String,
    /// The scopes, separated by spaces.
    pub scope: String,
    /// The `nonce` of the request.
    pub nonce: Option<String>,
    /// The claims that the request asked for one by one.
    pub claims: RequestedClaims,
    /// The PKCE challenge of the request, S256.
    pub code_challenge: Option<String>,
    /// The authentication methods of the login (RFC 8176).
    #[diesel(deserialize_as = WordList)]
    pub amr: Vec<String>,
    /// The time of the login.
    pub auth_time: Timestamp,
    /// The time at which the person proved who they are, if it is known.
    pub authenticated_at: Option<Timestamp>,
    /// The identity provider of the login; none for a local password.
    pub identity_provider: Option<IdentityProviderName>,
    /// The time at which the grant was issued.
    pub created: Timestamp,
    /// The time at which the grant and all of its tokens expire.
    pub expires: Timestamp,
    /// The time of the revocation, if any.
    pub revoked: Option<Timestamp>,
}

impl Grant {
    /// Returns the login that the grant was issued for. The version of its credentials is not kept.
    pub(crate) fn authentication(&self) -> Authentication {
        Authentication {
            store: self.store.clone(),
            user: self.user.clone(),
            amr: self.amr.clone(),
            identity_provider: self.identity_provider.clone(),
            at: self.auth_time,
            authenticated_at: self.authenticated_at,
            credentials: 0,
            provider_token: None,
        }
    }

    /// Whether it is neither revoked nor expired at `now`.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires > now
    }
}

/// Stores a grant with the hash of its code.
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
            grants::claims.eq(written(&grant.claims)),
            grants::code_challenge.eq(grant.code_challenge.as_ref()),
            grants::amr.eq(grant.amr.join(" ")),
            grants::auth_time.eq(grant.auth_time.0),
            grants::authenticated_at.eq(grant.authenticated_at.map(|at| at.0)),
            grants::identity_provider.eq(grant.identity_provider.as_ref().map(IdentityProviderName::as_str)),
            grants::created.eq(grant.created.0),
            grants::expires.eq(grant.expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// The form of requested claims in their column: empty if there are none.
fn written(claims: &RequestedClaims) -> String {
    if *claims == RequestedClaims::default() {
        return String::new();
    }
    serde_json::to_string(claims).unwrap_or_default()
}

/// Returns the grant with this code hash, whether the code was used or not.
pub fn by_code(connection: &mut SqlConnection, code_hash: &str) -> QueryResult<Option<Grant>> {
    grants::table
        .filter(grants::code_hash.eq(code_hash))
        .select(Grant::as_select())
        .first(connection)
        .optional()
}

/// Uses up the code of a live grant, which is then valid until `expires`. Of several concurrent calls, one gets `true`.
pub(crate) fn take_code(
    connection: &mut SqlConnection,
    id: &str,
    now: Timestamp,
    expires: Timestamp,
) -> QueryResult<bool> {
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

/// Whether a grant is neither revoked nor expired. It cannot be revoked until the transaction ends.
pub(crate) fn hold(connection: &mut SqlConnection, id: &str, now: Timestamp) -> QueryResult<bool> {
    let held: Option<String> = grants::table
        .filter(
            grants::id
                .eq(id)
                .and(grants::revoked.is_null())
                .and(grants::expires.gt(now.0)),
        )
        .select(grants::id)
        .suffix_postgres(" FOR SHARE")
        .get_result(connection)
        .optional()?;
    Ok(held.is_some())
}

/// Revokes a grant, and with it every token issued under it.
pub fn revoke(connection: &mut SqlConnection, id: &str, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.find(id).filter(grants::revoked.is_null()))
        .set(grants::revoked.eq(Some(now.0)))
        .execute(connection)
        .map(|_| ())
}

/// Revokes all grants of a session.
pub fn revoke_of_session(connection: &mut SqlConnection, session_hash: &str, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::session_hash.eq(session_hash).and(grants::revoked.is_null())))
        .set(grants::revoked.eq(Some(now.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Revokes all grants of a user.
pub(crate) fn revoke_of_user(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::resource_id.eq(user.as_str()).and(grants::revoked.is_null())))
        .set(grants::revoked.eq(Some(now.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Revokes the grants of a user that a second factor proved.
pub(crate) fn revoke_of_second_factor(
    connection: &mut SqlConnection,
    user: &ResourceId,
    now: Timestamp,
) -> QueryResult<()> {
    let open: Vec<(String, String)> = grants::table
        .filter(grants::resource_id.eq(user.as_str()).and(grants::revoked.is_null()))
        .select((grants::id, grants::amr))
        .load(connection)?;
    for (id, amr) in open {
        if amr.split(' ').any(|method| method == "mfa") {
            revoke(connection, &id, now)?;
        }
    }
    Ok(())
}

/// Revokes the grants of a user that came through an identity provider, also those of sessions that have expired, but
/// for those of one session.
pub(crate) fn revoke_of_user_through(
    connection: &mut SqlConnection,
    (user, provider): (&ResourceId, &IdentityProviderName),
    spared: Option<&str>,
    now: Timestamp,
) -> QueryResult<()> {
    let of_user = grants::table
        .filter(grants::resource_id.eq(user.as_str()))
        .filter(grants::identity_provider.eq(provider.as_str()))
        .filter(
            grants::revoked
                .is_null()
                .and(grants::session_hash.ne(spared.unwrap_or_default())),
        );
    diesel::update(of_user)
        .set(grants::revoked.eq(Some(now.0)))
        .returning(grants::id)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Revokes at most `limit` of the grants of logins through an identity provider; returns their number.
pub(crate) fn revoke_of_provider(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    now: Timestamp,
    limit: i64,
) -> QueryResult<usize> {
    let next: Vec<String> = grants::table
        .filter(grants::identity_provider.eq(identity_provider.as_str()))
        .filter(grants::revoked.is_null().and(grants::expires.gt(now.0)))
        .select(grants::id)
        .limit(limit)
        .load(connection)?;
    diesel::update(grants::table.filter(any_of(grants::id, next.iter().map(String::as_str))))
        .set(grants::revoked.eq(Some(now.0)))
        .execute(connection)
}

/// Moves the grants of a session to the session that replaces it.
pub(crate) fn move_to_session(connection: &mut SqlConnection, from: &str, to: &str) -> QueryResult<()> {
    diesel::update(grants::table.filter(grants::session_hash.eq(from)))
        .set(grants::session_hash.eq(to))
        .execute(connection)
        .map(|_| ())
}

/// Deletes at most `limit` of the grants that expired by `now`, with their tokens; returns the number of grants.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = grants::table
        .filter(grants::expires.le(now.0))
        .select(grants::id)
        .limit(limit)
        .load(connection)?;
    diesel::delete(grants::table.filter(any_of(grants::id, next.iter().map(String::as_str)))).execute(connection)
}
