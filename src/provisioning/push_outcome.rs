//! Decides and stores the outcome of a push: done, retried later, failed, or the target paused or held back.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Kind, TargetName, Timestamp};
use crate::storage::outbound::{self, OutboundRow, OutboundState};
use crate::storage::outbound_claim::{self, RecordedOutcome};
use crate::storage::outbound_members::{self, GroupSelection};
use crate::storage::{SqlConnection, StorageError};

use super::connector::PushError;
use super::lease::Lease;
use super::metrics::count;
use super::push::{Push, PushEnd, PushNotes, PushStop};
use super::target_context::{TargetContext, dice};

/// The outcome to store for one row.
pub(super) struct PushOutcome {
    settled: RecordedOutcome,
    notes: PushNotes,
    kind: Kind,
    /// Whether the target had the resource under another id before.
    moved: bool,
    /// The id of the resource at the target, or its id before it was removed.
    account: Option<String>,
    end: Option<PushEnd>,
}

impl PushOutcome {
    /// Returns the outcome to store in place of one that cannot be stored: the row needs an administrator. The target's
    /// own words are left out.
    fn unstorable(&self, cause: &str) -> Self {
        Self {
            settled: RecordedOutcome {
                state: OutboundState::Failed,
                pushed: unpushed(self.settled.pushed, self.settled.claimed),
                remote_id: None,
                sent: None,
                attempts: self.settled.attempts.max(1),
                last_error: Some(cause.replace('\0', "")),
                ..self.settled.clone()
            },
            notes: PushNotes::default(),
            kind: self.kind.clone(),
            moved: false,
            account: None,
            end: None,
        }
    }
}

/// Returns the outcome that releases a row unchanged, due at `at`.
pub(super) fn untouched(row: &OutboundRow, at: Timestamp) -> PushOutcome {
    PushOutcome {
        settled: RecordedOutcome {
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
        notes: PushNotes::default(),
        kind: row.kind.clone(),
        moved: false,
        account: None,
        end: None,
    }
}

/// Returns the outcome of a push; `None` if its lease is lost and the row must not be written.
pub(super) fn outcome(push: Push<'_>, result: Result<PushEnd, PushStop>) -> Result<Option<PushOutcome>, StorageError> {
    let (context, row, now) = (push.context, push.row, push.context.clock.now());
    let mut outcome = untouched(row, now);
    outcome.settled.remote_id = push.remote.map(|id| id.0);
    outcome.account.clone_from(&outcome.settled.remote_id);
    outcome.settled.sent = push.sent.map(|sent| serde_json::Value::Object(sent).to_string());
    outcome.moved = push.notes.new_remote && row.remote_id.is_some();
    // A push that got somewhere is the first of a new series: one that takes many requests would otherwise wait longer and
    // longer at a target that fails now and then.
    let progress = !push.notes.members.is_empty() || push.notes.new_remote || outcome.settled.sent != row.sent;
    let tries = if progress { 1 } else { row.attempts };
    outcome.notes = push.notes;
    let settled = &mut outcome.settled;
    match result {
        Ok(end) => {
            context.breaker.succeeded();
            outcome.end = Some(end);
            succeed(context, row, &mut outcome, end);
        }
        Err(PushStop::LeaseLost) => return Ok(None),
        Err(PushStop::DeleteLimit) => {
            let most = context.settings.max_deletes;
            context.pause(format!(
                "more than {most} accounts would be removed within an hour: review the deletions, then resume"
            ))?;
        }
        Err(PushStop::Here(cause)) => retry(context, settled, tries, None, cause),
        Err(PushStop::Target(PushError::Retry {
            after,
            unreachable,
            cause,
        })) => {
            if let Some(after) = after {
                context.breaker.hold(now.plus(after));
            }
            if unreachable {
                context.breaker.unreachable(now, dice());
            } else {
                context.breaker.succeeded();
            }
            retry(context, settled, tries, after, cause);
        }
        Err(PushStop::Target(error @ PushError::Unauthorized { .. })) => {
            context.breaker.succeeded();
            // The target may have processed the request although the answer was lost, so the next try checks.
            settled.attempts = row.attempts;
            context.pause(error.to_string())?;
        }
        Err(PushStop::Target(error)) => {
            context.breaker.succeeded();
            count(&context.counters.failed);
            settled.pushed = unpushed(settled.pushed, row.wanted);
            (settled.state, settled.attempts, settled.last_error) =
                (OutboundState::Failed, row.attempts, Some(error.to_string()));
            log::warn!(
                "target {}: {} {} was not accepted: {error}",
                context.target(),
                row.kind,
                row.resource_id
            );
        }
    }
    Ok(Some(outcome))
}

fn succeed(context: &TargetContext, row: &OutboundRow, outcome: &mut PushOutcome, end: PushEnd) {
    let settled = &mut outcome.settled;
    settled.pushed = row.wanted;
    settled.attempts = 0;
    settled.last_error = None;
    settled.state = match end {
        PushEnd::Synced => OutboundState::Synced,
        PushEnd::Removed | PushEnd::Deactivated => OutboundState::Gone,
    };
    if end == PushEnd::Removed {
        if settled.remote_id.is_none() {
            // The target never had it, so the delete limit does not count it.
            settled.pushed = 0;
        }
        (settled.remote_id, settled.sent) = (None, None);
    }
    let notes = &outcome.notes;
    if notes.refused.is_empty() {
        count(&context.counters.pushed);
    } else {
        count(&context.counters.failed);
    }
    let refusal = notes
        .refused
        .first()
        .map(|(_, cause)| cause)
        .or(notes.refused_before.as_ref());
    if let Some(refusal) = refusal {
        (settled.state, settled.attempts, settled.last_error) = (OutboundState::Failed, 1, Some(refusal.clone()));
    }
}

/// Returns the value of `pushed` for a resource that failed as a whole. It is less than `wanted`, which sets it apart from a
/// group of which only a member was refused, and which goes on by itself.
fn unpushed(pushed: i64, wanted: i64) -> i64 {
    pushed.min(wanted - 1)
}

/// Schedules the next try of a row.
fn retry(context: &TargetContext, settled: &mut RecordedOutcome, tries: i32, after: Option<Duration>, cause: String) {
    count(&context.counters.retried);
    settled.state = OutboundState::Retrying;
    settled.attempts = tries;
    settled.next_attempt = next_try(context, tries, after);
    settled.last_error = Some(cause);
}

/// Returns when a row is due again after so many tries: after a backoff, and not before the target's `Retry-After`.
fn next_try(context: &TargetContext, tries: i32, after: Option<Duration>) -> Timestamp {
    let backoff = context
        .settings
        .backoff
        .jittered(u32::try_from(tries).unwrap_or(1), dice());
    context.clock.now().plus(backoff.max(after.unwrap_or_default()))
}

/// Stores outcomes in one transaction and releases the rows. If the database rejects one, each is stored separately, so
/// that the others are not sent again.
pub(super) fn write(context: &TargetContext, lease: &Lease, outcomes: Vec<PushOutcome>) -> Result<(), StorageError> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let outcomes: Vec<Arc<PushOutcome>> = outcomes.into_iter().map(Arc::new).collect();
    match write_together(context, lease, outcomes.clone()) {
        Err(StorageError::Failed(_)) => {}
        done => return done,
    }
    for outcome in outcomes {
        match write_together(context, lease, vec![Arc::clone(&outcome)]) {
            Err(error @ StorageError::Failed(_)) => {
                log::error!(
                    "target {}: the outcome for {} {} cannot be stored: {error}",
                    context.target(),
                    outcome.kind,
                    outcome.settled.resource_id
                );
                write_together(context, lease, vec![Arc::new(outcome.unstorable(&error.to_string()))])?;
            }
            done => done?,
        }
    }
    Ok(())
}

