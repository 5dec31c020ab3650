//! Stores the outcomes of pushes: row states, sent members, and groups waiting for a new member.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Kind, TargetName, Timestamp};
use crate::storage::outbound::{OutboundRow, OutboundState};
use crate::storage::outbound_claim::{self, Settled};
use crate::storage::outbound_members::{self, Groups};
use crate::storage::{SqlConnection, StorageError};

use super::connector::PushError;
use super::lane::{Lane, dice};
use super::lease::Lease;
use super::metrics::count;
use super::push::{End, Notes, Push, Stop};

/// The outcome to store for one row.
pub(super) struct Outcome {
    settled: Settled,
    notes: Notes,
    kind: Kind,
    /// Whether the target had the resource under another id before.
    moved: bool,
    /// The id of the resource at the target, or its id before it was removed.
    account: Option<String>,
    end: Option<End>,
}

/// Returns the outcome that releases a row unchanged, due at `at`.
pub(super) fn untouched(row: &OutboundRow, at: Timestamp) -> Outcome {
    Outcome {
        settled: Settled {
            resource_id: row.resource_id.clone(),
            claimed: row.wanted,
            state: OutboundState::Pending,
            pushed: row.pushed,
            remote_id: row.remote_id.clone(),
            sent: row.sent.clone(),
            attempts: row.attempts - 1,
            next_attempt: at,
            last_error: row.last_error.clone(),
        },
        notes: Notes::default(),
        kind: row.kind.clone(),
        moved: false,
        account: None,
        end: None,
    }
}

/// Returns the outcome of a push; `None` if its lease is lost and the row must not be written.
pub(super) fn outcome(push: Push<'_>, result: Result<End, Stop>) -> Result<Option<Outcome>, StorageError> {
    let (lane, row, now) = (push.lane, push.row, push.lane.clock.now());
    let mut outcome = untouched(row, now);
    outcome.settled.remote_id = push.remote.map(|id| id.0);
    outcome.account.clone_from(&outcome.settled.remote_id);
    outcome.settled.sent = push.sent.map(|sent| serde_json::Value::Object(sent).to_string());
    outcome.moved = push.notes.new_remote && row.remote_id.is_some();
    outcome.notes = push.notes;
    let settled = &mut outcome.settled;
    match result {
        Ok(end) => {
            lane.gate.went_well();
            outcome.end = Some(end);
            succeed(lane, row, &mut outcome, end);
        }
        Err(Stop::LeaseLost) => return Ok(None),
        Err(Stop::Fuse) => {
            let most = lane.settings.max_deletes;
            lane.pause(format!(
                "more than {most} accounts would be removed within an hour: review the deletions, then resume"
            ))?;
        }
        Err(Stop::Here(cause)) => retry(lane, settled, row.attempts, None, cause),
        Err(Stop::Target(PushError::Retry {
            after,
            unreachable,
            cause,
        })) => {
            if let Some(after) = after {
                lane.gate.hold(now.plus(after));
            }
            if unreachable {
                lane.gate.unreachable(now, dice());
            } else {
                lane.gate.went_well();
            }
            retry(lane, settled, row.attempts, after, cause);
        }
        Err(Stop::Target(error @ PushError::Unauthorized { .. })) => {
            lane.gate.went_well();
            // The target may have processed the request although the answer was lost, so the next try checks.
            settled.attempts = row.attempts;
            lane.pause(error.to_string())?;
        }
        Err(Stop::Target(error)) => {
            lane.gate.went_well();
            count(&lane.counters.failed);
            (settled.state, settled.attempts, settled.last_error) =
                (OutboundState::Failed, row.attempts, Some(error.to_string()));
            log::warn!(
                "target {}: {} {} was not accepted: {error}",
                lane.target(),
                row.kind,
                row.resource_id
            );
        }
    }
    Ok(Some(outcome))
}

fn succeed(lane: &Lane, row: &OutboundRow, outcome: &mut Outcome, end: End) {
    let settled = &mut outcome.settled;
    settled.pushed = row.wanted;
    settled.attempts = 0;
    settled.last_error = None;
    settled.state = match end {
        End::Synced => OutboundState::Synced,
        End::Removed | End::Deactivated => OutboundState::Gone,
    };
    if end == End::Removed {
        if settled.remote_id.is_none() {
            // The target never had it, so the delete limit does not count it.
            settled.pushed = 0;
        }
        (settled.remote_id, settled.sent) = (None, None);
    }
    match outcome.notes.refused_member.take() {
        Some(refusal) => {
            count(&lane.counters.failed);
            (settled.state, settled.attempts, settled.last_error) = (OutboundState::Failed, 1, Some(refusal));
        }
        None => count(&lane.counters.pushed),
    }
}

/// Schedules the next try of a row.
fn retry(lane: &Lane, settled: &mut Settled, tries: i32, after: Option<Duration>, cause: String) {
    count(&lane.counters.retried);
    settled.state = OutboundState::Retrying;
    settled.attempts = tries;
    settled.next_attempt = lane.retry_at(lane.clock.now(), tries, after);
    settled.last_error = Some(cause);
}

/// Stores outcomes in one transaction and releases the rows.
pub(super) fn write(lane: &Lane, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StorageError> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let outcomes = Arc::new(outcomes);
    let (target, owner, now) = (lane.target().clone(), lease.owner.clone(), lane.clock.now());
    let woken: usize = lane.database.write(move |connection| {
        let mut ours = Vec::new();
        for outcome in outcomes.iter() {
            if outbound_claim::settle(connection, &target, &owner, &outcome.settled)? {
                ours.push(outcome);
            }
        }
        let mut woken = 0;
        for outcome in ours {
            woken += follow_up(connection, &target, outcome, now)?;
        }
        Ok::<_, StorageError>(woken)
    })?;
    if woken > 0 {
        lane.jobs.ring();
    }
    Ok(())
}

/// Updates memberships after a row's new state. Returns how many groups became due.
fn follow_up(
    connection: &mut SqlConnection,
    target: &TargetName,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<usize, StorageError> {
    let id = &outcome.settled.resource_id;
    match outcome.end {
        // A resource that never was at the target may still come: a membership can be older than its member.
        Some(End::Removed) if outcome.settled.pushed == 0 => return Ok(0),
        Some(End::Removed | End::Deactivated) => {
            if outcome.kind == Kind::GROUP {
                outbound_members::forget_group(connection, target, id)?;
            }
            let account = outcome.account.as_deref().unwrap_or_default();
            let former = outbound_members::leave_all(connection, target, id, account)?;
            return Ok(outbound_members::wake_groups(
                connection,
                target,
                &Groups::Of(&former),
                now,
            )?);
        }
        Some(End::Synced) | None => {}
    }
    if outcome.moved {
        outbound_members::resend_member(connection, target, id)?;
    }
    let mut woken = 0;
    if outcome.kind == Kind::GROUP {
        if outcome.moved {
            outbound_members::resend_group(connection, target, id)?;
        }
        for (member, is_in) in &outcome.notes.members {
            outbound_members::note_sent(connection, target, id, member, *is_in)?;
        }
        woken += outbound_members::wake_groups(connection, target, &Groups::One(id), now)?;
    }
    if outcome.notes.new_remote {
        woken += outbound_members::wake_groups(connection, target, &Groups::Of(id), now)?;
    }
    Ok(woken)
}
