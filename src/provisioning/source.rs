//! The source from which the engine reads the resources that it pushes.

use std::sync::Arc;

use crate::directory::{Directory, DirectoryError};
use crate::domain::{Kind, Relations, Resource, ResourceId, StoreName};

type ReadMembers = dyn Fn(&StoreName, &ResourceId, Option<&ResourceId>, usize) -> Result<Vec<ResourceId>, DirectoryError>
    + Send
    + Sync;
type Read = dyn Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync;

/// Reads the current state of resources.
#[derive(Clone)]
pub struct Source {
    read: Arc<Read>,
    read_members: Arc<ReadMembers>,
}

impl Source {
    /// Returns a source that reads through the directory.
    pub fn directory(directory: Arc<Directory>) -> Self {
        let members_of = Arc::clone(&directory);
        Self {
            read: Arc::new(move |kind, id, relations| directory.get(kind, id, relations)),
            read_members: Arc::new(move |store, group, after, limit| members_of.member_ids(store, group, after, limit)),
        }
    }

    /// Returns a source that reads through a function, such as one over the resources of a test.
    pub fn new(
        read: impl Fn(&Kind, &ResourceId, Relations) -> Result<Option<Resource>, DirectoryError> + Send + Sync + 'static,
    ) -> Self {
        let read: Arc<Read> = Arc::new(read);
        let whole = Arc::clone(&read);
        let read_members = move |_: &StoreName, group: &ResourceId, after: Option<&ResourceId>, limit: usize| {
            let relations = Relations {
                members: true,
                groups: false,
            };
            let group = whole(&Kind::GROUP, group, relations)?;
            let members = group.map(|group| group.members).unwrap_or_default();
            let mut ids: Vec<ResourceId> = members.into_iter().map(|member| member.id).collect();
            ids.sort();
            ids.retain(|id| after.is_none_or(|after| id > after));
            ids.truncate(limit);
            Ok(ids)
        };
        Self {
            read,
            read_members: Arc::new(read_members),
        }
    }

    /// Returns one resource; `None` if it does not exist.
    pub(super) fn get(
        &self,
        kind: &Kind,
        id: &ResourceId,
        relations: Relations,
    ) -> Result<Option<Resource>, DirectoryError> {
        (self.read)(kind, id, relations)
    }

    /// Returns the ids of at most `limit` members of a group, in order, from the first after `after` on.
    pub(super) fn member_ids(
        &self,
        store: &StoreName,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, DirectoryError> {
        (self.read_members)(store, group, after, limit)
    }
}
