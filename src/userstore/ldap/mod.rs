//! The LDAP userstore: users and groups that are kept in a directory.
//!
//! The directory is the source of truth. Our database keeps a copy of each entry as a resource (`copy`), with the
//! version of the entry (`stamp`) and the values that LDAP has no attribute for. No answer comes from the copy before
//! the directory has confirmed that it is up to date (`refresh`), so filters, orders and totals work as in the SQL
//! store. A change goes to the directory first, under an intent in our database, and is then confirmed here together
//! with its journal entry (`change`, `settle`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::lockout::FailureCount;
use crate::domain::query::{Query, ResultPage, Start};
use crate::domain::schema::{Registry, ResourceType};
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, Secret, SideRecord, StoreName};
use crate::gate::{Gate, Pass};
use crate::storage::{Database, ldap_entries};
use crate::userstore::sql::SqlUserstore;
use crate::userstore::{PasswordCheck, PasswordHasher, StoreError, Userstore, Write, WriteAction, WriteResult};

mod change;
mod check;
mod connection;
mod credentials;
mod deltas;
mod entry;
mod filter;
mod flavour;
mod from_scim_filter;
mod groups;
mod intent;
mod mapping;
mod name;
mod plan;
mod recovery;
mod refresh;
mod server_info;
mod session;
mod settings;
mod sync;
mod watch;

use connection::{Connections, LdapFailure};
use mapping::Mapping;
use server_info::ServerInfo;

pub(crate) use check::Finding;
pub use flavour::Flavour;
pub use name::Dn;
pub use settings::{LdapSettings, UnmappedValues};

/// The most resources of an answer that are checked one by one; for more, everything is compared.
const FEW: usize = 20;

/// A userstore backed by a directory.
pub struct LdapUserstore {
    settings: LdapSettings,
    connections: Connections,
    copy: SqlUserstore,
    database: Database,
    registry: Arc<Registry>,
    clock: Clock,
    /// The server's properties; known once it has answered.
    server_info: Mutex<Option<Arc<ServerInfo>>>,
    /// The directory's change counter when all entries of a type were last compared.
    compared: Mutex<HashMap<Kind, String>>,
    /// Entered for comparing all entries.
    comparing: Gate,
    /// Bounds the requests that wait for the directory, so that one that hangs holds up no other store.
    gate: Gate,
}

/// How many requests are with the directory at one time, how many more wait for their turn, and how long.
const INSIDE: usize = 16;
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request waits for a comparison of all entries that another one makes.
const COMPARISON: Duration = Duration::from_secs(20);

impl LdapUserstore {
    /// Creates a store that keeps its copies and its own records in `database`, without connecting. The error names the
    /// invalid setting.
    pub fn new(
        settings: LdapSettings,
        database: Database,
        registry: Arc<Registry>,
        hasher: PasswordHasher,
        clock: Clock,
    ) -> Result<Self, String> {
        for (kind, make) in [
            (Kind::USER, Mapping::users as fn(&_, &_) -> _),
            (Kind::GROUP, Mapping::groups),
        ] {
            if let Some(resource_type) = registry.resource_type(&kind) {
                make(&settings, resource_type)?;
            }
        }
        let copy = SqlUserstore::new(
            settings.name.clone(),
            database.clone(),
            Arc::clone(&registry),
            hasher,
            clock.clone(),
        );
        Ok(Self {
            connections: Connections::new(&settings)?,
            settings,
            copy,
            database,
            registry,
            clock,
            server_info: Mutex::default(),
            compared: Mutex::default(),
            comparing: Gate::new(1, INSIDE, COMPARISON),
            gate: Gate::new(INSIDE, WAITING, PATIENCE),
        })
    }

    /// Returns the server's properties, read once.
    fn server_info(&self) -> Result<Arc<ServerInfo>, StoreError> {
        let known = || self.server_info.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server_info) = &*known() {
            return Ok(Arc::clone(server_info));
        }
        // Several callers may read it at first; no lock is held meanwhile.
        let read = self
            .connections
            .read(|session| ServerInfo::read(session, &self.settings, &self.registry))?;
        Ok(Arc::clone(known().get_or_insert_with(|| Arc::new(read))))
    }

    /// Enters the store for a request to the directory.
    fn enter(&self) -> Result<Pass<'_>, StoreError> {
        self.gate.enter().map_err(|full| StoreError::Unavailable(full.into()))
    }

    fn resource_type(&self, kind: &Kind) -> Result<&ResourceType, StoreError> {
        self.registry
            .resource_type(kind)
            .ok_or(StoreError::Unsupported("hold resources of this type"))
    }

    fn base(&self, kind: &Kind) -> &Dn {
        if *kind == Kind::GROUP {
            &self.settings.group_base
        } else {
            &self.settings.user_base
        }
    }
}

