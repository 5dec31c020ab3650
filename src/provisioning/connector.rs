//! Seam 3: downstream systems that keep copies of our resources. What every connector promises is in
//! `tests/provisioning/connector.rs`.

use std::time::Duration;

use crate::domain::{Attributes, Kind, ResourceId};

use super::plan::Update;

/// The target's own id of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteId(pub String);

/// A resource as it was found at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The target's id of it.
    pub id: RemoteId,
    /// Its `externalId`, our id of it, if the target keeps that.
    pub external_id: Option<ResourceId>,
}

/// How a target takes members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Some join or leave, at most so many in one request.
    Changes(usize),
    /// All of them at once, with the group's attributes.
    Whole,
}

/// One member joins or leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// The target's id of the member.
    pub member: RemoteId,
    /// Joins, else leaves.
    pub joins: bool,
}

/// A downstream system that keeps copies of our resources. Methods block, make a bounded number of requests and may be
/// called from several threads. Repeating a call is harmless, except for [`Connector::create`].
pub trait Connector: Send + Sync {
    /// The resource whose attribute has this value, if there is exactly such a one.
    fn find(&self, kind: &Kind, attribute: &str, value: &str) -> Result<Option<Found>, PushError>;

    /// Whether the target still has the resource.
    fn exists(&self, kind: &Kind, id: &RemoteId) -> Result<bool, PushError>;

    /// Makes a resource. [`PushError::Conflict`] if its name is taken.
    fn create(&self, kind: &Kind, attributes: &Attributes) -> Result<RemoteId, PushError>;

    /// Changes a resource's attributes. [`PushError::Gone`] if the target does not know the id.
    fn update(&self, kind: &Kind, id: &RemoteId, update: &Update) -> Result<(), PushError>;

    /// Locks an account that was last sent as `sent`.
    fn deactivate(&self, kind: &Kind, id: &RemoteId, sent: &Attributes) -> Result<(), PushError>;

    /// Removes a resource. One that is not there counts as removed.
    fn delete(&self, kind: &Kind, id: &RemoteId) -> Result<(), PushError>;

    /// How it takes members.
    fn membership(&self) -> Result<Membership, PushError>;

    /// Lets members join or leave a group, all with one request.
    fn change_members(&self, group: &RemoteId, changes: &[MemberChange]) -> Result<(), PushError>;

    /// Gives a group exactly these attributes and members.
    fn replace_group(&self, group: &RemoteId, attributes: &Attributes, members: &[RemoteId]) -> Result<(), PushError>;

    /// Whether the target answers and accepts our credentials.
    fn probe(&self) -> Result<(), PushError>;
}

/// Why a push did not go through; says what to do next. Texts hold neither credentials nor a person's attributes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// It may go through later: no answer, an answer that is not SCIM, or a request to slow down.
    #[error("{cause}")]
    Retry {
        /// The target says how long to wait.
        after: Option<Duration>,
        /// Whether the target as a whole is in trouble, and not only this request.
        unreachable: bool,
        /// What happened.
        cause: String,
    },
    /// The target will not take this.
    #[error("the target answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the target says about it.
        detail: String,
    },
    /// The target does not accept our credentials or has shut its door: nothing will go through until a person helps.
    #[error("the target answered {status}: check the credentials and what they allow")]
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// The target does not know the resource.
    #[error("the target does not know this resource")]
    Gone,
    /// The name is taken at the target.
    #[error("the target has another resource of that name")]
    Conflict,
}

impl PushError {
    /// The target gave no answer that can be used.
    pub fn unreachable(cause: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            unreachable: true,
            cause: cause.into(),
        }
    }
}
