//! The change pipeline: every change to a user or a group is checked, written to the store that owns it and journalled
//! here.

use std::sync::{Arc, OnceLock};

use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::lockout::FailureCount;
use crate::domain::ownership::Ownership;
use crate::domain::query::{Query, ResultPage};
use crate::domain::schema::AttributeRef;
use crate::domain::schema::Registry;
use crate::domain::validate::Invalid;
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, Secret, StoreName};
use crate::userstore::{PasswordCheck, PasswordHasher, StoreError, Userstore};

mod apply;
mod lock;
pub(crate) mod memberships;
mod next_state;
mod stores;

use lock::Locks;
pub(crate) use stores::MultiStoreResult;

/// Access to all userstores: reads, and changes through the pipeline.
pub struct Directory {
    stores: Vec<Arc<dyn Userstore>>,
    registry: Arc<Registry>,
    hasher: PasswordHasher,
    clock: Clock,
    locks: Locks,
    listener: OnceLock<Box<dyn Fn() + Send + Sync>>,
    ownership: Ownership,
}

/// The outcome of a change.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The resource was created.
    Created(Resource),
    /// The resource was updated.
    Updated(Resource),
    /// The resource already had the wanted state: no new version and no journal entry.
    Unchanged(Resource),
    /// The resource was deleted; this is its last state.
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

/// The reason why a request to the directory failed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such resource in the stores that the actor reaches.
    #[error("there is no such {0}")]
    NotFound(Kind),
    /// The change violates the schema or has an invalid name, path or value.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store's error: taken, stale, unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Directory {
    /// Creates a directory over these stores. Their names differ, and one is PRIMARY; the configuration ensures that.
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

    /// Checks every change against the values that identity providers keep in sync.
    #[must_use]
    pub fn with_ownership(self, ownership: Ownership) -> Self {
        Self { ownership, ..self }
    }

    /// Returns a resource from any store.
    pub fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, DirectoryError> {
        stores::first(self.stores.iter().map(|store| store.get(kind, id, relations)))
    }

    /// Whether a group has more than `limit` members.
    pub fn is_larger(&self, group: &Resource, limit: usize) -> Result<bool, DirectoryError> {
        Ok(self.store(&group.store)?.is_larger(&group.id, limit)?)
    }

    /// Returns the ids of at most `limit` members of a group in a store, in order, from the first after `after` on.
    pub(crate) fn member_ids(
        &self,
        store: &StoreName,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, DirectoryError> {
        Ok(self.store(store)?.member_ids(group, after, limit)?)
    }

    /// Returns the matches in one store.
    pub fn find(&self, store: &StoreName, query: &Query) -> Result<ResultPage, DirectoryError> {
        Ok(self.store(store)?.find(query)?)
    }

    /// Returns the resource of a type with this name (`userName`, `displayName`) in a store, compared canonically.
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

    /// Checks a local password. Without an id it takes the time of a check and returns `Wrong`.
    pub fn verify_password(
        &self,
        store: &StoreName,
        id: Option<&ResourceId>,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, DirectoryError> {
        if let Some(id) = id {
            return Ok(self.store(store)?.verify_password(id, password, counted)?);
        }
        // An id that no account has: the same work by construction.
        let nobody = ResourceId::new(uuid::Uuid::now_v7().to_string());
        match self
            .store(store)?
            .verify_password(&nobody, password, FailureCount::Account)
        {
            Ok(_) => {}
            Err(StoreError::Unavailable(_)) => drop(self.hasher.verify(None, password)),
            Err(error) => return Err(error.into()),
        }
        Ok(PasswordCheck::Invalid)
    }

    /// Whether a user has a password.
    pub fn has_password(&self, store: &StoreName, id: &ResourceId) -> Result<bool, DirectoryError> {
        Ok(self.store(store)?.has_password(id)?)
    }

    /// Removes the lock that wrong passwords put on an account.
    pub fn unlock(&self, store: &StoreName, id: &ResourceId) -> Result<(), DirectoryError> {
        Ok(self.store(store)?.unlock(id)?)
    }

    /// Accepts the current content of a directory, including any number of deletions.
    pub fn accept(&self, store: &StoreName) -> Result<(), DirectoryError> {
        Ok(self.store(store)?.accept()?)
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

    /// Calls `listener` after every change made here, so that the outbound engine need not poll for them. Only the
    /// first listener is kept.
    pub(crate) fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    fn store(&self, name: &StoreName) -> Result<&Arc<dyn Userstore>, StoreError> {
        self.stores
            .iter()
            .find(|store| store.name() == name)
            .ok_or_else(|| StoreError::Unavailable(format!("no userstore is called {name}").into()))
    }
}
