//! Updates the copy from the directory: one entry, the matches of a search, or all entries of a type.
//!
//! An entry whose version equals the stored one is unchanged. Any other was changed by others: it is read and copied,
//! and the change is recorded in the journal. Entries with a pending intent are left to the owner of the intent, who
//! confirms them.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use ldap3::Scope;

use super::connection::LdapFailure;
use super::entry::Entry;
use super::filter::LdapFilter;
use super::flavour::Flavour;
use super::server_info::ServerInfo;
use super::session::{LdapSession, WRONG_DN_SYNTAX, WRONG_MATCHING, WRONG_SYNTAX};
use super::{LdapUserstore, intent};
use crate::domain::change::Action;
use crate::domain::{Attributes, Kind, Precondition, ResourceId};
use crate::storage::intents;
use crate::storage::ldap_entries::{self, EntrySummary, KnownEntry};
use crate::userstore::{StoreError, Userstore, Write, WriteAction};

/// The number of entries that one search reads by permanent id.
const BATCH: usize = 100;
/// The delete limit: the most resources that may vanish at once before an accident is assumed.
const DELETE_LIMIT: usize = 10;

impl LdapUserstore {
    /// Returns the entry of a resource, and whether the copy had to be updated; `None` if the directory no longer has
    /// it.
    pub(super) fn present(&self, kind: &Kind, id: &ResourceId) -> Result<Option<(KnownEntry, bool)>, StoreError> {
        let known = self.known(id)?;
        if known.is_none() && is_of_ours(id) {
            return Ok(None);
        }
        let server_info = self.server_info()?;
        let wanted = self.id_and_version_attributes();
        let found = match &known {
            Some(known) => {
                let at = super::Dn::new(&known.dn);
                let entry = self.connections.read(|session| session.at(&at, &wanted))?;
                entry.filter(|entry| entry.id == known.entry)
            }
            None => None,
        };
        let entry = match (found, &known) {
            (Some(entry), Some(known)) if entry.version == known.entry_version => {
                return Ok(Some((known.clone(), false)));
            }
            (Some(entry), _) => Some(entry),
            (None, _) => {
                let entry = known.as_ref().map_or(id.as_str(), |known| known.entry.as_str());
                self.by_entry(&server_info, kind, entry, &wanted)?
            }
        };
        let Some(entry) = entry else { return Ok(None) };
        self.refresh_all(kind, &[entry])?;
        Ok(self.known(id)?.map(|known| (known, true)))
    }

