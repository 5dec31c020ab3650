//! The browsers in which people signed in with a password, and the wrong passwords that came from each.

use std::time::Duration;

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::known_browsers;
use crate::domain::lockout::locked_until;
use crate::domain::{ResourceId, Timestamp};

/// How long a browser is known after the last login in it.
const LIFETIME: Duration = Duration::from_hours(24 * 180);

/// The most browsers that are known for one account.
const MOST: usize = 20;

/// The start of a check of a password that a browser sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserAttempt {
    /// The browser is not known for the account.
    Unknown,
    /// Too many wrong passwords came from it.
    Locked,
    /// The attempt is counted as wrong until [`pass`] is called.
    Counted,
}

/// Counts an attempt against the browser, if it is known for the account.
pub fn attempt(
    connection: &mut SqlConnection,
    user: &ResourceId,
    fingerprint: &str,
    now: Timestamp,
) -> QueryResult<BrowserAttempt> {
    let browser = known_browsers::table.find((user.as_str(), fingerprint));
    let row: Option<(i32, i64, i64)> = browser
        .select((
            known_browsers::failures,
            known_browsers::locked_until,
            known_browsers::expires,
        ))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?
        .pop();
    let Some((failures, until, _)) = row.filter(|(_, _, expires)| *expires > now.0) else {
        return Ok(BrowserAttempt::Unknown);
    };
    if until > now.0 {
        return Ok(BrowserAttempt::Locked);
    }
    diesel::update(known_browsers::table.find((user.as_str(), fingerprint)))
        .set((
            known_browsers::failures.eq(failures + 1),
            known_browsers::locked_until.eq(locked_until(failures + 1, now).0),
        ))
        .execute(connection)?;
    Ok(BrowserAttempt::Counted)
}

/// Clears the wrong passwords of a browser that is known for the account.
pub(crate) fn pass(connection: &mut SqlConnection, user: &ResourceId, fingerprint: &str) -> QueryResult<()> {
    diesel::update(known_browsers::table.find((user.as_str(), fingerprint)))
        .set((known_browsers::failures.eq(0), known_browsers::locked_until.eq(0)))
        .execute(connection)
        .map(|_| ())
}

/// Whether a browser is known for an account.
pub(crate) fn is_known(
    connection: &mut SqlConnection,
    user: &ResourceId,
    fingerprint: &str,
    now: Timestamp,
) -> QueryResult<bool> {
    let browser = known_browsers::table
        .find((user.as_str(), fingerprint))
        .filter(known_browsers::expires.gt(now.0));
    diesel::select(diesel::dsl::exists(browser)).get_result(connection)
}

/// Makes a browser known for an account, and clears its wrong passwords. The account keeps the [`MOST`] newest browsers.
pub fn remember(
    connection: &mut SqlConnection,
    user: &ResourceId,
    fingerprint: &str,
    now: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(known_browsers::table)
        .values((
            known_browsers::resource_id.eq(user.as_str()),
            known_browsers::fingerprint.eq(fingerprint),
            known_browsers::expires.eq(now.plus(LIFETIME).0),
        ))
        .suffix(
            " ON CONFLICT (resource_id, fingerprint) DO UPDATE SET failures = 0, locked_until = 0, \
             expires = excluded.expires",
        )
        .execute(connection)?;
    let older: Vec<String> = known_browsers::table
        .filter(known_browsers::resource_id.eq(user.as_str()))
        .order(known_browsers::expires.desc())
        .select(known_browsers::fingerprint)
        .load(connection)?;
    for fingerprint in older.iter().skip(MOST) {
        diesel::delete(known_browsers::table.find((user.as_str(), fingerprint))).execute(connection)?;
    }
    Ok(())
}

/// Clears the wrong passwords of all browsers of an account.
pub(crate) fn unlock(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<()> {
    diesel::update(known_browsers::table.filter(known_browsers::resource_id.eq(user.as_str())))
        .set((known_browsers::failures.eq(0), known_browsers::locked_until.eq(0)))
        .execute(connection)
        .map(|_| ())
}

/// Deletes the browsers that were not used for long; at most `limit`.
pub fn delete_expired(connection: &mut SqlConnection, now: Timestamp, limit: i64) -> QueryResult<usize> {
    let browsers: Vec<(String, String)> = known_browsers::table
        .filter(known_browsers::expires.le(now.0))
        .select((known_browsers::resource_id, known_browsers::fingerprint))
        .limit(limit)
        .load(connection)?;
    let mut count = 0;
    for (user, fingerprint) in &browsers {
        count += diesel::delete(known_browsers::table.find((user, fingerprint))).execute(connection)?;
    }
    Ok(count)
}

/// Forgets all browsers of an account.
pub(crate) fn forget(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<()> {
    diesel::delete(known_browsers::table.filter(known_browsers::resource_id.eq(user.as_str())))
        .execute(connection)
        .map(|_| ())
}
