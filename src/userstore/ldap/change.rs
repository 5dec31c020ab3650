//! Changes to entries: tried on the copy, recorded as an intent, applied, and confirmed here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connection::LdapFailure;
use super::filter::LdapFilter;
use super::flavour::Flavour;
use super::intent::{self, PendingChange};
use super::refresh::known;
use super::server_info::ServerInfo;
use super::session::{ENTRY_EXISTS, NO_SUCH_OBJECT};
use super::settings::UnmappedValues;
use super::{Dn, LdapUserstore, from_scim_filter, is_stale};
use crate::domain::filter::Operator;
use crate::domain::{Attributes, Kind, Precondition, Relations, ResourceId, SideRecord, StoreName};
use crate::storage::intents::{self, Intent};
use crate::storage::ldap_entries;
use crate::userstore::sql::SideWrite;
use crate::userstore::{Draft, PasswordChange, StoreError, Userstore, Write, WriteAction, WriteResult};

/// The time that the owner of an intent has before others recover it.
pub(super) const TERM: Duration = Duration::from_secs(30);
/// The time that a change waits for another change of the same entry.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two checks while waiting.
const PAUSE: Duration = Duration::from_millis(10);

impl LdapUserstore {
    pub(super) fn change(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
    ) -> Result<Option<WriteResult>, StoreError> {
        let begun = Instant::now();
        loop {
            let (attempt, side_records) = (write.clone(), side_records.clone());
            let done = match &write.action {
                WriteAction::Create(_) => self.create(attempt, side_records).map(Some),
                WriteAction::Delete { .. } => self.remove(attempt, side_records),
                _ => self.alter(attempt, side_records),
            };
            match done {
                Err(StoreError::Stale) if begun.elapsed() < PATIENCE && self.is_worth_another_try(&write)? => {
                    std::thread::sleep(PAUSE);
                }
                done => return done,
            }
        }
    }

    /// Whether a change that conflicted with another one still meets its precondition.
    fn is_worth_another_try(&self, write: &Write) -> Result<bool, StoreError> {
        let (WriteAction::Replace { expected, .. }
        | WriteAction::Members { expected, .. }
        | WriteAction::Delete { expected }) = &write.action
        else {
            return Ok(true);
        };
        let now = self.copy.get(&write.kind, &write.id, Relations::NONE)?;
        Ok(now.is_none_or(|now| expected.allows(now.version)))
    }

    fn create(&self, write: Write, side_records: Vec<SideRecord>) -> Result<WriteResult, StoreError> {
        let WriteAction::Create(draft) = &write.action else {
            return Err(StoreError::Unsupported("create this"));
        };
        let (server_info, draft) = (self.server_info()?, draft.clone());
        self.check_mapped(&server_info, &write.kind, &draft.attributes)?;
        let mapping = server_info.mapping(&write.kind);
        let rendered = mapping.render(&draft.attributes);
        let name = rendered.get(&mapping.rdn).and_then(|values| values.first());
        let name = name.ok_or_else(|| StoreError::Refused {
            reason: format!("{} names the entry and has no value that LDAP can hold", mapping.rdn),
        })?;
        let dn = self.base(&write.kind).child(&mapping.rdn, name);
        let subject = intent::of_name(&dn);
        self.wait_for(&subject)?;
        self.import_same_names(&server_info, &write.kind, &draft)?;
        let pending = PendingChange::new(&write, &side_records, (&dn, ""));
        let write = without_password(write);
        let trial =
            self.copy
                .try_with_side_records(write.clone(), side_records.clone(), self.begin(&subject, &pending)?)?;
        let added = self.new_entry(&server_info, &write.kind, &draft, trial.as_ref());
        let done = added.and_then(|attributes| {
            let sets_password = draft
                .password
                .as_ref()
                .filter(|_| self.settings.flavour != Flavour::ActiveDirectory);
            self.connections
                .write(|session| {
                    session.add(&dn, attributes.clone())?;
                    if let Some(PasswordChange::Set(password)) = sets_password
                        && let Err(fault) = session.set_password(&dn, password.expose())
                    {
                        session.delete(&dn)?;
                        return Err(fault);
                    }
                    Ok(())
                })
                .map_err(|fault| self.give_up(&subject, fault, &draft))
        });
        if let Err(error) = done {
            if !matches!(error, StoreError::Unavailable(_)) {
                self.end(&subject)?;
            }
            return Err(error);
        }
        self.confirm_create(write, without_proof(side_records), (&dn, &subject))
    }

