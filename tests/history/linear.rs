//! Decides whether the answers about one object can be explained by some order of the operations in which each takes
//! effect between its call and its answer (linearizability).
//!
//! The search goes forward in time and tries one order, the likeliest first; where no order can go on, it goes back and
//! tries another. It enters no place twice: a place is the state and the calls whose operations have not taken effect.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// An operation on an object with the answer that it got.
pub(crate) trait Operation: Debug {
    /// The state of the object.
    type State: Clone + Eq + Hash + Debug;

    /// Returns the states after the operation takes effect in this state; none if it cannot have got its answer there.
    fn apply(&self, state: &Self::State) -> Option<Self::State>;

    /// Whether the answer tells the state in which the operation took effect. If it changes nothing there, it may as
    /// well take effect as soon as that state is reached.
    fn is_fixed(&self) -> bool;

    /// The version of the object after the operation, if the answer tells.
    fn version(&self) -> Option<i64> {
        None
    }

    /// The version of a state, if the object has versions. It never falls.
    fn version_of(_: &Self::State) -> i64 {
        0
    }
}

/// One call in a history. Times are nanoseconds since the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Call<O> {
    pub(crate) began: u64,
    /// The time of the answer; of a call without answer, the time after which it can no longer take effect.
    pub(crate) ended: u64,
    /// Whether the operation certainly took effect.
    pub(crate) answered: bool,
    pub(crate) operation: O,
}

/// The most steps of a search; more would mean that the history says too little.
const MOST: usize = 3_000_000;

/// Why a history is refused.
#[derive(Debug)]
pub(crate) enum Refusal<S> {
    /// No order explains the answers up to this one; `state` is the last one before it in the best order.
    Impossible { at: usize, state: S },
    /// There are too many possible orders to decide.
    Undecided { at: usize },
}

/// A place in the search: the state after some operations took effect.
struct Place<S> {
    state: S,
    /// The calls from here on, in the order of their beginning, have not begun yet.
    next: usize,
    /// The calls that have begun and whose operations have not taken effect.
    open: Vec<usize>,
    /// What is still to be tried here, the best last.
    untried: Vec<usize>,
}

/// Searches an order that explains the calls. They need not be sorted.
pub(crate) fn explain<O: Operation>(initial: O::State, calls: &[Call<O>]) -> Result<(), Refusal<O::State>> {
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|index| calls[*index].began);
    let search = Search {
        calls,
        lowest_version: lowest_versions(calls, &order),
        order,
    };
    let mut path = Vec::new();
    let mut progress = Progress {
        seen: HashSet::new(),
        next: 0,
        at: 0,
        state: initial.clone(),
    };
    let mut entered = search.enter(initial, 0, Vec::new(), &mut progress);
    for _ in 0..MOST {
        match entered {
            Entered::End => return Ok(()),
            Entered::At(place) => path.push(place),
            Entered::Nowhere => {}
        }
        // The next thing to try, at the last place where there is one.
        let (state, next, open) = loop {
            let Some(place) = path.last_mut() else {
                let Progress { at, state, .. } = progress;
                return Err(Refusal::Impossible { at, state });
            };
            let Some(chosen) = place.untried.pop() else {
                path.pop();
                continue;
            };
            let Some(after) = calls[chosen].operation.apply(&place.state) else {
                continue;
            };
            // Without an answer, an operation that changes nothing explains nothing.
            if after == place.state && !calls[chosen].answered {
                continue;
            }
            let mut open = place.open.clone();
            open.retain(|index| *index != chosen);
            // What had no answer and ended before this began takes no effect any more.
            open.retain(|index| calls[*index].answered || calls[*index].ended >= calls[chosen].began);
            break (after, place.next, open);
        };
        entered = search.enter(state, next, open, &mut progress);
    }
    Err(Refusal::Undecided { at: progress.at })
}

/// The places that were seen, and the farthest of them: the call that must take effect next there, and the state.
struct Progress<S> {
    seen: HashSet<u64>,
    next: usize,
    at: usize,
    state: S,
}

/// Where a step of the search leads.
enum Entered<S> {
    At(Place<S>),
    /// To a place that was seen before, or from which no order can go on.
    Nowhere,
    /// Every answer is explained.
    End,
}

struct Search<'a, O> {
    calls: &'a [Call<O>],
    order: Vec<usize>,
    /// The lowest version in the answers of the calls from each place in the order on.
    lowest_version: Vec<i64>,
}

