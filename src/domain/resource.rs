//! A resource as all modules see it (RFC 7643 §3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Timestamp;
use super::ids::{Kind, ResourceId, StoreName, Version};
use super::provenance::Provenance;

/// The attributes of a resource by canonical name. Extensions stand under their URN.
pub type Attributes = Map<String, Value>;

/// A resource's own attributes, kept as the JSON text that answers are spliced from.
///
/// The text is one object: `schemas` (derived from what is present), `externalId`, then the others in schema order. It
/// does not hold server-assigned attributes (`id`, `meta`), relations (`members`, `groups`) or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(String);

impl Document {
    /// Serialises attributes.
    pub fn new(attributes: &Attributes) -> Self {
        Self(serde_json::to_string(attributes).expect("a JSON object always serialises"))
    }

    /// Wraps a text that [`Document::new`] wrote earlier.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The JSON text, `{…}`.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The attributes, parsed at each call.
    pub fn attributes(&self) -> Attributes {
        serde_json::from_str(&self.0).expect("documents are JSON objects, written by Document::new alone")
    }
}

/// One stored resource. Relations are present only if they were requested.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The userstore that owns it.
    pub store: StoreName,
    /// Its resource type.
    pub kind: Kind,
    /// Its `id`.
    pub id: ResourceId,
    /// Its version, which counts its states.
    pub version: Version,
    /// When it was created.
    pub created: Timestamp,
    /// When it last changed.
    pub modified: Timestamp,
    /// Its own attributes.
    pub document: Document,
    /// The writer of each value.
    pub writers: Provenance,
    /// For a group: its members, in the order in which they joined. Empty unless asked for.
    pub members: Vec<Member>,
    /// For a user: the groups that hold it. Empty unless asked for.
    pub groups: Vec<Membership>,
}

impl Resource {
    /// Everything that can be filtered and sorted by: the attributes, what the server assigns, and the relations that
    /// were asked for.
    pub fn view(&self) -> Attributes {
        let mut view = self.document.attributes();
        view.insert("id".to_owned(), self.id.as_str().into());
        view.insert("meta".to_owned(), self.meta());
        if !self.members.is_empty() {
            let bodies = self.members.iter().map(Member::value).collect();
            view.insert("members".to_owned(), Value::Array(bodies));
        }
        if !self.groups.is_empty() {
            let groups = self
                .groups
                .iter()
                .map(|group| json!({ "value": group.id, "display": group.display, "type": group.kind() }))
                .collect();
            view.insert("groups".to_owned(), Value::Array(groups));
        }
        view
    }

    /// `meta` without `location`, which depends on where the resource is served (RFC 7643 §3.1).
    fn meta(&self) -> Value {
        json!({
            "resourceType": self.kind,
            "created": self.created.to_string(),
            "lastModified": self.modified.to_string(),
            "version": self.version.to_string(),
        })
    }

    /// Whether the user may log in: `active` is not `false` (RFC 7643 §4.1.1).
    pub fn is_active(&self) -> bool {
        self.document.attributes().get("active") != Some(&Value::Bool(false))
    }
}

/// One element of a group's `members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The member's `value`. It need not exist: clients send members before they create them.
    pub id: ResourceId,
    /// The element exactly as the client sent it, a JSON object with at least `value`.
    pub body: String,
}

impl Member {
    /// The element as JSON.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| json!({ "value": self.id }))
    }
}

/// One element of a user's `groups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group's `id`.
    pub id: ResourceId,
    /// The group's `displayName`.
    pub display: String,
    /// Whether the user is a direct member, and not only through another group.
    pub direct: bool,
}

impl Membership {
    /// `direct` or `indirect` (RFC 7643 §4.1.2).
    pub fn kind(&self) -> &'static str {
        if self.direct { "direct" } else { "indirect" }
    }
}

/// The relations that a read returns; each costs a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Relations {
    /// `members` of a group.
    pub members: bool,
    /// `groups` of a user.
    pub groups: bool,
}

impl Relations {
    /// Neither.
    pub const NONE: Self = Self {
        members: false,
        groups: false,
    };
    /// Both.
    pub const ALL: Self = Self {
        members: true,
        groups: true,
    };

    /// The relations that either of them returns.
    pub fn and(self, other: Self) -> Self {
        Self {
            members: self.members || other.members,
            groups: self.groups || other.groups,
        }
    }
}

/// The condition on the stored version for a change to succeed (`If-Match`, RFC 7644 §3.14).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Precondition {
    /// No condition.
    #[default]
    None,
    /// The resource is at one of these versions.
    Versions(Vec<Version>),
}

impl Precondition {
    /// Whether a resource at `version` meets it.
    pub fn allows(&self, version: Version) -> bool {
        match self {
            Self::None => true,
            Self::Versions(versions) => versions.contains(&version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_back_as_it_was() {
        for number in [1.151_584_524_626_506_5e19, 1.111_111_111_111_111e50, 0.1, 5e-324] {
            let attributes = json!({ "weight": number }).as_object().expect("an object").clone();
            assert_eq!(Document::new(&attributes).attributes(), attributes, "{number}");
        }
    }
}