    /// Confirms that an entry was created; if that is impossible, deletes the entry again.
    pub(super) fn confirm_create(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
        (dn, subject): (&Dn, &str),
    ) -> Result<WriteResult, StoreError> {
        let wanted = self.id_and_version_attributes();
        let entry = self.connections.read(|session| session.at(dn, &wanted));
        let entry = entry.map_err(|fault| self.leave(subject, fault))?;
        let Some(entry) = entry else {
            self.end(subject)?;
            return Err(StoreError::Stale);
        };
        let id = ResourceId::new(entry.id.clone());
        let side_write = self.confirmation(subject, known(id.clone(), &entry));
        let kind = write.kind.clone();
        match self
            .copy
            .write_with_side_records(Write { id, ..write }, side_records, side_write)
        {
            Ok(Some(written)) => Ok(written),
            Ok(None) => Err(StoreError::Unsupported("create this")),
            Err(error @ (StoreError::Taken { .. } | StoreError::Stale | StoreError::Superseded)) => {
                log::debug!(
                    "userstore {}: {kind} {dn} is deleted again: {error}",
                    self.settings.name
                );
                self.connections
                    .write(|session| session.delete(dn))
                    .map_err(|fault| self.leave(subject, fault))?;
                self.end(subject)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Copies existing entries with the name that a new one would get, wherever they are, so that the name counts as
    /// taken.
    fn import_same_names(&self, server_info: &ServerInfo, kind: &Kind, draft: &Draft) -> Result<(), StoreError> {
        let resource_type = self.resource_type(kind)?;
        let Some(reference) = resource_type.resolve(&draft.key.attribute) else {
            return Ok(());
        };
        let mapping = server_info.mapping(kind);
        for ldap in mapping.ldap_of(&reference) {
            let same = from_scim_filter::piece(ldap, Operator::Eq, &draft.key.name);
            if same != LdapFilter::All {
                let twins = self.entry_versions(kind, &server_info.filter(kind).and(same))?;
                self.refresh_all(kind, &twins)?;
            }
        }
        Ok(())
    }

    fn alter(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        let server_info = self.server_info()?;
        let Some((held, _)) = self.present(&write.kind, &write.id)? else {
            return Ok(None);
        };
        let subject = intent::of_entry(&held.entry);
        self.wait_for(&subject)?;
        let (wanted, dn) = (self.all_attributes(&server_info, &write.kind), Dn::new(&held.dn));
        let entry = self.connections.read(|session| session.at(&dn, &wanted))?;
        let Some(entry) = entry.filter(|entry| entry.version == held.entry_version) else {
            return Err(StoreError::Stale);
        };
        let Some(before) = self.copy.get(&write.kind, &write.id, Relations::NONE)? else {
            return Ok(None);
        };
        if let WriteAction::Replace { expected, .. } | WriteAction::Members { expected, .. } = &write.action
            && !expected.allows(before.version)
        {
            return Err(StoreError::Stale);
        }
        let mut plan = self.plan(&server_info, &write, &before, &entry)?;
        let pending = PendingChange::new(&write, &without_proof(side_records.clone()), (&dn, &entry.version));
        let write = without_password(write);
        let begin = self.begin(&subject, &pending)?;
        let Some(trial) = self
            .copy
            .try_with_side_records(write.clone(), side_records.clone(), begin)?
        else {
            return Ok(None);
        };
        if !trial.changed {
            return self.copy.write(write, side_records);
        }
        let members = self.member_deltas(&write.id, &dn, &trial);
        match members {
            Ok(members) => plan.deltas.extend(members),
            Err(error) => {
                self.end(&subject)?;
                return Err(error);
            }
        }
        if let Err(fault) = self.carry_out(&server_info, &plan, &entry) {
            let error = self.refusal(&subject, fault)?;
            return Err(error);
        }
        let dn = plan.rename.map_or(dn, |rename| rename.dn);
        self.confirm(write, without_proof(side_records), (&dn, &subject))
    }

    /// Confirms a change of an entry.
    pub(super) fn confirm(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
        (dn, subject): (&Dn, &str),
    ) -> Result<Option<WriteResult>, StoreError> {
        let wanted = self.id_and_version_attributes();
        let entry = self.connections.read(|session| session.at(dn, &wanted));
        let entry = entry.map_err(|fault| self.leave(subject, fault))?;
        let Some(entry) = entry else {
            self.end(subject)?;
            return Ok(None);
        };
        let confirmation = || self.confirmation(subject, known(write.id.clone(), &entry));
        let written = self
            .copy
            .write_with_side_records(write.clone(), side_records.clone(), confirmation());
        if !matches!(written, Err(StoreError::Superseded)) {
            return written;
        }
        // The directory has the change already. Only the link is not made; the caller decides again.
        let others = side_records.into_iter();
        let others = others.filter(|side_record| !matches!(side_record, SideRecord::Link(_)));
        self.copy
            .write_with_side_records(write.clone(), others.collect(), confirmation())?;
        Err(StoreError::Superseded)
    }

    fn remove(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        let Some((held, _)) = self.present(&write.kind, &write.id)? else {
            return Ok(None);
        };
        let subject = intent::of_entry(&held.entry);
        self.wait_for(&subject)?;
        let dn = Dn::new(&held.dn);
        let pending = PendingChange::new(&write, &side_records, (&dn, &held.entry_version));
        let begin = self.begin(&subject, &pending)?;
        if self
            .copy
            .try_with_side_records(write.clone(), side_records.clone(), begin)?
            .is_none()
        {
            return Ok(None);
        }
        match self.connections.write(|session| session.delete(&dn)) {
            Err(fault)
                if !matches!(
                    fault,
                    LdapFailure::Refused {
                        code: NO_SUCH_OBJECT,
                        ..
                    }
                ) =>
            {
                let error = self.refusal(&subject, fault)?;
                return Err(error);
            }
            _ => {}
        }
        self.confirm_removal(write, side_records, (&dn, &subject))
    }

    /// Confirms that an entry was removed, and removes it from groups that still name it.
    pub(super) fn confirm_removal(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
        (dn, subject): (&Dn, &str),
    ) -> Result<Option<WriteResult>, StoreError> {
        self.forget(dn).map_err(|fault| self.leave(subject, fault))?;
        let expected = Precondition::None;
        let write = Write {
            action: WriteAction::Delete { expected },
            ..write
        };
        let (store, subject) = (self.settings.name.clone(), subject.to_owned());
        let side_write: SideWrite = Arc::new(move |connection| Ok(intents::end(connection, &store, &subject)?));
        self.copy.write_with_side_records(write, side_records, side_write)
    }

    pub(super) fn check_mapped(
        &self,
        server_info: &ServerInfo,
        kind: &Kind,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        if self.settings.unmapped == UnmappedValues::Refuse
            && let Some(path) = server_info
                .mapping(kind)
                .unmapped_attribute(self.resource_type(kind)?, attributes)
        {
            return Err(StoreError::Refused {
                reason: format!("{path} is not mapped to an attribute of this directory"),
            });
        }
        Ok(())
    }

    /// Waits until no other change of the same entry is in progress; recovers an intent that was left behind.
    fn wait_for(&self, subject: &str) -> Result<(), StoreError> {
        let (begun, store) = (Instant::now(), &self.settings.name);
        loop {
            let pending_subjects = self
                .database
                .read::<_, StoreError>(|connection| intents::of(connection, store, subject))?;
            match pending_subjects {
                None => return Ok(()),
                Some(left) if left.until <= self.clock.now() => self.recover_intent(&left)?,
                Some(_) if begun.elapsed() > PATIENCE => {
                    return Err(StoreError::Unavailable(
                        "another change of the same entry takes too long".into(),
                    ));
                }
                Some(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn begin(&self, subject: &str, pending: &PendingChange) -> Result<SideWrite, StoreError> {
        let intent = Intent {
            subject: subject.to_owned(),
            change: serde_json::to_string(pending).map_err(|error| StoreError::Unavailable(error.into()))?,
            until: self.clock.now().plus(TERM),
        };
        let store = self.settings.name.clone();
        Ok(Arc::new(move |connection| {
            let begun = intents::begin(connection, &store, &intent)?;
            begun.then_some(()).ok_or(StoreError::Stale)
        }))
    }

    /// Returns the extra write that confirms a change.
    fn confirmation(&self, subject: &str, entry: ldap_entries::KnownEntry) -> SideWrite {
        let (store, subject): (StoreName, String) = (self.settings.name.clone(), subject.to_owned());
        Arc::new(move |connection| {
            ldap_entries::put(connection, &store, &entry)?;
            Ok(intents::end(connection, &store, &subject)?)
        })
    }

    pub(super) fn end(&self, subject: &str) -> Result<(), StoreError> {
        let (store, subject) = (self.settings.name.clone(), subject.to_owned());
        self.database
            .write(move |connection| intents::end(connection, &store, &subject).map_err(StoreError::from))
    }

    /// Keeps the intent, since the outcome is unknown, and ends its term, so that it can be recovered at once.
    fn leave(&self, subject: &str, fault: LdapFailure) -> StoreError {
        let (store, subject, now) = (self.settings.name.clone(), subject.to_owned(), self.clock.now());
        let left = self.database.write(move |connection| {
            if let Some(intent) = intents::of(connection, &store, &subject)? {
                intents::take_over(connection, &store, &intent, now)?;
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = left {
            log::debug!("an intent is kept until its term ends: {error}");
        }
        fault.into()
    }

    /// Returns the error for a change that the directory did not make. Removes the intent, unless the outcome is
    /// unknown.
    fn refusal(&self, subject: &str, fault: LdapFailure) -> Result<StoreError, StoreError> {
        if let LdapFailure::Unreachable(_) = fault {
            return Ok(self.leave(subject, fault));
        }
        self.end(subject)?;
        Ok(if is_stale(&fault) {
            StoreError::Stale
        } else {
            fault.into()
        })
    }

    fn give_up(&self, subject: &str, fault: LdapFailure, draft: &Draft) -> StoreError {
        match fault {
            LdapFailure::Refused { code: ENTRY_EXISTS, .. } => StoreError::Taken {
                attribute: draft.key.attribute.clone(),
            },
            LdapFailure::Unreachable(_) => self.leave(subject, fault),
            LdapFailure::NotTried(_) => match self.end(subject) {
                Ok(()) => fault.into(),
                Err(error) => error,
            },
            refused @ LdapFailure::Refused { .. } => match StoreError::from(refused) {
                // A constraint violation may be the directory's own rule on unique values.
                error @ StoreError::Unavailable(_) => self.end(subject).map_or_else(|error| error, |()| error),
                error => error,
            },
        }
    }
}

/// Returns the write for the copy, which stores no password; the password still counts as changed.
pub(super) fn without_password(mut write: Write) -> Write {
    if let WriteAction::Create(draft) | WriteAction::Replace { draft, .. } = &mut write.action {
        draft.password = draft.password.as_ref().map(|_| PasswordChange::Clear);
    }
    write
}

/// Returns the records that are written once the directory has the change. Proofs and subjects were checked before.
fn without_proof(side_records: Vec<SideRecord>) -> Vec<SideRecord> {
    let side_records = side_records.into_iter();
    side_records
        .filter(|side_record| !matches!(side_record, SideRecord::Proof(_) | SideRecord::NewSubject { .. }))
        .collect()
}
