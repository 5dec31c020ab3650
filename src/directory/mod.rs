//! The one door: every change to a person or a group is checked, written to the store that owns it and journalled here.

use std::sync::{Arc, OnceLock};

use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::ownership::Ownership;
use crate::domain::query::{Found, Query};
use crate::domain::schema::AttributeRef;
use crate::domain::schema::Registry;
use crate::domain::validate::Invalid;
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, Secret, StoreName};
use crate::userstore::{PasswordHasher, PasswordVerdict, StoreError, Userstore};

mod apply;
mod lock;
mod stores;

use lock::Locks;
pub use stores::FoundOver;

/// The door to all userstores.
pub struct Directory {
    stores: Vec<Arc<dyn Userstore>>,
    registry: Arc<Registry>,
    hasher: PasswordHasher,
    clock: Clock,
    locks: Locks,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
    ownership: Ownership,
}

/// What a change did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The resource is new.
    Created(Resource),
    /// The resource changed.
    Updated(Resource),
    /// The resource was as the change wants it already: no new version, nothing journalled.
    Unchanged(Resource),
    /// The resource is gone; this is how it last was.
    Deleted(Resource),
}

impl Outcome {
    /// The resource, with the groups that hold it and without members.
    pub fn resource(&self) -> &Resource {
        match self {
            Self::Created(resource) | Self::Updated(resource) | Self::Unchanged(resource) | Self::Deleted(resource) => {
                resource
            }
        }
    }

    /// The resource, with the groups that hold it and without members.
    pub fn into_resource(self) -> Resource {
        match self {
            Self::Created(resource) | Self::Updated(resource) | Self::Unchanged(resource) | Self::Deleted(resource) => {
                resource
            }
        }
    }
}

/// Why the door stayed shut.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// No such resource where the actor may look.
    #[error("there is no such {0}")]
    NotFound(Kind),
    /// The change breaks the schema or names something wrongly.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store's answer: taken, stale, unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Directory {
    /// A door to these stores. Their names differ, and one is PRIMARY; the configuration sees to that.
    pub fn new(stores: Vec<Arc<dyn Userstore>>, registry: Arc<Registry>, hasher: PasswordHasher, clock: Clock) -> Self {
        Self {
            stores,
            registry,
            hasher,
            clock,
            locks: Locks::default(),
            listener: OnceLock::new(),
            ownership: Ownership::default(),
        }
    }

    /// Holds every change against what identity providers keep.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// One resource, wherever it is.
    pub fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, DirectoryError> {
        stores::first(self.stores.iter().map(|store| store.get(kind, id, relations)))
    }

    /// Whether a group has more than `limit` members.
    pub fn is_larger(&self, group: &Resource, limit: usize) -> Result<bool, DirectoryError> {
        Ok(self.store(&group.store)?.is_larger(&group.id, limit)?)
    }

    /// What matches in one store.
    pub fn find(&self, store: &StoreName, query: &Query) -> Result<Found, DirectoryError> {
        Ok(self.store(store)?.find(query)?)
    }

    /// The resource of a type with this name (`userName`, `displayName`) in a store, compared canonically.
    pub fn named(&self, store: &StoreName, kind: &Kind, name: &str) -> Result<Option<Resource>, DirectoryError> {
        let unique = self
            .registry
            .resource_type(kind)
            .and_then(|resource_type| resource_type.name_attribute());
        let Some(attribute) = unique else { return Ok(None) };
        let filter = Filter::Compare {
            attribute: AttributeRef {
                extension: None,
                attribute: attribute.clone(),
                sub: None,
            },
            operator: Operator::Eq,
            value: Comparand::Text(name.to_owned()),
        };
        Ok(self
            .find(store, &Query::all(kind.clone(), 1).filtered(filter))?
            .resources
            .pop())
    }

    /// Checks a local password. Without an id the answer is `Wrong`, after the time that a check takes.
    pub fn verify_password(
        &self,
        store: &StoreName,
        id: Option<&ResourceId>,
        password: &Secret,
    ) -> Result<PasswordVerdict, DirectoryError> {
        if let Some(id) = id {
            return Ok(self.store(store)?.verify_password(id, password)?);
        }
        self.hasher.verify(None, password);
        Ok(PasswordVerdict::Wrong)
    }

    /// Whether a person has a password.
    pub fn has_password(&self, store: &StoreName, id: &ResourceId) -> Result<bool, DirectoryError> {
        Ok(self.store(store)?.has_password(id)?)
    }

    /// Lifts the lock that wrong passwords put on an account.
    pub fn unlock(&self, store: &StoreName, id: &ResourceId) -> Result<(), DirectoryError> {
        Ok(self.store(store)?.unlock(id)?)
    }

    /// The schemas.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The stores, for health checks.
    pub fn stores(&self) -> &[Arc<dyn Userstore>] {
        &self.stores
    }

    /// Calls `listener` after every change made through this door: the outbound engine need not poll for them. Only the
    /// first listener is kept.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    fn store(&self, name: &StoreName) -> Result<&Arc<dyn Userstore>, StoreError> {
        self.stores
            .iter()
            .find(|store| store.name() == name)
            .ok_or_else(|| StoreError::Unavailable(format!("no userstore is called {name}").into()))
    }
}
