//! Copies directory entries into the local copy and records the changes in the journal.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::Entry;
use super::refresh::known;
use super::server_info::ServerInfo;
use super::{LdapUserstore, intent};
use crate::domain::change::{Action, Principal};
use crate::domain::patch::MemberStep;
use crate::domain::provenance::{self, Writers};
use crate::domain::unique::unique_values;
use crate::domain::validate::ordered;
use crate::domain::{Actor, Attributes, JournalEntry, Kind, Precondition, Relations, Resource, ResourceId, SideRecord};
use crate::storage::ldap_entries::{self, EntrySummary};
use crate::userstore::sql::SideWrite;
use crate::userstore::{Draft, StoreError, UniqueKey, Userstore, Write, WriteAction};

/// The number of attempts to copy an entry that is being changed at the same time.
const ATTEMPTS: usize = 4;

/// The write, its side records and the extra write that together copy an entry.
type ImportWrite = (Write, Vec<SideRecord>, SideWrite);

/// The stored attributes of a resource, and the writer of each.
pub(super) struct Stored<'a> {
    pub(super) attributes: &'a Attributes,
    pub(super) writers: &'a Writers,
}

impl LdapUserstore {
    pub(super) fn sync_batch(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        entries: &[Entry],
        mut held: HashMap<String, EntrySummary>,
    ) -> Result<bool, StoreError> {
        let (mut settled, pending_subjects) = (true, self.pending_subjects()?);
        let mut fresh = Vec::new();
        for entry in entries {
            if pending_subjects.contains(&intent::of_entry(&entry.id))
                || pending_subjects.contains(&intent::of_name(&entry.dn))
            {
                settled = false;
                continue;
            }
            match held.remove(&entry.id) {
                Some(held) => settled &= self.sync_entry(server_info, kind, entry, held)?,
                None => fresh.extend(
                    self.import(server_info, kind, entry)?
                        .map(|import_write| (entry, import_write)),
                ),
            }
        }
        if !fresh.is_empty() {
            let (entries, import_writes): (Vec<&Entry>, Vec<ImportWrite>) = fresh.into_iter().unzip();
            for (outcome, entry) in self.copy.write_many(import_writes)?.into_iter().zip(entries) {
                match outcome {
                    // Another process may have copied it first.
                    None | Some(StoreError::Stale) => {}
                    Some(StoreError::Taken { attribute }) => log::warn!(
                        "userstore {}: {} is skipped: another resource has its {attribute}",
                        self.settings.name,
                        entry.dn
                    ),
                    Some(error) => return Err(error),
                }
            }
        }
        Ok(settled)
    }

    /// Copies a group without its members, which follow when the group itself is compared.
    pub(super) fn import_without_members(&self, server_info: &ServerInfo, entry: &Entry) -> Result<(), StoreError> {
        let bare = entry.of_no_state();
        if let Some(import_write) = self.import_write(server_info, &Kind::GROUP, &bare)? {
            self.copy.write_many(vec![import_write])?;
        }
        Ok(())
    }

    /// Builds the records for a new entry, or `None` if it maps to no resource.
    fn import(&self, server_info: &ServerInfo, kind: &Kind, entry: &Entry) -> Result<Option<ImportWrite>, StoreError> {
        let mut import_write = self.import_write(server_info, kind, entry)?;
        if let Some((
            Write {
                action: WriteAction::Create(draft),
                ..
            },
            ..,
        )) = &mut import_write
            && *kind == Kind::GROUP
        {
            draft.members = Some(vec![MemberStep::Join(self.members_of(entry)?)]);
        }
        Ok(import_write)
    }

    fn import_write(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        entry: &Entry,
    ) -> Result<Option<ImportWrite>, StoreError> {
        let nothing = Attributes::new();
        let Some(attributes) = server_info.mapping(kind).merge_entry(&nothing, entry) else {
            log::debug!(
                "userstore {}: {} is skipped: it has no value for the required name",
                self.settings.name,
                entry.dn
            );
            return Ok(None);
        };
        let id = ResourceId::new(entry.id.clone());
        let draft = {
            let stored = Stored {
                attributes: &nothing,
                writers: &Writers::new(),
            };
            self.draft(kind, &id, stored, attributes)?
        };
        let diff = provenance::diff(self.resource_type(kind)?, &nothing, &draft.attributes);
        let side_records = self.journal(Action::Create, diff)?;
        let known = known(id.clone(), entry);
        let store = self.settings.name.clone();
        let write = Write {
            kind: kind.clone(),
            id,
            at: self.clock.now(),
            action: WriteAction::Create(draft),
        };
        let side_write: SideWrite = Arc::new(move |connection| Ok(ldap_entries::put(connection, &store, &known)?));
        Ok(Some((write, side_records, side_write)))
    }

