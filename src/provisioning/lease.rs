//! Leases on the rows that a worker claimed, renewed while it works.
//!
//! A worker that resumes after its lease expired finds it lost and sends nothing more.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::domain::{Clock, TargetName, Timestamp};
use crate::storage::{Database, StorageError, outbound_claim};

/// The lease of a worker on the rows of one claim.
#[derive(Debug)]
pub(super) struct Lease {
    /// The owner that the rows are claimed with.
    pub(super) owner: String,
    target: TargetName,
    until: AtomicI64,
}

impl Lease {
    /// Returns a lease that expires at `until`.
    pub(super) fn new(target: TargetName, owner: String, until: Timestamp) -> Self {
        Self {
            owner,
            target,
            until: AtomicI64::new(until.0),
        }
    }

    /// Returns whether the lease has not expired.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        now.0 < self.until.load(Ordering::Acquire)
    }
}

/// Renews the leases of all workers of this process.
#[derive(Default)]
pub(super) struct LeaseRenewer(Mutex<Vec<Weak<Lease>>>);

impl LeaseRenewer {
    /// Renews a lease as long as its worker keeps it.
    pub(super) fn watch(&self, lease: Weak<Lease>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }

    /// Renews every lease that has not expired; an expired one stays lost.
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
