//! A change, its actor, and the side records that are written with it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Timestamp;
use super::ids::{IdentityProviderName, Kind, ResourceId, ServiceProviderName, StoreName, Version};
use super::patch::PatchOperation;
use super::provenance;
use super::resource::{Attributes, Precondition};

/// The principal that makes a change, and the service provider on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The principal.
    pub principal: Principal,
    /// The service provider of the request or login; decides which targets receive the change.
    pub service_provider: ServiceProviderName,
}

/// The kinds of actors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A SCIM client, by the id of its token.
    Client {
        /// The token's id (never the token).
        token: String,
        /// The store that the token is bound to, if any; the client cannot see other stores.
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
    Administrator {
        /// The administrator's name.
        name: String,
    },
    /// A background job, by its name.
    Job(String),
}

impl Actor {
    /// An administrator, on behalf of the resident service provider.
    pub fn administrator(name: impl Into<String>) -> Self {
        Self {
            principal: Principal::Administrator { name: name.into() },
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

    /// The same actor with access to every store, for what follows from a change that it made.
    pub(crate) fn in_every_store(&self) -> Self {
        let mut actor = self.clone();
        if let Principal::Client { store, .. } = &mut actor.principal {
            *store = None;
        }
        actor
    }

    /// The name under which provenance records this actor: `scim:wiki`, `idp:google`, `self`, `admin`, `job:sweep`.
    pub fn writer(&self) -> String {
        match &self.principal {
            Principal::Client { .. } => provenance::of_client(&self.service_provider),
            Principal::Login { identity_provider } => provenance::of_provider(identity_provider),
            Principal::Person => provenance::PERSON.to_owned(),
            Principal::Administrator { .. } => provenance::ADMINISTRATOR.to_owned(),
            Principal::Job(name) => provenance::of_job(name),
        }
    }

    /// The name under which the journal records this actor: like [`Actor::writer`], and with an administrator's name, as
    /// in `admin:ann`.
    pub(crate) fn journal_name(&self) -> String {
        match &self.principal {
            Principal::Administrator { name } => format!("{}:{name}", provenance::ADMINISTRATOR),
            _ => self.writer(),
        }
    }
}

/// One SCIM operation, ready for the change pipeline.
#[derive(Clone, Debug)]
pub struct Change {
    /// The actor that requests it.
    pub actor: Actor,
    /// The operation.
    pub operation: Operation,
    /// Side records that are written in the same transaction, in addition to the journal entry.
    pub side_records: Vec<SideRecord>,
}

/// The operation of a change (RFC 7644 §3.3, §3.5, §3.6).
#[derive(Clone, Debug)]
pub enum Operation {
    /// Creates a resource in a store.
    Create {
        /// The store that will own it.
        store: StoreName,
        /// Its type.
        kind: Kind,
        /// Its attributes in strict form.
        attributes: Attributes,
        /// The paths of the values that a person typed. Provenance names the person as their writer, not the actor.
        typed: Vec<String>,
    },
    /// Replaces the writable attributes of a resource.
    Replace {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The new attributes in strict form.
        attributes: Attributes,
        /// The condition on the stored version.
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
        /// The condition on the stored version.
        precondition: Precondition,
    },
    /// Assigns existing values to another writer in provenance. The values do not change.
    Transfer {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The values and their new writer.
        transfer: Transfer,
    },
    /// Removes a resource for good.
    Delete {
        /// Its type.
        kind: Kind,
        /// Which one.
        id: ResourceId,
        /// The condition on the stored version.
        precondition: Precondition,
    },
}

/// Values that get another writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The current writer, as in provenance.
    pub from: String,
    /// The paths of the values in provenance; empty for all values of the writer.
    pub paths: Vec<String>,
    /// The new writer.
    pub to: String,
}

/// A side record, which commits in the same transaction as its change or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SideRecord {
    /// The change itself, for targets, audit and feeds. The store fills in the version and the members added and
    /// removed.
    Journal(JournalEntry),
    /// The change rests on a proof of the account under this version of its credentials, and is stale if they have
    /// changed since.
    Proof(i64),
    /// Links an external subject to the resource that the change creates or updates.
    Link(Link),
    /// Unlinks an external subject from the resource. If it was the last one of its identity provider, the sessions that
    /// began through the provider end.
    Unlink {
        /// The link.
        link: Link,
        /// The hash of the session that stays open, if one does.
        spared: Option<String>,
        /// Whether the person or an administrator unlinks it: it is linked again only with a proof of the account.
        #[serde(default)]
        for_good: bool,
    },
    /// A SCIM client that is trusted to know subjects says that the account is another subject's, or nobody's. If the one
    /// that it named before another, the account was in the wrong hands: every way into it ends. The change is refused if the
    /// new subject has another account.
    SubjectChange {
        /// The identity provider of the subjects.
        identity_provider: IdentityProviderName,
        /// Their issuer.
        issuer: String,
        /// The subject that the client named before.
        old: Option<String>,
        /// The subject that it names now.
        new: Option<String>,
        /// The e-mail addresses of the account before the change: the person before may still read their mail.
        #[serde(default)]
        addresses: Vec<String>,
    },
    /// The resource is created for an external subject, and the change is stale if the subject has got an account
    /// meanwhile: a link, or an `externalId` that one of these writers keeps.
    NewSubject {
        /// The identity of the subject.
        link: Link,
        /// The names in provenance of the SCIM clients that are trusted to know the subject.
        trusted: Vec<String>,
        /// The stores in which they keep accounts.
        stores: Vec<StoreName>,
    },
    /// The SCIM clients that are trusted to know subjects. If one of them kept the account that the change deletes for a
    /// subject, that subject had an account that was deleted.
    KeptSubjects(Vec<SubjectSource>),
    /// The person's consent.
    Consent(Consent),
    /// The person withdraws the consent to a purpose, given by its name.
    Withdrawal(String),
    /// Whether an identity provider grants a user the membership in the group that the change is about.
    Grant(MembershipGrant),
}

