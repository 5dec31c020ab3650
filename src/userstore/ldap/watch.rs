//! Looking for what others change in the directory.

use super::LdapUserstore;
use crate::domain::Kind;
use crate::storage::ldap_entries;
use crate::userstore::StoreError;

impl LdapUserstore {
    /// Settles what was left behind, then brings the copy up to the directory. What changed since the last time is told to
    /// the journal; the first time everything is only noted, since nothing has changed.
    pub fn watch(&self) -> Result<(), StoreError> {
        self.settle_all()?;
        self.compare(&Kind::USER)?;
        self.compare(&Kind::GROUP)?;
        self.note_baseline()
    }

    /// The same, however many entries are gone.
    pub fn accept(&self) -> Result<(), StoreError> {
        self.settle_all()?;
        self.compare_within(&Kind::USER, usize::MAX)?;
        self.compare_within(&Kind::GROUP, usize::MAX)?;
        self.note_baseline()
    }

    /// How often to look.
    pub fn interval(&self) -> std::time::Duration {
        self.settings.watch
    }

    /// Why the directory does not answer, if it does not.
    pub fn trouble(&self) -> Option<String> {
        self.connections.trouble()
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
