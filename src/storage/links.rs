//! Links between external subjects and local users.

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl};
use super::random;
use super::tables::{credentials, former_links, links, past_links};
use crate::domain::{IdentityProviderName, Link, ResourceId, StoreName, Timestamp};

/// A stored link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The external identity.
    pub link: Link,
    /// The store of the user.
    pub store: StoreName,
    /// The user.
    pub resource_id: ResourceId,
    /// The time at which it was created.
    pub created: Timestamp,
    /// The time of the last login through it.
    pub last_login: Timestamp,
    /// The fingerprint of the e-mail address that the provider asserted as verified at that login.
    pub verified_email: Option<String>,
}

type Row = (
    IdentityProviderName,
    String,
    String,
    StoreName,
    ResourceId,
    Timestamp,
    Timestamp,
    Option<String>,
);

fn record(row: Row) -> LinkRecord {
    let (identity_provider, issuer, subject, store, resource_id, created, last_login, verified_email) = row;
    LinkRecord {
        link: Link {
            identity_provider,
            issuer,
            subject,
        },
        store,
        resource_id,
        created,
        last_login,
        verified_email,
    }
}

/// Creates a link. The primary key rejects a second one for the same external subject.
pub fn insert(
    connection: &mut SqlConnection,
    link: &Link,
    store: &StoreName,
    resource_id: &ResourceId,
    at: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(links::table)
        .values((
            links::identity_provider.eq(link.identity_provider.as_str()),
            links::issuer.eq(&link.issuer),
            links::subject.eq(&link.subject),
            links::store.eq(store.as_str()),
            links::resource_id.eq(resource_id.as_str()),
            links::created.eq(at.0),
            links::last_login.eq(at.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns the link of an external subject.
pub fn find(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    issuer: &str,
    subject: &str,
) -> QueryResult<Option<LinkRecord>> {
    links::table
        .find((identity_provider.as_str(), issuer, subject))
        .first::<Row>(connection)
        .optional()
        .map(|row| row.map(record))
}

/// Returns all links of a user.
pub fn of_user(connection: &mut SqlConnection, resource_id: &ResourceId) -> QueryResult<Vec<LinkRecord>> {
    let rows: Vec<Row> = links::table
        .filter(links::resource_id.eq(resource_id.as_str()))
        .order((links::identity_provider, links::issuer, links::subject))
        .load(connection)?;
    Ok(rows.into_iter().map(record).collect())
}

/// Returns the links of an identity provider after an issuer and a subject, in that order.
pub fn of_provider(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    (issuer, subject): (&str, &str),
    limit: i64,
) -> QueryResult<Vec<LinkRecord>> {
    let later = links::issuer
        .gt(issuer)
        .or(links::issuer.eq(issuer).and(links::subject.gt(subject)));
    let rows: Vec<Row> = links::table
        .filter(links::identity_provider.eq(identity_provider.as_str()))
        .filter(links::issuer.ge(issuer).and(later))
        .order((links::issuer, links::subject))
        .limit(limit)
        .load(connection)?;
    Ok(rows.into_iter().map(record).collect())
}

/// Records a login through a link, and the fingerprint of the verified e-mail address that came with it.
pub fn touch(
    connection: &mut SqlConnection,
    link: &Link,
    verified_email: Option<&str>,
    at: Timestamp,
) -> QueryResult<()> {
    diesel::update(links::table.find((link.identity_provider.as_str(), &link.issuer, &link.subject)))
        .set((links::last_login.eq(at.0), links::verified_email.eq(verified_email)))
        .execute(connection)
        .map(|_| ())
}

/// Records that the person or an administrator unlinked an identity from an account that stays. Until it is linked again
/// with a proof, the subject alone does not lead to that account.
pub(crate) fn remember_unlinked(
    connection: &mut SqlConnection,
    link: &Link,
    resource_id: &ResourceId,
    at: Timestamp,
) -> QueryResult<()> {
    remember(connection, link, Some(resource_id), at)
}

/// Records that the account of an identity was deleted.
pub(crate) fn remember_deleted(connection: &mut SqlConnection, link: &Link, at: Timestamp) -> QueryResult<()> {
    remember(connection, link, None, at)
}

fn remember(
    connection: &mut SqlConnection,
    link: &Link,
    account: Option<&ResourceId>,
    at: Timestamp,
) -> QueryResult<()> {
    let key = (link.identity_provider.as_str(), &*link.issuer, &*link.subject);
    diesel::delete(former_links::table.find(key)).execute(connection)?;
    diesel::insert_into(former_links::table)
        .values((
            former_links::identity_provider.eq(link.identity_provider.as_str()),
            former_links::issuer.eq(&link.issuer),
            former_links::subject.eq(&link.subject),
            former_links::at.eq(at.0),
            former_links::resource_id.eq(account.map(ResourceId::as_str)),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Forgets that an identity was unlinked from an account that stays, because it is linked now.
pub(crate) fn forget_former(connection: &mut SqlConnection, link: &Link) -> QueryResult<()> {
    let key = (link.identity_provider.as_str(), &*link.issuer, &*link.subject);
    let former = former_links::table
        .find(key)
        .filter(former_links::resource_id.is_not_null());
    diesel::delete(former).execute(connection).map(|_| ())
}

/// Whether another identity than this one was unlinked from an account.
pub(crate) fn had_another(
    connection: &mut SqlConnection,
    resource_id: &ResourceId,
    link: Option<&Link>,
) -> QueryResult<bool> {
    let known: Vec<String> = past_links::table
        .filter(past_links::resource_id.eq(resource_id.as_str()))
        .select(past_links::fingerprint)
        .load(connection)?;
    let this = link.map(fingerprint);
    Ok(known.iter().any(|known| this.as_ref() != Some(known)))
}

/// The fingerprint of an identity.
fn fingerprint(link: &Link) -> String {
    let provider = &link.identity_provider;
    random::fingerprint(&format!("identity/{provider}\n{}\n{}", link.issuer, link.subject))
}

/// Forgets which identities were linked to an account, because it becomes another subject's, and nothing of theirs is left.
pub(crate) fn forget_past(connection: &mut SqlConnection, resource_id: &ResourceId) -> QueryResult<()> {
    diesel::delete(past_links::table.filter(past_links::resource_id.eq(resource_id.as_str()))).execute(connection)?;
    diesel::delete(former_links::table.filter(former_links::resource_id.eq(resource_id.as_str())))
        .execute(connection)
        .map(|_| ())
}

/// Returns the account from which an identity was unlinked.
pub(crate) fn unlinked_from(connection: &mut SqlConnection, link: &Link) -> QueryResult<Option<ResourceId>> {
    let key = (link.identity_provider.as_str(), &*link.issuer, &*link.subject);
    let found: Option<Option<String>> = former_links::table
        .find(key)
        .select(former_links::resource_id)
        .first(connection)
        .optional()?;
    Ok(found.flatten().map(ResourceId::new))
}

/// Takes the lock under which a subject gets an account, on PostgreSQL; SQLite has one writer. A SCIM client that creates
/// the account and a first login that does so wait for each other.
pub(crate) fn lock_subject(connection: &mut SqlConnection, subject: &str) -> QueryResult<()> {
    /// Sets these locks apart from others.
    const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7165))::text AS locked";
    let SqlConnection::Postgres(connection) = connection else {
        return Ok(());
    };
    diesel::sql_query(SQL)
        .bind::<diesel::sql_types::Text, _>(subject)
        .execute(connection)
        .map(|_| ())
}

/// Removes a link of a user, and remembers that there was one. `false` if the user does not have it.
pub fn delete(connection: &mut SqlConnection, link: &Link, resource_id: &ResourceId) -> QueryResult<bool> {
    let key = (link.identity_provider.as_str(), &link.issuer, &link.subject);
    let theirs = links::table
        .find(key)
        .filter(links::resource_id.eq(resource_id.as_str()));
    if diesel::delete(theirs).execute(connection)? == 0 {
        return Ok(false);
    }
    diesel::insert_into(past_links::table)
        .values((
            past_links::resource_id.eq(resource_id.as_str()),
            past_links::fingerprint.eq(fingerprint(link)),
        ))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)?;
    Ok(true)
}

/// Whether a user has a link at an identity provider. On PostgreSQL it cannot be deleted until the transaction ends.
pub(crate) fn has(
    connection: &mut SqlConnection,
    resource_id: &ResourceId,
    identity_provider: &IdentityProviderName,
) -> QueryResult<bool> {
    let found: Vec<String> = links::table
        .filter(links::resource_id.eq(resource_id.as_str()))
        .filter(links::identity_provider.eq(identity_provider.as_str()))
        .select(links::subject)
        .suffix_postgres(" FOR SHARE")
        .load(connection)?;
    Ok(!found.is_empty())
}

/// Returns the links of an identity provider unused since `until` whose users have no password here, longest unused
/// first, after `after` if given.
pub fn idle(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    until: Timestamp,
    after: Option<&LinkRecord>,
    limit: i64,
) -> QueryResult<Vec<LinkRecord>> {
    let (at, issuer, subject) = after.map_or((i64::MIN, "", ""), |last| {
        (last.last_login.0, &*last.link.issuer, &*last.link.subject)
    });
    let password = credentials::table
        .filter(credentials::resource_id.eq(links::resource_id))
        .filter(credentials::hash.is_not_null());
    let rows: Vec<Row> = links::table
        .filter(links::identity_provider.eq(identity_provider.as_str()))
        .filter(links::last_login.le(until.0))
        .filter(links::last_login.ge(at))
        .filter(
            links::last_login.gt(at).or(links::issuer
                .gt(issuer)
                .or(links::issuer.eq(issuer).and(links::subject.gt(subject)))),
        )
        .filter(diesel::dsl::not(diesel::dsl::exists(password)))
        .order((links::last_login, links::issuer, links::subject))
        .limit(limit)
        .load(connection)?;
    Ok(rows.into_iter().map(record).collect())
}

/// Deletes every link of a user, as deleting the user does, and records that the subjects were linked before.
pub(crate) fn unlink_all(connection: &mut SqlConnection, resource_id: &ResourceId, at: Timestamp) -> QueryResult<()> {
    diesel::delete(past_links::table.filter(past_links::resource_id.eq(resource_id.as_str())))
        .returning(past_links::fingerprint)
        .prepared()
        .load::<String>(connection)?;
    // Of identities that were unlinked before it is remembered that their account was deleted.
    diesel::update(former_links::table.filter(former_links::resource_id.eq(resource_id.as_str())))
        .set((former_links::resource_id.eq(None::<String>), former_links::at.eq(at.0)))
        .returning(former_links::at)
        .prepared()
        .load::<i64>(connection)?;
    let gone: Vec<(String, String, String)> =
        diesel::delete(links::table.filter(links::resource_id.eq(resource_id.as_str())))
            .returning((links::identity_provider, links::issuer, links::subject))
            .get_results(connection)?;
    for (identity_provider, issuer, subject) in gone {
        let link = Link {
            identity_provider: identity_provider.into(),
            issuer,
            subject,
        };
        remember_deleted(connection, &link, at)?;
    }
    Ok(())
}

/// Whether the subject had an account that was deleted.
pub fn was_unlinked(
    connection: &mut SqlConnection,
    identity_provider: &IdentityProviderName,
    issuer: &str,
    subject: &str,
) -> QueryResult<bool> {
    let known = former_links::table
        .find((identity_provider.as_str(), issuer, subject))
        .filter(former_links::resource_id.is_null());
    diesel::select(diesel::dsl::exists(known)).get_result(connection)
}

/// Deletes at most `limit` records of subjects whose accounts were deleted before a time. Returns their number.
pub(crate) fn delete_former(connection: &mut SqlConnection, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<(String, String, String)> = former_links::table
        .filter(former_links::at.lt(before.0).and(former_links::resource_id.is_null()))
        .select((
            former_links::identity_provider,
            former_links::issuer,
            former_links::subject,
        ))
        .limit(limit)
        .load(connection)?;
    let mut count = 0;
    for (provider, issuer, subject) in &next {
        count += diesel::delete(former_links::table.find((provider, issuer, subject))).execute(connection)?;
    }
    Ok(count)
}
