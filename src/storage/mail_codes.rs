//! Counts of the codes sent to a person by e-mail, and of the wrong codes entered.

use std::time::Duration;

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::random;
use super::tables::mail_codes;
use crate::domain::email::Email;
use crate::domain::lockout::locked_until;
use crate::domain::{ResourceId, Timestamp};

/// The minimum time between two codes.
const PAUSE: Duration = Duration::from_secs(30);
/// The most codes that a person gets within [`WINDOW`], over all logins.
const MOST: i32 = 10;
const WINDOW: Duration = Duration::from_hours(1);

/// Whether a code may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendPermission {
    /// It may be sent, and is counted.
    Allowed,
    /// The last code was sent less than 30 seconds ago.
    TooSoon,
    /// The limit for the last hour is reached.
    TooMany,
}

/// Requests permission to send a code. Of two concurrent requests, one gets it.
pub fn send(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<SendPermission> {
    let row: Option<(i64, i32, i64)> = mail_codes::table
        .find(user.as_str())
        .select((mail_codes::since, mail_codes::sent, mail_codes::last))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?
        .pop();
    let Some((since, sent, last)) = row else {
        let rows = diesel::insert_into(mail_codes::table)
            .values((
                mail_codes::resource_id.eq(user.as_str()),
                mail_codes::since.eq(now.0),
                mail_codes::sent.eq(1),
                mail_codes::last.eq(now.0),
            ))
            .suffix(" ON CONFLICT (resource_id) DO NOTHING")
            .execute(connection)?;
        return Ok(if rows == 1 {
            SendPermission::Allowed
        } else {
            SendPermission::TooSoon
        });
    };
    if within(last, now, PAUSE) {
        return Ok(SendPermission::TooSoon);
    }
    let (since, sent) = if within(since, now, WINDOW) {
        (since, sent)
    } else {
        (now.0, 0)
    };
    if sent >= MOST {
        return Ok(SendPermission::TooMany);
    }
    diesel::update(mail_codes::table.find(user.as_str()))
        .set((
            mail_codes::since.eq(since),
            mail_codes::sent.eq(sent + 1),
            mail_codes::last.eq(now.0),
        ))
        .execute(connection)?;
    Ok(SendPermission::Allowed)
}

fn within(then: i64, now: Timestamp, span: Duration) -> bool {
    // A clock that was set back must not keep users waiting.
    then <= now.0 && now.0 < Timestamp(then).plus(span).0
}

/// Starts a check of a code, which counts as wrong until [`pass`] is called. `false` if wrong codes have locked the
/// person's codes. Attempts of one person wait for each other until the open transaction ends.
pub fn attempt(connection: &mut SqlConnection, user: &ResourceId, now: Timestamp) -> QueryResult<bool> {
    let row: Option<(i32, i64)> = mail_codes::table
        .find(user.as_str())
        .select((mail_codes::failures, mail_codes::locked_until))
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?
        .pop();
    let Some((failures, _)) = row.filter(|(_, until)| *until <= now.0) else {
        return Ok(false);
    };
    set_failures(connection, user, failures + 1, locked_until(failures + 1, now))?;
    Ok(true)
}

/// Records a correct code: clears the failures and stores the fingerprint of the address that it proves.
pub(crate) fn pass(connection: &mut SqlConnection, user: &ResourceId, address: Option<&str>) -> QueryResult<()> {
    diesel::update(mail_codes::table.find(user.as_str()))
        .set(mail_codes::proved.eq(address))
        .execute(connection)?;
    set_failures(connection, user, 0, Timestamp(0))
}

/// Returns the fingerprint under which a verified address of a user is stored. The address cannot be read from it.
pub(crate) fn address_fingerprint(user: &ResourceId, email: &Email<'_>) -> String {
    random::fingerprint(&format!("verified-email/{user}/{}", email.mailbox()))
}

/// Returns the fingerprint of the address that a user last proved to own.
pub fn proved(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<Option<String>> {
    let proved: Option<Option<String>> = mail_codes::table
        .find(user.as_str())
        .select(mail_codes::proved)
        .first(connection)
        .optional()?;
    Ok(proved.flatten())
}

fn set_failures(connection: &mut SqlConnection, user: &ResourceId, failures: i32, until: Timestamp) -> QueryResult<()> {
    diesel::update(mail_codes::table.find(user.as_str()))
        .set((mail_codes::failures.eq(failures), mail_codes::locked_until.eq(until.0)))
        .execute(connection)
        .map(|_| ())
}

/// The id under which the codes are counted that people ask for before they have proved anything.
pub(crate) fn before_proof(user: &ResourceId) -> ResourceId {
    ResourceId::new(format!("{user}/proof"))
}

/// Deletes the counts of a user.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<()> {
    for id in [user, &before_proof(user)] {
        diesel::delete(mail_codes::table.find(id.as_str())).execute(connection)?;
    }
    Ok(())
}
