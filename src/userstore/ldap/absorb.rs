//! Copies directory entries into the local copy and records the changes in the journal.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::Entry;
use super::facts::Facts;
use super::refresh::known;
use super::{LdapUserstore, intent};
use crate::domain::change::{Action, Principal};
use crate::domain::patch::MemberStep;
use crate::domain::provenance::{self, Writers};
use crate::domain::unique::unique_values;
use crate::domain::validate::ordered;
use crate::domain::{Actor, Attributes, Companion, JournalEntry, Kind, Precondition, Relations, Resource, ResourceId};
use crate::storage::ldap_entries::{self, Held};
use crate::userstore::sql::Beside;
use crate::userstore::{Draft, StoreError, UniqueKey, Userstore, Write, WriteAction};

/// The number of attempts to copy an entry that is being changed at the same time.
const ATTEMPTS: usize = 4;

/// The write, its side records and the extra write that together copy an entry.
type Absorption = (Write, Vec<Companion>, Beside);

impl LdapUserstore {
    pub(super) fn absorb_batch(
        &self,
        facts: &Facts,
        kind: &Kind,
        entries: &[Entry],
        mut held: HashMap<String, Held>,
    ) -> Result<bool, StoreError> {
        let (mut settled, under_way) = (true, self.under_way()?);
        let mut fresh = Vec::new();
        for entry in entries {
            if under_way.contains(&intent::of_entry(&entry.id)) || under_way.contains(&intent::of_name(&entry.dn)) {
                settled = false;
                continue;
            }
            match held.remove(&entry.id) {
                Some(held) => settled &= self.absorb(facts, kind, entry, held)?,
                None => fresh.extend(self.take_in(facts, kind, entry)?.map(|absorption| (entry, absorption))),
            }
        }
        if !fresh.is_empty() {
            let (entries, absorptions): (Vec<&Entry>, Vec<Absorption>) = fresh.into_iter().unzip();
            for (outcome, entry) in self.copy.write_many(absorptions)?.into_iter().zip(entries) {
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
    pub(super) fn take_in_bare(&self, facts: &Facts, entry: &Entry) -> Result<(), StoreError> {
        let bare = entry.of_no_state();
        if let Some(absorption) = self.absorption(facts, &Kind::GROUP, &bare)? {
            self.copy.write_many(vec![absorption])?;
        }
        Ok(())
    }

    /// Builds the records for a new entry, or `None` if it maps to no resource.
    fn take_in(&self, facts: &Facts, kind: &Kind, entry: &Entry) -> Result<Option<Absorption>, StoreError> {
        let mut absorption = self.absorption(facts, kind, entry)?;
        if let Some((
            Write {
                action: WriteAction::Create(draft),
                ..
            },
            ..,
        )) = &mut absorption
            && *kind == Kind::GROUP
        {
            draft.members = Some(vec![MemberStep::Join(self.members_of(entry)?)]);
        }
        Ok(absorption)
    }

    fn absorption(&self, facts: &Facts, kind: &Kind, entry: &Entry) -> Result<Option<Absorption>, StoreError> {
        let nothing = Attributes::new();
        let Some(attributes) = facts.mapping(kind).absorb(&nothing, entry) else {
            log::debug!(
                "userstore {}: {} is skipped: it has no value for the required name",
                self.settings.name,
                entry.dn
            );
            return Ok(None);
        };
        let id = ResourceId::new(entry.id.clone());
        let draft = self.draft(kind, &id, (&nothing, &Writers::new()), attributes)?;
        let diff = provenance::diff(self.resource_type(kind)?, &nothing, &draft.attributes);
        let companions = self.journal(Action::Create, diff)?;
        let known = known(id.clone(), entry);
        let store = self.settings.name.clone();
        let write = Write {
            kind: kind.clone(),
            id,
            at: self.clock.now(),
            action: WriteAction::Create(draft),
        };
        let beside: Beside = Arc::new(move |connection| Ok(ldap_entries::put(connection, &store, &known)?));
        Ok(Some((write, companions, beside)))
    }

    /// Updates a copy to match its entry. Returns whether it matches now.
    fn absorb(&self, facts: &Facts, kind: &Kind, entry: &Entry, held: Held) -> Result<bool, StoreError> {
        let (id, stamp) = (held.resource, held.stamp);
        for _ in 0..ATTEMPTS {
            let Some(before) = self.copy.get(kind, &id, Relations::NONE)? else {
                return Ok(true);
            };
            let Some(attributes) = facts.mapping(kind).absorb(&before.document.attributes(), entry) else {
                log::warn!(
                    "userstore {}: {} no longer has a name; its copy is not updated",
                    self.settings.name,
                    entry.dn
                );
                return Ok(false);
            };
            let (known, expected) = (known(id.clone(), entry), stamp.clone());
            let beside: Beside = Arc::new(move |connection| {
                let advanced = ldap_entries::advance(connection, &known, &expected)?;
                advanced.then_some(()).ok_or(StoreError::Stale)
            });
            let done = match self.change_to(&before, attributes, entry)? {
                Some((write, companions)) => self.copy.write_beside(write, companions, beside).map(drop),
                None => self.database.write(move |connection| beside(connection)),
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
                Some(now) if now.stamp == stamp => {}
                now => return Ok(now.is_none_or(|now| now.stamp == entry.stamp)),
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
    ) -> Result<Option<(Write, Vec<Companion>)>, StoreError> {
        let (kind, id, old) = (&before.kind, &before.id, before.document.attributes());
        let mut draft = self.draft(kind, id, (&old, &before.writers.writers()), attributes)?;
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
        (before, writers): (&Attributes, &Writers),
        attributes: Attributes,
    ) -> Result<Draft, StoreError> {
        let resource_type = self.resource_type(kind)?;
        let attributes = ordered(resource_type, attributes);
        Ok(Draft {
            key: UniqueKey::of(Some(resource_type), id, &attributes),
            unique: unique_values(resource_type, &attributes),
            writers: provenance::stamp(before, &attributes, writers, &self.actor().writer()),
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
    pub(super) fn journal(&self, action: Action, diff: Attributes) -> Result<Vec<Companion>, StoreError> {
        let store = &self.settings.name;
        if !self
            .database
            .read::<_, StoreError>(|connection| ldap_entries::has_baseline(connection, store))?
        {
            return Ok(Vec::new());
        }
        let actor = self.actor();
        Ok(vec![Companion::Journal(JournalEntry {
            at: self.clock.now(),
            actor: actor.writer(),
            service_provider: actor.service_provider,
            action,
            diff,
        })])
    }
}
