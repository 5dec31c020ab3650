//! Opens the userstores and watches the LDAP directories among them.

use std::sync::Arc;

use super::StartError;
use super::periodic_task::PeriodicTask;
use crate::config::{Config, UserstoreKind};
use crate::domain::Clock;
use crate::domain::schema::Registry;
use crate::provisioning::Engine;
use crate::storage::Database;
use crate::userstore::ldap::LdapUserstore;
use crate::userstore::sql::SqlUserstore;
use crate::userstore::{PasswordHasher, StoreError, Userstore};

/// The dependencies of every store.
pub(super) type StoreDependencies = (Database, Arc<Registry>, PasswordHasher, Clock);

/// All stores in the order of the configuration, and those of them that are LDAP directories.
type Stores = (Vec<Arc<dyn Userstore>>, Vec<Arc<LdapUserstore>>);

/// Opens the stores without connecting to them.
pub(super) fn open(config: &Config, shared: &StoreDependencies) -> Result<Stores, StartError> {
    let (mut stores, mut ldap_stores) = (Vec::<Arc<dyn Userstore>>::new(), Vec::new());
    for settings in &config.userstores {
        let (database, registry, hasher, clock) = shared.clone();
        match &settings.place {
            UserstoreKind::Sql => {
                let name = settings.name.clone();
                stores.push(Arc::new(SqlUserstore::new(name, database, registry, hasher, clock)));
            }
            UserstoreKind::Ldap(ldap) => {
                let store = LdapUserstore::new((**ldap).clone(), database, registry, hasher, clock)
                    .map_err(|cause| StartError::Userstore(settings.name.clone(), cause))?;
                let store = Arc::new(store);
                ldap_stores.push(Arc::clone(&store));
                stores.push(store);
            }
        }
    }
    Ok((stores, ldap_stores))
}

/// Starts the thread that detects external changes in a directory and notices when it answers again.
pub(super) fn watcher(store: &Arc<LdapUserstore>, engine: &Arc<Engine>) -> std::io::Result<PeriodicTask> {
    let (store, awake) = (Arc::clone(store), Arc::downgrade(engine));
    PeriodicTask::at_its_own_pace(move || {
        match store.watch() {
            Ok(()) => {}
            // Already logged as a warning when the outage began.
            Err(StoreError::Unavailable(cause)) => log::debug!("userstore {}: {cause}", store.name()),
            Err(error) => log::warn!("userstore {} could not be compared: {error}", store.name()),
        }
        if let Some(engine) = awake.upgrade() {
            engine.wake();
        }
        store.interval()
    })
}
