//! Writes for stores that keep copies of their resources here, together with their own records.

use std::sync::Arc;

use super::{SqlUserstore, credentials, write};
use crate::domain::{ResourceId, SideRecord};
use crate::storage::{SqlConnection, StorageError};
use crate::userstore::{PasswordCheck, StoreError, Write, WriteResult};

/// An extra write in the same transaction. It may run again on a retry.
pub(in crate::userstore) type SideWrite = Arc<dyn Fn(&mut SqlConnection) -> Result<(), StoreError> + Send + Sync>;

/// The outcome of a trial write.
enum TrialOutcome {
    /// The write would succeed with this result.
    Done(Option<Box<WriteResult>>),
    /// The write fails.
    Failed(StoreError),
}

impl From<diesel::result::Error> for TrialOutcome {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl SqlUserstore {
    /// Applies one write, its side records and an extra write atomically.
    pub(in crate::userstore) fn write_with_side_records(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
        side_write: SideWrite,
    ) -> Result<Option<WriteResult>, StoreError> {
        let order = write::PreparedWrite::new(self, write, side_records);
        self.database.write(move |connection| {
            let written = order.carry_out(connection)?;
            side_write(connection)?;
            Ok(written)
        })
    }

    /// Applies many writes in one transaction, each completely or not at all, and returns the error of each, if any.
    pub(in crate::userstore) fn write_many(
        &self,
        writes: Vec<(Write, Vec<SideRecord>, SideWrite)>,
    ) -> Result<Vec<Option<StoreError>>, StoreError> {
        let orders: Vec<_> = writes
            .into_iter()
            .map(|(write, side_records, side_write)| (write::PreparedWrite::new(self, write, side_records), side_write))
            .collect();
        self.database.write(move |connection| {
            let outcomes = orders.iter().map(|(order, side_write)| {
                let done = connection.savepoint(|connection| {
                    order.carry_out(connection)?;
                    side_write(connection)
                });
                done.err()
            });
            Ok::<_, StoreError>(outcomes.collect())
        })
    }

    /// Returns the result of a write and rolls it back. `beside` is run if the write would change something.
    pub(in crate::userstore) fn try_with_side_records(
        &self,
        write: Write,
        side_records: Vec<SideRecord>,
        side_write: SideWrite,
    ) -> Result<Option<WriteResult>, StoreError> {
        let order = write::PreparedWrite::new(self, write, side_records);
        self.database.write(move |connection| {
            let tried: Result<(), TrialOutcome> = connection.savepoint(|connection| {
                Err(match order.carry_out(connection) {
                    Ok(written) => TrialOutcome::Done(written.map(Box::new)),
                    Err(error) => TrialOutcome::Failed(error),
                })
            });
            match tried {
                Ok(()) => Ok(None),
                Err(TrialOutcome::Failed(error)) => Err(error),
                Err(TrialOutcome::Done(written)) => {
                    if written.as_ref().is_some_and(|written| written.changed) {
                        side_write(connection)?;
                    }
                    Ok(written.map(|written| *written))
                }
            }
        })
    }

    /// Counts a login attempt for an account whose password is kept elsewhere.
    pub(in crate::userstore) fn attempt_elsewhere(
        &self,
        id: &ResourceId,
        is_right: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<PasswordCheck, StoreError> {
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
