//! A userstore in memory: the reference implementation, used in tests.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Draft, MemberSteps, PasswordChange, PasswordCheck, PasswordHasher, StoreError, Userstore, Write, WriteAction,
    WriteResult,
};
use crate::domain::change::MembershipDelta;
use crate::domain::filter::matches;
use crate::domain::lockout::{FailureCount, locked_until};
use crate::domain::patch::MemberStep;
use crate::domain::provenance::Provenance;
use crate::domain::query::{Query, ResultPage, SortPosition, Start, compare, cut};
use crate::domain::unique::UniqueValue;
use crate::domain::{
    Clock, Document, Kind, Link, Member, Membership, Precondition, Relations, Resource, ResourceId, Secret, SideRecord,
    StoreName, Timestamp, Version,
};

/// A store that keeps its data in memory only.
pub struct MemoryUserstore {
    name: StoreName,
    hasher: PasswordHasher,
    clock: Clock,
    state: Mutex<MemoryState>,
}

#[derive(Default)]
struct MemoryState {
    resources: BTreeMap<ResourceId, StoredResource>,
    side_records: Vec<SideRecord>,
}

struct StoredResource {
    resource: Resource,
    name: String,
    key: String,
    unique: BTreeSet<UniqueValue>,
    members: Vec<Member>,
    password: Credential,
}

#[derive(Default)]
struct Credential {
    hash: Option<String>,
    failures: i32,
    locked_until: i64,
}

impl MemoryUserstore {
    /// An empty store.
    pub fn new(name: StoreName, hasher: PasswordHasher, clock: Clock) -> Self {
        Self {
            name,
            hasher,
            clock,
            state: Mutex::default(),
        }
    }

