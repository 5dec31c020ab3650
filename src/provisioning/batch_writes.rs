//! The rows that a batch of journal records writes at a target, each once: a few statements, whatever the number of records.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::domain::change::{Action, JournalRecord};
use crate::domain::{Kind, ResourceId, ServiceProviderName, TargetName, Timestamp};
use crate::storage::outbound::{self, OutboundChange};
use crate::storage::outbound_members::{self, UnknownMembers, WantedMembers};
use crate::storage::{SqlConnection, StorageError};

/// A record, and whether this target is told of it.
pub(super) struct Told {
    pub(super) record: JournalRecord,
    pub(super) listens: bool,
    /// The members that a group has already when it becomes known.
    pub(super) newcomers: Vec<ResourceId>,
}

impl Told {
    pub(super) fn new(record: JournalRecord, listens: bool) -> Self {
        Self {
            record,
            listens,
            newcomers: Vec::new(),
        }
    }

    /// Whether the record is sent even if the target has no copy of the resource.
    fn is_sent_anyway(&self) -> bool {
        self.listens && self.record.action != Action::Delete
    }

    pub(super) fn is_of_group(&self) -> bool {
        self.record.kind == Kind::GROUP && self.record.action != Action::Delete
    }

    /// The most rows that the record writes.
    pub(super) fn rows(&self) -> usize {
        1 + self.newcomers.len() + 2 * self.record.members.joined.len() + self.record.members.left.len()
    }
}

/// The rows that a batch of records writes at one target, each once.
#[derive(Default)]
pub(super) struct BatchWrites {
    /// The resources that have a row, and those that get one.
    known: HashSet<ResourceId>,
    /// Places in `changes`.
    places: HashMap<ResourceId, usize>,
    changes: Vec<OutboundChange>,
    members: WantedMembers,
    /// The members, by group, that become due as users if the target does not know them.
    unknown: BTreeSet<(ResourceId, ResourceId)>,
}

impl BatchWrites {
    pub(super) fn of(
        connection: &mut SqlConnection,
        target: &TargetName,
        records: &[Arc<Told>],
    ) -> Result<Self, StorageError> {
        let asked = records.iter().filter(|told| !told.is_sent_anyway());
        let known = outbound::known(connection, target, asked.map(|told| told.record.id.as_str()))?;
        let mut writes = Self {
            known: known.into_iter().collect(),
            ..Self::default()
        };
        for told in records {
            writes.add(told);
        }
        Ok(writes)
    }

    /// Without the rows of members, which are written in parts before.
    pub(super) fn without_members(self) -> Self {
        Self {
            members: WantedMembers::new(),
            unknown: BTreeSet::new(),
            ..self
        }
    }

    pub(super) fn write(
        self,
        connection: &mut SqlConnection,
        target: &TargetName,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        if !self.members.is_empty() {
            outbound_members::want(connection, target, &self.members)?;
        }
        if !self.changes.is_empty() {
            outbound::want(connection, target, &self.changes, now)?;
        }
        if !self.unknown.is_empty() {
            outbound_members::want_unknown(connection, target, &UnknownMembers::Listed(self.unknown), now)?;
        }
        Ok(())
    }

    /// Adds a record, if it concerns the target. Changes of other service providers are not sent on their own, but go
    /// along with the next change that is sent. Deletions are always sent, since the account could not be removed
    /// otherwise, except of a resource that the target never got. Changes by administrators, jobs and users themselves are
    /// sent to every target that has a copy.
    fn add(&mut self, told: &Told) {
        let record = &told.record;
        let has_accounts = record.kind == Kind::USER || record.kind == Kind::GROUP;
        if !has_accounts || !told.is_sent_anyway() && !self.known.contains(&record.id) {
            return;
        }
        if told.is_of_group() {
            self.add_members(told);
        }
        let is_told =
            told.listens || record.action == Action::Delete || record.service_provider == ServiceProviderName::RESIDENT;
        if is_told {
            self.add_change(record);
        }
    }

    fn add_members(&mut self, told: &Told) {
        let group = &told.record.id;
        let members = &told.record.members;
        let joined = || told.newcomers.iter().chain(&members.joined);
        let changes = joined().map(|member| (member, true));
        for (member, is_in) in changes.chain(members.left.iter().map(|member| (member, false))) {
            self.members.insert((group.clone(), member.clone()), is_in);
        }
        if told.listens {
            self.unknown
                .extend(joined().map(|member| (group.clone(), member.clone())));
        }
    }

    fn add_change(&mut self, record: &JournalRecord) {
        self.known.insert(record.id.clone());
        let change = wanted(record);
        let place = self.places.get(&record.id);
        if let Some(earlier) = place.and_then(|place| self.changes.get_mut(*place)) {
            // It waits since the first of its changes.
            (earlier.kind, earlier.store) = (change.kind, change.store);
            earlier.version = earlier.version.max(change.version);
        } else {
            self.places.insert(record.id.clone(), self.changes.len());
            self.changes.push(change);
        }
    }
}

fn wanted(record: &JournalRecord) -> OutboundChange {
    OutboundChange {
        resource_id: record.id.clone(),
        kind: record.kind.clone(),
        store: record.store.clone(),
        service_provider: record.service_provider.clone(),
        version: record.version,
        changed: record.at,
    }
}