    /// Returns the entry with this permanent id.
    pub(super) fn by_entry(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        id: &str,
        wanted: &[String],
    ) -> Result<Option<Entry>, StoreError> {
        let Some(by_id) = self.entry_filter(id) else {
            return Ok(None);
        };
        let filter = server_info.filter(kind).and(by_id);
        let found = self
            .connections
            .read(|session| session.search(self.base(kind), Scope::Subtree, &filter, wanted));
        match found {
            Ok(mut found) => Ok(found.pop()),
            // A text that the server does not accept as an id belongs to no entry.
            Err(LdapFailure::Refused {
                code: WRONG_SYNTAX | WRONG_MATCHING | WRONG_DN_SYNTAX,
                ..
            }) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Returns the filter for a permanent id; `None` if the text cannot be one.
    fn entry_filter(&self, id: &str) -> Option<LdapFilter> {
        let flavour = self.settings.flavour;
        match flavour {
            Flavour::ActiveDirectory => {
                let id = uuid::Uuid::try_parse(id).ok()?;
                Some(LdapFilter::Bytes(
                    flavour.entry_id().to_owned(),
                    id.to_bytes_le().to_vec(),
                ))
            }
            Flavour::OpenLdap => {
                let id = uuid::Uuid::try_parse(id).ok()?;
                Some(LdapFilter::equal(flavour.entry_id(), &id.to_string()))
            }
            Flavour::Ds389 => {
                let plain = id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
                plain.then(|| LdapFilter::equal(flavour.entry_id(), id))
            }
        }
    }

    pub(super) fn id_and_version_attributes(&self) -> Vec<String> {
        let flavour = self.settings.flavour;
        let names = [flavour.entry_id()]
            .into_iter()
            .chain(flavour.version_attributes().iter().copied());
        names.map(str::to_owned).collect()
    }

    /// Returns every attribute that the copy is made of, without members.
    pub(super) fn all_attributes(&self, server_info: &ServerInfo, kind: &Kind) -> Vec<String> {
        let mapped = server_info.mapping(kind).attributes();
        self.id_and_version_attributes().into_iter().chain(mapped).collect()
    }

    /// Returns the matching entries of a type, with only their versions.
    pub(super) fn entry_versions(&self, kind: &Kind, filter: &LdapFilter) -> Result<Vec<Entry>, StoreError> {
        let wanted = self.id_and_version_attributes();
        let base = self.base(kind);
        Ok(self
            .connections
            .read(|session| session.search(base, Scope::Subtree, filter, &wanted))?)
    }

    /// Updates the copies of these entries, of which only the versions are known, and returns the ids of their
    /// resources.
    pub(super) fn refresh_all(&self, kind: &Kind, entries: &[Entry]) -> Result<HashSet<ResourceId>, StoreError> {
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let held = self.summaries(&ids)?;
        let changed: Vec<&Entry> = entries
            .iter()
            .filter(|entry| differs(held.get(&entry.id), entry))
            .collect();
        if !changed.is_empty() {
            self.sync_entries(kind, &changed)?;
        }
        let held = if changed.is_empty() {
            held
        } else {
            self.summaries(&ids)?
        };
        Ok(held.into_values().map(|held| held.resource).collect())
    }

    fn summaries(&self, ids: &[&str]) -> Result<HashMap<String, EntrySummary>, StoreError> {
        let store = &self.settings.name;
        self.database
            .read::<_, StoreError>(|connection| ldap_entries::summaries(connection, store, ids))
    }

    /// Updates all copies of a type, unless the directory's change counter is unchanged since the last time.
    pub(super) fn compare(&self, kind: &Kind) -> Result<(), StoreError> {
        self.compare_within(kind, Some(DELETE_LIMIT))
    }

    /// Like `compare`, with a delete limit: if more resources than the limit and more than a tenth of all are gone, none
    /// are removed. `None` removes any number.
    pub(super) fn compare_within(&self, kind: &Kind, delete_limit: Option<usize>) -> Result<(), StoreError> {
        let server_info = self.server_info()?;
        let _pass = self
            .comparing
            .enter()
            .map_err(|full| StoreError::Unavailable(full.into()))?;
        let compared = || self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = self.connections.read(|session| server_info.progress(session))?;
        if progress.is_some() && compared().get(kind) == progress.as_ref() {
            return Ok(());
        }
        let entries = self.entry_versions(kind, &server_info.filter(kind))?;
        let store = &self.settings.name;
        let mut held = self
            .database
            .read::<_, StoreError>(|connection| ldap_entries::all_summaries(connection, store, kind))?;
        let known = held.len();
        let changed: Vec<&Entry> = entries
            .iter()
            .filter(|entry| differs(held.remove(&entry.id).as_ref(), entry))
            .collect();
        let is_settled = self.sync_entries(kind, &changed)?;
        let are_gone = self.remove_gone(
            kind,
            held,
            delete_limit.map(|delete_limit| (delete_limit.max(known / 10), known)),
        )?;
        if let (Some(progress), true) = (progress, is_settled && are_gone) {
            compared().insert(kind.clone(), progress);
        } else {
            compared().remove(kind);
        }
        Ok(())
    }

    /// Removes the copies of entries that are gone, unless there are more than the limit (given with the total).
    /// Returns whether all were handled.
    fn remove_gone(
        &self,
        kind: &Kind,
        gone: HashMap<String, EntrySummary>,
        most: Option<(usize, usize)>,
    ) -> Result<bool, StoreError> {
        if let Some((most, known)) = most
            && gone.len() > most
        {
            log::error!(
                "{} of {known} entries of {kind} are gone from userstore {} at once; nothing is removed. If that is \
                 meant, run: vestibule userstore accept {}",
                gone.len(),
                self.settings.name,
                self.settings.name
            );
            return Ok(false);
        }
        let (mut settled, pending_subjects) = (true, self.pending_subjects()?);
        for (entry, held) in gone {
            if pending_subjects.contains(&intent::of_entry(&entry)) {
                settled = false;
                continue;
            }
            let write = Write {
                kind: kind.clone(),
                id: held.resource.clone(),
                at: self.clock.now(),
                action: WriteAction::Delete {
                    expected: Precondition::None,
                },
            };
            self.copy
                .write(write, self.journal(Action::Delete, Attributes::new())?)?;
        }
        Ok(settled)
    }

    /// The subjects of all pending intents.
    pub(super) fn pending_subjects(&self) -> Result<HashSet<String>, StoreError> {
        let store = &self.settings.name;
        let intents = self
            .database
            .read::<_, StoreError>(|connection| intents::all(connection, store))?;
        Ok(intents.into_iter().map(|intent| intent.subject).collect())
    }

    /// Reads entries and copies them. Returns whether none had to be skipped.
    fn sync_entries(&self, kind: &Kind, changed: &[&Entry]) -> Result<bool, StoreError> {
        let server_info = self.server_info()?;
        let wanted = self.all_attributes(&server_info, kind);
        let mut settled = true;
        if *kind == Kind::GROUP && changed.len() > 1 {
            // Most of their members are users, so copy those first.
            self.import_new_users(&server_info)?;
        }
        for batch in changed.chunks(BATCH) {
            let filters: Vec<LdapFilter> = batch.iter().filter_map(|entry| self.entry_filter(&entry.id)).collect();
            let filter = server_info.filter(kind).and(LdapFilter::Or(filters));
            // Read the stored versions before the entries: a confirmation in the meantime is newer.
            let ids: Vec<&str> = batch.iter().map(|entry| entry.id.as_str()).collect();
            let held = self.summaries(&ids)?;
            let read =
                |session: &mut LdapSession<'_>| session.search(self.base(kind), Scope::Subtree, &filter, &wanted);
            let entries = self.connections.read(read)?;
            settled &= self.sync_batch(&server_info, kind, &entries, held)?;
        }
        Ok(settled)
    }

    /// Copies users that have no copy yet, since group members can only be resolved to known users.
    fn import_new_users(&self, server_info: &ServerInfo) -> Result<(), StoreError> {
        let store = &self.settings.name;
        let entries = self.entry_versions(&Kind::USER, &server_info.filter(&Kind::USER))?;
        let held = self
            .database
            .read::<_, StoreError>(|connection| ldap_entries::all_summaries(connection, store, &Kind::USER))?;
        let new: Vec<&Entry> = entries.iter().filter(|entry| !held.contains_key(&entry.id)).collect();
        if !new.is_empty() {
            self.sync_entries(&Kind::USER, &new)?;
        }
        Ok(())
    }
}

fn differs(held: Option<&EntrySummary>, entry: &Entry) -> bool {
    held.is_none_or(|held| held.entry_version != entry.version || held.dn != entry.dn.as_str())
}

/// Returns the stored form of an entry.
pub(super) fn known(resource: ResourceId, entry: &Entry) -> KnownEntry {
    KnownEntry {
        resource,
        entry: entry.id.clone(),
        dn: entry.dn.as_str().to_owned(),
        dn_key: entry.dn.stored_key(),
        entry_version: entry.version.clone(),
    }
}

/// Whether an id is one that our own stores assign (RFC 9562 version 7); servers assign none of these.
fn is_of_ours(id: &ResourceId) -> bool {
    uuid::Uuid::try_parse(id.as_str()).is_ok_and(|id| id.get_version_num() == 7)
}
