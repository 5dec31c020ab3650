//! Bounds on callers: how many are with something slow at one time, and how often each source may do what leaves a record.
//!
//! A caller that is not let in is told so at once and can answer honestly; it does not hold a thread that others need.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lets a bounded number of callers in at one time.
#[derive(Debug)]
pub(crate) struct Gate {
    most_inside: usize,
    most_waiting: usize,
    patience: Duration,
    state: Mutex<Callers>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Callers {
    inside: usize,
    waiting: usize,
}

/// The reason why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for it already")]
pub(crate) struct Full;

impl Gate {
    /// Lets `most_inside` callers in; `most_waiting` others wait for at most `patience`.
    pub(crate) fn new(most_inside: usize, most_waiting: usize, patience: Duration) -> Self {
        Self {
            most_inside,
            most_waiting,
            patience,
            state: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Enters, after waiting if many are inside. The caller leaves when the pass is dropped.
    pub(crate) fn enter(&self) -> Result<Pass<'_>, Full> {
        let mut callers = self.callers();
        if callers.inside >= self.most_inside {
            if callers.waiting >= self.most_waiting {
                return Err(Full);
            }
            callers.waiting += 1;
            let is_full = |callers: &mut Callers| callers.inside >= self.most_inside;
            let (settled, _) = self
                .left
                .wait_timeout_while(callers, self.patience, is_full)
                .unwrap_or_else(PoisonError::into_inner);
            callers = settled;
            callers.waiting -= 1;
            if callers.inside >= self.most_inside {
                return Err(Full);
            }
        }
        callers.inside += 1;
        Ok(Pass(self))
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a caller that is inside.
#[derive(Debug)]
pub(crate) struct Pass<'a>(&'a Gate);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.callers().inside -= 1;
        self.0.left.notify_one();
    }
}

/// The most sources that are remembered; one whose allowance is whole again is forgotten.
const SOURCES: usize = 10_000;

/// Allowances of many sources (token buckets): each source may do something `burst` times at once, and regains
/// `per_second` of that.
#[derive(Debug)]
pub(crate) struct Allowances {
    burst: f64,
    per_second: f64,
    left: Mutex<HashMap<String, (f64, Instant)>>,
}

impl Allowances {
    /// Allows `burst` at once, and `per_second` in the long run.
    pub(crate) fn new(burst: f64, per_second: f64) -> Self {
        Self {
            burst,
            per_second,
            left: Mutex::default(),
        }
    }

    /// Uses the allowance of a source; false if it is used up.
    pub(crate) fn take(&self, source: &str) -> bool {
        self.take_at(source, Instant::now())
    }

    /// Gives one use back to a source.
    pub(crate) fn give_back(&self, source: &str) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((amount, _)) = left.get_mut(source) {
            *amount = (*amount + 1.0).min(self.burst);
        }
    }

    fn take_at(&self, source: &str, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let regained = |(amount, at): (f64, Instant)| {
            let since = now.saturating_duration_since(at).as_secs_f64();
            (amount + since * self.per_second).min(self.burst)
        };
        if left.len() >= SOURCES && !left.contains_key(source) {
            left.retain(|_, known| regained(*known) < self.burst);
            if left.len() >= SOURCES {
                return false;
            }
        }
        let amount = left.get(source).map_or(self.burst, |known| regained(*known));
        let may = amount >= 1.0;
        let amount = if may { amount - 1.0 } else { amount };
        left.insert(source.to_owned(), (amount, now));
        may
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn no_more_are_inside_than_allowed() {
        let gate = Gate::new(2, 0, Duration::ZERO);
        let (one, other) = (gate.enter(), gate.enter());
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(gate.enter().err(), Some(Full));
        drop(one);
        assert!(gate.enter().is_ok());
    }

    #[test]
    fn a_caller_waits_until_another_leaves() {
        let (gate, begun) = (Gate::new(1, 1, Duration::from_mins(1)), Barrier::new(2));
        let pass = gate.enter().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                begun.wait();
                gate.enter().map(drop)
            });
            begun.wait();
            drop(pass);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn who_waited_long_enough_is_told() {
        let gate = Gate::new(1, 1, Duration::from_millis(10));
        let _pass = gate.enter().unwrap();
        assert_eq!(gate.enter().err(), Some(Full));
        // The wait is over: another may wait.
        assert_eq!(gate.callers().waiting, 0);
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let (allowances, now) = (Allowances::new(2.0, 1.0), Instant::now());
        let may = |source, after| allowances.take_at(source, now + Duration::from_millis(after));
        assert!(may("a", 0) && may("a", 0));
        assert!(!may("a", 500));
        assert!(may("b", 500), "another source has its own");
        assert!(may("a", 1100));
        assert!(!may("a", 1200));
    }

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let allowances = Allowances::new(1.0, 0.0);
        for _ in 0..3 {
            assert!(allowances.take("a"));
            assert!(!allowances.take("a"));
            allowances.give_back("a");
            allowances.give_back("a");
        }
    }

    #[test]
    fn sources_are_forgotten_when_they_are_whole_again() {
        let (allowances, now) = (Allowances::new(1.0, 1.0), Instant::now());
        for number in 0..SOURCES {
            assert!(allowances.take_at(&number.to_string(), now));
        }
        assert!(!allowances.take_at("one more", now));
        assert!(allowances.take_at("one more", now + Duration::from_secs(2)));
        assert_eq!(allowances.left.lock().unwrap().len(), 1);
    }
}
