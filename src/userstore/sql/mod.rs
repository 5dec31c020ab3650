//! The SQL userstore, with shared code for SQLite and PostgreSQL.
//!
//! One row per resource holds the hot columns and the document ready to send; `attribute_values` holds the values of
//! attributes that the schema marks as indexed; `members` holds group memberships. A filter is narrowed in SQL as far
//! as those allow (`predicate`) and completed in memory where they do not (`find`).

pub use credentials::failed_attempts_without_account;
use std::sync::Arc;

use diesel::prelude::*;

use super::{PasswordCheck, PasswordHasher, StoreError, Userstore, Write, WriteResult};
use crate::domain::lockout::FailureCount;
use crate::domain::query::{Query, ResultPage};
use crate::domain::schema::Registry;
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, Secret, SideRecord, StoreName};
use crate::storage::connection::any_of;
use crate::storage::error::Retry;
use crate::storage::tables::resources;
use crate::storage::{Database, SqlConnection, StorageError};

mod account_records;
mod checkpoints;
mod conditions;
mod credentials;
mod delete;
mod find;
mod indexed;
mod members;
mod predicate;
pub(crate) mod reindex;
mod row;
mod side_writes;
mod unique;
mod write;

use checkpoints::PageCheckpoints;
use row::Row;
pub(in crate::userstore) use side_writes::SideWrite;

/// A userstore in Vestibule's own database.
pub struct SqlUserstore {
    name: StoreName,
    database: Database,
    registry: Arc<Registry>,
    hasher: PasswordHasher,
    clock: Clock,
    checkpoints: PageCheckpoints,
    /// The number of the form in which index rows are written.
    index_form: i64,
}

impl SqlUserstore {
    /// Creates a store that shares its database with the journal, so that a change and its record commit together.
    pub fn new(
        name: StoreName,
        database: Database,
        registry: Arc<Registry>,
        hasher: PasswordHasher,
        clock: Clock,
    ) -> Self {
        Self {
            name,
            database,
            index_form: reindex::IndexForm::of(&registry).number(),
            registry,
            hasher,
            clock,
            checkpoints: PageCheckpoints::new(),
        }
    }
}

impl Userstore for SqlUserstore {
    fn name(&self) -> &StoreName {
        &self.name
    }

    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError> {
        let read = |connection: &mut SqlConnection| {
            let row = resources::table
                .find(id.as_str())
                .filter(resources::store.eq(self.name.as_str()))
                .filter(resources::kind.eq(kind.as_str()))
                .select(Row::as_select())
                .first::<Row>(connection)
                .optional()?;
            let Some(row) = row else { return Ok(None) };
            let mut found = vec![row.into_resource()];
            members::attach(connection, &mut found, relations)?;
            Ok(found.pop())
        };
        if relations.members && *kind == Kind::GROUP {
            // The members of the version that the row shows, not those of a later one.
            self.database.read(|connection| connection.snapshot(read))
        } else {
            self.database.read(read)
        }
    }

    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError> {
        self.database
            .read(|connection| members::is_larger(connection, group, limit))
    }

    fn member_ids(
        &self,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, StoreError> {
        self.database
            .read(|connection| members::ids_after(connection, group, after, limit))
    }

    fn find(&self, query: &Query) -> Result<ResultPage, StoreError> {
        let unfinished = self.database.unfinished_indexes().get();
        let read = |connection: &mut SqlConnection| {
            find::find(connection, (&self.name, &self.checkpoints), &unfinished, query)
        };
        if query.relations.members && query.kind == Kind::GROUP {
            self.database.read(|connection| connection.snapshot(read))
        } else {
            self.database.read(read)
        }
    }

    fn write(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        let order = Arc::new(write::PreparedWrite::new(self, write, side_records));
        order.leave_groups_before_deletion(&self.database)?;
        self.database.write(move |connection| order.carry_out(connection))
    }

    fn verify_password(
        &self,
        id: &ResourceId,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError> {
        credentials::verify(self, id, password, counted)
    }

    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError> {
        Ok(self
            .database
            .read::<_, StorageError>(|connection| credentials::has(connection, id))?)
    }

    fn unlock(&self, id: &ResourceId) -> Result<(), StoreError> {
        let id = id.clone();
        self.database
            .write(move |connection| credentials::unlock(connection, &id).map_err(StoreError::from))
    }

    fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.ping()?)
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Taken { index } => Self::Taken {
                attribute: attribute_of(&index).to_owned(),
            },
            unavailable @ StorageError::Unavailable(_) => Self::Unavailable(unavailable.into()),
            failed @ StorageError::Failed(_) => Self::Failed(failed.into()),
        }
    }
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl Retry for StoreError {
    fn storage(&self) -> Option<&StorageError> {
        match self {
            Self::Unavailable(cause) | Self::Failed(cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// Returns the attribute that a unique index guards. `write` names the resource's own key, since it knows the type.
fn attribute_of(index: &str) -> &'static str {
    if index.contains("links") { "link" } else { "key" }
}

/// Loads whole rows by id, in the order of `ids`.
fn by_ids(connection: &mut SqlConnection, ids: &[String]) -> QueryResult<Vec<Resource>> {
    let mut rows: Vec<Row> = resources::table
        .filter(any_of(resources::id, ids.iter().map(String::as_str)))
        .select(Row::as_select())
        .load(connection)?;
    let place: std::collections::HashMap<&str, usize> =
        ids.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    rows.sort_by_key(|row| place.get(row.id.as_str()).copied());
    Ok(rows.into_iter().map(Row::into_resource).collect())
}
