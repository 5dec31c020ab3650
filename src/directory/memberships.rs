//! Memberships that identity providers grant to users.

use serde_json::json;

use super::{Directory, DirectoryError};
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::path::Path;
use crate::domain::schema::Registry;
use crate::domain::{Actor, Change, Kind, MembershipGrant, Operation, Precondition, ResourceId, SideRecord};
use crate::storage::{Database, group_grants};
use crate::userstore::StoreError;

/// The most memberships that are withdrawn at once.
const MOST: i64 = 1000;

impl Directory {
    /// Takes users out of the groups that an identity provider added them to, where they are not linked to it any more: one
    /// user, or all. Returns how many memberships there were.
    pub(crate) fn withdraw_outdated(
        &self,
        database: &Database,
        actor: &Actor,
        user: Option<&ResourceId>,
    ) -> Result<usize, DirectoryError> {
        let outdated = database.read::<_, StoreError>(|connection| group_grants::outdated(connection, user, MOST))?;
        let count = outdated.len();
        for (user, identity_provider, group) in outdated {
            let grant = SideRecord::Grant(MembershipGrant {
                user: user.clone(),
                identity_provider,
                granted: false,
            });
            let change = Change {
                actor: actor.clone(),
                operation: membership(self.registry(), &group, &user, false)?,
                side_records: vec![grant],
            };
            match self.apply(change) {
                Ok(_) | Err(DirectoryError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

/// The operation that adds a user to a group, or removes them from it.
pub(crate) fn membership(
    registry: &Registry,
    group: &ResourceId,
    user: &ResourceId,
    joins: bool,
) -> Result<Operation, DirectoryError> {
    let groups = registry.resource_type(&Kind::GROUP);
    let groups = groups.ok_or(DirectoryError::NotFound(Kind::GROUP))?;
    let step = if joins {
        PatchOperation {
            op: PatchOp::Add,
            path: Some(Path::parse("members", groups)?),
            value: Some(json!([{ "value": user, "type": "User" }])),
        }
    } else {
        PatchOperation {
            op: PatchOp::Remove,
            path: Some(Path::parse(&format!("members[value eq \"{user}\"]"), groups)?),
            value: None,
        }
    };
    Ok(Operation::Patch {
        kind: Kind::GROUP,
        id: group.clone(),
        operations: vec![step],
        precondition: Precondition::None,
    })
}