/// A SCIM client that is trusted to know the subjects of an identity provider: its `externalId` is the subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectSource {
    /// The name of the client in provenance.
    pub writer: String,
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// The issuer of its subjects.
    pub issuer: String,
}

/// An identity provider's statement about a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipGrant {
    /// The member.
    pub user: ResourceId,
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// Whether it grants the membership or no longer does.
    pub granted: bool,
}

/// The journal entry of one change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The time of the change.
    pub at: Timestamp,
    /// The writer, as [`Actor::writer`] names it.
    pub actor: String,
    /// On whose behalf.
    pub service_provider: ServiceProviderName,
    /// `create`, `update` or `delete`.
    pub action: Action,
    /// The changes: attribute path → new value (`null` when removed). Secrets are left out.
    pub diff: Attributes,
}

/// The kind of a change in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The resource was created.
    Create,
    /// The resource was updated.
    Update,
    /// The resource was deleted.
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

/// Links (identity provider, issuer, subject) to one local user.
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

/// The members that joined, left or were relabelled in one change of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipDelta {
    /// Ids of the members that joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<ResourceId>,
    /// Ids of the members that left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ResourceId>,
    /// Ids of the members that stayed and whose other sub-attributes changed, such as `display`.
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
    /// The position of this record in the journal.
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
    /// The kind of change.
    pub action: Action,
    /// The changes, as in [`JournalEntry`].
    pub diff: Value,
    /// The changes of the members, if it is a group.
    pub members: MembershipDelta,
}

/// A position in the journal. Later records compare greater.
///
/// On PostgreSQL sequence numbers become visible out of order, so a position is (transaction, sequence) and readers see
/// only transactions older than every one still open; SQLite has one writer and its transaction is always 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition {
    /// The transaction that wrote the record.
    pub transaction: i64,
    /// The record's sequence number.
    pub sequence: i64,
}
