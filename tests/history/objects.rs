//! The objects whose answers the checker explains: each group, each user and each name.

use std::collections::BTreeSet;

use super::linear::Operation;

/// A number for each id of a resource or member.
pub(crate) type Id = u32;

/// A condition of `If-Match`.
pub(crate) type Expected = Option<i64>;

// --- a group --------------------------------------------------------------------------------------

/// A group: its version, `externalId` and members. Version 0 does not exist yet, -1 no longer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Group {
    pub(crate) version: i64,
    pub(crate) external: u32,
    pub(crate) members: BTreeSet<Id>,
}

/// One step of a change of a group.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Add(BTreeSet<Id>),
    Remove(BTreeSet<Id>),
    /// Removes the members that a filter selects, out of these that it could select.
    RemoveMatching(BTreeSet<Id>),
    Set(BTreeSet<Id>),
    External(u32),
}

#[derive(Clone, Debug)]
pub(crate) enum GroupOperation {
    Create(Vec<Step>),
    Change {
        steps: Vec<Step>,
        expected: Expected,
        /// The version in the answer.
        version: Option<i64>,
    },
    /// A conditional change that was refused.
    Refused {
        expected: i64,
    },
    Read(Group),
    /// A user was deleted.
    Leave(Id),
}

impl Group {
    fn exists(&self) -> bool {
        self.version > 0
    }

    fn after(&self, steps: &[Step]) -> Self {
        let mut group = self.clone();
        for step in steps {
            match step {
                Step::Add(ids) => group.members.extend(ids),
                Step::Remove(ids) | Step::RemoveMatching(ids) => group.members.retain(|id| !ids.contains(id)),
                Step::Set(ids) => group.members.clone_from(ids),
                Step::External(external) => group.external = *external,
            }
        }
        if group != *self {
            group.version += 1;
        }
        group
    }
}

impl Operation for GroupOperation {
    type State = Group;

    fn apply(&self, state: &Group) -> Option<Group> {
        match self {
            Self::Create(steps) => (state.version == 0).then(|| Group {
                version: 1,
                ..state.after(steps)
            }),
            Self::Change {
                steps,
                expected,
                version,
            } => {
                let fits = state.exists() && expected.is_none_or(|expected| expected == state.version);
                let after = fits.then(|| state.after(steps))?;
                version.is_none_or(|version| version == after.version).then_some(after)
            }
            Self::Refused { expected } => (state.exists() && state.version != *expected).then(|| state.clone()),
            Self::Read(seen) => (seen == state).then(|| state.clone()),
            Self::Leave(user) => Some(if state.exists() {
                state.after(&[Step::Remove(BTreeSet::from([*user]))])
            } else {
                state.clone()
            }),
        }
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Change { version, .. } => version.is_some(),
            Self::Read(_) | Self::Refused { .. } => true,
            Self::Create(_) | Self::Leave(_) => false,
        }
    }

    fn version(&self) -> Option<i64> {
        match self {
            Self::Change { version, .. } => *version,
            Self::Read(seen) => Some(seen.version),
            _ => None,
        }
    }

    fn version_of(state: &Group) -> i64 {
        if state.version < 0 { i64::MAX } else { state.version }
    }
}

// --- a user ---------------------------------------------------------------------------------------

/// A user: version, the number in its title, its e-mail address and its name. Version 0 does not exist yet, -1 no longer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct User {
    pub(crate) version: i64,
    pub(crate) title: u32,
    pub(crate) email: u32,
    pub(crate) name: u32,
}

/// New values; those that are absent stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) title: Option<u32>,
    pub(crate) email: Option<u32>,
    pub(crate) name: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) enum UserOperation {
    Create(Values),
    Change {
        values: Values,
        expected: Expected,
        version: Option<i64>,
    },
    Refused {
        expected: i64,
    },
    /// A change that was refused because its name is taken.
    Taken,
    Read(User),
    Missing,
    Delete {
        expected: Expected,
    },
}

impl User {
    fn after(&self, values: &Values) -> Self {
        let mut user = self.clone();
        user.title = values.title.unwrap_or(user.title);
        user.email = values.email.unwrap_or(user.email);
        user.name = values.name.unwrap_or(user.name);
        if user != *self {
            user.version += 1;
        }
        user
    }
}

impl Operation for UserOperation {
    type State = User;

    fn apply(&self, state: &User) -> Option<User> {
        let exists = state.version > 0;
        match self {
            Self::Create(values) => (state.version == 0).then(|| state.after(values)),
            Self::Change {
                values,
                expected,
                version,
            } => {
                let fits = exists && expected.is_none_or(|expected| expected == state.version);
                let after = fits.then(|| state.after(values))?;
                version.is_none_or(|version| version == after.version).then_some(after)
            }
            Self::Refused { expected } => (exists && state.version != *expected).then(|| state.clone()),
            Self::Taken => exists.then(|| state.clone()),
            Self::Read(seen) => (seen == state).then(|| state.clone()),
            Self::Missing => (!exists).then(|| state.clone()),
            Self::Delete { expected } => {
                let fits = exists && expected.is_none_or(|expected| expected == state.version);
                fits.then(|| User {
                    version: -1,
                    ..User::default()
                })
            }
        }
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Change { version, .. } => version.is_some(),
            Self::Read(_) | Self::Refused { .. } | Self::Taken | Self::Missing => true,
            Self::Create(_) | Self::Delete { .. } => false,
        }
    }

    fn version(&self) -> Option<i64> {
        match self {
            Self::Change { version, .. } => *version,
            Self::Read(seen) => Some(seen.version),
            _ => None,
        }
    }

    fn version_of(state: &User) -> i64 {
        if state.version < 0 { i64::MAX } else { state.version }
    }
}

// --- a name ---------------------------------------------------------------------------------------

/// Operations on a user name; the state is the user that has it.
#[derive(Clone, Debug)]
pub(crate) enum NameOperation {
    /// A user was created with it or renamed to it.
    Take(Id),
    /// The user was deleted or renamed to another name, if it had this one.
    GiveUp(Id),
    /// Somebody was told that it is taken.
    Taken { by_other_than: Option<Id> },
    /// A search for it.
    Found(Option<Id>),
}

impl Operation for NameOperation {
    type State = Option<Id>;

    fn apply(&self, state: &Option<Id>) -> Option<Option<Id>> {
        match self {
            Self::Take(user) => state.is_none_or(|holder| holder == *user).then_some(Some(*user)),
            Self::GiveUp(user) => Some(state.filter(|holder| holder != user)),
            Self::Taken { by_other_than } => (state.is_some() && *state != *by_other_than
                || state.is_some() && by_other_than.is_none())
            .then_some(*state),
            Self::Found(seen) => (seen == state).then_some(*state),
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Found(_))
    }
}
