//! The interface to downstream systems that keep copies of resources.
//!
//! This is seam 3. Every connector must pass the tests in `tests/provisioning/connector.rs`.

use std::time::Duration;

use crate::domain::{Attributes, Kind, ResourceId};

use super::plan::Update;

/// The id of a resource at the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemoteId(pub String);

impl RemoteId {
    /// The most bytes of an id that a target may give.
    pub const LONGEST: usize = 1024;

    /// Returns the id that a target gave; `None` if it is empty, longer than [`RemoteId::LONGEST`] or holds a control
    /// character. Such an id could not be stored, or not be sent back.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_usable = !text.is_empty() && text.len() <= Self::LONGEST && !text.chars().any(char::is_control);
        is_usable.then_some(Self(text))
    }
}

/// A resource that was found at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteResource {
    /// Its id at the target.
    pub id: RemoteId,
    /// Its `externalId`, which is its id on this server, if the target stores it.
    pub external_id: Option<ResourceId>,
}

/// How a target accepts changes of group members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberUpdateMode {
    /// Additions and removals, at most this many in one request.
    Changes(usize),
    /// Only the complete list, together with the group's attributes.
    Whole,
}

/// The addition or removal of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// The id of the member at the target.
    pub member: RemoteId,
    /// Whether the member is added; otherwise it is removed.
    pub joins: bool,
}

/// A downstream system that keeps copies of resources. Methods block, make a bounded number of requests and may be
/// called from several threads. They are idempotent, except for [`Connector::create`].
pub trait Connector: Send + Sync {
    /// Returns the resource whose attribute has this value, if there is one.
    fn find(&self, kind: &Kind, attribute: &str, value: &str) -> Result<Option<RemoteResource>, PushError>;

    /// Returns whether the target still has the resource.
    fn exists(&self, kind: &Kind, id: &RemoteId) -> Result<bool, PushError>;

    /// Creates a resource. Fails with [`PushError::Conflict`] if its name is taken.
    fn create(&self, kind: &Kind, attributes: &Attributes) -> Result<RemoteId, PushError>;

    /// Changes a resource's attributes. Fails with [`PushError::Gone`] if the target does not know the id.
    fn update(&self, kind: &Kind, id: &RemoteId, update: &Update) -> Result<(), PushError>;

    /// Deactivates an account that was last sent as `sent`.
    fn deactivate(&self, kind: &Kind, id: &RemoteId, sent: &Attributes) -> Result<(), PushError>;

    /// Deletes a resource. Succeeds if the target does not have it.
    fn delete(&self, kind: &Kind, id: &RemoteId) -> Result<(), PushError>;

    /// Returns how it accepts changes of group members.
    fn membership(&self) -> Result<MemberUpdateMode, PushError>;

    /// Adds and removes members of a group in one request.
    fn change_members(&self, group: &RemoteId, changes: &[MemberChange]) -> Result<(), PushError>;

    /// Replaces the attributes and members of a group.
    fn replace_group(&self, group: &RemoteId, attributes: &Attributes, members: &[RemoteId]) -> Result<(), PushError>;

    /// Checks that the target answers and accepts the credentials.
    fn probe(&self) -> Result<(), PushError>;
}

/// The reason why a push failed, which decides what to do next. Texts contain neither credentials nor attributes of
/// users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// A temporary failure: no answer, an answer that is not SCIM, or a request to slow down.
    #[error("{cause}")]
    Retry {
        /// How long to wait, if the target says so.
        after: Option<Duration>,
        /// Whether the target as a whole is failing, not only this request.
        unreachable: bool,
        /// The cause, for the log.
        cause: String,
    },
    /// The target refused the request for good.
    #[error("the target answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The error text of the target.
        detail: String,
    },
    /// The target rejects the credentials or denies access: no request will succeed until an administrator fixes this.
    #[error("the target answered {status}: check the credentials and their permissions")]
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// The target does not know the resource.
    #[error("the target does not know this resource")]
    Gone,
    /// The name is taken at the target.
    #[error("the target has another resource with this name")]
    Conflict,
}

impl PushError {
    /// Returns the error of a target that gave no usable answer.
    pub fn unreachable(cause: impl Into<String>) -> Self {
        Self::Retry {
            after: None,
            unreachable: true,
            cause: cause.into(),
        }
    }
}
