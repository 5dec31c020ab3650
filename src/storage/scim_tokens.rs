//! Bearer tokens of SCIM clients, stored as fingerprints only.

use diesel::prelude::*;

use super::connection::{SqlConnection, any_of};
use super::random;
use super::tables::scim_tokens;
use crate::domain::{ServiceProviderName, Timestamp};

/// The prefix of all tokens, which lets secret scanners find leaked ones.
pub(crate) const PREFIX: &str = "vst_";

/// A stored token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ScimToken {
    /// The fingerprint of the token itself.
    token_hash: String,
    /// The id of the token in lists and logs.
    pub id: String,
    /// The service provider that it speaks for.
    pub service_provider: ServiceProviderName,
    /// The time at which it was created.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires: Timestamp,
    /// The time of its last use, to the minute.
    pub last_used: Option<Timestamp>,
    /// The time of its revocation.
    pub revoked: Option<Timestamp>,
    /// The client that obtained it with its own credentials; none if an administrator created it.
    pub client_id: Option<String>,
    /// Whether it may read only.
    pub read_only: bool,
}

/// The data of a token to be created.
#[derive(Clone, Debug)]
pub struct NewScimToken {
    /// The service provider that it speaks for.
    pub service_provider: ServiceProviderName,
    /// The client that obtains it with its own credentials; none if an administrator creates it.
    pub client_id: Option<String>,
    /// The time of its creation.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires: Timestamp,
    /// Whether it may read only.
    pub read_only: bool,
}

impl ScimToken {
    /// Whether it is accepted at this time.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

/// Creates a token for an administrator and returns its id and the token itself, which cannot be shown again.
pub fn create(
    connection: &mut SqlConnection,
    service_provider: &ServiceProviderName,
    created: Timestamp,
    expires: Timestamp,
) -> QueryResult<(String, String)> {
    let issue = NewScimToken {
        service_provider: service_provider.clone(),
        client_id: None,
        created,
        expires,
        read_only: false,
    };
    self::issue(connection, &issue)
}

/// Creates a token and returns its id and the token itself.
pub fn issue(connection: &mut SqlConnection, issue: &NewScimToken) -> QueryResult<(String, String)> {
    let token = format!("{PREFIX}{}", random::token());
    let id = uuid::Uuid::now_v7().to_string();
    diesel::insert_into(scim_tokens::table)
        .values((
            scim_tokens::token_hash.eq(random::fingerprint(&token)),
            scim_tokens::id.eq(&id),
            scim_tokens::service_provider.eq(issue.service_provider.as_str()),
            scim_tokens::created.eq(issue.created.0),
            scim_tokens::expires.eq(issue.expires.0),
            scim_tokens::client_id.eq(issue.client_id.as_ref()),
            scim_tokens::read_only.eq(issue.read_only),
        ))
        .execute(connection)?;
    Ok((id, token))
}

/// Returns the record of a token, by the fingerprint of the text that a client sent.
pub fn find(connection: &mut SqlConnection, fingerprint: &str) -> QueryResult<Option<ScimToken>> {
    scim_tokens::table.find(fingerprint).first(connection).optional()
}

/// Returns all tokens that administrators created, oldest first.
pub fn list(connection: &mut SqlConnection) -> QueryResult<Vec<ScimToken>> {
    scim_tokens::table
        .filter(scim_tokens::client_id.is_null())
        .order(scim_tokens::id)
        .load(connection)
}

/// Records a use.
pub fn touch(connection: &mut SqlConnection, id: &str, at: Timestamp) -> QueryResult<()> {
    diesel::update(scim_tokens::table.filter(scim_tokens::id.eq(id)))
        .set(scim_tokens::last_used.eq(at.0))
        .execute(connection)
        .map(|_| ())
}

/// Revokes a token. `false` if there is none with this id, or it was revoked before.
pub fn revoke(connection: &mut SqlConnection, id: &str, at: Timestamp) -> QueryResult<bool> {
    diesel::update(
        scim_tokens::table
            .filter(scim_tokens::id.eq(id))
            .filter(scim_tokens::revoked.is_null()),
    )
    .set(scim_tokens::revoked.eq(at.0))
    .execute(connection)
    .map(|rows| rows > 0)
}

/// Deletes at most `limit` of the tokens of clients that expired by `now`; returns their number. Those that an administrator created stay
/// in the list.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = scim_tokens::table
        .filter(scim_tokens::client_id.is_not_null().and(scim_tokens::expires.le(now.0)))
        .select(scim_tokens::token_hash)
        .limit(limit)
        .load(connection)?;
    diesel::delete(scim_tokens::table.filter(any_of(scim_tokens::token_hash, next.iter().map(String::as_str))))
        .execute(connection)
}