fn lowest_versions<O: Operation>(calls: &[Call<O>], order: &[usize]) -> Vec<i64> {
    let mut lowest = vec![i64::MAX; order.len() + 1];
    for (place, index) in order.iter().enumerate().rev() {
        let call = &calls[*index];
        let version = call.operation.version().filter(|_| call.answered).unwrap_or(i64::MAX);
        lowest[place] = lowest[place + 1].min(version);
    }
    lowest
}

impl<O: Operation> Search<'_, O> {
    fn enter(
        &self,
        state: O::State,
        mut next: usize,
        mut open: Vec<usize>,
        progress: &mut Progress<O::State>,
    ) -> Entered<O::State> {
        // A call may take effect before another ends only if it has begun by then.
        let first_end = loop {
            let answered = open.iter().copied().filter(|index| self.calls[*index].answered);
            let first_end = answered.min_by_key(|index| self.calls[*index].ended);
            let limit = first_end.map_or(u64::MAX, |index| self.calls[index].ended);
            match self.order.get(next) {
                Some(index) if self.calls[*index].began <= limit => open.push(*index),
                _ => break first_end,
            }
            next += 1;
        };
        // What changes nothing and is bound to this state takes effect now.
        let before = open.len();
        open.retain(|index| {
            let Call {
                operation, answered, ..
            } = &self.calls[*index];
            !(*answered && operation.is_fixed() && operation.apply(&state).as_ref() == Some(&state))
        });
        if open.len() < before {
            return self.enter(state, next, open, progress);
        }
        let Some(first_end) = first_end else {
            return Entered::End;
        };
        let version = O::version_of(&state);
        let too_late = |index: &usize| {
            let Call {
                operation, answered, ..
            } = &self.calls[*index];
            *answered && operation.version().is_some_and(|wanted| wanted < version)
        };
        if next > progress.next {
            (progress.next, progress.at, progress.state) = (next, first_end, state.clone());
        }
        if self.lowest_version[next] < version || open.iter().any(too_late) {
            return Entered::Nowhere;
        }
        open.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (&state, next, &open).hash(&mut hasher);
        if !progress.seen.insert(hasher.finish()) {
            return Entered::Nowhere;
        }
        let mut untried = open.clone();
        // Those without an answer last; then in the order of their ends.
        untried.sort_by_key(|index| std::cmp::Reverse((!self.calls[*index].answered, self.calls[*index].ended)));
        Entered::At(Place {
            state,
            next,
            open,
            untried,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register: writes say nothing of the state before, reads return it.
    #[derive(Debug, Clone)]
    enum Register {
        Write(u8),
        Read(u8),
    }

    impl Operation for Register {
        type State = u8;

        fn apply(&self, state: &u8) -> Option<u8> {
            match self {
                Self::Write(value) => Some(*value),
                Self::Read(value) => (value == state).then_some(*state),
            }
        }

        fn is_fixed(&self) -> bool {
            matches!(self, Self::Read(_))
        }
    }

    fn call(began: u64, ended: u64, operation: Register) -> Call<Register> {
        Call {
            began,
            ended,
            answered: true,
            operation,
        }
    }

    #[test]
    fn a_read_may_return_either_of_two_writes_under_way() {
        for seen in [1, 2] {
            let calls = [
                call(0, 10, Register::Write(1)),
                call(0, 10, Register::Write(2)),
                call(11, 12, Register::Read(seen)),
            ];
            assert!(explain(0, &calls).is_ok());
        }
    }

    #[test]
    fn a_read_of_an_overwritten_value_is_impossible() {
        let calls = [
            call(0, 1, Register::Write(1)),
            call(2, 3, Register::Write(2)),
            call(4, 5, Register::Read(1)),
        ];
        assert!(matches!(explain(0, &calls), Err(Refusal::Impossible { at: 2, .. })));
    }

    #[test]
    fn a_write_without_an_answer_may_have_happened_late_or_never() {
        let lost = Call {
            began: 0,
            ended: 100,
            answered: false,
            operation: Register::Write(1),
        };
        for seen in [0, 1] {
            let calls = [lost.clone(), call(50, 51, Register::Read(seen))];
            assert!(explain(0, &calls).is_ok(), "{seen}");
        }
        let calls = [
            lost.clone(),
            call(50, 51, Register::Read(1)),
            call(60, 61, Register::Read(0)),
        ];
        assert!(explain(0, &calls).is_err());
    }

    #[test]
    fn an_operation_takes_effect_once() {
        let calls = [
            call(0, 100, Register::Write(1)),
            call(1, 2, Register::Read(1)),
            call(3, 4, Register::Write(2)),
            call(5, 6, Register::Read(1)),
        ];
        assert!(explain(0, &calls).is_err());
    }
}