impl Userstore for LdapUserstore {
    fn name(&self) -> &StoreName {
        &self.settings.name
    }

    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError> {
        if !holds(kind) {
            return Ok(None);
        }
        let _pass = self.enter()?;
        let Some((known, _)) = self.present(kind, id)? else {
            return Ok(None);
        };
        if relations.groups && *kind == Kind::USER {
            self.refresh_groups_of(&known)?;
        }
        self.copy.get(kind, id, relations)
    }

    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError> {
        self.copy.is_larger(group, limit)
    }

    fn member_ids(
        &self,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, StoreError> {
        self.copy.member_ids(group, after, limit)
    }

    fn find(&self, query: &Query) -> Result<ResultPage, StoreError> {
        if !holds(&query.kind) {
            return self.copy.find(query);
        }
        let _pass = self.enter()?;
        let relations_used = query.relations_used();
        if let (Some(filter), Start::Index(0), false) = (&query.filter, &query.page.start, relations_used.groups)
            && let Some(found) = self.find_few(query, filter)?
        {
            return Ok(found);
        }
        self.compare(&query.kind)?;
        if query.kind == Kind::USER && query.relations.and(relations_used).groups {
            self.compare(&Kind::GROUP)?;
        }
        self.copy.find(query)
    }

    fn write(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        if !holds(&write.kind) {
            return match write.action {
                WriteAction::Create(_) => Err(StoreError::Unsupported("hold resources of this type")),
                _ => Ok(None),
            };
        }
        let _pass = self.enter()?;
        if matches!(write.action, WriteAction::Keep) {
            return match self.present(&write.kind, &write.id)? {
                Some(_) => self.copy.write(write, side_records),
                None => Ok(None),
            };
        }
        if !self.settings.writable {
            return Err(StoreError::Unsupported("accept changes: it is configured as read-only"));
        }
        self.change(write, side_records)
    }

    fn verify_password(
        &self,
        id: &ResourceId,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError> {
        let _pass = self.enter()?;
        self.bind_as(id, password, counted)
    }

    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError> {
        let _pass = self.enter()?;
        self.shows_password(id)
    }

    fn unlock(&self, id: &ResourceId) -> Result<(), StoreError> {
        let _pass = self.enter()?;
        self.clear_lock(id)
    }

    fn accept(&self) -> Result<(), StoreError> {
        self.accept_content()
    }

    fn ping(&self) -> Result<(), StoreError> {
        let _pass = self.enter()?;
        self.connections.read(server_info::root)?;
        Ok(())
    }
}

impl LdapUserstore {
    /// Answers a query whose filter matches few entries, by checking only those; `None` if it matches many, or if the
    /// copy's matches cannot be verified one by one.
    fn find_few(
        &self,
        query: &Query,
        filter: &crate::domain::filter::Filter,
    ) -> Result<Option<ResultPage>, StoreError> {
        let server_info = self.server_info()?;
        let Some(narrowed) = from_scim_filter::narrow(server_info.mapping(&query.kind), filter) else {
            return Ok(None);
        };
        let narrowed = server_info.filter(&query.kind).and(narrowed);
        let entries = self.entry_versions(&query.kind, &narrowed)?;
        let seen = self.refresh_all(&query.kind, &entries)?;
        let found = self.copy.find(query)?;
        let is_all = found.total == Some(found.resources.len()) && found.resources.len() <= FEW;
        if !is_all {
            return Ok(None);
        }
        // The copy may match more than the directory: resources that have changed since, or values without an LDAP
        // attribute.
        for resource in found.resources.iter().filter(|resource| !seen.contains(&resource.id)) {
            let is_as_held = matches!(self.present(&query.kind, &resource.id)?, Some((_, false)));
            if !is_as_held {
                return Ok(None);
            }
        }
        if query.relations.groups && query.kind == Kind::USER {
            for resource in &found.resources {
                let known = self.known(&resource.id)?;
                if let Some(known) = known {
                    self.refresh_groups_of(&known)?;
                }
            }
            return self.copy.find(query).map(Some);
        }
        Ok(Some(found))
    }

    fn known(&self, id: &ResourceId) -> Result<Option<ldap_entries::KnownEntry>, StoreError> {
        let (store, id) = (&self.settings.name, id);
        self.database
            .read::<_, StoreError>(|connection| ldap_entries::of_resource(connection, store, id))
    }
}

/// Whether directories hold resources of this type.
fn holds(kind: &Kind) -> bool {
    *kind == Kind::USER || *kind == Kind::GROUP
}

/// Whether a refusal means that the entry has changed in the meantime.
fn is_stale(fault: &LdapFailure) -> bool {
    use session::{ASSERTION_FAILED, NO_SUCH_ATTRIBUTE, NO_SUCH_OBJECT, VALUE_EXISTS};
    matches!(
        fault,
        LdapFailure::Refused {
            code: ASSERTION_FAILED | NO_SUCH_ATTRIBUTE | NO_SUCH_OBJECT | VALUE_EXISTS,
            ..
        }
    )
}
