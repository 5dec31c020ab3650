//! A change, who makes it, and what is written down together with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Timestamp;
use super::ids::{IdentityProviderName, Kind, ResourceId, ServiceProviderName, StoreName, Version};
use super::patch::PatchOperation;
use super::provenance;
use super::resource::{Attributes, Precondition};

/// Who asks for a change, and on behalf of which service provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who it is.
    pub principal: Principal,
    /// The service provider whose request or login it was; decides which targets learn of the change.
    pub service_provider: ServiceProviderName,
}

/// The kinds of actors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A SCIM client, by the id of its token.
    Client {
        /// The token's id (never the token).
        token: String,
        /// The store that the token is bound to, if it is: nothing else exists for this client.
        store: Option<StoreName>,
    },
    /// A login through an identity provider.
    Login {
        /// The identity provider whose assertion it is.
        identity_provider: IdentityProviderName,
    },
    /// The person whose account it is.
    Person,
    /// An administrator at the console or the command line.
    Administrator,
    /// A background job, by its name.
    Job(String),
}

impl Actor {
    /// An administrator, on behalf of the resident service provider.
    pub fn administrator() -> Self {
        Self {
            principal: Principal::Administrator,
            service_provider: ServiceProviderName::RESIDENT,
        }
    }

    /// Whether this actor may see and change what is in a store.
    pub fn reaches(&self, store: &StoreName) -> bool {
        match &self.principal {
            Principal::Client { store: Some(bound), .. } => bound == store,
            _ => true,
        }
    }

    /// The name under which provenance records this actor: `scim:wiki`, `idp:google`, `self`, `admin`, `job:sweep`.
    pub fn writer(&self) -> String {
        match &self.principal {
            Principal::Client { .. } => format!("scim:{}", self.service_provider),
            Principal::Login { identity_provider } => provenance::of_provider(identity_provider),
            Principal::Person => provenance::PERSON.to_owned(),
            Principal::Administrator => "admin".to_owned(),
            Principal::Job(name) => provenance::of_job(name),
        }
    }
}

/// One SCIM operation, ready for the door.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who asks for it.
    pub actor: Actor,
    /// What to do.
    pub operation: Operation,
    /// What must be written down in the same transaction, besides the journal.
    pub companions: Vec<Companion>,
}

/// What a change does (RFC 7644 §3.3, §3.5, §3.6).
#[derive(Clone, Debug)]
pub enum Operation {
    /// Makes a resource in a store.
    Create {
        /// The store that will own it.
        store: StoreName,
        /// Its type.
        kind: Kind,
        /// Its attributes in strict form.
        attributes: Attributes,
    },
    /// Replaces the writable attributes of a resource.
    Replace {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The new attributes in strict form.
        attributes: Attributes,
        /// What must hold of the stored version.
        precondition: Precondition,
    },
    /// Applies operations in order, all or none.
    Patch {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The operations in strict form.
        operations: Vec<PatchOperation>,
        /// What must hold of the stored version.
        precondition: Precondition,
    },
    /// Gives values that are there another writer in provenance. The values stay as they are.
    Transfer {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// Which values, and whose they become.
        transfer: Transfer,
    },
    /// Removes a resource for good.
    Delete {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// What must hold of the stored version.
        precondition: Precondition,
    },
}

/// Values that become another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Whose they are, as provenance has it.
    pub from: String,
    /// Which of them, by their paths in provenance; all if none are named.
    pub paths: Vec<String>,
    /// Whose they become.
    pub to: String,
}

/// A record that commits in the change's own transaction, or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Companion {
    /// The change itself, for targets, audit and feeds. The store fills in the version and who joined or left.
    Journal(JournalEntry),
    /// Ties an external subject to the resource that the change creates or updates.
    Link(Link),
    /// Unties an external subject from the resource.
    Unlink(Link),
    /// What the person agreed to.
    Consent(Consent),
    /// The person takes back what they agreed to for a purpose, by its name.
    Withdrawal(String),
    /// Whether an identity provider put somebody into the group that the change is about.
    Grant(Grant),
}

/// The word of an identity provider on a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The member.
    pub user: ResourceId,
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// Whether it grants the membership, or does so no more.
    pub granted: bool,
}

/// What the journal tells of one change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When.
    pub at: Timestamp,
    /// The writer, as [`Actor::writer`] names it.
    pub actor: String,
    /// On whose behalf.
    pub service_provider: ServiceProviderName,
    /// `create`, `update` or `delete`.
    pub action: Action,
    /// What changed: attribute path → new value (`null` when removed). Secrets are left out.
    pub diff: Attributes,
}

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It came to be.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
}

impl Action {
    /// The word in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Ties (identity provider, issuer, subject) to one local user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The identity provider's configured name.
    pub identity_provider: IdentityProviderName,
    /// The issuer that asserted the subject.
    pub issuer: String,
    /// The subject: stable and unique within the issuer.
    pub subject: String,
}

/// A person's consent to one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The purpose's name in the configuration.
    pub purpose: String,
    /// The version of it that the person saw.
    pub version: u32,
    /// The attributes, by SCIM path, that may be kept for it.
    pub granted: BTreeSet<String>,
    /// The optional attributes that the person does not want kept.
    pub refused: BTreeSet<String>,
    /// The identity provider that the attributes came from.
    pub identity_provider: IdentityProviderName,
    /// The application that the person was on the way to.
    pub service_provider: ServiceProviderName,
}

/// Who joined and who left a group in one change, and of whom it says something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipDelta {
    /// Ids of the members that joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<ResourceId>,
    /// Ids of the members that left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ResourceId>,
    /// Ids of the members that stayed with other words beside their `value`, such as another `display`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relabelled: Vec<ResourceId>,
}

impl MembershipDelta {
    /// Whether `members` is as it was.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty() && self.relabelled.is_empty()
    }
}

/// A committed change, as consumers of the journal read it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRecord {
    /// Where the journal stands after this record.
    pub position: JournalPosition,
    /// When the change was made.
    pub at: Timestamp,
    /// The store that owns the resource.
    pub store: StoreName,
    /// The resource's type.
    pub kind: Kind,
    /// The resource.
    pub id: ResourceId,
    /// The version that the change made.
    pub version: Version,
    /// The writer.
    pub actor: String,
    /// On whose behalf.
    pub service_provider: ServiceProviderName,
    /// What happened.
    pub action: Action,
    /// What changed.
    pub diff: Value,
    /// Who joined or left, if it is a group.
    pub members: MembershipDelta,
}

/// A place in the journal. Later records compare greater.
///
/// On PostgreSQL sequence numbers become visible out of order, so a place is (transaction, sequence) and readers see
/// only transactions older than every one still open; SQLite has one writer and its transaction is always 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition {
    /// The transaction that wrote the record.
    pub transaction: i64,
    /// The record's sequence number.
    pub sequence: i64,
}
