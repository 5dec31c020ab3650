//! Leases: a worker's claim on the rows that it took, renewed while it works. A worker that was asleep past its lease
//! finds it lost and sends nothing more.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::domain::{Clock, TargetName, Timestamp};
use crate::storage::{Database, StorageError, outbound_claim};

/// A worker's hold on the rows of one claim.
#[derive(Debug)]
pub(super) struct Lease {
    /// The name under which the rows are held.
    pub(super) owner: String,
    target: TargetName,
    until: AtomicI64,
}

impl Lease {
    /// A lease that runs until a moment.
    pub(super) fn new(target: TargetName, owner: String, until: Timestamp) -> Self {
        Self {
            owner,
            target,
            until: AtomicI64::new(until.0),
        }
    }

    /// Whether the rows are still ours.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        now.0 < self.until.load(Ordering::Acquire)
    }
}

/// Renews the leases of all workers of this process.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Vec<Weak<Lease>>>);

impl Keeper {
    /// Looks after a lease for as long as its worker keeps it.
    pub(super) fn watch(&self, lease: Weak<Lease>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }

    /// Renews every lease that has not run out; one that has stays lost.
    pub(super) fn renew(&self, database: &Database, clock: &Clock, span: Duration) -> Result<(), StorageError> {
        let held: Vec<_> = {
            let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            leases.retain(|lease| lease.strong_count() > 0);
            leases.iter().filter_map(Weak::upgrade).collect()
        };
        for lease in held {
            let now = clock.now();
            if !lease.is_held(now) {
                continue;
            }
            let (target, owner, until) = (lease.target.clone(), lease.owner.clone(), now.plus(span));
            let rows: usize = database.write(move |connection| {
                Ok::<_, StorageError>(outbound_claim::renew(connection, &target, &owner, now, until)?)
            })?;
            if rows > 0 {
                lease.until.store(until.0, Ordering::Release);
            }
        }
        Ok(())
    }
}
