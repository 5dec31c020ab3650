//! Deletes a resource with everything that hangs on it.

use super::members;
use super::write::{PreparedAction, PreparedWrite, append, locked};
use crate::domain::change::MembershipDelta;
use crate::domain::{Link, Precondition, Resource, ResourceId, SideRecord};
use crate::storage::tables::resources;
use crate::storage::{
    Database, SqlConnection, consents, credential_versions, factors, group_grants, links, mail_addresses, mail_codes,
};
use crate::userstore::{StoreError, WriteResult};
use diesel::prelude::*;

/// The most groups that a resource leaves in one transaction.
const GROUPS: usize = 200;

impl PreparedWrite {
    /// Takes a resource that is to be deleted out of most of its groups, if it has many, in a transaction for each few of
    /// them: each locks its groups, and others wait for it. A deletion that is interrupted leaves the resource in the other
    /// groups, and may be repeated.
    pub(super) fn leave_groups_before_deletion(
        self: &std::sync::Arc<Self>,
        database: &Database,
    ) -> Result<(), StoreError> {
        let PreparedAction::Delete(expected) = &self.step else {
            return Ok(());
        };
        loop {
            let many: Vec<ResourceId> =
                database.read::<_, StoreError>(|connection| members::some_groups(connection, &self.id, GROUPS + 1))?;
            if many.len() <= GROUPS {
                return Ok(());
            }
            let (order, expected) = (std::sync::Arc::clone(self), expected.clone());
            let goes_on = database.write(move |connection| order.leave(connection, &many, &expected))?;
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Leaves groups; false if the deletion has nothing to delete.
    fn leave(
        &self,
        connection: &mut SqlConnection,
        groups: &[ResourceId],
        expected: &Precondition,
    ) -> Result<bool, StoreError> {
        members::lock_members(connection, groups.iter().map(ResourceId::as_str))?;
        if self.current(connection, expected)?.is_none() {
            return Ok(false);
        }
        for group in members::leave_these(connection, &self.id, groups)? {
            self.journal_group_change(connection, group)?;
        }
        Ok(true)
    }

    pub(super) fn delete(
        &self,
        connection: &mut SqlConnection,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        // Groups first: a change of a group locks the group, then its memberships.
        let locked = members::lock_with_groups(connection, &self.id)?;
        let Some(resource) = self.current(connection, expected)? else {
            return Ok(None);
        };
        let groups = members::leave_all(connection, &self.id)?;
        locked.check(resource.version, &groups)?;
        for group in groups {
            self.journal_group_change(connection, group)?;
        }
        links::unlink_all(connection, &self.id, self.at)?;
        mail_addresses::delete_of_user(connection, &self.id)?;
        self.remember_kept_subject(connection, &resource)?;
        consents::delete_of_user(connection, &self.id)?;
        factors::delete_of_user(connection, &self.id)?;
        mail_codes::delete_of_user(connection, &self.id)?;
        group_grants::forget(connection, &self.id)?;
        self.end_sessions(connection)?;
        credential_versions::delete_of_user(connection, &self.id)?;
        // The database deletes values, members and the password with the row.
        diesel::delete(resources::table.find(self.id.as_str())).execute(connection)?;
        self.record(
            connection,
            &Resource {
                version: resource.version.next(),
                ..resource.clone()
            },
            &MembershipDelta::default(),
        )?;
        Ok(Some(WriteResult {
            resource,
            members: MembershipDelta::default(),
            changed: true,
        }))
    }

    /// Records that the subject for which a client kept the account had one, also if nobody has entered it.
    fn remember_kept_subject(&self, connection: &mut SqlConnection, resource: &Resource) -> Result<(), StoreError> {
        let attributes = resource.document.attributes();
        let Some(subject) = attributes.get("externalId").and_then(|subject| subject.as_str()) else {
            return Ok(());
        };
        let writers = resource.writers.writers();
        let Some(writer) = writers.get("externalId") else {
            return Ok(());
        };
        let sources = self.side_records.iter().filter_map(|record| match record {
            SideRecord::KeptSubjects(sources) => Some(sources),
            _ => None,
        });
        for source in sources.flatten().filter(|source| source.writer == *writer) {
            let link = Link {
                identity_provider: source.identity_provider.clone(),
                issuer: source.issuer.clone(),
                subject: subject.to_owned(),
            };
            if links::find(connection, &link.identity_provider, &link.issuer, subject)?.is_none() {
                links::remember_deleted(connection, &link, self.at)?;
            }
        }
        Ok(())
    }

    /// Records the change of a group that lost its member by this deletion, so that its targets learn of it.
    fn journal_group_change(&self, connection: &mut SqlConnection, group: ResourceId) -> Result<(), StoreError> {
        let Some(mut group) = locked(connection, &group)? else {
            return Ok(());
        };
        self.touch(connection, &mut group)?;
        let delta = MembershipDelta {
            left: vec![self.id.clone()],
            ..MembershipDelta::default()
        };
        for entry in &self.journal {
            append(connection, &entry.of_members(), &group, &delta)?;
        }
        Ok(())
    }
}
