//! What a person asks about a target and does to it, on our records alone: it works beside a running engine.

use crate::domain::{ResourceId, TargetName, Timestamp};
use crate::storage::outbound::{OutboundRow, OutboundState};
use crate::storage::{Database, StorageError, outbound, outbound_members, targets};

/// The states whose rows can be sent again: all but those under way and those that are gone.
const REPLAYABLE: [OutboundState; 4] = [
    OutboundState::Failed,
    OutboundState::Synced,
    OutboundState::Retrying,
    OutboundState::Pending,
];

/// How a target is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// The target.
    pub target: TargetName,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// How many resources are in each state; states without any are left out.
    pub counts: Vec<(OutboundState, i64)>,
    /// When the oldest change was made that it has not got yet.
    pub oldest_change: Option<Timestamp>,
}

/// What to push again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that failed.
    Failed,
    /// One resource.
    Resource(ResourceId),
    /// Everything that is or was to be there.
    Everything,
}

/// Whether something has still to be done about a row by itself.
pub fn is_waiting(state: OutboundState) -> bool {
    matches!(
        state,
        OutboundState::Pending | OutboundState::InFlight | OutboundState::Retrying
    )
}

/// How a target is doing, read from our records alone.
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

/// Makes rows due again, as a whole. Gives how many. A running engine takes them up by itself.
pub fn replay(database: &Database, target: &TargetName, which: Which, now: Timestamp) -> Result<usize, StorageError> {
    let name = target.clone();
    database.write(move |connection| {
        Ok(match &which {
            Which::Failed => outbound::replay(connection, &name, &[OutboundState::Failed], now)?,
            Which::Resource(id) => {
                outbound_members::resend_wanted(connection, &name, Some(id))?;
                outbound::replay_one(connection, &name, id, now)?
            }
            Which::Everything => {
                outbound_members::resend_wanted(connection, &name, None)?;
                outbound::replay(connection, &name, &REPLAYABLE, now)?
            }
        })
    })
}

/// What [`replay`] would make due again, at most `limit` resources.
pub fn preview(
    database: &Database,
    target: &TargetName,
    which: &Which,
    limit: u16,
) -> Result<Vec<OutboundRow>, StorageError> {
    let limit = i64::from(limit);
    database.read(|connection| match which {
        Which::Failed => outbound::in_state(connection, target, OutboundState::Failed, limit),
        Which::Resource(id) => Ok(outbound::find(connection, target, id)?.into_iter().collect()),
        Which::Everything => {
            let mut rows = Vec::new();
            for state in REPLAYABLE {
                rows.extend(outbound::in_state(connection, target, state, limit)?);
            }
            Ok(rows)
        }
    })
}

/// Stops pushing to a target, for a reason that `status` shows. A running engine heeds it at once.
pub fn pause(database: &Database, target: &TargetName, reason: &str) -> Result<(), StorageError> {
    let (target, reason) = (target.clone(), reason.to_owned());
    database.write(move |connection| {
        targets::ensure(connection, &target)?;
        Ok(targets::set_paused(connection, &target, Some(&reason))?)
    })
}

/// Lets a target go on. A running engine takes the removals that blew its fuse as meant.
pub fn resume(database: &Database, target: &TargetName) -> Result<(), StorageError> {
    let target = target.clone();
    database.write(move |connection| Ok(targets::set_paused(connection, &target, None)?))
}

/// What failed at a target, at most `limit` resources.
pub fn failed(database: &Database, target: &TargetName, limit: u16) -> Result<Vec<OutboundRow>, StorageError> {
    database.read(|connection| outbound::in_state(connection, target, OutboundState::Failed, i64::from(limit)))
}
