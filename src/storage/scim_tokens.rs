//! Bearer tokens of SCIM clients: only their fingerprints are stored.

use diesel::prelude::*;

use super::connection::SqlConnection;
use super::random;
use super::tables::scim_tokens;
use crate::domain::{ServiceProviderName, Timestamp};

/// Tokens begin so, which lets secret scanners find them where they should not be.
pub const PREFIX: &str = "vst_";

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ScimToken {
    /// The fingerprint of the token itself.
    token_hash: String,
    /// Names the token in lists and logs.
    pub id: String,
    /// The service provider that it speaks for.
    pub service_provider: ServiceProviderName,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires: Timestamp,
    /// When it was last used, to the minute.
    pub last_used: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The client that got it with its own credentials; none if a person made it.
    pub client_id: Option<String>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The service provider that it speaks for.
    pub service_provider: ServiceProviderName,
    /// The client that gets it with its own credentials; none if a person makes it.
    pub client_id: Option<String>,
    /// When it is made.
    pub created: Timestamp,
    /// When it stops working by itself.
    pub expires: Timestamp,
}

impl ScimToken {
    /// Whether it opens the door at this moment.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

/// Makes a token for a person and returns its id and the token itself, which nothing can show again.
pub fn create(
    connection: &mut SqlConnection,
    service_provider: &ServiceProviderName,
    created: Timestamp,
    expires: Timestamp,
) -> QueryResult<(String, String)> {
    let issue = Issue {
        service_provider: service_provider.clone(),
        client_id: None,
        created,
        expires,
    };
    self::issue(connection, &issue)
}

/// Makes a token and returns its id and the token itself.
pub fn issue(connection: &mut SqlConnection, issue: &Issue) -> QueryResult<(String, String)> {
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
        ))
        .execute(connection)?;
    Ok((id, token))
}

/// The record of a token, by the fingerprint of what a client shows.
pub fn find(connection: &mut SqlConnection, fingerprint: &str) -> QueryResult<Option<ScimToken>> {
    scim_tokens::table.find(fingerprint).first(connection).optional()
}

/// All tokens that a person made, oldest first.
pub fn list(connection: &mut SqlConnection) -> QueryResult<Vec<ScimToken>> {
    scim_tokens::table
        .filter(scim_tokens::client_id.is_null())
        .order(scim_tokens::id)
        .load(connection)
}

/// Notes a use.
pub fn touch(connection: &mut SqlConnection, id: &str, at: Timestamp) -> QueryResult<()> {
    diesel::update(scim_tokens::table.filter(scim_tokens::id.eq(id)))
        .set(scim_tokens::last_used.eq(at.0))
        .execute(connection)
        .map(|_| ())
}

/// Ends a token. `false` if there is none with this id that still works.
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

/// Removes the tokens of clients that were over by `now`; returns how many. What a person made stays in the list.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<usize> {
    let over = scim_tokens::client_id.is_not_null().and(scim_tokens::expires.le(now.0));
    diesel::delete(scim_tokens::table.filter(over)).execute(connection)
}
