//! A worker: claims due rows, pushes them in order, and stores the outcomes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::storage::outbound::OutboundRow;
use crate::storage::outbound_claim::{self, Claim};
use crate::storage::{StorageError, random};

use super::circuit_breaker::Permit;
use super::lease::Lease;
use super::push::{Push, PushStop};
use super::push_outcome::{self, PushOutcome};
use super::target_context::TargetContext;

/// How long outcomes may wait to be stored together.
const FLUSH: Duration = Duration::from_millis(250);

/// Works until the engine stops.
pub(super) fn work(context: &TargetContext) {
    while !context.is_stopping() {
        let heard = context.jobs.notifications();
        match round(context) {
            Ok(true) => {}
            Ok(false) => context.jobs.wait(heard, context.pace.poll),
            Err(error) => {
                log::warn!("target {}: cannot push due rows: {error}", context.target());
                context.jobs.wait(heard, context.pace.poll);
            }
        }
    }
}

/// Claims one batch and pushes it; `false` if there is nothing to do now.
fn round(context: &TargetContext) -> Result<bool, StorageError> {
    let now = context.clock.now();
    if context.breaker.blocked_until(now).is_some() || !context.has_work(now)? {
        return Ok(false);
    }
    match context.breaker.enter(now) {
        Permit::Blocked => Ok(false),
        Permit::Allowed => take(context, i64::from(context.pace.batch)),
        Permit::Probe => {
            let worked = take(context, 1);
            // A push has recorded its result by now; without a push, the probe must not stay open.
            context.breaker.probe_inconclusive();
            worked
        }
    }
}

fn take(context: &TargetContext, limit: i64) -> Result<bool, StorageError> {
    let now = context.clock.now();
    let until = now.plus(context.pace.lease);
    let claim = Claim {
        target: context.target().clone(),
        owner: random::token(),
        now,
        lease_until: until,
        limit,
    };
    let lease = Arc::new(Lease::new(claim.target.clone(), claim.owner.clone(), until));
    let rows: Vec<OutboundRow> = context
        .database
        .write(move |connection| Ok::<_, StorageError>(outbound_claim::claim(connection, &claim)?))?;
    if rows.is_empty() {
        return Ok(false);
    }
    context.keeper.watch(Arc::downgrade(&lease));
    work_on(context, &lease, &rows)?;
    Ok(true)
}

/// Pushes rows in order. When the target asks for a pause or the engine stops, the rest is released unchanged.
fn work_on(context: &TargetContext, lease: &Lease, rows: &[OutboundRow]) -> Result<(), StorageError> {
    let mut outcomes: Vec<PushOutcome> = Vec::new();
    let mut written = Instant::now();
    let mut halted = false;
    for row in rows {
        let now = context.clock.now();
        let closed = context.breaker.blocked_until(now);
        if halted || context.is_stopping() || closed.is_some() {
            outcomes.push(push_outcome::untouched(row, closed.unwrap_or(now)));
            continue;
        }
        let mut push = Push::new(context, lease, row);
        let result = catch_unwind(AssertUnwindSafe(|| push.run()))
            .unwrap_or_else(|_| Err(PushStop::Here("the push panicked; the log has the details".to_owned())));
        halted = result.as_ref().is_err_and(PushStop::concerns_all);
        outcomes.extend(push_outcome::outcome(push, result)?);
        if written.elapsed() > FLUSH {
            push_outcome::write(context, lease, std::mem::take(&mut outcomes))?;
            written = Instant::now();
        }
    }
    push_outcome::write(context, lease, outcomes)
}
