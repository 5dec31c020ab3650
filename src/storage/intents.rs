//! Intents: changes that a userstore outside this database is about to make.
//! An intent is written before the change and removed with its confirmation; one left by a crash is recovered by
//! reading the store.

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::intents;
use crate::domain::{StoreName, Timestamp};

/// An intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The resource or name that is changed, as the store identifies it.
    pub subject: String,
    /// The change, in the store's own format.
    pub change: String,
    /// The end of the time in which its owner may still be working on it.
    pub until: Timestamp,
}

/// Stores an intent, unless there is one with the same subject; then `false`.
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

/// Removes an intent that was carried out or abandoned.
pub fn end(connection: &mut SqlConnection, store: &StoreName, subject: &str) -> QueryResult<()> {
    diesel::delete(intents::table.find((store.as_str(), subject)))
        .execute(connection)
        .map(|_| ())
}

/// Returns the intent with a subject, if there is one.
pub fn of(connection: &mut SqlConnection, store: &StoreName, subject: &str) -> QueryResult<Option<Intent>> {
    let found: Option<(String, String, i64)> = intents::table
        .find((store.as_str(), subject))
        .select((intents::subject, intents::change, intents::until))
        .first(connection)
        .optional()?;
    Ok(found.map(intent))
}

/// Returns all intents of a store.
pub fn all(connection: &mut SqlConnection, store: &StoreName) -> QueryResult<Vec<Intent>> {
    let found: Vec<(String, String, i64)> = intents::table
        .filter(intents::store.eq(store.as_str()))
        .order(intents::subject)
        .select((intents::subject, intents::change, intents::until))
        .load(connection)?;
    Ok(found.into_iter().map(intent).collect())
}

/// Takes over an intent whose owner is no longer working on it. `false` if another process did so first.
pub(crate) fn take_over(
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
