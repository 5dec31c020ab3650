//! Which service providers know of a session, and who of them is still to be told of its end
//! (OpenID Connect Back-Channel Logout 1.0).

use std::collections::HashMap;

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, any_of, each};
use super::tables::{logouts, session_clients};
use super::{random, sessions};
use crate::domain::{ResourceId, Timestamp};

/// What a service provider has learned of a session.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The session.
    pub session_hash: String,
    /// The service provider's `client_id`.
    pub client_id: String,
    /// How it calls the session.
    pub sid: String,
}

/// The end of a session that a service provider is to be told of.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
pub struct Logout {
    /// Its id.
    pub id: String,
    /// The service provider's `client_id`.
    pub client_id: String,
    /// Whose session it was.
    #[diesel(column_name = resource_id)]
    pub user: ResourceId,
    /// How the service provider calls the session.
    pub sid: String,
    /// How often it has been tried, this time included.
    pub attempts: i32,
}

/// Writes down who knows of a session that has not ended by `now`; the session cannot end before the open transaction
/// does.
pub fn learn(connection: &mut SqlConnection, learned: &Learned, now: Timestamp) -> QueryResult<()> {
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

/// What was known of one session is now known of the one that takes its place.
pub fn move_to_session(connection: &mut SqlConnection, from: &str, to: &str) -> QueryResult<()> {
    diesel::update(session_clients::table.filter(session_clients::session_hash.eq(from)))
        .set(session_clients::session_hash.eq(to))
        .execute(connection)
        .map(|_| ())
}

/// Has everybody told who knows of these sessions. They were removed by the open transaction.
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

/// Whether anything is due at `now`.
pub fn is_due(connection: &mut SqlConnection, now: Timestamp) -> QueryResult<bool> {
    let due = logouts::table
        .filter(logouts::next_attempt.le(now.0))
        .select(logouts::id);
    let first: Option<String> = due.first(connection).optional()?;
    Ok(first.is_some())
}

/// Takes what is due longest and keeps others from it until `until`.
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

/// Nothing more is to be done.
pub fn settle(connection: &mut SqlConnection, id: &str) -> QueryResult<()> {
    diesel::delete(logouts::table.find(id)).execute(connection).map(|_| ())
}

/// It did not work: again at `at`, and with it whatever else is due for the same service provider.
pub fn postpone(connection: &mut SqlConnection, logout: &Logout, now: Timestamp, at: Timestamp) -> QueryResult<()> {
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

/// Gives up what nobody has taken since `since`; returns how many.
pub fn delete_older(connection: &mut SqlConnection, since: Timestamp) -> QueryResult<usize> {
    diesel::delete(logouts::table.filter(logouts::created.le(since.0))).execute(connection)
}
