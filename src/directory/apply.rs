//! Applies a change: checks it against the schema, computes the new state, and writes it with its journal entry.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use super::next_state::{ACTIVE, NextState, activate, has_members, patched, separate};
use super::{Directory, DirectoryError, Outcome};
use crate::domain::backoff::Backoff;
use crate::domain::change::{Action, Transfer};
use crate::domain::patch::{self, MemberStep, PatchOperation};
use crate::domain::schema::ResourceType;
use crate::domain::unique::unique_values;
use crate::domain::validate;
use crate::domain::{
    Actor, Attributes, Change, JournalEntry, Kind, Member, Operation, Precondition, Principal, Relations, Resource,
    ResourceId, SideRecord, StoreName, Timestamp, provenance, replace,
};
use crate::userstore::{Draft, StoreError, UniqueKey, Write, WriteAction, WriteResult};

/// The maximum number of attempts when others change the resource at the same time.
const ATTEMPTS: u32 = 40;
/// The waits between the attempts, about two seconds in all.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(100));

/// The attribute by which a client knows a resource.
const EXTERNAL_ID: &str = "externalId";

impl Directory {
    /// Applies one change: it is checked, written and journalled together, or not at all.
    pub fn apply(&self, change: Change) -> Result<Outcome, DirectoryError> {
        let Change {
            actor,
            operation,
            side_records,
        } = change;
        let context = ChangeContext {
            directory: self,
            actor: &actor,
            side_records: &side_records,
        };
        let outcome = match operation {
            Operation::Create {
                store,
                kind,
                attributes,
                typed,
            } => context.create(&store, kind, attributes, &typed),
            Operation::Replace {
                kind,
                id,
                attributes,
                precondition,
            } => {
                let _turn = self.locks.hold(&id);
                context.retry_on_conflict(&kind, &id, &precondition, |context, before, stored| {
                    context.replace(before, stored, attributes.clone())
                })
            }
            Operation::Patch {
                kind,
                id,
                operations,
                precondition,
            } => {
                let _turn = self.locks.hold(&id);
                context.patch(&kind, &id, &operations, &precondition)
            }
            Operation::Transfer { kind, id, transfer } => {
                let _turn = self.locks.hold(&id);
                context.transfer(&kind, &id, &transfer)
            }
            Operation::Delete { kind, id, precondition } => {
                let _turn = self.locks.hold(&id);
                context.delete(&kind, &id, &precondition)
            }
        }?;
        if let (Some(listener), false) = (self.listener.get(), matches!(outcome, Outcome::Unchanged(_))) {
            listener();
        }
        Ok(outcome)
    }
}

/// One change in the pipeline.
struct ChangeContext<'a> {
    directory: &'a Directory,
    actor: &'a Actor,
    side_records: &'a [SideRecord],
}

/// The parsed state of a resource before the change; empty when it is created.
#[derive(Default)]
struct CurrentState {
    attributes: Attributes,
    writers: provenance::Writers,
}

