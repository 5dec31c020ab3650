//! Login sessions, stored under the hash of the cookie's value.

use diesel::prelude::*;

use super::columns::WordList;
use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, any_of};
use super::logouts;
use super::tables::sessions;
use crate::domain::login::Authentication;
use crate::domain::{IdentityProviderName, ResourceId, StoreName, Timestamp};

type Row = (
    StoreName,
    ResourceId,
    Option<IdentityProviderName>,
    WordList,
    Timestamp,
    Option<Timestamp>,
    i64,
);

fn authentication(row: Row) -> Authentication {
    let (store, user, identity_provider, WordList(amr), at, authenticated_at, credentials) = row;
    Authentication {
        store,
        user,
        amr,
        identity_provider,
        at,
        authenticated_at,
        credentials,
        provider_token: None,
    }
}

/// Creates a session that is valid from `created` to `expires`.
pub fn insert(
    connection: &mut SqlConnection,
    id_hash: &str,
    authentication: &Authentication,
    created: Timestamp,
    expires: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::id_hash.eq(id_hash),
            sessions::store.eq(authentication.store.as_str()),
            sessions::resource_id.eq(authentication.user.as_str()),
            sessions::identity_provider.eq(authentication
                .identity_provider
                .as_ref()
                .map(IdentityProviderName::as_str)),
            sessions::amr.eq(authentication.amr.join(" ")),
            sessions::auth_time.eq(authentication.at.0),
            sessions::authenticated_at.eq(authentication.authenticated_at.map(|at| at.0)),
            sessions::credential_version.eq(authentication.credentials),
            sessions::created.eq(created.0),
            sessions::expires.eq(expires.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Keeps the sealed token that ends the session at the identity provider.
pub(crate) fn keep_token(connection: &mut SqlConnection, id_hash: &str, sealed: &[u8]) -> QueryResult<()> {
    diesel::update(sessions::table.find(id_hash))
        .set(sessions::provider_token.eq(sealed))
        .execute(connection)
        .map(|_| ())
}

/// The identity provider of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderSession {
    /// Its name.
    pub(crate) identity_provider: IdentityProviderName,
    /// The token that ends the session there, sealed.
    pub(crate) sealed_token: Option<Vec<u8>>,
}

/// Returns the identity provider of a session; none if the login was by a local password.
pub(crate) fn at_provider(connection: &mut SqlConnection, id_hash: &str) -> QueryResult<Option<ProviderSession>> {
    let row: Option<(Option<IdentityProviderName>, Option<Vec<u8>>)> = sessions::table
        .find(id_hash)
        .select((sessions::identity_provider, sessions::provider_token))
        .first(connection)
        .optional()?;
    Ok(row.and_then(|(identity_provider, sealed_token)| {
        Some(ProviderSession {
            identity_provider: identity_provider?,
            sealed_token,
        })
    }))
}

/// Keeps the token of one session in another one through the same identity provider that brought none: a further step in
/// a session brings no new one.
pub(crate) fn move_token(connection: &mut SqlConnection, from: &str, to: &str) -> QueryResult<()> {
    let known = at_provider(connection, from)?;
    let Some((provider, token)) = known.and_then(|known| Some((known.identity_provider, known.sealed_token?))) else {
        return Ok(());
    };
    let without = sessions::table.filter(
        sessions::id_hash
            .eq(to)
            .and(sessions::identity_provider.eq(provider.as_str()))
            .and(sessions::provider_token.is_null()),
    );
    diesel::update(without)
        .set(sessions::provider_token.eq(token))
        .execute(connection)
        .map(|_| ())
}

/// Returns the login of a session that has not ended by `now`.
pub fn find(connection: &mut SqlConnection, id_hash: &str, now: Timestamp) -> QueryResult<Option<Authentication>> {
    sessions::table
        .filter(sessions::id_hash.eq(id_hash).and(sessions::expires.gt(now.0)))
        .select((
            sessions::store,
            sessions::resource_id,
            sessions::identity_provider,
            sessions::amr,
            sessions::auth_time,
            sessions::authenticated_at,
            sessions::credential_version,
        ))
        .first::<Row>(connection)
        .optional()
        .map(|row| row.map(authentication))
}

/// A session as shown to its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The hash of its cookie's value.
    pub id_hash: String,
    /// The login that opened it.
    pub authentication: Authentication,
    /// The time at which it ends at the latest.
    pub expires: Timestamp,
}

