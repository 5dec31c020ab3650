//! The claims of workers on outbound rows: taken under a lease, returned with an outcome.
//! A worker whose lease has expired can write nothing.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use super::connection::{PreparedDsl, SqlConnection, SuffixDsl, any_of, each};
use super::outbound::{DUE, OutboundRow, OutboundState};
use super::tables::{outbound, targets};
use crate::domain::{ResourceId, TargetName, Timestamp};

/// A worker's request for work.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The target.
    pub target: TargetName,
    /// The name under which the worker holds the rows; unique for each claim.
    pub owner: String,
    /// The current time.
    pub now: Timestamp,
    /// The end of the lease.
    pub lease_until: Timestamp,
    /// The most rows to take.
    pub limit: i64,
}

/// Takes due rows; none while the target is paused. No two claims get the same row while its lease is valid.
pub fn claim(connection: &mut SqlConnection, claim: &Claim) -> QueryResult<Vec<OutboundRow>> {
    let reason: Option<Option<String>> = targets::table
        .find(claim.target.as_str())
        .select(targets::paused)
        .first(connection)
        .optional()?;
    if reason.flatten().is_some() {
        return Ok(Vec::new());
    }
    let mut rows: Vec<OutboundRow> = Vec::new();
    for state in DUE {
        let free = claim.limit - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        // Retries take at most half of each batch, so that new changes are not held up.
        let limit = if state == OutboundState::Retrying {
            (free / 2).max(1)
        } else {
            free
        };
        if free > 0 {
            rows.extend(due(connection, claim, state, limit)?);
        }
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.resource_id.as_str()).collect();
    if !ids.is_empty() {
        diesel::update(
            outbound::table
                .filter(outbound::target.eq(claim.target.as_str()))
                .filter(any_of(outbound::resource_id, ids)),
        )
        .set((
            outbound::state.eq(OutboundState::InFlight.as_str()),
            outbound::owner.eq(&claim.owner),
            outbound::lease_until.eq(claim.lease_until.0),
            outbound::attempts.eq(outbound::attempts + 1),
        ))
        .returning(outbound::resource_id)
        .prepared()
        .load::<String>(connection)?;
    }
    for row in &mut rows {
        row.state = OutboundState::InFlight;
        row.attempts += 1;
    }
    Ok(rows)
}

fn due(
    connection: &mut SqlConnection,
    claim: &Claim,
    state: OutboundState,
    limit: i64,
) -> QueryResult<Vec<OutboundRow>> {
    outbound::table
        .filter(outbound::target.eq(claim.target.as_str()))
        .filter(outbound::state.eq(state.as_str()))
        .filter(outbound::next_attempt.le(claim.now.0))
        .filter(outbound::lease_until.le(claim.now.0))
        .order(outbound::next_attempt)
        .limit(limit)
        .select(OutboundRow::as_select())
        .suffix_postgres(" FOR UPDATE SKIP LOCKED")
        .load(connection)
}

/// Extends the lease on an owner's rows. Returns the number of rows that it still held: none once the lease has
/// expired.
pub(crate) fn renew(
    connection: &mut SqlConnection,
    target: &TargetName,
    owner: &str,
    now: Timestamp,
    until: Timestamp,
) -> QueryResult<usize> {
    diesel::update(
        outbound::table
            .filter(outbound::target.eq(target.as_str()))
            .filter(outbound::state.eq(OutboundState::InFlight.as_str()))
            .filter(outbound::owner.eq(owner))
            .filter(outbound::lease_until.gt(now.0)),
    )
    .set(outbound::lease_until.eq(until.0))
    .execute(connection)
}

/// The outcome of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedOutcome {
    /// The resource.
    pub resource_id: ResourceId,
    /// The value of `wanted` when the push began.
    pub claimed: i64,
    /// The new state, unless `wanted` has grown in the meantime.
    pub state: OutboundState,
    /// The new value of `pushed`.
    pub pushed: i64,
    /// The target's id of the resource, if known.
    pub remote_id: Option<String>,
    /// The attributes last sent to the target.
    pub sent: Option<String>,
    /// The new value of `attempts`.
    pub attempts: i32,
    /// The time at which it is due again.
    pub next_attempt: Timestamp,
    /// The error, if any.
    pub last_error: Option<String>,
}

/// Stores the outcome of a push and releases the row. `false`, without a change, if another worker holds the row by
/// now.
pub(crate) fn record_outcome(
    connection: &mut SqlConnection,
    target: &TargetName,
    owner: &str,
    settled: &RecordedOutcome,
) -> QueryResult<bool> {
    const SQL: &str = "UPDATE outbound SET remote_id = $1, sent = $2, pushed = $3, attempts = $4, next_attempt = $5, last_error = $6, \
        state = CASE WHEN wanted <> $7 AND $8 IN ('synced', 'gone', 'failed') THEN 'pending' ELSE $8 END, lease_until = 0, owner = NULL \
        WHERE target = $9 AND resource_id = $10 AND owner = $11 AND state = 'in_flight'";
    each!(connection, c => diesel::sql_query(SQL)
        .bind::<Nullable<Text>, _>(settled.remote_id.as_deref())
        .bind::<Nullable<Text>, _>(settled.sent.as_deref())
        .bind::<BigInt, _>(settled.pushed)
        .bind::<Integer, _>(settled.attempts)
        .bind::<BigInt, _>(settled.next_attempt.0)
        .bind::<Nullable<Text>, _>(settled.last_error.as_deref().map(|text| text.replace('\0', "")))
        .bind::<BigInt, _>(settled.claimed)
        .bind::<Text, _>(settled.state.as_str())
        .bind::<Text, _>(target.as_str())
        .bind::<Text, _>(settled.resource_id.as_str())
        .bind::<Text, _>(owner)
        .execute(c))
    .map(|rows| rows == 1)
}
