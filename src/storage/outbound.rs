//! The wanted and the pushed state of each resource at each target: one row per pair.
//! The table is at once the queue, the identity mapping, the list of retries and the list of failures.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::connection::{PreparedDsl, SqlConnection, any_of, each};
use super::tables::outbound;
use crate::domain::{Kind, ResourceId, ServiceProviderName, StoreName, TargetName, Timestamp, Version};

/// The state of pushing one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutboundState {
    /// Waits to be pushed.
    Pending,
    /// A worker is pushing it.
    InFlight,
    /// The target is up to date.
    Synced,
    /// The last push failed with a temporary error.
    Retrying,
    /// The last push failed, and needs an administrator or another change.
    Failed,
    /// Deleted at the target.
    Gone,
}

impl OutboundState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::InFlight,
        Self::Synced,
        Self::Retrying,
        Self::Failed,
        Self::Gone,
    ];

    /// The state's name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InFlight => "in_flight",
            Self::Synced => "synced",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }

    pub(super) fn parse(word: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
            .unwrap_or(Self::Pending)
    }
}

/// One stored row.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = outbound)]
pub struct OutboundRow {
    /// The resource.
    pub resource_id: ResourceId,
    /// Its type.
    pub kind: Kind,
    /// The store that owns it.
    pub store: StoreName,
    /// The service provider through which the resource became known at the target.
    pub service_provider: ServiceProviderName,
    /// The state of the push.
    pub state: OutboundState,
    /// The number of the wanted state; grows with every change.
    pub wanted: i64,
    /// The value of `wanted` that was last pushed.
    pub pushed: i64,
    /// The target's own id of the resource.
    pub remote_id: Option<String>,
    /// The attributes that were last sent, a JSON object.
    pub sent: Option<String>,
    /// The number of pushes since the last successful one, including the current one.
    pub attempts: i32,
    /// The time at which it is due; for a deleted one, the time of the deletion.
    pub next_attempt: Timestamp,
    /// The time of the oldest change that was not pushed yet.
    pub changed: Timestamp,
    /// The last error.
    pub last_error: Option<String>,
}

/// A change to be pushed to a target.
#[derive(Clone, Debug)]
pub struct OutboundChange {
    /// The resource.
    pub resource_id: ResourceId,
    /// Its type.
    pub kind: Kind,
    /// Its store.
    pub store: StoreName,
    /// The service provider on whose behalf it changed.
    pub service_provider: ServiceProviderName,
    /// The version after the change.
    pub version: Version,
    /// The time of the change.
    pub changed: Timestamp,
}

/// Makes resources due at the target; each is listed once. A row that waits for a retry keeps waiting; one that a worker is
/// pushing becomes due again when the worker is done, since `wanted` always grows.
pub fn want(
    connection: &mut SqlConnection,
    target: &TargetName,
    changes: &[OutboundChange],
    now: Timestamp,
) -> QueryResult<()> {
    // Both databases number `$n` alike as long as they first appear in order.
    let listed = match connection {
        SqlConnection::Postgres(_) => {
            "SELECT $1, c->>'id', c->>'kind', c->>'store', c->>'service_provider', 'pending', (c->>'version')::bigint, 0, 0, $2, 0, (c->>'changed')::bigint \
            FROM json_array_elements($3::json) AS listed (c)"
        }
        SqlConnection::Sqlite(_) => {
            "SELECT $1, value->>'id', value->>'kind', value->>'store', value->>'service_provider', 'pending', value->>'version', 0, 0, $2, 0, value->>'changed' \
            FROM json_each($3) WHERE true"
        }
    };
    let sql = format!(
        "INSERT INTO outbound (target, resource_id, kind, store, service_provider, state, wanted, pushed, attempts, next_attempt, lease_until, changed) \
        {listed} \
        ON CONFLICT (target, resource_id) DO UPDATE SET kind = excluded.kind, store = excluded.store, \
        wanted = CASE WHEN excluded.wanted > outbound.wanted THEN excluded.wanted ELSE outbound.wanted + 1 END, \
        changed = CASE WHEN outbound.state IN ('synced', 'gone') THEN excluded.changed ELSE outbound.changed END, \
        attempts = CASE WHEN outbound.state = 'failed' AND outbound.attempts > 1 THEN 1 ELSE outbound.attempts END, \
        next_attempt = CASE WHEN outbound.state IN ('synced', 'gone', 'failed') THEN excluded.next_attempt ELSE outbound.next_attempt END, \
        state = CASE WHEN outbound.state IN ('synced', 'gone', 'failed') THEN 'pending' ELSE outbound.state END"
    );
    let changes: serde_json::Value = changes
        .iter()
        .map(|change| {
            serde_json::json!({
                "id": change.resource_id.as_str(),
                "kind": change.kind.as_str(),
                "store": change.store.as_str(),
                "service_provider": change.service_provider.as_str(),
                "version": change.version.0,
                "changed": change.changed.0,
            })
        })
        .collect();
    each!(connection, c => diesel::sql_query(sql)
        .bind::<Text, _>(target.as_str())
        .bind::<BigInt, _>(now.0)
        .bind::<Text, _>(changes.to_string())
        .prepared()
        .execute(c))
    .map(|_| ())
}

