//! Intents: what a userstore outside this database is about to do. Written before, removed with the confirmation; what
//! a crash leaves is settled by reading the store.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::intents;
use crate::domain::{StoreName, Timestamp};

/// An intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The resource or the name that it is about, in the store's own terms.
    pub subject: String,
    /// The change, in the store's own form.
    pub change: String,
    /// Until when whoever wrote it may be at work.
    pub until: Timestamp,
}

/// Writes an intent down, unless there is one about the same subject: then `false`.
pub fn begin(connection: &mut SqlConnection, store: &StoreName, intent: &Intent) -> QueryResult<bool> {
    diesel::insert_into(intents::table)
        .values((
            intents::store.eq(store.as_str()),
            intents::subject.eq(&intent.subject),
            intents::change.eq(&intent.change),
            intents::until.eq(intent.until.0),
        ))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)
        .map(|rows| rows == 1)
}

/// Removes an intent that is carried out, or will not be.
pub fn end(connection: &mut SqlConnection, store: &StoreName, subject: &str) -> QueryResult<()> {
    diesel::delete(intents::table.find((store.as_str(), subject)))
        .execute(connection)
        .map(|_| ())
}

/// The intent about a subject, if there is one.
pub fn of(connection: &mut SqlConnection, store: &StoreName, subject: &str) -> QueryResult<Option<Intent>> {
    let found: Option<(String, String, i64)> = intents::table
        .find((store.as_str(), subject))
        .select((intents::subject, intents::change, intents::until))
        .first(connection)
        .optional()?;
    Ok(found.map(intent))
}

/// All intents of a store.
pub fn all(connection: &mut SqlConnection, store: &StoreName) -> QueryResult<Vec<Intent>> {
    let found: Vec<(String, String, i64)> = intents::table
        .filter(intents::store.eq(store.as_str()))
        .order(intents::subject)
        .select((intents::subject, intents::change, intents::until))
        .load(connection)?;
    Ok(found.into_iter().map(intent).collect())
}

/// Takes an intent over whose owner is not at work any more. `false` if somebody else did.
pub fn take_over(
    connection: &mut SqlConnection,
    store: &StoreName,
    intent: &Intent,
    until: Timestamp,
) -> QueryResult<bool> {
    diesel::update(intents::table.find((store.as_str(), &intent.subject)))
        .filter(intents::until.eq(intent.until.0))
        .set(intents::until.eq(until.0))
        .execute(connection)
        .map(|rows| rows == 1)
}

fn intent((subject, change, until): (String, String, i64)) -> Intent {
    Intent {
        subject,
        change,
        until: Timestamp(until),
    }
}
