//! Pushes group members to a target.

use crate::domain::{Attributes, ResourceId};
use crate::storage::StorageError;
use crate::storage::outbound_members::{self, DifferingMember};

use super::connector::{MemberChange, MemberUpdateMode, PushError, RemoteId};
use super::metrics::{add, count};
use super::plan::TargetOperation;
use super::push::{Push, PushStop};

/// The number of member requests that one push makes. The rest is left for the next push, so that one huge group does
/// not occupy a worker for hours.
const REQUESTS: usize = 10;

/// A membership change that can be sent.
struct Due {
    member: ResourceId,
    change: MemberChange,
}

impl Push<'_> {
    /// Pushes a group's attributes, then its members.
    pub(super) fn sync_group(&mut self, current: &Attributes) -> Result<(), PushStop> {
        self.check_lease()?;
        match self.context.connector.membership()? {
            MemberUpdateMode::Changes(size) => {
                for operation in self.operations(Some(current)) {
                    self.carry_out(operation)?;
                }
                self.change_members(size, current)
            }
            MemberUpdateMode::Whole => self.replace_members(current),
        }
    }

    fn differing(&self, limit: usize) -> Result<Vec<DifferingMember>, PushStop> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found: Result<_, StorageError> = self.context.database.read(|connection| {
            outbound_members::differing(connection, self.context.target(), &self.row.resource_id, limit)
        });
        Ok(found?)
    }

    fn change_members(&mut self, size: usize, current: &Attributes) -> Result<(), PushStop> {
        let most = size.saturating_mul(REQUESTS);
        let mut rows = self.differing(most)?;
        // A member that never was at the target is not in a group there either.
        self.notes.members.extend(
            rows.iter()
                .filter(|row| row.remote_id.is_none())
                .map(|row| (row.member.clone(), row.wanted)),
        );
        let due: Vec<Due> = rows
            .drain(..)
            .filter_map(|row| {
                let change = MemberChange {
                    member: RemoteId(row.remote_id?),
                    joins: row.wanted,
                };
                Some(Due {
                    member: row.member,
                    change,
                })
            })
            .collect();
        for batch in due.chunks(size) {
            match self.send_members(batch) {
                Err(PushStop::Target(PushError::Gone)) => {
                    let remote = self.remote()?;
                    self.recreate(&remote, current.clone())?;
                    return Ok(());
                }
                sent => sent?,
            }
        }
        self.notes.refused_before = self.refused_before()?;
        Ok(())
    }

    fn refused_before(&self) -> Result<Option<String>, PushStop> {
        let found: Result<_, StorageError> = self
            .context
            .database
            .read(|connection| outbound_members::refusal(connection, self.context.target(), &self.row.resource_id));
        Ok(found?)
    }

    /// Sends one batch. If the target refuses it, halves it until the refused member is alone.
    fn send_members(&mut self, batch: &[Due]) -> Result<(), PushStop> {
        self.check_lease()?;
        let changes: Vec<MemberChange> = batch.iter().map(|due| due.change.clone()).collect();
        let group = self.remote()?;
        let mut answer = self.context.connector.change_members(&group, &changes);
        if answer == Err(PushError::Gone) && self.context.connector.exists(&self.row.kind, &group)? {
            // Some targets answer 404 for an unknown member.
            answer = Err(PushError::Refused {
                status: 404,
                detail: "a member is unknown at the target".to_owned(),
            });
        }
        match (answer, batch) {
            (Ok(()), _) => {
                add(&self.context.counters.members, batch.len());
                self.notes
                    .members
                    .extend(batch.iter().map(|due| (due.member.clone(), due.change.joins)));
                Ok(())
            }
            (Err(PushError::Refused { .. } | PushError::Conflict), [only]) if !only.change.joins => {
                // It is no longer a member.
                self.notes.members.push((only.member.clone(), false));
                Ok(())
            }
            (Err(error @ (PushError::Refused { .. } | PushError::Conflict)), [only]) => {
                let cause = format!("member {}: {error}", only.member);
                self.notes.refused.push((only.member.clone(), cause));
                Ok(())
            }
            (Err(PushError::Refused { .. } | PushError::Conflict), _) => {
                let (one, other) = batch.split_at(batch.len() / 2);
                self.send_members(one)?;
                self.send_members(other)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Replaces a group with all its members, for targets that accept only that.
    fn replace_members(&mut self, current: &Attributes) -> Result<(), PushStop> {
        if self.remote.is_none() {
            for operation in self.operations(Some(current)) {
                self.carry_out(operation)?;
            }
        }
        let rows = self.differing(usize::MAX)?;
        let attributes_differ = self
            .operations(Some(current))
            .iter()
            .any(|operation| matches!(operation, TargetOperation::Update(_)));
        if rows.is_empty() && !attributes_differ {
            return Ok(());
        }
        self.check_lease()?;
        let ids: Result<Vec<String>, StorageError> = self.context.database.read(|connection| {
            outbound_members::remote_members(connection, self.context.target(), &self.row.resource_id)
        });
        let members: Vec<RemoteId> = ids?.into_iter().map(RemoteId).collect();
        let remote = self.remote()?;
        match self.context.connector.replace_group(&remote, current, &members) {
            Ok(()) => {
                self.confirmed(current.clone());
                count(&self.context.counters.updated);
                self.notes
                    .members
                    .extend(rows.into_iter().map(|row| (row.member, row.wanted)));
                Ok(())
            }
            Err(PushError::Gone) => {
                self.recreate(&remote, current.clone())?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
