//! Watches a directory for changes made by others.

use std::time::Duration;

use super::LdapUserstore;
use crate::domain::Kind;
use crate::storage::ldap_entries;
use crate::userstore::StoreError;

/// The interval at which a directory that does not answer is tried again.
const KNOCK_EVERY: Duration = Duration::from_secs(1);

impl LdapUserstore {
    /// Recovers intents, then updates the copy from the directory. Changes since the last call are recorded in the
    /// journal; the first call only takes a baseline, since nothing has changed yet.
    ///
    /// Call it repeatedly: after the first call, only this method waits for a server that did not answer.
    pub fn watch(&self) -> Result<(), StoreError> {
        self.connections.probe()?;
        self.recover_intents()?;
        self.compare(&Kind::USER)?;
        self.compare(&Kind::GROUP)?;
        self.note_baseline()
    }

    /// Like `watch`, without a delete limit.
    pub(super) fn accept_content(&self) -> Result<(), StoreError> {
        self.recover_intents()?;
        self.compare_within(&Kind::USER, None)?;
        self.compare_within(&Kind::GROUP, None)?;
        self.note_baseline()
    }

    /// The time until the next call of `watch`: short while the directory does not answer.
    pub(crate) fn interval(&self) -> Duration {
        match self.connections.outage() {
            Some(_) => self.settings.watch.min(KNOCK_EVERY),
            None => self.settings.watch,
        }
    }

    fn note_baseline(&self) -> Result<(), StoreError> {
        let (store, now) = (self.settings.name.clone(), self.clock.now());
        let known = self
            .database
            .read::<_, StoreError>(|connection| ldap_entries::has_baseline(connection, &store))?;
        if known {
            return Ok(());
        }
        self.database
            .write(move |connection| ldap_entries::set_baseline(connection, &store, now).map_err(StoreError::from))
    }
}
