//! Status, replay, pause and resume of a target, for administrators.
//!
//! They use only the database, and work while an engine is running.

use std::time::Duration;

use crate::domain::{ResourceId, TargetName, Timestamp};
use crate::storage::outbound::{OutboundRow, OutboundState, TablePart};
use crate::storage::outbound_members::MemberPlace;
use crate::storage::{Database, StorageError, outbound, outbound_members, parked_records, sweep, targets};

/// The states whose rows can be sent again: all but those being sent and those that are gone.
const REPLAYABLE: [OutboundState; 4] = [
    OutboundState::Failed,
    OutboundState::Synced,
    OutboundState::Retrying,
    OutboundState::Pending,
];

/// The status of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// The target.
    pub target: TargetName,
    /// The reason of the pause, if it is paused.
    pub paused: Option<String>,
    /// The number of resources in each state; states without any are left out.
    pub counts: Vec<(OutboundState, i64)>,
    /// The time of the oldest change that it does not have yet.
    pub oldest_change: Option<Timestamp>,
    /// The number of journal records that could not be recorded for it and were set aside; the log has the causes.
    pub parked: i64,
}

/// The resources to push again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayScope {
    /// All that failed to be pushed.
    Failed,
    /// One resource.
    Resource(ResourceId),
    /// All resources that the target has or should have.
    Everything,
}

/// Returns the status of a target, read from the database.
pub fn status(database: &Database, target: &TargetName) -> Result<TargetStatus, StorageError> {
    database.read(|connection| {
        Ok(TargetStatus {
            target: target.clone(),
            paused: targets::paused(connection, target)?,
            counts: outbound::counts(connection, target)?,
            oldest_change: outbound::oldest_change(connection, target)?,
            parked: parked_records::count(connection, target)?,
        })
    })
}

/// The most rows that one step of a replay changes.
const STEP: i64 = 500;

/// Makes rows due again, to be sent in full, and returns their number. A running engine picks them up. It works in steps,
/// so that nobody waits for it long; one that is interrupted may be repeated.
pub fn replay(
    database: &Database,
    target: &TargetName,
    which: ReplayScope,
    now: Timestamp,
) -> Result<usize, StorageError> {
    match which {
        ReplayScope::Failed => {
            forget_refusals(database, target)?;
            replay_states(database, target, &[OutboundState::Failed], now)
        }
        ReplayScope::Resource(id) => {
            resend_members(database, target, Some(&id))?;
            let name = target.clone();
            database.write(move |connection| Ok(outbound::replay_one(connection, &name, &id, now)?))
        }
        ReplayScope::Everything => {
            resend_members(database, target, None)?;
            replay_states(database, target, &REPLAYABLE, now)
        }
    }
}

fn replay_states(
    database: &Database,
    target: &TargetName,
    states: &'static [OutboundState],
    now: Timestamp,
) -> Result<usize, StorageError> {
    let (mut total, mut last) = (0, String::new());
    loop {
        let (target, after) = (target.clone(), last);
        let (count, end) = database.write::<_, StorageError>(move |connection| {
            let part = TablePart {
                after: &after,
                limit: STEP,
            };
            Ok(outbound::replay(connection, &target, states, now, part)?)
        })?;
        total += count;
        match end {
            Some(end) => last = end,
            None => return Ok(total),
        }
    }
}

fn forget_refusals(database: &Database, target: &TargetName) -> Result<(), StorageError> {
    loop {
        let name = target.clone();
        let forgotten = database.write::<_, StorageError>(move |connection| {
            Ok(outbound_members::forget_refusals(connection, &name, STEP)?)
        })?;
        if forgotten == 0 {
            return Ok(());
        }
    }
}

fn resend_members(database: &Database, target: &TargetName, group: Option<&ResourceId>) -> Result<(), StorageError> {
    let mut next = Some(MemberPlace {
        group: group.map_or("", ResourceId::as_str).to_owned(),
        member: String::new(),
        only_group: group.is_some(),
    });
    while let Some(place) = next {
        let target = target.clone();
        next = database.write::<_, StorageError>(move |connection| {
            Ok(outbound_members::resend_wanted(connection, &target, &place, STEP)?)
        })?;
    }
    Ok(())
}

/// Returns the rows that [`replay`] would make due again, at most `limit` per state.
pub fn preview(
    database: &Database,
    target: &TargetName,
    which: &ReplayScope,
    limit: u16,
) -> Result<Vec<OutboundRow>, StorageError> {
    let limit = i64::from(limit);
    database.read(|connection| match which {
        ReplayScope::Failed => outbound::in_state(connection, target, OutboundState::Failed, limit),
        ReplayScope::Resource(id) => Ok(outbound::find(connection, target, id)?.into_iter().collect()),
        ReplayScope::Everything => {
            let mut rows = Vec::new();
            for state in REPLAYABLE {
                rows.extend(outbound::in_state(connection, target, state, limit)?);
            }
            Ok(rows)
        }
    })
}

/// Pauses a target, for a reason that `status` shows. A running engine obeys at once.
pub fn pause(database: &Database, target: &TargetName, reason: &str) -> Result<(), StorageError> {
    let (target, reason) = (target.clone(), reason.to_owned());
    database.write(move |connection| {
        targets::ensure(connection, &target)?;
        Ok(targets::set_paused(connection, &target, Some(&reason))?)
    })
}

/// Resumes a target. A running engine takes the removals that reached the delete limit as confirmed.
pub fn resume(database: &Database, target: &TargetName) -> Result<(), StorageError> {
    let target = target.clone();
    database.write(move |connection| Ok(targets::set_paused(connection, &target, None)?))
}

/// How long the row of a resource that was removed at a target is kept: much longer than the window of the delete limit
/// that counts it.
const GONE_KEPT: Duration = Duration::from_hours(7 * 24);

/// Removes the rows of resources that were removed at their targets long ago. Returns their number.
pub(crate) fn sweep(database: &Database, now: Timestamp) -> Result<usize, StorageError> {
    let (targets, before) = (database.read::<_, StorageError>(targets::names)?, now.minus(GONE_KEPT));
    let mut removed = 0;
    for target in targets {
        removed += sweep::in_steps(database, move |connection, limit| {
            outbound::delete_gone(connection, &target, before, limit)
        })?;
    }
    Ok(removed)
}

/// Returns the failed resources of a target, at most `limit`.
pub fn failed(database: &Database, target: &TargetName, limit: u16) -> Result<Vec<OutboundRow>, StorageError> {
    database.read(|connection| outbound::in_state(connection, target, OutboundState::Failed, i64::from(limit)))
}
