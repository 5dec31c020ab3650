//! The service providers that know a session, and the logout tokens still to be sent to them.
//! See OpenID Connect Back-Channel Logout 1.0.

use std::collections::HashMap;

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, any_of, each};
use super::tables::{logouts, session_clients};
use super::{random, sessions};
use crate::domain::{ResourceId, Timestamp};

/// The data about a session that a service provider has received.
#[derive(Clone, Debug)]
pub(crate) struct SessionClient {
    /// The session.
    pub session_hash: String,
    /// The service provider's `client_id`.
    pub client_id: String,
    /// The service provider's `sid` of the session.
    pub sid: String,
}

/// The end of a session that a service provider must be notified of.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct Logout {
    /// Its id.
    pub id: String,
    /// The service provider's `client_id`.
    pub client_id: String,
    /// The user of the session.
    #[diesel(column_name = resource_id)]
    pub user: ResourceId,
    /// The session's `sid` at the service provider.
    pub sid: String,
    /// The number of attempts, including the current one.
    pub attempts: i32,
}

/// Records that a service provider knows a session, unless that has ended by `now`; the session cannot end before the
/// open transaction does.
pub(crate) fn record_session_client(
    connection: &mut SqlConnection,
    learned: &SessionClient,
    now: Timestamp,
) -> QueryResult<()> {
    if sessions::hold(connection, &learned.session_hash, now)?.is_none() {
        return Ok(());
    }
    let row = (
        session_clients::session_hash.eq(&learned.session_hash),
        session_clients::client_id.eq(&learned.client_id),
        session_clients::sid.eq(&learned.sid),
    );
    each!(connection, c => diesel::insert_into(session_clients::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(c))
    .map(|_| ())
}

/// Moves the records of a session to the session that replaces it.
pub(crate) fn move_to_session(connection: &mut SqlConnection, from: &str, to: &str) -> QueryResult<()> {
    diesel::update(session_clients::table.filter(session_clients::session_hash.eq(from)))
        .set(session_clients::session_hash.eq(to))
        .execute(connection)
        .map(|_| ())
}

/// Queues notifications to all service providers that know these sessions, which the open transaction has deleted.
pub(super) fn announce(
    connection: &mut SqlConnection,
    ended: &[(String, ResourceId)],
    now: Timestamp,
) -> QueryResult<()> {
    if ended.is_empty() {
        return Ok(());
    }
    let users: HashMap<&str, &ResourceId> = ended.iter().map(|(hash, user)| (hash.as_str(), user)).collect();
    let known = session_clients::table.filter(any_of(session_clients::session_hash, users.keys().copied()));
    let told: Vec<(String, String, String)> = diesel::delete(known)
        .returning((
            session_clients::session_hash,
            session_clients::client_id,
            session_clients::sid,
        ))
        .prepared()
        .load(connection)?;
    for (session_hash, client_id, sid) in told {
        let Some(user) = users.get(session_hash.as_str()) else {
            continue;
        };
        diesel::insert_into(logouts::table)
            .values((
                logouts::id.eq(random::token()),
                logouts::client_id.eq(client_id),
                logouts::resource_id.eq(user.as_str()),
                logouts::sid.eq(sid),
                logouts::created.eq(now.0),
                logouts::attempts.eq(0),
                logouts::next_attempt.eq(now.0),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Whether a notification is due at `now`.
pub fn is_due(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<bool> {
    let due = logouts::table
        .filter(logouts::next_attempt.le(now.0))
        .select(logouts::id);
    let first: Option<String> = due.first(connection).optional()?;
    Ok(first.is_some())
}

/// Takes the notification that has been due longest and reserves it until `until`.
pub fn claim(connection: &mut SqlConnection, now: Timestamp, until: Timestamp) -> QueryResult<Option<Logout>> {
    let due: Vec<Logout> = logouts::table
        .filter(logouts::next_attempt.le(now.0))
        .order(logouts::next_attempt)
        .limit(1)
        .select(Logout::as_select())
        .suffix_postgres(" FOR UPDATE SKIP LOCKED")
        .load(connection)?;
    let Some(mut logout) = due.into_iter().next() else {
        return Ok(None);
    };
    logout.attempts += 1;
    diesel::update(logouts::table.find(&logout.id))
        .set((logouts::attempts.eq(logout.attempts), logouts::next_attempt.eq(until.0)))
        .execute(connection)?;
    Ok(Some(logout))
}

/// Deletes a notification that needs no further attempt.
pub fn delete(connection: &mut SqlConnection, id: &str) -> QueryResult<()> {
    diesel::delete(logouts::table.find(id)).execute(connection).map(|_| ())
}

/// Schedules another attempt at `at`, and postpones the other due notifications of the same service provider.
pub(crate) fn postpone(
    connection: &mut SqlConnection,
    logout: &Logout,
    now: Timestamp,
    at: Timestamp,
) -> QueryResult<()> {
    let own = logouts::table
        .find(&logout.id)
        .filter(logouts::attempts.eq(logout.attempts));
    diesel::update(own)
        .set(logouts::next_attempt.eq(at.0))
        .execute(connection)?;
    let others = logouts::table
        .filter(logouts::client_id.eq(&logout.client_id))
        .filter(logouts::next_attempt.le(now.0));
    diesel::update(others)
        .set(logouts::next_attempt.eq(at.0))
        .execute(connection)
        .map(|_| ())
}

/// Gives up at most `limit` of the notifications that were created by `since`; returns their number.
pub fn delete_older(connection: &mut SqlConnection, since: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<String> = logouts::table
        .filter(logouts::created.le(since.0))
        .select(logouts::id)
        .limit(limit)
        .load(connection)?;
    diesel::delete(logouts::table.filter(any_of(logouts::id, next.iter().map(String::as_str)))).execute(connection)
}
