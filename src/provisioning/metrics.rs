//! The counters of the provisioning engine.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::TargetName;

/// The counters of one target since the start, and its current lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetMetrics {
    /// The target.
    pub target: TargetName,
    /// Successful pushes.
    pub pushed: u64,
    /// Resources created.
    pub created: u64,
    /// Resources updated.
    pub updated: u64,
    /// Resources removed or deactivated.
    pub removed: u64,
    /// Memberships changed.
    pub members: u64,
    /// Pushes that will be retried.
    pub retried: u64,
    /// Failed pushes that need an administrator.
    pub failed: u64,
    /// Resources that are waiting to be pushed.
    pub waiting: u64,
    /// Age of the oldest change that the target does not have yet, in milliseconds.
    pub lag_ms: u64,
}

/// The counters that the workers increase.
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

/// Increases a counter by one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Increases a counter by `more`.
pub(super) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    /// Returns the current values.
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