/// Returns those of the resources for which the target has a row.
pub(crate) fn known<'a>(
    connection: &mut SqlConnection,
    target: &TargetName,
    ids: impl IntoIterator<Item = &'a str>,
) -> QueryResult<Vec<ResourceId>> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(any_of(outbound::resource_id, ids))
        .select(outbound::resource_id)
        .load(connection)
}

/// Returns the row of one resource.
pub fn find(connection: &mut SqlConnection, target: &TargetName, id: &ResourceId) -> QueryResult<Option<OutboundRow>> {
    outbound::table
        .find((target.as_str(), id.as_str()))
        .select(OutboundRow::as_select())
        .first(connection)
        .optional()
}

/// Returns the rows of one resource at all targets, with the targets' names.
pub fn of_resource(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<Vec<(TargetName, OutboundRow)>> {
    outbound::table
        .filter(outbound::resource_id.eq(id.as_str()))
        .order(outbound::target)
        .select((outbound::target, OutboundRow::as_select()))
        .load(connection)
}

/// Returns the rows of a target in one state, ordered by due time.
pub fn in_state(
    connection: &mut SqlConnection,
    target: &TargetName,
    state: OutboundState,
    limit: i64,
) -> QueryResult<Vec<OutboundRow>> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq(state.as_str()))
        .order(outbound::next_attempt)
        .limit(limit)
        .select(OutboundRow::as_select())
        .load(connection)
}

/// Returns the resource that the target knows under a remote id, unless it was deleted there.
pub fn owner_of(
    connection: &mut SqlConnection,
    target: &TargetName,
    remote_id: &str,
) -> QueryResult<Option<ResourceId>> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::remote_id.eq(remote_id))
        .filter(outbound::state.ne(OutboundState::Gone.as_str()))
        .select(outbound::resource_id)
        .first(connection)
        .optional()
}

/// Whether a row is due. Needs no write, so that idle workers can ask often.
pub fn is_due(connection: &mut SqlConnection, target: &TargetName, now: Timestamp) -> QueryResult<bool> {
    let first: Option<String> = outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq_any(DUE.map(OutboundState::as_str)))
        .filter(outbound::next_attempt.le(now.0))
        .filter(outbound::lease_until.le(now.0))
        .select(outbound::resource_id)
        .limit(1)
        .first(connection)
        .optional()?;
    Ok(first.is_some())
}

/// Whether a row is still to be pushed without intervention, now or later. One statement, since rows change state.
pub fn is_waiting(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<bool> {
    let first: Option<String> = outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq_any(DUE.map(OutboundState::as_str)))
        .select(outbound::resource_id)
        .limit(1)
        .first(connection)
        .optional()?;
    Ok(first.is_some())
}

/// The states that a worker takes rows from, in order: left by a dead worker, failed before, new.
pub(super) const DUE: [OutboundState; 3] = [OutboundState::InFlight, OutboundState::Retrying, OutboundState::Pending];

/// Returns the number of rows of a target in each state; states without rows are left out.
pub fn counts(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<Vec<(OutboundState, i64)>> {
    let rows: Vec<(String, i64)> = outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .group_by(outbound::state)
        .select((outbound::state, diesel::dsl::count_star()))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|(state, count)| (OutboundState::parse(&state), count))
        .collect())
}

