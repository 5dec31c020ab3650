//! Removal of many rows in steps, so that nobody waits for it long.

use std::time::Duration;

use diesel::QueryResult;

use super::connection::SqlConnection;
use super::database::Database;
use super::error::StorageError;

/// The most rows that one step removes.
const STEP: i64 = 500;
/// The pause between two steps, in which waiting writes have their turn.
const PAUSE: Duration = Duration::from_millis(5);

/// Repeats a step that removes at most as many rows as it is told, each time in a transaction of its own, until none is
/// left. Returns the number of removed rows.
pub(crate) fn in_steps(
    database: &Database,
    step: impl Fn(&mut SqlConnection, i64) -> QueryResult<usize> + Clone + Send + 'static,
) -> Result<usize, StorageError> {
    let mut removed = 0;
    loop {
        let step = step.clone();
        let count: usize = database.write(move |connection| step(connection, STEP).map_err(StorageError::from))?;
        removed += count;
        if i64::try_from(count).is_ok_and(|count| count < STEP) {
            return Ok(removed);
        }
        std::thread::sleep(PAUSE);
    }
}
