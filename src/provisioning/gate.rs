//! Keeps a target from being overrun: a circuit breaker, the waits that it asks for, and the delete fuse.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Timestamp;

use super::settings::Backoff;

/// How many failures in a row open the circuit.
const FAILURES: u32 = 5;
/// The longest time between two looks at a target that does not answer.
const LONGEST_BREAK: Duration = Duration::from_mins(1);
/// The time over which removals are counted.
pub(super) const WINDOW: Duration = Duration::from_hours(1);

/// Whether a worker may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// As usual.
    Open,
    /// With one row, to see whether the target is back.
    Probe,
    /// Not now.
    Closed,
}

/// One target's gate, shared by its workers.
pub(super) struct Gate {
    backoff: Backoff,
    max_removals: usize,
    state: Mutex<State>,
}

struct State {
    failures: u32,
    closed_until: Timestamp,
    probing: bool,
    removals: VecDeque<Timestamp>,
    fuse_off_until: Timestamp,
}

impl Gate {
    /// An open gate that has seen some removals already.
    pub(super) fn new(backoff: Backoff, max_removals: u32, removals: usize, now: Timestamp) -> Self {
        let max_removals = usize::try_from(max_removals).unwrap_or(usize::MAX);
        let backoff = Backoff {
            base: backoff.base,
            cap: backoff.cap.min(LONGEST_BREAK),
        };
        let state = State {
            failures: 0,
            closed_until: Timestamp(i64::MIN),
            probing: false,
            removals: std::iter::repeat_n(now, removals.min(max_removals)).collect(),
            fuse_off_until: Timestamp(i64::MIN),
        };
        Self {
            backoff,
            max_removals,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to take work. After [`Pass::Probe`] nobody else gets in before [`Gate::went_well`], [`Gate::unreachable`] or
    /// [`Gate::probed_nothing`].
    pub(super) fn enter(&self, now: Timestamp) -> Pass {
        let mut state = self.state();
        if now < state.closed_until || state.probing {
            Pass::Closed
        } else if state.failures >= FAILURES {
            state.probing = true;
            Pass::Probe
        } else {
            Pass::Open
        }
    }

    /// Until when no request may go out; `None` if one may.
    pub(super) fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.state().closed_until).filter(|until| now < *until)
    }

    /// The probe is over and said nothing about the target.
    pub(super) fn probed_nothing(&self) {
        self.state().probing = false;
    }

    /// The target answered.
    pub(super) fn went_well(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.probing = false;
    }

    /// The target did not answer; enough of that in a row closes the gate for a while.
    pub(super) fn unreachable(&self, now: Timestamp, dice: u8) {
        let mut state = self.state();
        state.failures += 1;
        state.probing = false;
        if state.failures >= FAILURES {
            let until = now.plus(self.backoff.delay(state.failures - FAILURES + 1, dice));
            state.closed_until = state.closed_until.max(until);
        }
    }

    /// The target asked for a pause.
    pub(super) fn hold(&self, until: Timestamp) {
        let mut state = self.state();
        state.closed_until = state.closed_until.max(until);
    }

    /// Counts a removal; `false` if there were too many in the last hour, so that this one must not happen.
    pub(super) fn take_removal(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        if now < state.fuse_off_until {
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

    /// A removal that was counted did not happen.
    pub(super) fn give_removal_back(&self) {
        self.state().removals.pop_back();
    }

    /// A person let the target run again: it is tried at once, and may remove as much as it wants for an hour.
    pub(super) fn reset(&self, now: Timestamp) {
        let mut state = self.state();
        state.failures = 0;
        state.closed_until = Timestamp(i64::MIN);
        state.removals.clear();
        state.fuse_off_until = now.plus(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(max_removals: u32) -> Gate {
        Gate::new(Backoff::default(), max_removals, 0, Timestamp(0))
    }

    fn second(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    #[test]
    fn five_failures_in_a_row_close_the_gate_and_one_probe_opens_it() {
        let gate = gate(1);
        for _ in 0..5 {
            assert_eq!(gate.enter(second(0)), Pass::Open);
            gate.unreachable(second(0), 0);
        }
        assert_eq!(gate.enter(second(0)), Pass::Closed);
        assert_eq!(gate.enter(second(1)), Pass::Probe);
        assert_eq!(gate.enter(second(1)), Pass::Closed, "one probe at a time");
        gate.unreachable(second(1), 0);
        assert_eq!(gate.enter(second(2)), Pass::Closed, "the break has doubled");
        assert_eq!(gate.enter(second(3)), Pass::Probe);
        gate.went_well();
        assert_eq!(gate.enter(second(3)), Pass::Open);
    }

    #[test]
    fn a_success_between_failures_keeps_the_gate_open() {
        let gate = gate(1);
        for _ in 0..20 {
            gate.unreachable(second(0), 0);
            gate.went_well();
        }
        assert_eq!(gate.enter(second(0)), Pass::Open);
    }

    #[test]
    fn a_pause_that_the_target_asks_for_is_kept_to_the_end() {
        let gate = gate(1);
        gate.hold(second(7));
        gate.hold(second(3));
        assert_eq!(gate.enter(second(6)), Pass::Closed);
        assert_eq!(gate.closed_until(second(6)), Some(second(7)));
        assert_eq!(gate.enter(second(7)), Pass::Open);
    }

    #[test]
    fn the_fuse_blows_at_too_many_removals_in_an_hour_until_a_person_resets_it() {
        let gate = gate(2);
        assert!(gate.take_removal(second(0)));
        assert!(gate.take_removal(second(1)));
        assert!(!gate.take_removal(second(3599)));
        assert!(gate.take_removal(second(3600)), "the first one was an hour ago");
        assert!(!gate.take_removal(second(3600)));
        gate.reset(second(3600));
        assert!((0..100).all(|_| gate.take_removal(second(3601))));
    }
}