/// Returns the sessions of a user that have not ended by `now`, newest first.
pub fn of_user(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<Vec<SessionRecord>> {
    let rows: Vec<(String, i64, Row)> = sessions::table
        .filter(sessions::resource_id.eq(user.as_str()).and(sessions::expires.gt(now.0)))
        .order((sessions::auth_time.desc(), sessions::id_hash))
        .select((
            sessions::id_hash,
            sessions::expires,
            (
                sessions::store,
                sessions::resource_id,
                sessions::identity_provider,
                sessions::amr,
                sessions::auth_time,
                sessions::authenticated_at,
                sessions::credential_version,
            ),
        ))
        .load(connection)?;
    let record = |(id_hash, expires, row)| SessionRecord {
        id_hash,
        authentication: authentication(row),
        expires: Timestamp(expires),
    };
    Ok(rows.into_iter().map(record).collect())
}

/// Lets a session go on after a change of its user's credentials that was made in it.
pub(crate) fn renew(connection: &mut SqlConnection, id_hash: &str, credentials: i64) -> QueryResult<()> {
    diesel::update(sessions::table.find(id_hash))
        .set(sessions::credential_version.eq(credentials))
        .returning(sessions::id_hash)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// Replaces the methods by which a session was proved.
pub(crate) fn set_methods(connection: &mut SqlConnection, id_hash: &str, amr: &[String]) -> QueryResult<()> {
    diesel::update(sessions::table.find(id_hash))
        .set(sessions::amr.eq(amr.join(" ")))
        .execute(connection)
        .map(|_| ())
}

/// Returns the hashes of at most `limit` sessions that began through an identity provider.
pub(crate) fn through(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    limit: i64,
) -> QueryResult<Vec<String>> {
    sessions::table
        .filter(sessions::identity_provider.eq(identity_provider.as_str()))
        .select(sessions::id_hash)
        .limit(limit)
        .load(connection)
}

/// Returns the user of a session that has not ended by `now`, and locks the session against ending until the open
/// transaction ends.
pub fn hold(connection: &mut SqlConnection, id_hash: &str, now: Timestamp) -> QueryResult<Option<ResourceId>> {
    sessions::table
        .filter(sessions::id_hash.eq(id_hash).and(sessions::expires.gt(now.0)))
        .select(sessions::resource_id)
        .suffix_postgres(" FOR SHARE")
        .get_result(connection)
        .optional()
}

/// Returns the user of a session, ended or not, and locks it for a transaction that goes on to end it.
pub fn user(connection: &mut SqlConnection, id_hash: &str) -> QueryResult<Option<ResourceId>> {
    sessions::table
        .find(id_hash)
        .select(sessions::resource_id)
        .suffix_postgres(" FOR UPDATE")
        .get_result(connection)
        .optional()
}

/// Ends a session and queues notifications to the service providers that know it.
pub fn delete(connection: &mut SqlConnection, id_hash: &str, now: Timestamp) -> QueryResult<()> {
    let ended: Vec<(String, ResourceId)> = diesel::delete(sessions::table.find(id_hash))
        .returning((sessions::id_hash, sessions::resource_id))
        .prepared()
        .load(connection)?;
    logouts::announce(connection, &ended, now)
}

/// Returns the hashes of a user's sessions that began through an identity provider.
pub(crate) fn of_provider(
    connection: &mut SqlConnection,
    user: &ResourceId,
    identity_provider: &IdentityProviderName,
) -> QueryResult<Vec<String>> {
    sessions::table
        .filter(sessions::resource_id.eq(user.as_str()))
        .filter(sessions::identity_provider.eq(identity_provider.as_str()))
        .select(sessions::id_hash)
        .load(connection)
}

/// Ends every session of a user and queues notifications to the service providers that know them.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<()> {
    let ended: Vec<(String, ResourceId)> =
        diesel::delete(sessions::table.filter(sessions::resource_id.eq(user.as_str())))
            .returning((sessions::id_hash, sessions::resource_id))
            .prepared()
            .load(connection)?;
    logouts::announce(connection, &ended, now)
}

/// Deletes at most `limit` of the sessions that ended by `now`; returns their number. Queues notifications to the service providers that
/// know them.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = sessions::table
        .filter(sessions::expires.le(now.0))
        .select(sessions::id_hash)
        .limit(limit)
        .load(connection)?;
    let ended: Vec<(String, ResourceId)> =
        diesel::delete(sessions::table.filter(any_of(sessions::id_hash, next.iter().map(String::as_str))))
            .returning((sessions::id_hash, sessions::resource_id))
            .prepared()
            .load(connection)?;
    logouts::announce(connection, &ended, now)?;
    Ok(ended.len())
}
