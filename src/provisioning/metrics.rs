//! What the engine counts, as plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::TargetName;

/// One target's counts since the start, and how far behind it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetMetrics {
    /// The target.
    pub target: TargetName,
    /// Pushes that went well.
    pub pushed: u64,
    /// Resources created.
    pub created: u64,
    /// Resources updated.
    pub updated: u64,
    /// Resources removed or deactivated.
    pub removed: u64,
    /// Memberships changed.
    pub members: u64,
    /// Pushes that will be tried again.
    pub retried: u64,
    /// Pushes that need a person.
    pub failed: u64,
    /// Resources that wait to be pushed.
    pub waiting: u64,
    /// Age of the oldest change that the target has not got yet, in milliseconds.
    pub lag_ms: u64,
}

/// Counts as the workers keep them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) pushed: AtomicU64,
    pub(super) created: AtomicU64,
    pub(super) updated: AtomicU64,
    pub(super) removed: AtomicU64,
    pub(super) members: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// So many more.
pub(super) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    /// The counts now.
    pub(super) fn read(&self, target: &TargetName, waiting: u64, lag_ms: u64) -> TargetMetrics {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TargetMetrics {
            target: target.clone(),
            pushed: value(&self.pushed),
            created: value(&self.created),
            updated: value(&self.updated),
            removed: value(&self.removed),
            members: value(&self.members),
            retried: value(&self.retried),
            failed: value(&self.failed),
            waiting,
            lag_ms,
        }
    }
}
