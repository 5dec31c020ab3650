//! Recovers intents that were left behind by a crash or a timeout of the directory.
//! The outcome is read from the directory: a change that was begun there is completed, any other is dropped.

use std::sync::Arc;

use super::change::{TERM, without_password};
use super::connection::LdapFailure;
use super::entry::Entry;
use super::intent::{IntendedAction, PendingChange};
use super::server_info::ServerInfo;
use super::session::Delta;
use super::{Dn, LdapUserstore, is_stale};
use crate::domain::Relations;
use crate::storage::intents::{self, Intent};
use crate::userstore::sql::SideWrite;
use crate::userstore::{StoreError, Userstore, WriteResult};

impl LdapUserstore {
    /// Recovers every intent whose term has ended.
    pub(super) fn recover_intents(&self) -> Result<(), StoreError> {
        let store = &self.settings.name;
        let left = self
            .database
            .read::<_, StoreError>(|connection| intents::all(connection, store))?;
        for intent in left.into_iter().filter(|intent| intent.until <= self.clock.now()) {
            match self.recover_intent(&intent) {
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                Err(error) => log::error!("userstore {store}: a pending change cannot be recovered now: {error}"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Recovers one intent.
    pub(super) fn recover_intent(&self, intent: &Intent) -> Result<(), StoreError> {
        let (store, taken, until) = (self.settings.name.clone(), intent.clone(), self.clock.now().plus(TERM));
        let is_ours = self
            .database
            .write(move |connection| intents::take_over(connection, &store, &taken, until).map_err(StoreError::from))?;
        if !is_ours {
            return Ok(());
        }
        let Ok(pending) = serde_json::from_str::<PendingChange>(&intent.change) else {
            log::error!(
                "userstore {}: an intent cannot be parsed and is dropped",
                self.settings.name
            );
            return self.end(&intent.subject);
        };
        let server_info = self.server_info()?;
        let (dn, subject) = (Dn::new(&pending.dn), intent.subject.as_str());
        let wanted = self.all_attributes(&server_info, &pending.kind);
        let entry = match (&pending.step, self.known(&pending.id)?) {
            (IntendedAction::Create(_), _) | (_, None) => self.connections.read(|session| session.at(&dn, &wanted))?,
            (_, Some(known)) => self.by_entry(&server_info, &pending.kind, &known.entry, &wanted)?,
        };
        let side_records = pending.side_records.clone();
        log::info!(
            "userstore {}: recovering a pending change of {}",
            self.settings.name,
            dn
        );
        match (&pending.step, entry) {
            (IntendedAction::Create(_), Some(entry)) if is_created_entry(&server_info, &pending, &entry) => {
                if pending.password {
                    // The password was never set, and the client received no answer.
                    self.connections.write(|session| session.delete(&dn))?;
                    return self.end(subject);
                }
                match self.confirm_create(pending.write(), side_records, (&dn, subject)) {
                    Err(StoreError::Taken { .. } | StoreError::Stale | StoreError::Superseded) => self.end(subject),
                    done => done.map(|_| ()),
                }
            }
            (IntendedAction::Replace(_) | IntendedAction::Members(_), Some(entry))
                if entry.version != pending.entry_version =>
            {
                self.finish(&server_info, &pending, &entry, subject)
            }
            (IntendedAction::Delete, None) => self
                .confirm_removal(pending.write(), side_records, (&dn, subject))
                .map(|_| ()),
            // Nothing was changed in the directory.
            _ => self.end(subject),
        }
    }

    /// Completes a change that was begun, and confirms it.
    fn finish(
        &self,
        server_info: &ServerInfo,
        pending: &PendingChange,
        entry: &Entry,
        subject: &str,
    ) -> Result<(), StoreError> {
        let write = pending.write();
        let Some(before) = self.copy.get(&pending.kind, &pending.id, Relations::NONE)? else {
            return self.end(subject);
        };
        let mut plan = self.plan(server_info, &write, &before, entry)?;
        plan.password = None;
        let nothing: SideWrite = Arc::new(|_| Ok(()));
        let trial =
            self.copy
                .try_with_side_records(without_password(write.clone()), pending.side_records.clone(), nothing)?;
        if let Some(trial) = trial {
            plan.deltas.extend(self.missing_members(pending, &entry.dn, &trial)?);
        }
        match self.carry_out(server_info, &plan, entry) {
            Ok(()) => {}
            Err(fault) if is_stale(&fault) => {}
            Err(LdapFailure::Refused { text, .. }) => {
                log::warn!(
                    "userstore {}: a pending change of {} cannot be completed: {text}",
                    self.settings.name,
                    entry.dn
                );
                return self.end(subject);
            }
            Err(fault) => return Err(fault.into()),
        }
        let dn = plan.rename.map_or_else(|| entry.dn.clone(), |rename| rename.dn);
        match self.confirm(write, pending.side_records.clone(), (&dn, subject)) {
            Ok(_) | Err(StoreError::Superseded) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns the modifications of members that are still missing in the directory.
    fn missing_members(&self, pending: &PendingChange, dn: &Dn, trial: &WriteResult) -> Result<Vec<Delta>, StoreError> {
        let mut missing = Vec::new();
        for delta in self.member_deltas(&pending.id, dn, trial)? {
            let (name, values, shall_be) = match delta {
                Delta::Add(name, values) => (name, values, true),
                Delta::Delete(name, values) | Delta::Replace(name, values) => (name, values, false),
            };
            let mut kept = Vec::new();
            for value in values {
                let member = Dn::new(String::from_utf8_lossy(&value).into_owned());
                if self.names_member(dn, &member)? != shall_be {
                    kept.push(value);
                }
            }
            if !kept.is_empty() {
                missing.push(if shall_be {
                    Delta::Add(name, kept)
                } else {
                    Delta::Delete(name, kept)
                });
            }
        }
        Ok(missing)
    }
}

/// Whether an entry is the one that the intent was to create.
fn is_created_entry(server_info: &ServerInfo, pending: &PendingChange, entry: &Entry) -> bool {
    let IntendedAction::Create(state) = &pending.step else {
        return false;
    };
    let rendered = server_info.mapping(&pending.kind).render(&state.attributes);
    rendered
        .iter()
        .all(|(name, values)| values.iter().all(|value| entry.values(name).contains(value)))
}
