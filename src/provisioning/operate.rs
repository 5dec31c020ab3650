//! What a person asks about a target and does to it, on our records alone: it works beside a running engine.

use crate::domain::{ResourceId, TargetName, Timestamp};
use crate::storage::outbound::{OutboundRow, OutboundState};
use crate::storage::{Database, StorageError, outbound, targets};

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
            Which::Resource(id) => outbound::replay_one(connection, &name, id, now)?,
            Which::Everything => {
                let states = [
                    OutboundState::Failed,
                    OutboundState::Synced,
                    OutboundState::Retrying,
                    OutboundState::Pending,
                ];
                outbound::replay(connection, &name, &states, now)?
            }
        })
    })
}

/// What failed at a target, at most `limit` resources.
pub fn failed(database: &Database, target: &TargetName, limit: u16) -> Result<Vec<OutboundRow>, StorageError> {
    database.read(|connection| outbound::in_state(connection, target, OutboundState::Failed, i64::from(limit)))
}
