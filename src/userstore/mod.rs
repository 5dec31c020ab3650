//! The userstore interface: where users and groups are kept (seam 1).
//! The contract of every adapter is tested in `tests/userstore.rs`.

use std::collections::BTreeSet;
use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

pub mod ldap;
pub mod memory;
pub(crate) mod mirror;
mod password;
pub mod sql;

pub use password::PasswordHasher;

use crate::domain::change::MembershipDelta;
use crate::domain::lockout::FailureCount;
use crate::domain::patch::MemberStep;
use crate::domain::provenance::Writers;
use crate::domain::query::{Query, ResultPage};
use crate::domain::schema::ResourceType;
use crate::domain::unique::UniqueValue;
use crate::domain::{
    Attributes, Kind, Precondition, Relations, Resource, ResourceId, Secret, SideRecord, StoreName, Timestamp, name,
};

/// A store of users and groups. Methods block. An absent resource is `None`, never an error.
pub trait Userstore: Send + Sync {
    /// The name of the store.
    fn name(&self) -> &StoreName;

    /// Returns a resource with the requested relations.
    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError>;

    /// Whether a group has more than `limit` members, at a cost that does not depend on its size.
    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError>;

    /// Returns the ids of at most `limit` members of a group, in order, from the first after `after` on. The cost does not
    /// depend on the size of the group.
    fn member_ids(
        &self,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, StoreError>;

    /// Returns the page of matching resources, in order, and the total number of matches.
    fn find(&self, query: &Query) -> Result<ResultPage, StoreError>;

    /// Applies a write and its side records atomically and durably. `None` if the resource does not exist.
    fn write(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError>;

    /// Checks a user's password.
    fn verify_password(
        &self,
        id: &ResourceId,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError>;

    /// Whether a user has a password that could open the account.
    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError>;

    /// Lifts the lock that wrong passwords put on an account.
    fn unlock(&self, id: &ResourceId) -> Result<(), StoreError>;

    /// Whether the store answers.
    fn ping(&self) -> Result<(), StoreError>;

    /// Accepts the current content of a directory, including any number of deletions. Only stores that follow a directory
    /// can.
    fn accept(&self) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("follow a directory"))
    }
}

/// A change of one resource, already checked against its schema by the change pipeline.
#[derive(Clone, Debug)]
pub struct Write {
    /// The resource's type.
    pub kind: Kind,
    /// The resource's id. For a create, the id that stores in our own database give it.
    pub id: ResourceId,
    /// The time of the change; `meta.lastModified` becomes this, or one millisecond more than before if that is later.
    pub at: Timestamp,
    /// The action.
    pub action: WriteAction,
}

/// The action of a [`Write`].
#[derive(Clone, Debug)]
pub enum WriteAction {
    /// Creates the resource.
    Create(Draft),
    /// Replaces the state, if `expected` allows the stored version. The version goes up by one.
    Replace {
        /// The new state.
        draft: Draft,
        /// The attributes at the expected version, if known: those equal to the new state's need not be written again.
        before: Option<Attributes>,
        /// The precondition on the stored version, else [`StoreError::Stale`].
        expected: Precondition,
    },
    /// Changes the members of a group and nothing else. The cost does not depend on the group's size, except for
    /// [`MemberStep::Replace`]. The version goes up only if a member joined, left or was relabelled.
    Members {
        /// The members that join or leave.
        change: MemberSteps,
        /// The condition on the stored version.
        expected: Precondition,
    },
    /// Leaves the resource unchanged and writes the side records other than journal entries.
    Keep,
    /// Deletes the resource, its memberships in groups, its password and its links.
    Delete {
        /// The condition on the stored version.
        expected: Precondition,
    },
}

/// The new state of a resource.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The value that must be unique among resources of the type in the store, as typed: `userName`, `displayName`.
    pub key: UniqueKey,
    /// Further values that no other resource may have; `None` if the type has no such attribute.
    pub unique: Option<BTreeSet<UniqueValue>>,
    /// The attributes as [`crate::domain::Document`] holds them.
    pub attributes: Attributes,
    /// The writer of each value.
    pub writers: Writers,
    /// For a group: the members that join or leave with this change.
    pub members: Option<MemberSteps>,
    /// The change of the password, if any.
    pub password: Option<PasswordChange>,
}

/// The attribute that names a resource within its type and store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UniqueKey {
    /// The attribute, for the message when it is taken.
    pub attribute: String,
    /// Its value as typed.
    pub name: String,
    /// Its canonical value ([`crate::domain::name::canonical`]); the id itself where the type has no unique attribute.
    pub canonical: String,
}

impl UniqueKey {
    /// The key of a resource.
    pub fn of(resource_type: Option<&ResourceType>, id: &ResourceId, attributes: &Attributes) -> Self {
        let unique = resource_type.and_then(ResourceType::name_attribute);
        match unique.and_then(|attribute| Some((attribute, attributes.get(&attribute.name)?.as_str()?))) {
            Some((attribute, value)) => Self {
                attribute: attribute.name.clone(),
                name: value.to_owned(),
                canonical: name::canonical(value),
            },
            None => Self {
                attribute: "id".to_owned(),
                name: String::new(),
                canonical: id.as_str().to_owned(),
            },
        }
    }
}

/// The changes to a group's members, in order. Adding a present member or removing an absent one has no effect.
pub(crate) type MemberSteps = Vec<MemberStep>;

/// A change of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordChange {
    /// Sets this password.
    Set(Secret),
    /// Removes the password: no password opens the account.
    Clear,
}

/// The result of a write.
#[derive(Clone, Debug)]
pub struct WriteResult {
    /// The resource after the write, or before it if it was deleted; without relations.
    pub resource: Resource,
    /// The members that joined and left.
    pub members: MembershipDelta,
    /// Whether anything changed. If not, no journal entry was written.
    pub changed: bool,
}

/// The result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is correct.
    Valid,
    /// The password is wrong, or the user has none.
    Invalid,
    /// The password is wrong, and was the last of too many: the account is locked from now on.
    Locks {
        /// The end of the lock.
        until: Timestamp,
    },
    /// The account is locked after too many failures; the password was not compared.
    Locked {
        /// The end of the lock.
        until: Timestamp,
    },
}

impl PasswordCheck {
    /// The result for a wrong password that locks the account until a time, or does not lock it if that is past.
    pub(crate) fn wrong(until: Timestamp, now: Timestamp) -> Self {
        if until > now {
            Self::Locks { until }
        } else {
            Self::Invalid
        }
    }

    /// The result for a password that was compared.
    pub(crate) fn of(is_right: bool) -> Self {
        if is_right { Self::Valid } else { Self::Invalid }
    }
}

/// The reason why a store did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another resource has this value of a unique attribute. For `link`, the external subject is already linked.
    #[error("{attribute} is taken")]
    Taken {
        /// The attribute.
        attribute: String,
    },
    /// The stored version is not the expected one.
    #[error("the resource has changed since it was read")]
    Stale,
    /// The facts that the change rests on have changed: decide again.
    #[error("the facts that the change rests on have changed")]
    Superseded,
    /// The store does not support the operation.
    #[error("this userstore cannot {0}")]
    Unsupported(&'static str),
    /// The system behind the store rejects the values.
    #[error("the userstore rejects these values: {reason}")]
    Refused {
        /// The reason, in words that clients may read.
        reason: String,
    },
    /// The store cannot be reached.
    #[error("the userstore is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// The database behind the store rejects a statement. The same request will fail again.
    #[error("the userstore failed")]
    Failed(#[source] Box<dyn StdError + Send + Sync>),
}
