//! Bounds on what can be slow: how many callers are inside at one time, and how many wait for how long.
//!
//! A caller that is not let in is told so at once and can answer honestly; it does not hold a thread that others need.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
}