    /// The side records that were written with changes, oldest first.
    pub fn side_records(&self) -> Vec<SideRecord> {
        self.state().side_records.clone()
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Userstore for MemoryUserstore {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError> {
        let state = self.state();
        let entry = state.resources.get(id).filter(|entry| entry.resource.kind == *kind);
        Ok(entry.map(|entry| state.with_relations(entry, relations)))
    }

    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError> {
        Ok(self
            .state()
            .resources
            .get(group)
            .is_some_and(|entry| entry.members.len() > limit))
    }

    fn member_ids(
        &self,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, StoreError> {
        let state = self.state();
        let members = state.resources.get(group).map(|entry| entry.members.as_slice());
        let mut ids: Vec<ResourceId> = members
            .unwrap_or_default()
            .iter()
            .map(|member| member.id.clone())
            .collect();
        ids.sort();
        ids.retain(|id| after.is_none_or(|after| id > after));
        ids.truncate(limit);
        Ok(ids)
    }

    fn find(&self, query: &Query) -> Result<ResultPage, StoreError> {
        let state = self.state();
        let mut matching: Vec<(SortPosition, &StoredResource)> = Vec::new();
        for entry in state
            .resources
            .values()
            .filter(|entry| entry.resource.kind == query.kind)
        {
            let resource = state.with_relations(entry, Relations::ALL);
            if query
                .filter
                .as_ref()
                .is_none_or(|filter| matches(filter, &resource.view()))
            {
                matching.push((SortPosition::of(&resource, query.sort.as_ref()), entry));
            }
        }
        let descending = query.sort.as_ref().is_some_and(|sort| sort.descending);
        matching.sort_by(|one, other| compare(&one.0, &other.0, descending));
        let total = matches!(query.page.start, Start::Index(_)).then_some(matching.len());
        let (kept, more) = cut(matching, &query.page, descending, |one| &one.0);
        let resources = kept
            .iter()
            .map(|(_, entry)| state.with_relations(entry, query.relations));
        Ok(ResultPage {
            total,
            resources: resources.collect(),
            more,
        })
    }

    fn write(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        let hash = match draft_of(&write.action).and_then(|draft| draft.password.as_ref()) {
            Some(PasswordChange::Set(password)) => Some(Some(self.hasher.hash(password))),
            Some(PasswordChange::Clear) => Some(None),
            None => None,
        };
        let mut state = self.state();
        state.check_links(&side_records)?;
        let key = WriteKey {
            kind: &write.kind,
            id: &write.id,
            at: write.at,
        };
        let written = match write.action {
            WriteAction::Create(draft) => Some(state.create(&self.name, key, draft)?),
            WriteAction::Replace { draft, expected, .. } => state.replace(key, draft, &expected)?,
            WriteAction::Members { change, expected } => state.change_members(key, &change, &expected)?,
            WriteAction::Keep => state.keep(&write.kind, &write.id)?,
            WriteAction::Delete { expected } => state.delete(&write.kind, &write.id, write.at, &expected)?,
        };
        if let Some(written) = &written {
            if let (Some(hash), Some(entry)) = (hash, state.resources.get_mut(&written.resource.id)) {
                entry.password = Credential {
                    hash,
                    ..Credential::default()
                };
            }
            let kept = |side_record: &SideRecord| written.changed || !matches!(side_record, SideRecord::Journal(_));
            state.side_records.extend(side_records.into_iter().filter(kept));
        }
        Ok(written)
    }

    fn verify_password(
        &self,
        id: &ResourceId,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError> {
        let now = self.clock.now();
        let mut until = Timestamp(0);
        let hash = match self.state().resources.get_mut(id) {
            None => None,
            Some(StoredResource { password, .. }) if counted == FailureCount::Caller => password.hash.clone(),
            Some(StoredResource { password, .. }) if password.locked_until > now.0 => {
                let until = Timestamp(password.locked_until);
                return Ok(PasswordCheck::Locked { until });
            }
            Some(StoredResource { password, .. }) => {
                password.failures += 1;
                until = locked_until(password.failures, now);
                password.locked_until = until.0;
                password.hash.clone()
            }
        };
        if !self.hasher.verify(hash.as_deref(), password) {
            return Ok(PasswordCheck::wrong(until, now));
        }
        if counted == FailureCount::Account {
            self.unlock(id)?;
        }
        Ok(PasswordCheck::Valid)
    }

    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError> {
        let has = |entry: &StoredResource| entry.password.hash.is_some();
        Ok(self.state().resources.get(id).is_some_and(has))
    }

    fn unlock(&self, id: &ResourceId) -> Result<(), StoreError> {
        if let Some(entry) = self.state().resources.get_mut(id) {
            (entry.password.failures, entry.password.locked_until) = (0, 0);
        }
        Ok(())
    }

    fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The type, id and time of a write.
#[derive(Clone, Copy)]
struct WriteKey<'a> {
    kind: &'a Kind,
    id: &'a ResourceId,
    at: Timestamp,
}

impl MemoryState {
    fn with_relations(&self, entry: &StoredResource, relations: Relations) -> Resource {
        let mut resource = entry.resource.clone();
        if relations.members {
            resource.members.clone_from(&entry.members);
        }
        if relations.groups && resource.kind != Kind::GROUP {
            let mut groups: BTreeMap<ResourceId, bool> = BTreeMap::new();
            let mut open: Vec<ResourceId> = self
                .holders(&resource.id)
                .map(|group| group.resource.id.clone())
                .collect();
            groups.extend(open.iter().map(|id| (id.clone(), true)));
            while let Some(id) = open.pop() {
                for group in self.holders(&id).map(|group| &group.resource.id) {
                    if !groups.contains_key(group) {
                        groups.insert(group.clone(), false);
                        open.push(group.clone());
                    }
                }
            }
            let membership = |(id, direct): (ResourceId, bool)| {
                let display = self.resources.get(&id)?.name.clone();
                Some(Membership { id, display, direct })
            };
            resource.groups = groups.into_iter().filter_map(membership).collect();
        }
        resource
    }

    /// The groups that have the resource as a direct member.
    fn holders(&self, id: &ResourceId) -> impl Iterator<Item = &StoredResource> {
        self.resources
            .values()
            .filter(move |group| group.members.iter().any(|member| member.id == *id))
    }

    fn check_unique(&self, kind: &Kind, id: &ResourceId, draft: &Draft) -> Result<(), StoreError> {
        let others = || self.resources.values().filter(|other| other.resource.id != *id);
        for wanted in draft.unique.iter().flatten() {
            let reaches = |other: &&StoredResource| wanted.global || other.resource.kind == *kind;
            if others().filter(reaches).any(|other| other.unique.contains(wanted)) {
                let attribute = wanted.attribute.clone();
                return Err(StoreError::Taken { attribute });
            }
        }
        Ok(())
    }

    fn check_key(&self, kind: &Kind, id: &ResourceId, draft: &Draft) -> Result<(), StoreError> {
        let taken = self
            .resources
            .values()
            .any(|other| other.resource.kind == *kind && other.resource.id != *id && other.key == draft.key.canonical);
        if taken {
            Err(StoreError::Taken {
                attribute: draft.key.attribute.clone(),
            })
        } else {
            Ok(())
        }
    }

    fn check_links(&self, side_records: &[SideRecord]) -> Result<(), StoreError> {
        let linked = |link: &Link| {
            self.side_records
                .iter()
                .any(|known| matches!(known, SideRecord::Link(other) if other == link))
        };
        if side_records
            .iter()
            .any(|side_record| matches!(side_record, SideRecord::Link(link) if linked(link)))
        {
            return Err(StoreError::Taken {
                attribute: "link".to_owned(),
            });
        }
        Ok(())
    }

    fn create(&mut self, store: &StoreName, key: WriteKey<'_>, draft: Draft) -> Result<WriteResult, StoreError> {
        let WriteKey { kind, id, at } = key;
        self.check_key(kind, id, &draft)?;
        self.check_unique(kind, id, &draft)?;
        let resource = Resource {
            store: store.clone(),
            kind: kind.clone(),
            id: id.clone(),
            version: Version::FIRST,
            created: at,
            modified: at,
            document: Document::new(&draft.attributes),
            writers: Provenance::of(&draft.writers),
            members: Vec::new(),
            groups: Vec::new(),
        };
        let mut members = Vec::new();
        let delta = step_through(&mut members, &draft.members.unwrap_or_default());
        let entry = StoredResource {
            resource: resource.clone(),
            name: draft.key.name,
            key: draft.key.canonical,
            unique: draft.unique.unwrap_or_default(),
            members,
            password: Credential::default(),
        };
        self.resources.insert(id.clone(), entry);
        Ok(WriteResult {
            resource,
            members: delta,
            changed: true,
        })
    }

    fn replace(
        &mut self,
        key: WriteKey<'_>,
        draft: Draft,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        let WriteKey { kind, id, at } = key;
        if self.entry(kind, id, expected)?.is_none() {
            return Ok(None);
        }
        self.check_key(kind, id, &draft)?;
        self.check_unique(kind, id, &draft)?;
        let Some(entry) = self.entry(kind, id, expected)? else {
            return Ok(None);
        };
        entry.touch(at);
        entry.resource.document = Document::new(&draft.attributes);
        entry.resource.writers = Provenance::of(&draft.writers);
        (entry.name, entry.key) = (draft.key.name, draft.key.canonical);
        entry.unique = draft.unique.unwrap_or_default();
        let delta = step_through(&mut entry.members, &draft.members.unwrap_or_default());
        Ok(Some(WriteResult {
            resource: entry.resource.clone(),
            members: delta,
            changed: true,
        }))
    }

    fn change_members(
        &mut self,
        key: WriteKey<'_>,
        change: &MemberSteps,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        let WriteKey { kind, id, at } = key;
        let Some(entry) = self.entry(kind, id, expected)? else {
            return Ok(None);
        };
        let delta = step_through(&mut entry.members, change);
        let changed = !delta.is_empty();
        if changed {
            entry.touch(at);
        }
        Ok(Some(WriteResult {
            resource: entry.resource.clone(),
            members: delta,
            changed,
        }))
    }

    fn keep(&mut self, kind: &Kind, id: &ResourceId) -> Result<Option<WriteResult>, StoreError> {
        let entry = self.entry(kind, id, &Precondition::None)?;
        Ok(entry.map(|entry| WriteResult {
            resource: entry.resource.clone(),
            members: MembershipDelta::default(),
            changed: false,
        }))
    }

    fn delete(
        &mut self,
        kind: &Kind,
        id: &ResourceId,
        at: Timestamp,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        let Some(entry) = self.entry(kind, id, expected)? else {
            return Ok(None);
        };
        let resource = entry.resource.clone();
        self.resources.remove(id);
        for group in self.resources.values_mut() {
            let before = group.members.len();
            group.members.retain(|member| member.id != *id);
            if group.members.len() != before {
                group.touch(at);
            }
        }
        Ok(Some(WriteResult {
            resource,
            members: MembershipDelta::default(),
            changed: true,
        }))
    }

    fn entry(
        &mut self,
        kind: &Kind,
        id: &ResourceId,
        expected: &Precondition,
    ) -> Result<Option<&mut StoredResource>, StoreError> {
        match self.resources.get_mut(id).filter(|entry| entry.resource.kind == *kind) {
            Some(entry) if !expected.allows(entry.resource.version) => Err(StoreError::Stale),
            found => Ok(found),
        }
    }
}

impl StoredResource {
    fn touch(&mut self, at: Timestamp) {
        self.resource.version = self.resource.version.next();
        self.resource.modified = at.max(Timestamp(self.resource.modified.0 + 1));
    }
}

fn draft_of(action: &WriteAction) -> Option<&Draft> {
    match action {
        WriteAction::Create(draft) | WriteAction::Replace { draft, .. } => Some(draft),
        WriteAction::Members { .. } | WriteAction::Keep | WriteAction::Delete { .. } => None,
    }
}

/// Applies the steps and returns the members that joined, left or were relabelled.
fn step_through(members: &mut Vec<Member>, steps: &[MemberStep]) -> MembershipDelta {
    let before = members.clone();
    for step in steps {
        match step {
            MemberStep::Join(joining) => join(members, joining),
            MemberStep::Leave(leaving) => members.retain(|member| !leaving.contains(&member.id)),
            MemberStep::Clear => members.clear(),
            MemberStep::Replace(wanted) => {
                let keep: HashSet<&ResourceId> = wanted.iter().map(|member| &member.id).collect();
                members.retain(|member| keep.contains(&member.id));
                for member in wanted {
                    if let Some(present) = members.iter_mut().find(|present| present.id == member.id) {
                        present.body.clone_from(&member.body);
                    }
                }
                join(members, wanted);
            }
        }
    }
    let body = |members: &[Member], id: &ResourceId| {
        let member = members.iter().find(|member| member.id == *id);
        member.map(|member| member.body.clone())
    };
    let mut delta = MembershipDelta::default();
    for Member { id, body: now } in members.iter() {
        match body(&before, id) {
            None => delta.joined.push(id.clone()),
            Some(then) if then != *now => delta.relabelled.push(id.clone()),
            Some(_) => {}
        }
    }
    let gone = before.into_iter().filter(|member| body(members, &member.id).is_none());
    delta.left.extend(gone.map(|member| member.id));
    delta
}

fn join(members: &mut Vec<Member>, joining: &[Member]) {
    for member in joining {
        if !members.iter().any(|present| present.id == member.id) {
            members.push(member.clone());
        }
    }
}
