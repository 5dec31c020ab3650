//! Looking for what others change in the directory.

use std::time::Duration;

use super::LdapUserstore;
use crate::domain::Kind;
use crate::storage::ldap_entries;
use crate::userstore::StoreError;

/// How often to ask whether a directory answers again.
const KNOCK_EVERY: Duration = Duration::from_secs(1);

impl LdapUserstore {
    /// Settles what was left behind, then brings the copy up to the directory. What changed since the last time is told to
    /// the journal; the first time everything is only noted, since nothing has changed.
    ///
    /// Once this was called, nobody but this waits for a server that did not answer: call it again and again.
    pub fn watch(&self) -> Result<(), StoreError> {
        self.connections.knock()?;
        self.settle_all()?;
        self.compare(&Kind::USER)?;
        self.compare(&Kind::GROUP)?;
        self.note_baseline()
    }

    /// The same, however many entries are gone.
    pub fn accept(&self) -> Result<(), StoreError> {
        self.settle_all()?;
        self.compare_within(&Kind::USER, None)?;
        self.compare_within(&Kind::GROUP, None)?;
        self.note_baseline()
    }

    /// When to look again: soon while the directory does not answer.
    pub fn interval(&self) -> Duration {
        match self.connections.trouble() {
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
