//! What a store elsewhere keeps here of its resources: the same rows, written together with that store's own records.

use std::sync::Arc;

use super::{SqlUserstore, credentials, write};
use crate::domain::{Companion, ResourceId};
use crate::storage::{SqlConnection, StorageError};
use crate::userstore::{PasswordVerdict, StoreError, Write, Written};

/// What is written in the same transaction. It may run again.
pub(in crate::userstore) type Beside = Arc<dyn Fn(&mut SqlConnection) -> Result<(), StoreError> + Send + Sync>;

/// What came of a write that was only tried.
enum Trial {
    /// It would have done this.
    Done(Option<Box<Written>>),
    /// It fails.
    Failed(StoreError),
}

impl From<diesel::result::Error> for Trial {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl SqlUserstore {
    /// Carries out one write, its companions and what belongs beside it: all of it, or nothing.
    pub(in crate::userstore) fn write_beside(
        &self,
        write: Write,
        companions: Vec<Companion>,
        beside: Beside,
    ) -> Result<Option<Written>, StoreError> {
        let order = write::Order::new(self, write, companions);
        self.database.write(move |connection| {
            let written = order.carry_out(connection)?;
            beside(connection)?;
            Ok(written)
        })
    }

    /// Carries out many writes in one transaction, each whole or not at all, and tells how each went.
    pub(in crate::userstore) fn write_many(
        &self,
        writes: Vec<(Write, Vec<Companion>, Beside)>,
    ) -> Result<Vec<Option<StoreError>>, StoreError> {
        let orders: Vec<_> = writes
            .into_iter()
            .map(|(write, companions, beside)| (write::Order::new(self, write, companions), beside))
            .collect();
        self.database.write(move |connection| {
            let outcomes = orders.iter().map(|(order, beside)| {
                let done = connection.savepoint(|connection| {
                    order.carry_out(connection)?;
                    beside(connection)
                });
                done.err()
            });
            Ok::<_, StoreError>(outcomes.collect())
        })
    }

    /// Tells what a write would do and undoes it. What belongs beside it is written if the write would change something.
    pub(in crate::userstore) fn try_beside(
        &self,
        write: Write,
        companions: Vec<Companion>,
        beside: Beside,
    ) -> Result<Option<Written>, StoreError> {
        let order = write::Order::new(self, write, companions);
        self.database.write(move |connection| {
            let tried: Result<(), Trial> = connection.savepoint(|connection| {
                Err(match order.carry_out(connection) {
                    Ok(written) => Trial::Done(written.map(Box::new)),
                    Err(error) => Trial::Failed(error),
                })
            });
            match tried {
                Ok(()) => Ok(None),
                Err(Trial::Failed(error)) => Err(error),
                Err(Trial::Done(written)) => {
                    if written.as_ref().is_some_and(|written| written.changed) {
                        beside(connection)?;
                    }
                    Ok(written.map(|written| *written))
                }
            }
        })
    }

    /// Counts an attempt to open an account whose password is kept elsewhere.
    pub(in crate::userstore) fn attempt_elsewhere(
        &self,
        id: &ResourceId,
        is_right: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<PasswordVerdict, StoreError> {
        let (resource, now) = (id.clone(), self.clock.now());
        let has_room = {
            let id = id.clone();
            self.database
                .read::<_, StorageError>(move |connection| credentials::has_room(connection, &id))?
        };
        if !has_room {
            self.database.write(move |connection| {
                credentials::make_room(connection, &resource, now).map_err(StoreError::from)
            })?;
        }
        credentials::attempt(self, id, |_| is_right())
    }
}
