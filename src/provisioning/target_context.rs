//! The state that the threads of one target share, independent of other targets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{Clock, TargetName, Timestamp};
use crate::storage::{Database, StorageError, outbound, random, targets};

use super::circuit_breaker::CircuitBreaker;
use super::connector::Connector;
use super::lease::LeaseRenewer;
use super::metrics::Counters;
use super::settings::{OutboundRule, TargetSettings};
use super::source::Source;

/// The state that the threads of one target share.
pub(super) struct TargetContext {
    pub(super) settings: TargetSettings,
    /// The rules that name this target.
    pub(super) rules: Vec<OutboundRule>,
    pub(super) connector: Arc<dyn Connector>,
    pub(super) source: Source,
    pub(super) database: Database,
    pub(super) clock: Clock,
    pub(super) breaker: CircuitBreaker,
    pub(super) counters: Counters,
    pub(super) keeper: Arc<LeaseRenewer>,
    /// Notifies when the journal has grown.
    pub(super) news: Notifier,
    /// Notifies when rows are due.
    pub(super) jobs: Notifier,
    pub(super) pace: Pacing,
    pub(super) stopping: Arc<AtomicBool>,
    /// Whether the target was paused at the last check.
    pub(super) paused: AtomicBool,
    /// The last count of waiting rows, with its time.
    pub(super) backlog: Mutex<Option<(Timestamp, Backlog)>>,
}

/// The rows that wait to be pushed to a target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    /// The number of rows.
    pub(super) rows: i64,
    /// The time of the oldest change among them.
    pub(super) oldest: Option<Timestamp>,
}

/// How long a count of what waits is shown. A count looks at every row that waits.
const COUNTED: Duration = Duration::from_secs(10);

/// The timing and batch size of the threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing {
    pub(super) poll: Duration,
    pub(super) lease: Duration,
    pub(super) batch: u16,
}

impl TargetContext {
    /// Returns the target's name.
    pub(super) fn target(&self) -> &TargetName {
        &self.settings.name
    }

    /// Returns whether the threads must end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Returns whether rows are due. It only reads, so that idle workers can call it often.
    pub(super) fn has_work(&self, now: Timestamp) -> Result<bool, StorageError> {
        let (paused, due) = self.database.read::<_, StorageError>(|connection| {
            let paused = targets::paused(connection, self.target())?.is_some();
            Ok((paused, !paused && outbound::is_due(connection, self.target(), now)?))
        })?;
        // An administrator resumed it, here or in another process.
        if self.paused.swap(paused, Ordering::AcqRel) && !paused {
            self.breaker.reset(now);
        }
        Ok(due)
    }

    /// Returns what waits to be pushed; it is counted again at most every ten seconds, however many ask.
    pub(super) fn backlog(&self, now: Timestamp) -> Result<Backlog, StorageError> {
        let mut last = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, backlog)) = *last
            && at.plus(COUNTED) > now
        {
            return Ok(backlog);
        }
        let (rows, oldest) = self
            .database
            .read::<_, StorageError>(|connection| outbound::backlog(connection, self.target()))?;
        let backlog = Backlog { rows, oldest };
        *last = Some((now, backlog));
        Ok(backlog)
    }

    /// Pauses the target until an administrator resumes it.
    pub(super) fn pause(&self, reason: String) -> Result<(), StorageError> {
        log::warn!("target {}: paused: {reason}", self.target());
        self.paused.store(true, Ordering::Release);
        let target = self.target().clone();
        self.database
            .write(move |connection| Ok::<_, StorageError>(targets::set_paused(connection, &target, Some(&reason))?))
    }
}

/// Returns a random number from 0 to 255.
pub(super) fn dice() -> u8 {
    random::bytes::<1>()[0]
}

/// Wakes sleeping threads. A notification between looking for work and sleeping is not lost.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    notifications: Mutex<u64>,
    condition: Condvar,
}

impl Notifier {
    /// Returns the number of notifications so far. Read it before looking for work.
    pub(super) fn notifications(&self) -> u64 {
        *self.notifications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all waiting threads.
    pub(super) fn notify(&self) {
        *self.notifications.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.condition.notify_all();
    }

    /// Sleeps until a notification after `heard`, and no longer than `span`.
    pub(super) fn wait(&self, heard: u64, span: Duration) {
        let notifications = self.notifications.lock().unwrap_or_else(PoisonError::into_inner);
        // The caller looks for work in either case, so the result does not matter.
        drop(
            self.condition
                .wait_timeout_while(notifications, span, |notifications| *notifications == heard),
        );
    }
}
