//! Decides from a history alone whether its answers can be explained.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::client::{Event, Recorded, Shared};
use super::linear::{Call, Operation, Refusal, explain};
use super::objects::{Group, GroupOperation, Id, NameOperation, Step, User, UserOperation};

/// How far, in seconds, a server error may be from a fault that explains it.
const AFTERMATH: f64 = 6.0;

/// Returns what cannot be explained, in words; nothing if all is well.
pub(crate) fn violations(history: &Shared) -> Vec<String> {
    let mut found: Vec<String> = history
        .odd
        .iter()
        .take(5)
        .map(|odd| format!("an odd answer: {odd}"))
        .collect();
    let explained = |at: f64| {
        let near = |(from, to): &(f64, f64)| at >= *from && at <= *to + AFTERMATH;
        history.faults.iter().any(near)
    };
    let unexplained = history.failures.iter().filter(|(at, ..)| !explained(*at));
    found.extend(
        unexplained
            .take(5)
            .map(|(at, status, what)| format!("{status} after {at:.1} s without a fault: {what}")),
    );

    let calls = settle_creates(&settle_ends(history));
    let (mut groups, mut users, mut names): (Objects<GroupOperation>, Objects<UserOperation>, Objects<NameOperation>) =
        Default::default();
    for call in calls {
        match &call.operation {
            Event::Group(id, operation) => groups.add(*id, &call, operation.clone()),
            Event::User(id, operation) => users.add(*id, &call, operation.clone()),
            Event::Name(name, operation) => names.add(*name, &call, operation.clone()),
            Event::UnansweredCreate { .. } | Event::Seen { .. } => {}
        }
    }
    drop_irrelevant(&mut groups, &mut names);
    let text = |id: Id| {
        let known = history.numbers.iter().find(|(_, number)| **number == id);
        known.map_or_else(|| id.to_string(), |(text, _)| text.clone())
    };
    groups.check("group", &Group::default(), &text, &mut found);
    users.check("user", &User::default(), &text, &mut found);
    names.check("name", &None, &|name| format!("name-{name}"), &mut found);
    found
}

/// The calls about each object.
struct Objects<O>(BTreeMap<u32, Vec<Call<O>>>);

impl<O> Default for Objects<O> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<O: Operation> Objects<O> {
    fn add(&mut self, id: u32, call: &Call<Event>, operation: O) {
        self.0.entry(id).or_default().push(Call {
            began: call.began,
            ended: call.ended,
            answered: call.answered,
            operation,
        });
    }

    fn check(&self, what: &str, initial: &O::State, text: &dyn Fn(u32) -> String, found: &mut Vec<String>) {
        for (id, calls) in &self.0 {
            let (problem, at, state) = match explain(initial.clone(), calls) {
                Ok(()) => continue,
                Err(Refusal::Impossible { at, state }) => ("no order explains this answer", at, Some(state)),
                Err(Refusal::Undecided { at }) => ("too many orders to decide", at, None),
            };
            found.push(format!(
                "{what} {}: {problem}: {:?}\n  before it: {state:?}\n  around it: {}",
                text(*id),
                calls[at],
                around(calls, at)
            ));
        }
    }
}

/// The calls of one object that overlap a call or come shortly before it.
fn around<O: Debug>(calls: &[Call<O>], at: usize) -> String {
    let (from, to) = (calls[at].began.saturating_sub(300_000_000), calls[at].ended);
    let mut near: Vec<&Call<O>> = calls
        .iter()
        .filter(|call| call.ended >= from && call.began <= to)
        .collect();
    near.sort_by_key(|call| call.began);
    let line = |call: &&Call<O>| {
        let answered = if call.answered { "" } else { " (no answer)" };
        format!(
            "\n    {:>12}..{:<12}{answered} {:?}",
            call.began / 1000,
            call.ended / 1000,
            call.operation
        )
    };
    near.iter().rev().take(40).rev().map(line).collect()
}

/// A request without an answer takes no effect once its process was killed.
fn settle_ends(history: &Shared) -> Vec<Call<Event>> {
    let mut settled = Vec::new();
    for Recorded { process, call } in &history.calls {
        let mut call = call.clone();
        let kills = history
            .kills
            .iter()
            .filter(|kill| kill.process == *process && kill.at > call.began);
        if let Some(kill) = kills.min_by_key(|kill| kill.at).filter(|_| !call.answered) {
            call.ended = call.ended.min(kill.end);
        }
        settled.push(call);
    }
    settled
}

/// A creation without an answer happened if the user was ever seen; it then has the id under which it was seen.
fn settle_creates(calls: &[Call<Event>]) -> Vec<Call<Event>> {
    let mut seen: BTreeMap<u32, (Id, u64)> = BTreeMap::new();
    for call in calls {
        if let Event::Seen { token, user } = call.operation {
            let first = seen.entry(token).or_insert((user, call.ended));
            first.1 = first.1.min(call.ended);
        }
    }
    let mut settled = Vec::new();
    for call in calls {
        let Event::UnansweredCreate { token, name, values } = &call.operation else {
            settled.push(call.clone());
            continue;
        };
        let Some((user, at)) = seen.get(token).copied() else {
            continue;
        };
        for operation in [
            Event::User(user, UserOperation::Create(values.clone())),
            Event::Name(*name, NameOperation::Take(user)),
        ] {
            settled.push(Call {
                began: call.began,
                ended: call.ended.min(at),
                answered: true,
                operation,
            });
        }
    }
    settled
}

/// A deletion or a renaming is told to every group and name; it matters to those that can have held the user.
fn drop_irrelevant(groups: &mut Objects<GroupOperation>, names: &mut Objects<NameOperation>) {
    for calls in groups.0.values_mut() {
        let mut ever: BTreeSet<Id> = BTreeSet::new();
        for call in calls.iter() {
            match &call.operation {
                GroupOperation::Create(steps) | GroupOperation::Change { steps, .. } => {
                    for step in steps {
                        if let Step::Add(ids) | Step::Set(ids) = step {
                            ever.extend(ids);
                        }
                    }
                }
                GroupOperation::Read(seen) => ever.extend(&seen.members),
                _ => {}
            }
        }
        calls.retain(|call| !matches!(&call.operation, GroupOperation::Leave(user) if !ever.contains(user)));
    }
    for calls in names.0.values_mut() {
        let holders: BTreeSet<Id> = calls
            .iter()
            .filter_map(|call| match call.operation {
                NameOperation::Take(user) | NameOperation::Found(Some(user)) => Some(user),
                _ => None,
            })
            .collect();
        calls.retain(|call| !matches!(&call.operation, NameOperation::GiveUp(user) if !holders.contains(user)));
    }
}
