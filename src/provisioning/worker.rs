//! A worker: claims due rows, pushes them in order, and stores the outcomes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::storage::outbound::OutboundRow;
use crate::storage::outbound_claim::{self, Claim};
use crate::storage::{StorageError, random};

use super::gate::Pass;
use super::lane::Lane;
use super::lease::Lease;
use super::push::{Push, Stop};
use super::settle::{self, Outcome};

/// How long outcomes may wait to be stored together.
const FLUSH: Duration = Duration::from_millis(250);

/// Works until the engine stops.
pub(super) fn work(lane: &Lane) {
    while !lane.is_stopping() {
        let heard = lane.jobs.rings();
        match round(lane) {
            Ok(true) => {}
            Ok(false) => lane.jobs.wait(heard, lane.pace.poll),
            Err(error) => {
                log::warn!("target {}: cannot push due rows: {error}", lane.target());
                lane.jobs.wait(heard, lane.pace.poll);
            }
        }
    }
}

/// Claims one batch and pushes it; `false` if there is nothing to do now.
fn round(lane: &Lane) -> Result<bool, StorageError> {
    let now = lane.clock.now();
    if lane.gate.closed_until(now).is_some() || !lane.has_work(now)? {
        return Ok(false);
    }
    match lane.gate.enter(now) {
        Pass::Closed => Ok(false),
        Pass::Open => take(lane, i64::from(lane.pace.batch)),
        Pass::Probe => {
            let worked = take(lane, 1);
            // A push has recorded its result by now; without a push, the probe must not stay open.
            lane.gate.probed_nothing();
            worked
        }
    }
}

fn take(lane: &Lane, limit: i64) -> Result<bool, StorageError> {
    let now = lane.clock.now();
    let until = now.plus(lane.pace.lease);
    let claim = Claim {
        target: lane.target().clone(),
        owner: random::token(),
        now,
        lease_until: until,
        limit,
    };
    let lease = Arc::new(Lease::new(claim.target.clone(), claim.owner.clone(), until));
    let rows: Vec<OutboundRow> = lane
        .database
        .write(move |connection| Ok::<_, StorageError>(outbound_claim::claim(connection, &claim)?))?;
    if rows.is_empty() {
        return Ok(false);
    }
    lane.keeper.watch(Arc::downgrade(&lease));
    work_on(lane, &lease, &rows)?;
    Ok(true)
}

/// Pushes rows in order. When the target asks for a pause or the engine stops, the rest is released unchanged.
fn work_on(lane: &Lane, lease: &Lease, rows: &[OutboundRow]) -> Result<(), StorageError> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut written = Instant::now();
    let mut halted = false;
    for row in rows {
        let now = lane.clock.now();
        let closed = lane.gate.closed_until(now);
        if halted || lane.is_stopping() || closed.is_some() {
            outcomes.push(settle::untouched(row, closed.unwrap_or(now)));
            continue;
        }
        let mut push = Push::new(lane, lease, row);
        let result = catch_unwind(AssertUnwindSafe(|| push.run()))
            .unwrap_or_else(|_| Err(Stop::Here("the push panicked; the log has the details".to_owned())));
        halted = result.as_ref().is_err_and(Stop::concerns_all);
        outcomes.extend(settle::outcome(push, result)?);
        if written.elapsed() > FLUSH {
            settle::write(lane, lease, std::mem::take(&mut outcomes))?;
            written = Instant::now();
        }
    }
    settle::write(lane, lease, outcomes)
}