fn write_together(context: &TargetContext, lease: &Lease, outcomes: Vec<Arc<PushOutcome>>) -> Result<(), StorageError> {
    let (target, owner, now) = (context.target().clone(), lease.owner.clone(), context.clock.now());
    let woken: usize = context.database.write(move |connection| {
        let mut ours = Vec::new();
        for outcome in &outcomes {
            let outcome = &with_own_id(connection, &target, outcome)?;
            if outbound_claim::record_outcome(connection, &target, &owner, &outcome.settled)? {
                ours.push(Arc::clone(outcome));
            }
        }
        let mut woken = 0;
        for outcome in ours {
            woken += follow_up(connection, &target, &outcome, now)?;
        }
        Ok::<_, StorageError>(woken)
    })?;
    if woken > 0 {
        context.jobs.notify();
    }
    Ok(())
}

/// Returns an outcome, or a failure if the target gave the resource an id that another one has: a change or a deletion of
/// the one would meet the other.
fn with_own_id(
    connection: &mut SqlConnection,
    target: &TargetName,
    outcome: &Arc<PushOutcome>,
) -> Result<Arc<PushOutcome>, StorageError> {
    let settled = &outcome.settled;
    if let Some(remote) = settled.remote_id.as_ref().filter(|_| outcome.notes.new_remote)
        && let Some(owner) = outbound::owner_of(connection, target, remote)?
        && owner != settled.resource_id
    {
        let cause = format!("the target gave it the id that it gave to {owner}");
        log::error!("target {target}: {} {}: {cause}", outcome.kind, settled.resource_id);
        return Ok(Arc::new(outcome.unstorable(&cause)));
    }
    Ok(Arc::clone(outcome))
}

/// Updates memberships after a row's new state. Returns how many groups became due.
fn follow_up(
    connection: &mut SqlConnection,
    target: &TargetName,
    outcome: &PushOutcome,
    now: Timestamp,
) -> Result<usize, StorageError> {
    let id = &outcome.settled.resource_id;
    match outcome.end {
        Some(PushEnd::Removed) if outcome.settled.pushed == 0 => {
            // A user that never was at the target may still come: a membership can be older than its member.
            if outcome.kind == Kind::GROUP {
                outbound_members::forget_group(connection, target, id)?;
            }
            return Ok(0);
        }
        Some(PushEnd::Removed | PushEnd::Deactivated) => {
            if outcome.kind == Kind::GROUP {
                outbound_members::forget_group(connection, target, id)?;
            }
            let account = outcome.account.as_deref().unwrap_or_default();
            let former = outbound_members::leave_all(connection, target, id, account)?;
            return Ok(outbound_members::wake_groups(
                connection,
                target,
                &GroupSelection::Of(&former),
                now,
            )?);
        }
        Some(PushEnd::Synced) | None => {}
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
        for (member, cause) in &outcome.notes.refused {
            outbound_members::note_refused(connection, target, (id, member), cause)?;
        }
        woken += outbound_members::wake_groups(connection, target, &GroupSelection::One(id), now)?;
    }
    if outcome.notes.new_remote {
        woken += outbound_members::wake_groups(connection, target, &GroupSelection::Of(id), now)?;
    }
    Ok(woken)
}
