//! Status, replay, pause and resume of a target, for administrators.
//!
//! They use only the database, and work while an engine is running.

use crate::domain::{ResourceId, TargetName, Timestamp};
use crate::storage::outbound::{OutboundRow, OutboundState};
use crate::storage::{Database, StorageError, outbound, outbound_members, targets};

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

/// Returns whether a row in this state is still to be pushed without further action.
pub fn is_waiting(state: OutboundState) -> bool {
    matches!(
        state,
        OutboundState::Pending | OutboundState::InFlight | OutboundState::Retrying
    )
}

/// Returns the status of a target, read from the database.
pub fn status(database: &Database, target: &TargetName) -> Result<TargetStatus, StorageError> {
    database.read(|connection| {
        Ok(TargetStatus {
            target: target.clone(),
            paused: targets::paused(connection, target)?,
            counts: outbound::counts(connection, target)?,
            oldest_change: outbound::oldest_change(connection, target)?,
        })
    })
}

/// Makes rows due again, to be sent in full, and returns their number. A running engine picks them up.
pub fn replay(
    database: &Database,
    target: &TargetName,
    which: ReplayScope,
    now: Timestamp,
) -> Result<usize, StorageError> {
    let name = target.clone();
    database.write(move |connection| {
        Ok(match &which {
            ReplayScope::Failed => outbound::replay(connection, &name, &[OutboundState::Failed], now)?,
            ReplayScope::Resource(id) => {
                outbound_members::resend_wanted(connection, &name, Some(id))?;
                outbound::replay_one(connection, &name, id, now)?
            }
            ReplayScope::Everything => {
                outbound_members::resend_wanted(connection, &name, None)?;
                outbound::replay(connection, &name, &REPLAYABLE, now)?
            }
        })
    })
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

/// Returns the failed resources of a target, at most `limit`.
pub fn failed(database: &Database, target: &TargetName, limit: u16) -> Result<Vec<OutboundRow>, StorageError> {
    database.read(|connection| outbound::in_state(connection, target, OutboundState::Failed, i64::from(limit)))
}