    /// Updates a copy to match its entry. Returns whether it matches now.
    fn sync_entry(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        entry: &Entry,
        held: EntrySummary,
    ) -> Result<bool, StoreError> {
        let (id, entry_version) = (held.resource, held.entry_version);
        for _ in 0..ATTEMPTS {
            let Some(before) = self.copy.get(kind, &id, Relations::NONE)? else {
                return Ok(true);
            };
            let Some(attributes) = server_info
                .mapping(kind)
                .merge_entry(&before.document.attributes(), entry)
            else {
                log::warn!(
                    "userstore {}: {} no longer has a name; its copy is not updated",
                    self.settings.name,
                    entry.dn
                );
                return Ok(false);
            };
            let (known, expected) = (known(id.clone(), entry), entry_version.clone());
            let side_write: SideWrite = Arc::new(move |connection| {
                let advanced = ldap_entries::advance(connection, &known, &expected)?;
                advanced.then_some(()).ok_or(StoreError::Stale)
            });
            let done = match self.change_to(&before, attributes, entry)? {
                Some((write, side_records)) => self
                    .copy
                    .write_with_side_records(write, side_records, side_write)
                    .map(drop),
                None => self.database.write(move |connection| side_write(connection)),
            };
            match done {
                Ok(()) => return Ok(true),
                Err(StoreError::Taken { attribute }) => {
                    log::warn!(
                        "userstore {}: the copy of {} is not updated: another resource has its {attribute} now",
                        self.settings.name,
                        entry.dn
                    );
                    return Ok(false);
                }
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error),
            }
            // Another writer came first, with this state or a newer one.
            match self.known(&id)? {
                Some(now) if now.entry_version == entry_version => {}
                now => return Ok(now.is_none_or(|now| now.entry_version == entry.version)),
            }
        }
        Ok(false)
    }

    /// Builds the write that updates a copy to these attributes and the entry's members; `None` if nothing changes.
    fn change_to(
        &self,
        before: &Resource,
        attributes: Attributes,
        entry: &Entry,
    ) -> Result<Option<(Write, Vec<SideRecord>)>, StoreError> {
        let (kind, id, old) = (&before.kind, &before.id, before.document.attributes());
        let mut draft = {
            let stored = Stored {
                attributes: &old,
                writers: &before.writers.writers(),
            };
            self.draft(kind, id, stored, attributes)?
        };
        let steps = if *kind == Kind::GROUP {
            self.member_steps(id, entry)?
        } else {
            Vec::new()
        };
        if draft.attributes == ordered(self.resource_type(kind)?, old.clone()) && steps.is_empty() {
            return Ok(None);
        }
        let diff = provenance::diff(self.resource_type(kind)?, &old, &draft.attributes);
        draft.members = (!steps.is_empty()).then_some(steps);
        let write = Write {
            kind: kind.clone(),
            id: id.clone(),
            at: self.clock.now(),
            action: WriteAction::Replace {
                draft,
                before: Some(old),
                expected: Precondition::Versions(vec![before.version]),
            },
        };
        Ok(Some((write, self.journal(Action::Update, diff)?)))
    }

    pub(super) fn draft(
        &self,
        kind: &Kind,
        id: &ResourceId,
        stored: Stored<'_>,
        attributes: Attributes,
    ) -> Result<Draft, StoreError> {
        let resource_type = self.resource_type(kind)?;
        let attributes = ordered(resource_type, attributes);
        Ok(Draft {
            key: UniqueKey::of(Some(resource_type), id, &attributes),
            unique: unique_values(resource_type, &attributes),
            writers: provenance::assign_writers(stored.attributes, &attributes, stored.writers, &self.actor().writer()),
            attributes,
            members: None,
            password: None,
        })
    }

    /// The actor for changes that others made in the directory.
    fn actor(&self) -> Actor {
        Actor {
            principal: Principal::Job(format!("userstore:{}", self.settings.name)),
            service_provider: self.settings.service_provider.clone(),
        }
    }

    /// Returns the journal entry for a change made in the directory; none before the directory was first read
    /// completely.
    pub(super) fn journal(&self, action: Action, diff: Attributes) -> Result<Vec<SideRecord>, StoreError> {
        let store = &self.settings.name;
        if !self
            .database
            .read::<_, StoreError>(|connection| ldap_entries::has_baseline(connection, store))?
        {
            return Ok(Vec::new());
        }
        let actor = self.actor();
        Ok(vec![SideRecord::Journal(JournalEntry {
            at: self.clock.now(),
            actor: actor.writer(),
            service_provider: actor.service_provider,
            action,
            diff,
        })])
    }
}