/// Returns the time of the oldest change that was not pushed to the target yet; `None` if it has all.
pub(crate) fn oldest_change(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<Option<Timestamp>> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq_any(DUE.map(OutboundState::as_str)))
        .select(diesel::dsl::min(outbound::changed))
        .first(connection)
}

/// Returns the number of rows that wait to be pushed to the target, and the time of the oldest change among them.
pub(crate) fn backlog(connection: &mut SqlConnection, target: &TargetName) -> QueryResult<(i64, Option<Timestamp>)> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq_any(DUE.map(OutboundState::as_str)))
        .select((diesel::dsl::count_star(), diesel::dsl::min(outbound::changed)))
        .first(connection)
}

/// Returns the number of resources deleted at the target since a time.
pub(crate) fn removed_since(connection: &mut SqlConnection, target: &TargetName, since: Timestamp) -> QueryResult<i64> {
    outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::state.eq(OutboundState::Gone.as_str()))
        .filter(outbound::next_attempt.gt(since.0))
        .filter(outbound::pushed.gt(0))
        .count()
        .get_result(connection)
}

/// A part of a table in the order of its keys.
#[derive(Clone, Copy, Debug)]
pub struct TablePart<'a> {
    /// The key before the first one.
    pub after: &'a str,
    /// The most rows.
    pub limit: i64,
}

/// Makes rows of a target due now and clears what was sent, so that everything is sent again: those in one of the states
/// in this part of its resources. Returns the number of rows, and the last of these resources; `None`
/// at the end.
pub fn replay(
    connection: &mut SqlConnection,
    target: &TargetName,
    states: &[OutboundState],
    now: Timestamp,
    part: TablePart<'_>,
) -> QueryResult<(usize, Option<String>)> {
    let next: Vec<String> = outbound::table
        .filter(outbound::target.eq(target.as_str()))
        .filter(outbound::resource_id.gt(part.after))
        .order(outbound::resource_id)
        .limit(part.limit)
        .select(outbound::resource_id)
        .load(connection)?;
    let Some(last) = next.last() else { return Ok((0, None)) };
    let count = diesel::update(
        outbound::table
            .filter(outbound::target.eq(target.as_str()))
            .filter(any_of(outbound::resource_id, next.iter().map(String::as_str)))
            .filter(outbound::state.eq_any(states.iter().map(|state| state.as_str()))),
    )
    .set((
        outbound::state.eq(OutboundState::Pending.as_str()),
        outbound::sent.eq(None::<String>),
        outbound::next_attempt.eq(now.0),
    ))
    .execute(connection)?;
    Ok((count, Some(last.clone())))
}

/// Like `replay`, for one resource in any state other than in flight. Returns the number of rows: 0 or 1.
pub(crate) fn replay_one(
    connection: &mut SqlConnection,
    target: &TargetName,
    id: &ResourceId,
    now: Timestamp,
) -> QueryResult<usize> {
    diesel::update(
        outbound::table
            .find((target.as_str(), id.as_str()))
            .filter(outbound::state.ne(OutboundState::InFlight.as_str())),
    )
    .set((
        outbound::state.eq(OutboundState::Pending.as_str()),
        outbound::sent.eq(None::<String>),
        outbound::next_attempt.eq(now.0),
    ))
    .execute(connection)
}

/// Deletes at most `limit` rows of resources that were deleted at the target before a time: nothing refers to them any
/// more, since an id is never used again. Returns their number.
pub(crate) fn delete_gone(
    connection: &mut SqlConnection,
    target: &TargetName,
    before: Timestamp,
    limit: i64,
) -> QueryResult<usize> {
    let gone = || {
        outbound::table
            .filter(outbound::target.eq(target.as_str()))
            .filter(outbound::state.eq(OutboundState::Gone.as_str()))
    };
    let next: Vec<String> = gone()
        .filter(outbound::next_attempt.lt(before.0))
        .select(outbound::resource_id)
        .limit(limit)
        .load(connection)?;
    diesel::delete(gone().filter(any_of(outbound::resource_id, next.iter().map(String::as_str)))).execute(connection)
}
