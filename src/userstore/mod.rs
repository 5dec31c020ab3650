//! Seam 1: where people and groups live. What every adapter promises is in `tests/userstore.rs`.

use std::collections::BTreeSet;
use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

pub mod ldap;
pub mod memory;
pub mod mirror;
mod password;
pub mod sql;

pub use password::PasswordHasher;

use crate::domain::change::MembershipDelta;
use crate::domain::patch::MemberStep;
use crate::domain::provenance::Writers;
use crate::domain::query::{Found, Query};
use crate::domain::schema::ResourceType;
use crate::domain::unique::UniqueValue;
use crate::domain::{
    Attributes, Companion, Kind, Precondition, Relations, Resource, ResourceId, Secret, StoreName, Timestamp, name,
};

/// A store of users and groups. Methods block; an absent resource is `None`, never an error.
pub trait Userstore: Send + Sync {
    /// Its name.
    fn name(&self) -> &StoreName;

    /// One resource with the relations asked for.
    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError>;

    /// Whether a group has more than `limit` members, at a cost that does not depend on its size.
    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError>;

    /// The resources that match, in order, and how many there are in all.
    fn find(&self, query: &Query) -> Result<Found, StoreError>;

    /// Carries out one write and its companions: all of it, durably, or nothing. `None` if the resource is not there.
    fn write(&self, write: Write, companions: Vec<Companion>) -> Result<Option<Written>, StoreError>;

    /// Checks a person's password, counting failures against the account.
    fn verify_password(&self, id: &ResourceId, password: &Secret) -> Result<PasswordVerdict, StoreError>;

    /// Whether a person has a password that could open the account.
    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError>;

    /// Lifts the lock that wrong passwords put on an account.
    fn unlock(&self, id: &ResourceId) -> Result<(), StoreError>;

    /// Whether the store answers.
    fn ping(&self) -> Result<(), StoreError>;
}

/// A change of one resource, checked against its schema by the door.
#[derive(Clone, Debug)]
pub struct Write {
    /// The resource's type.
    pub kind: Kind,
    /// The resource. A create brings the id that a store of ours gives it.
    pub id: ResourceId,
    /// The time of the change; `meta.lastModified` becomes this, or one millisecond more than before if that is later.
    pub at: Timestamp,
    /// What to do.
    pub action: WriteAction,
}

/// What a [`Write`] does.
#[derive(Clone, Debug)]
pub enum WriteAction {
    /// Makes the resource.
    Create(Draft),
    /// Puts a new state in place of the one at a version that `expected` allows. The version goes up by one.
    Replace {
        /// The new state.
        draft: Draft,
        /// The attributes at the expected version, if they are known: what they share with the new state stays as it is.
        before: Option<Attributes>,
        /// What must hold of the stored version, else [`StoreError::Stale`].
        expected: Precondition,
    },
    /// Changes who is in a group, and nothing else. Cost does not depend on the group's size, except for
    /// [`MemberStep::Replace`]. The version goes up only if somebody joined or left.
    Members {
        /// Who joins or leaves.
        change: MemberChange,
        /// What must hold of the stored version.
        expected: Precondition,
    },
    /// Leaves the resource as it is and writes down the companions that are not journal entries.
    Keep,
    /// Removes the resource, its memberships in groups, its password and its links.
    Delete {
        /// What must hold of the stored version.
        expected: Precondition,
    },
}

/// The state that a resource shall have.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What must be unique in the store for the type, as typed: `userName`, `displayName`.
    pub key: UniqueKey,
    /// What else nobody may have who is not this resource; none if its type has no such attribute.
    pub unique: Option<BTreeSet<UniqueValue>>,
    /// The attributes as [`crate::domain::Document`] holds them.
    pub attributes: Attributes,
    /// Who wrote each value.
    pub writers: Writers,
    /// For a group: who joins or leaves with this change.
    pub members: Option<MemberChange>,
    /// Whether the password changes too.
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

/// How a group's members change, step by step. Who is in already stays as is; who is not in cannot leave.
pub type MemberChange = Vec<MemberStep>;

/// How a password changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordChange {
    /// To this one.
    Set(Secret),
    /// To none: no password opens the account.
    Clear,
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Written {
    /// The resource as it is now, or as it last was if it was deleted; without relations.
    pub resource: Resource,
    /// Who joined and who left.
    pub members: MembershipDelta,
    /// Whether anything changed. If not, no journal entry was written.
    pub changed: bool,
}

/// What a password check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordVerdict {
    /// It is the one.
    Right,
    /// It is not, or there is none.
    Wrong,
    /// Too many wrong ones; nothing was compared.
    Locked {
        /// Until when.
        until: Timestamp,
    },
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique attribute has this value elsewhere; or, as `link`, the external subject is linked already.
    #[error("{attribute} is taken")]
    Taken {
        /// The attribute.
        attribute: String,
    },
    /// The stored version is not the expected one.
    #[error("the resource has changed since it was read")]
    Stale,
    /// This store cannot do that.
    #[error("this userstore cannot {0}")]
    Unsupported(&'static str),
    /// The place where it keeps people does not take these values.
    #[error("the userstore does not take this: {reason}")]
    Refused {
        /// Why, in words that clients may read.
        reason: String,
    },
    /// It cannot be reached.
    #[error("the userstore is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
}
