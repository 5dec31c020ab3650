//! The removals of identity providers, and their progress.

use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::removals;
use crate::domain::{IdentityProviderName, Link, Timestamp};

/// A removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// Whether accounts are deleted; else they are disabled.
    pub deletes: bool,
    /// The time at which it was started.
    pub started: Timestamp,
    /// The time at which it was finished, if it is.
    pub finished: Option<Timestamp>,
    /// The issuer and the subject of the last link that was processed.
    pub place: (String, String),
    /// The number of accounts that were disabled or deleted.
    pub accounts: i64,
    /// The number of links that were removed without their accounts.
    pub links: i64,
}

type Row = (
    IdentityProviderName,
    String,
    Timestamp,
    Option<i64>,
    String,
    String,
    i64,
    i64,
);

fn removal(row: Row) -> Removal {
    let (identity_provider, action, started, finished, issuer, subject, accounts, links) = row;
    Removal {
        identity_provider,
        deletes: action == "delete",
        started,
        finished: finished.map(Timestamp),
        place: (issuer, subject),
        accounts,
        links,
    }
}

const COLUMNS: (
    removals::identity_provider,
    removals::action,
    removals::started,
    removals::finished,
    removals::at_issuer,
    removals::at_subject,
    removals::accounts,
    removals::links,
) = (
    removals::identity_provider,
    removals::action,
    removals::started,
    removals::finished,
    removals::at_issuer,
    removals::at_subject,
    removals::accounts,
    removals::links,
);

/// Starts a removal. An unfinished one with the same action continues; any other is replaced.
pub fn begin(
    connection: &mut SqlConnection,
    provider: &IdentityProviderName,
    deletes: bool,
    now: Timestamp,
) -> QueryResult<()> {
    lock(connection, provider, "pg_advisory_xact_lock")?;
    let same = find(connection, provider)?.is_some_and(|known| known.deletes == deletes && known.finished.is_none());
    if same {
        return Ok(());
    }
    diesel::delete(removals::table.find(provider.as_str())).execute(connection)?;
    diesel::insert_into(removals::table)
        .values((
            removals::identity_provider.eq(provider.as_str()),
            removals::action.eq(if deletes { "delete" } else { "disable" }),
            removals::started.eq(now.0),
            removals::at_issuer.eq(""),
            removals::at_subject.eq(""),
            removals::accounts.eq(0),
            removals::links.eq(0),
            removals::lease_until.eq(0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns the removal of a provider.
pub fn find(connection: &mut SqlConnection, provider: &IdentityProviderName) -> QueryResult<Option<Removal>> {
    removals::table
        .find(provider.as_str())
        .select(COLUMNS)
        .first::<Row>(connection)
        .optional()
        .map(|row| row.map(removal))
}

/// Returns all removals, oldest first.
pub fn all(connection: &mut SqlConnection) -> QueryResult<Vec<Removal>> {
    let rows: Vec<Row> = removals::table
        .order(removals::started)
        .select(COLUMNS)
        .load(connection)?;
    Ok(rows.into_iter().map(removal).collect())
}

/// Takes an unfinished removal that no process is working on, and reserves it until `until`.
pub fn claim(
    connection: &mut SqlConnection,
    provider: &IdentityProviderName,
    now: Timestamp,
    until: Timestamp,
) -> QueryResult<Option<Removal>> {
    let free = removals::table
        .find(provider.as_str())
        .filter(removals::finished.is_null().and(removals::lease_until.le(now.0)));
    let found = free
        .select(COLUMNS)
        .suffix_postgres(" FOR UPDATE")
        .load::<Row>(connection)?
        .pop();
    if found.is_some() {
        diesel::update(removals::table.find(provider.as_str()))
            .set(removals::lease_until.eq(until.0))
            .execute(connection)?;
    }
    Ok(found.map(removal))
}

/// Stores the progress of a removal and extends its reservation until `until`. `false` if it was cancelled or restarted
/// in the meantime.
pub fn advance(connection: &mut SqlConnection, removal: &Removal, until: Timestamp) -> QueryResult<bool> {
    let theirs = removals::table
        .find(removal.identity_provider.as_str())
        .filter(removals::started.eq(removal.started.0));
    diesel::update(theirs)
        .set((
            removals::finished.eq(removal.finished.map(|at| at.0)),
            removals::at_issuer.eq(&removal.place.0),
            removals::at_subject.eq(&removal.place.1),
            removals::accounts.eq(removal.accounts),
            removals::links.eq(removal.links),
            removals::lease_until.eq(until.0),
        ))
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Cancels a removal, so that users can log in through the provider again. `false` if there was none.
pub(crate) fn lift(connection: &mut SqlConnection, provider: &IdentityProviderName) -> QueryResult<bool> {
    diesel::delete(removals::table.find(provider.as_str()))
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Returns the position after a link.
pub fn place(link: &Link) -> (String, String) {
    (link.issuer.clone(), link.subject.clone())
}

/// Whether a removal of the provider has begun, which makes a new link wrong. Until the transaction ends, none can begin.
pub(crate) fn has_begun(connection: &mut SqlConnection, provider: &IdentityProviderName) -> QueryResult<bool> {
    lock(connection, provider, "pg_advisory_xact_lock_shared")?;
    Ok(find(connection, provider)?.is_some())
}

/// Orders the beginning of a removal and the making of links, on PostgreSQL; SQLite has one writer. The lock is released
/// when the transaction ends.
fn lock(connection: &mut SqlConnection, provider: &IdentityProviderName, function: &str) -> QueryResult<()> {
    /// Sets these locks apart from others.
    const CLASS: i32 = 7_164;
    let SqlConnection::Postgres(connection) = connection else {
        return Ok(());
    };
    diesel::sql_query(format!("SELECT {function}($1, hashtext($2))"))
        .bind::<Integer, _>(CLASS)
        .bind::<Text, _>(provider.as_str())
        .execute(connection)
        .map(|_| ())
}
