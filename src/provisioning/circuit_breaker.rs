//! Protects a target from overload: a circuit breaker, requested pauses, and the delete limit.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;

use crate::domain::backoff::Backoff;

/// The number of consecutive failures that open the circuit.
const FAILURES: u32 = 5;
/// The longest time between two probes of a target that does not answer.
const LONGEST_BREAK: Duration = Duration::from_mins(1);
/// The time window in which removals are counted.
pub(super) const WINDOW: Duration = Duration::from_hours(1);

/// Whether a worker may send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Without restriction.
    Allowed,
    /// With one row, to test whether the target answers again.
    Probe,
    /// Not now.
    Blocked,
}

/// The circuit breaker and delete limit of one target, shared by its workers.
pub(super) struct CircuitBreaker {
    backoff: Backoff,
    max_removals: usize,
    state: Mutex<BreakerState>,
}

struct BreakerState {
    failures: u32,
    blocked_until: Timestamp,
    probing: bool,
    removals: VecDeque<Timestamp>,
    limit_off_until: Timestamp,
}

impl CircuitBreaker {
    /// Returns an instance that lets requests through and has already counted some removals.
    pub(super) fn new(backoff: Backoff, max_removals: u32, removals: usize, now: Timestamp) -> Self {
        let max_removals = usize::try_from(max_removals).unwrap_or(usize::MAX);
        let backoff = Backoff {
            base: backoff.base,
            cap: backoff.cap.min(LONGEST_BREAK),
        };
        let state = BreakerState {
            failures: 0,
            blocked_until: Timestamp(i64::MIN),
            probing: false,
            removals: std::iter::repeat_n(now, removals.min(max_removals)).collect(),
            limit_off_until: Timestamp(i64::MIN),
        };
        Self {
            backoff,
            max_removals,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for permission to send. After [`Permit::Probe`], all others get [`Permit::Blocked`] until [`CircuitBreaker::succeeded`],
    /// [`CircuitBreaker::unreachable`] or [`CircuitBreaker::probe_inconclusive`].
    pub(super) fn enter(&self, now: Timestamp) -> Permit {
        let mut state = self.state();
        if now < state.blocked_until || state.probing {
            Permit::Blocked
        } else if state.failures >= FAILURES {
            state.probing = true;
            Permit::Probe
        } else {
            Permit::Allowed
        }
    }

    /// Returns until when no request may be sent; `None` if one may.
    pub(super) fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.state().blocked_until).filter(|until| now < *until)
    }

    /// Records that a probe ended without a result about the target.
    pub(super) fn probe_inconclusive(&self) {
        self.state().probing = false;
    }

    /// Records that the target answered.
    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.probing = false;
    }

    /// Records that the target did not answer. Enough consecutive failures stop all requests for a while.
    pub(super) fn unreachable(&self, now: Timestamp, dice: u8) {
        let mut state = self.state();
        state.failures += 1;
        state.probing = false;
        if state.failures >= FAILURES {
            let until = now.plus(self.backoff.jittered(state.failures - FAILURES + 1, dice));
            state.blocked_until = state.blocked_until.max(until);
        }
    }

    /// Stops all requests until a time that the target asked for.
    pub(super) fn hold(&self, until: Timestamp) {
        let mut state = self.state();
        state.blocked_until = state.blocked_until.max(until);
    }

    /// Counts a removal. Returns `false` if the limit for the last hour is reached, so that this one must not be sent.
    pub(super) fn count_removal(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        if now < state.limit_off_until {
            return true;
        }
        let since = now.minus(WINDOW);
        while state.removals.front().is_some_and(|at| *at <= since) {
            state.removals.pop_front();
        }
        if state.removals.len() >= self.max_removals {
            return false;
        }
        state.removals.push_back(now);
        true
    }

    /// Uncounts a removal that was not made.
    pub(super) fn uncount_removal(&self) {
        self.state().removals.pop_back();
    }

    /// Resets after an administrator resumed the target: it is tried at once, and removals are not limited for an hour.
    pub(super) fn reset(&self, now: Timestamp) {
        let mut state = self.state();
        state.failures = 0;
        state.blocked_until = Timestamp(i64::MIN);
        state.removals.clear();
        state.limit_off_until = now.plus(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(max_removals: u32) -> CircuitBreaker {
        CircuitBreaker::new(
            Backoff::new(std::time::Duration::from_secs(1), std::time::Duration::from_hours(1)),
            max_removals,
            0,
            Timestamp(0),
        )
    }

    fn second(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    #[test]
    fn five_failures_stop_requests_until_a_probe_succeeds() {
        let breaker = breaker(1);
        for _ in 0..5 {
            assert_eq!(breaker.enter(second(0)), Permit::Allowed);
            breaker.unreachable(second(0), 0);
        }
        assert_eq!(breaker.enter(second(0)), Permit::Blocked);
        assert_eq!(breaker.enter(second(1)), Permit::Probe);
        assert_eq!(breaker.enter(second(1)), Permit::Blocked, "one probe at a time");
        breaker.unreachable(second(1), 0);
        assert_eq!(breaker.enter(second(2)), Permit::Blocked, "the wait has doubled");
        assert_eq!(breaker.enter(second(3)), Permit::Probe);
        breaker.succeeded();
        assert_eq!(breaker.enter(second(3)), Permit::Allowed);
    }

    #[test]
    fn only_consecutive_failures_stop_requests() {
        let breaker = breaker(1);
        for _ in 0..20 {
            breaker.unreachable(second(0), 0);
            breaker.succeeded();
        }
        assert_eq!(breaker.enter(second(0)), Permit::Allowed);
    }

    #[test]
    fn requested_pause_is_not_shortened_by_a_later_one() {
        let breaker = breaker(1);
        breaker.hold(second(7));
        breaker.hold(second(3));
        assert_eq!(breaker.enter(second(6)), Permit::Blocked);
        assert_eq!(breaker.blocked_until(second(6)), Some(second(7)));
        assert_eq!(breaker.enter(second(7)), Permit::Allowed);
    }

    #[test]
    fn too_many_removals_in_an_hour_are_stopped_until_reset() {
        let breaker = breaker(2);
        assert!(breaker.count_removal(second(0)));
        assert!(breaker.count_removal(second(1)));
        assert!(!breaker.count_removal(second(3599)));
        assert!(breaker.count_removal(second(3600)), "the first one was an hour ago");
        assert!(!breaker.count_removal(second(3600)));
        breaker.reset(second(3600));
        assert!((0..100).all(|_| breaker.count_removal(second(3601))));
    }
}
