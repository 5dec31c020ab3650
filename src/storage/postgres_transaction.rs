//! Transactions on PostgreSQL: retried after a lost conflict or connection, and never taken for lost after they were
//! committed.
//!
//! A connection can break after COMMIT was sent and before its answer came. Whether the transaction was committed is
//! then asked on another connection, by its id (`pg_xact_status`).

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::connection::{PreparedDsl, SqlConnection, TransactionEnd};
use super::error::{Retry, StorageError};
use super::pool::Pool;
use super::random;
use crate::domain::backoff::Backoff;

/// The total number of attempts for a transaction that lost a conflict or its connection.
const ATTEMPTS: u32 = 10;
/// The waits between the attempts; two seconds in all.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(500));
/// How long the outcome of a commit is asked for while the database does not tell it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What became of a transaction whose COMMIT was not answered.
enum CommitOutcome {
    Committed,
    RolledBack,
    /// The database could not tell in time.
    Unknown,
}

/// Runs `work` in a transaction and commits it.
pub(super) fn run<T, E>(pool: &Pool, work: &dyn Fn(&mut SqlConnection) -> Result<T, E>) -> Result<T, E>
where
    E: From<StorageError> + From<DieselError> + Retry,
{
    let mut attempt = 1;
    loop {
        let error = match once(pool, work) {
            Ok(settled) => return settled,
            Err(error) => error,
        };
        if attempt == ATTEMPTS {
            return Err(error);
        }
        std::thread::sleep(BACKOFF.jittered(attempt, random::bytes::<1>()[0]));
        attempt += 1;
    }
}

/// Runs `work` in a transaction once. `Err` if another attempt may succeed: nothing was written.
fn once<T, E>(pool: &Pool, work: &dyn Fn(&mut SqlConnection) -> Result<T, E>) -> Result<Result<T, E>, E>
where
    E: From<StorageError> + From<DieselError> + Retry,
{
    let mut pooled = match pool.get() {
        Ok(pooled) => pooled,
        Err(error) => return Ok(Err(error.into())),
    };
    let mut number = None;
    let end: TransactionEnd<T, E> = pooled.connection.transaction_in_steps(|connection| {
        let value = work(connection)?;
        number = transaction_number(connection)?;
        Ok(value)
    });
    match end {
        TransactionEnd::Committed(value) => Ok(Ok(value)),
        TransactionEnd::Failed(error) => {
            let cause = error.storage();
            if cause.is_some_and(|cause| pooled.is_dead(cause)) {
                pool.renew(&mut pooled);
                return Err(unavailable(error));
            }
            if cause.is_some_and(StorageError::is_transient) {
                Err(error)
            } else {
                Ok(Err(error))
            }
        }
        TransactionEnd::CommitFailed(value, error) => {
            let error = StorageError::from(error);
            if !pooled.is_dead(&error) {
                // The database has answered that it rolled back.
                return if error.is_transient() {
                    Err(error.into())
                } else {
                    Ok(Err(error.into()))
                };
            }
            pool.renew(&mut pooled);
            drop(pooled);
            // Without a number, the transaction wrote nothing.
            let Some(number) = number else { return Ok(Ok(value)) };
            match outcome(pool, number) {
                CommitOutcome::Committed => Ok(Ok(value)),
                CommitOutcome::RolledBack => Err(unavailable(error.into())),
                CommitOutcome::Unknown => {
                    log::error!(
                        "the connection broke at COMMIT, and the database does not tell whether it was carried out"
                    );
                    Ok(Err(unavailable(error.into())))
                }
            }
        }
    }
}

/// Returns the error of a lost connection as unavailability, however the driver reported it.
fn unavailable<E: From<StorageError> + Retry>(error: E) -> E {
    match error.storage() {
        Some(StorageError::Failed(cause)) => StorageError::Unavailable(cause.to_string().into()).into(),
        _ => error,
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Nullable<BigInt>)]
    number: Option<i64>,
}

/// Returns the number of the open transaction; `None` if it has written nothing.
fn transaction_number(connection: &mut SqlConnection) -> QueryResult<Option<i64>> {
    let SqlConnection::Postgres(connection) = connection else {
        return Ok(None);
    };
    let row: Number = diesel::sql_query("SELECT pg_current_xact_id_if_assigned()::text::bigint AS number")
        .prepared()
        .get_result(connection)?;
    Ok(row.number)
}

#[derive(QueryableByName)]
struct Status {
    #[diesel(sql_type = Nullable<Text>)]
    status: Option<String>,
}

/// Asks for the outcome of a transaction until it is known: the server notices a lost connection only after a while.
fn outcome(pool: &Pool, number: i64) -> CommitOutcome {
    let begun = Instant::now();
    let mut attempt = 1;
    while begun.elapsed() < PATIENCE {
        match status(pool, number) {
            Ok(Some(word)) if word == "committed" => return CommitOutcome::Committed,
            Ok(Some(word)) if word == "aborted" => return CommitOutcome::RolledBack,
            // A server that took over does not know transactions that never reached it.
            Err(StorageError::Failed(error)) if error.to_string().contains("is in the future") => {
                return CommitOutcome::RolledBack;
            }
            Ok(_) => {}
            Err(error) => log::debug!("cannot ask for the outcome of a transaction yet: {error}"),
        }
        std::thread::sleep(BACKOFF.jittered(attempt, random::bytes::<1>()[0]));
        attempt += 1;
    }
    CommitOutcome::Unknown
}

fn status(pool: &Pool, number: i64) -> Result<Option<String>, StorageError> {
    let mut pooled = pool.get()?;
    let SqlConnection::Postgres(connection) = &mut pooled.connection else {
        return Ok(None);
    };
    let found: Result<Status, StorageError> = diesel::sql_query("SELECT pg_xact_status($1::text::xid8) AS status")
        .bind::<Text, _>(number.to_string())
        .get_result(connection)
        .map_err(StorageError::from);
    match found {
        Ok(row) => Ok(row.status),
        Err(error) => {
            if pooled.is_dead(&error) {
                pool.renew(&mut pooled);
            }
            Err(error)
        }
    }
}
