//! The row of a resource.

use diesel::prelude::*;

use crate::domain::provenance::Provenance;
use crate::domain::{Document, Resource, Timestamp, Version};
use crate::storage::tables::resources;

/// What is read of a resource's row.
#[derive(Queryable, Selectable)]
#[diesel(table_name = resources)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) store: String,
    pub(super) kind: String,
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) version: i64,
    pub(super) writers: String,
    pub(super) document: String,
}

impl Row {
    /// The resource, without relations.
    pub(super) fn into_resource(self) -> Resource {
        Resource {
            store: self.store.into(),
            kind: self.kind.into(),
            id: self.id.into(),
            version: Version(self.version),
            created: Timestamp(self.created),
            modified: Timestamp(self.modified),
            document: Document::from_text(self.document),
            writers: Provenance::from_text(self.writers),
            members: Vec::new(),
            groups: Vec::new(),
        }
    }
}