impl ChangeContext<'_> {
    fn create(
        &self,
        store: &StoreName,
        kind: Kind,
        mut attributes: Attributes,
        typed: &[String],
    ) -> Result<Outcome, DirectoryError> {
        let resource_type = self.resource_type(&kind)?;
        if !self.actor.reaches(store) {
            return Err(DirectoryError::NotFound(kind));
        }
        activate(resource_type, &mut attributes);
        validate::check(resource_type, &attributes)?;
        let next = separate(resource_type, attributes)?;
        let id = ResourceId::new(uuid::Uuid::now_v7().to_string());
        let mut draft = self.draft(resource_type, &id, next, &CurrentState::default());
        for (path, writer) in &mut draft.writers {
            if typed.contains(path) {
                provenance::PERSON.clone_into(writer);
            }
        }
        let diff = provenance::diff(resource_type, &Attributes::new(), &draft.attributes);
        let write = Write {
            kind,
            id,
            at: self.now(),
            action: WriteAction::Create(draft),
        };
        let side_records = self.with_journal(Action::Create, diff);
        match self.directory.store(store)?.write(write, side_records)? {
            Some(written) => Ok(Outcome::Created(written.resource)),
            None => Err(StoreError::Unsupported("create this resource").into()),
        }
    }

    fn replace(
        &self,
        before: &Resource,
        stored: &CurrentState,
        attributes: Attributes,
    ) -> Result<NextState, DirectoryError> {
        let resource_type = self.resource_type(&before.kind)?;
        let states_active = attributes.contains_key(ACTIVE);
        let mut merged = replace::merge(resource_type, &stored.attributes, attributes)?;
        let by = (self.actor, self.side_records);
        let ownership = &self.directory.ownership;
        ownership.restore(by, &stored.writers, &stored.attributes, &mut merged);
        // Without `active` in the request, the stored value stays.
        if let (false, Some(active)) = (states_active, stored.attributes.get(ACTIVE)) {
            merged.insert(ACTIVE.to_owned(), active.clone());
        }
        activate(resource_type, &mut merged);
        validate::check(resource_type, &merged)?;
        let mut next = separate(resource_type, merged)?;
        next.states_active = states_active;
        if has_members(resource_type) {
            next.members.get_or_insert_with(|| vec![MemberStep::Clear]);
        }
        Ok(next)
    }

    fn patch(
        &self,
        kind: &Kind,
        id: &ResourceId,
        operations: &[PatchOperation],
        precondition: &Precondition,
    ) -> Result<Outcome, DirectoryError> {
        let resource_type = self.resource_type(kind)?;
        if has_members(resource_type) {
            let about_members = |operation: &PatchOperation| patch::touches(std::slice::from_ref(operation), "members");
            let (of_members, others): (Vec<_>, Vec<_>) = operations.iter().cloned().partition(about_members);
            // The members are read only if an operation needs them.
            let steps = if of_members.is_empty() {
                Some(Vec::new())
            } else {
                patch::members_only(&of_members)
            };
            return self.retry_on_conflict(kind, id, precondition, |context, before, stored| match &steps {
                Some(steps) => {
                    let next = patched(resource_type, &stored.attributes, &others)?;
                    Ok(NextState {
                        members: (!steps.is_empty()).then(|| steps.clone()),
                        ..next
                    })
                }
                None => context.patched_with_members(before, stored, operations),
            });
        }
        self.retry_on_conflict(kind, id, precondition, |_, _, stored| {
            patched(resource_type, &stored.attributes, operations)
        })
    }

    /// Computes the members from those that are present. They are read after the version that the write will expect, so
    /// that a change of them in between makes that write stale.
    fn patched_with_members(
        &self,
        before: &Resource,
        stored: &CurrentState,
        operations: &[PatchOperation],
    ) -> Result<NextState, DirectoryError> {
        let relations = Relations {
            members: true,
            groups: false,
        };
        let present = self
            .directory
            .get(&before.kind, &before.id, relations)?
            .map(|group| group.members);
        let mut attributes = stored.attributes.clone();
        attributes.insert(
            "members".to_owned(),
            present.unwrap_or_default().iter().map(Member::value).collect(),
        );
        let mut next = patched(self.resource_type(&before.kind)?, &attributes, operations)?;
        next.members.get_or_insert_with(|| vec![MemberStep::Clear]);
        next.rests_on_members = true;
        Ok(next)
    }

    fn transfer(&self, kind: &Kind, id: &ResourceId, transfer: &Transfer) -> Result<Outcome, DirectoryError> {
        let Transfer { from, paths, to } = transfer;
        self.retry_on_conflict(kind, id, &Precondition::None, |_, _, stored| {
            let mut writers = stored.writers.clone();
            for (path, writer) in &mut writers {
                if writer == from && (paths.is_empty() || paths.contains(path)) {
                    writer.clone_from(to);
                }
            }
            Ok(NextState {
                attributes: stored.attributes.clone(),
                members: None,
                rests_on_members: false,
                password: None,
                states_active: false,
                writers: (writers != stored.writers).then_some(writers),
            })
        })
    }

    fn delete(&self, kind: &Kind, id: &ResourceId, precondition: &Precondition) -> Result<Outcome, DirectoryError> {
        let before = self.present(kind, id)?;
        let action = WriteAction::Delete {
            expected: precondition.clone(),
        };
        let write = Write {
            kind: kind.clone(),
            id: id.clone(),
            at: self.now(),
            action,
        };
        let side_records = self.with_journal(Action::Delete, Attributes::new());
        match self.directory.store(&before.store)?.write(write, side_records)? {
            Some(written) => Ok(Outcome::Deleted(written.resource)),
            None => Err(DirectoryError::NotFound(kind.clone())),
        }
    }

    /// Computes the new state from the present one and writes it; starts again if the resource was changed meanwhile. A
    /// change without a precondition is never answered with a conflict that its client cannot have caused.
    fn retry_on_conflict(
        &self,
        kind: &Kind,
        id: &ResourceId,
        precondition: &Precondition,
        next: impl Fn(&Self, &Resource, &CurrentState) -> Result<NextState, DirectoryError>,
    ) -> Result<Outcome, DirectoryError> {
        let mut attempt = 1;
        loop {
            let before = self.present(kind, id)?;
            if !precondition.allows(before.version) {
                return Err(StoreError::Stale.into());
            }
            let stored = CurrentState {
                attributes: before.document.attributes(),
                writers: before.writers.writers(),
            };
            let next = next(self, &before, &stored)?;
            match self.write(before, stored, next, precondition) {
                Err(DirectoryError::Store(StoreError::Stale)) if attempt < ATTEMPTS => {
                    std::thread::sleep(BACKOFF.jittered(attempt, dice()));
                    attempt += 1;
                }
                Err(DirectoryError::Store(StoreError::Stale)) if *precondition == Precondition::None => {
                    let busy = format!("{kind} {id} is changed by others all the time");
                    return Err(StoreError::Unavailable(busy.into()).into());
                }
                settled => return settled,
            }
        }
    }

    fn write(
        &self,
        before: Resource,
        stored: CurrentState,
        mut next: NextState,
        precondition: &Precondition,
    ) -> Result<Outcome, DirectoryError> {
        // Only who disabled the account enables it by removing `active`.
        if let Some(Value::Bool(false)) = stored.attributes.get(ACTIVE)
            && stored.writers.get(ACTIVE) != Some(&self.actor.writer())
        {
            next.attributes.entry(ACTIVE.to_owned()).or_insert(Value::Bool(false));
        }
        let resource_type = self.resource_type(&before.kind)?;
        let (has_password, transfers) = (next.password.is_some(), next.writers.is_some());
        let read_version = Precondition::Versions(vec![before.version]);
        let expected_of_members = if next.rests_on_members {
            read_version.clone()
        } else {
            precondition.clone()
        };
        let draft = self.draft(resource_type, &before.id, next, &stored);
        let has_new_writer = |path: &str| draft.writers.get(path) != stored.writers.get(path);
        let has_other_change = has_password || has_new_writer(ACTIVE) || has_new_writer(EXTERNAL_ID) || transfers;
        if !transfers {
            let ownership = &self.directory.ownership;
            ownership.check((self.actor, self.side_records), &stored.writers, &draft.writers)?;
        }
        let diff = provenance::diff(resource_type, &stored.attributes, &draft.attributes);
        let action = if !diff.is_empty() || has_other_change {
            WriteAction::Replace {
                draft,
                before: Some(stored.attributes),
                expected: read_version,
            }
        } else if let Some(change) = draft.members {
            WriteAction::Members {
                change,
                expected: expected_of_members,
            }
        } else if self.side_records.is_empty() {
            return Ok(Outcome::Unchanged(before));
        } else {
            WriteAction::Keep
        };
        let write = Write {
            kind: before.kind.clone(),
            id: before.id.clone(),
            at: self.now(),
            action,
        };
        let side_records = self.with_journal(Action::Update, diff);
        let Some(WriteResult { resource, changed, .. }) =
            self.directory.store(&before.store)?.write(write, side_records)?
        else {
            return Err(DirectoryError::NotFound(before.kind));
        };
        // A change of a resource does not change the groups that it is in.
        let groups = before.groups;
        let resource = Resource { groups, ..resource };
        Ok(if changed {
            Outcome::Updated(resource)
        } else {
            Outcome::Unchanged(resource)
        })
    }

    fn draft(&self, resource_type: &ResourceType, id: &ResourceId, next: NextState, stored: &CurrentState) -> Draft {
        let attributes = validate::ordered(resource_type, next.attributes);
        let assigned =
            || provenance::assign_writers(&stored.attributes, &attributes, &stored.writers, &self.actor.writer());
        let mut writers = next.writers.unwrap_or_else(assigned);
        if next.states_active && self.states() && attributes.contains_key(ACTIVE) {
            writers.insert(ACTIVE.to_owned(), self.actor.writer());
        }
        if self.states_subject(&attributes) {
            writers.insert(EXTERNAL_ID.to_owned(), self.actor.writer());
        }
        Draft {
            key: UniqueKey::of(Some(resource_type), id, &attributes),
            unique: unique_values(resource_type, &attributes),
            writers,
            attributes,
            members: next.members,
            password: next.password,
        }
    }

    /// Whether what the actor says about `active` counts as its own statement, also if it is what is stored: a client's or
    /// an administrator's. Otherwise a job could take over what a client said of a person who left, and a login give it up.
    fn states(&self) -> bool {
        matches!(
            self.actor.principal,
            Principal::Client { .. } | Principal::Administrator { .. }
        )
    }

    /// Whether the change says whose account it is, also if that is what is stored: then it is the actor's statement.
    fn states_subject(&self, attributes: &Attributes) -> bool {
        let subject = attributes.get(EXTERNAL_ID).and_then(Value::as_str);
        let mut records = self.side_records.iter();
        records
            .any(|record| matches!(record, SideRecord::SubjectChange { new: Some(new), .. } if Some(&**new) == subject))
    }

    /// A response shows the groups of a resource; reading them later would be a second read.
    const GROUPS: Relations = Relations {
        members: false,
        groups: true,
    };

    fn present(&self, kind: &Kind, id: &ResourceId) -> Result<Resource, DirectoryError> {
        self.directory
            .get_for(self.actor, kind, id, Self::GROUPS)?
            .ok_or_else(|| DirectoryError::NotFound(kind.clone()))
    }

    fn resource_type(&self, kind: &Kind) -> Result<&ResourceType, DirectoryError> {
        let found = self.directory.registry.resource_type(kind);
        found.ok_or_else(|| DirectoryError::NotFound(kind.clone()))
    }

    fn with_journal(&self, action: Action, diff: Attributes) -> Vec<SideRecord> {
        let entry = JournalEntry {
            at: self.now(),
            actor: self.actor.journal_name(),
            service_provider: self.actor.service_provider.clone(),
            action,
            diff,
        };
        std::iter::once(SideRecord::Journal(entry))
            .chain(self.side_records.iter().cloned())
            .collect()
    }

    fn now(&self) -> Timestamp {
        self.directory.clock.now()
    }
}

/// Returns a random number from 0 to 255.
fn dice() -> u8 {
    RandomState::new().hash_one(()).to_le_bytes()[0]
}
