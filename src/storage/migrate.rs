//! Migrates the database to the schema that this binary needs.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{PgConnection, QueryableByName};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::SqlConnection;
use super::database::Database;
use super::error::StorageError;
use super::pool;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The key of the lock under which one process at a time migrates a PostgreSQL database.
const LOCK: i64 = 7_164_253;
/// How often a process that waits for that lock asks for it.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How often the log tells that a wait or a migration goes on.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The reason why a migration did not run.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database was migrated by a newer binary; downgrading would lose data.
    #[error("the database has migration {0}, which this binary does not know: start the newer version that made it")]
    Newer(String),
    /// A step failed and was rolled back.
    #[error("a migration failed: {0}")]
    Step(String),
    /// The database cannot be reached.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        StorageError::from(error).into()
    }
}

/// Runs the pending migrations, each in a transaction of its own, and returns their names. Processes that start together
/// wait for each other. No time limit applies: an index over a large table takes as long as it takes, and the log tells
/// every ten seconds what goes on. A migration that is interrupted is rolled back and runs again at the next start.
pub fn run(database: &Database) -> Result<Vec<String>, MigrateError> {
    match pool::connect_without_limits(database.url())? {
        SqlConnection::Sqlite(mut c) => {
            c.batch_execute("PRAGMA busy_timeout = 600000")?;
            pending(&mut c, SQLITE, |c, step| c.immediate_transaction(step), &|_| None)
        }
        SqlConnection::Postgres(mut c) => {
            wait_for_lock(&mut c)?;
            let watched: Watched = diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result(&mut c)?;
            let done = pending(&mut c, POSTGRES, |c, step| c.transaction(step), &|watcher| {
                postgres_progress(watcher, database, watched.pid)
            });
            // The lock ends with this connection at the latest.
            let _ = diesel::sql_query("SELECT pg_advisory_unlock($1)")
                .bind::<BigInt, _>(LOCK)
                .execute(&mut c);
            done
        }
    }
}

fn wait_for_lock(connection: &mut PgConnection) -> Result<(), MigrateError> {
    #[derive(QueryableByName)]
    struct Got {
        #[diesel(sql_type = Bool)]
        got: bool,
    }
    let mut told = Instant::now();
    log::debug!("asking for the lock of the migrations");
    loop {
        let answer: Got = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS got")
            .bind::<BigInt, _>(LOCK)
            .get_result(connection)?;
        if answer.got {
            return Ok(());
        }
        if told.elapsed() >= TELL_EVERY {
            log::info!("waiting for another process that migrates this database");
            told = Instant::now();
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// A step of the migrations inside its transaction.
type Step<'a, C> = &'a dyn Fn(&mut C) -> Result<Option<String>, MigrateError>;

/// Runs the pending migrations one by one. `transaction` runs a step alone; which one is next is asked inside, since
/// another process may have run it meanwhile. `progress` returns a line for the log about the running statement.
fn pending<C: MigrationHarness<B>, B: diesel::backend::Backend>(
    connection: &mut C,
    source: EmbeddedMigrations,
    transaction: impl Fn(&mut C, Step<'_, C>) -> Result<Option<String>, MigrateError>,
    progress: &(dyn Fn(&mut Option<SqlConnection>) -> Option<String> + Sync),
) -> Result<Vec<String>, MigrateError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| MigrateError::Step(error.to_string());
    let known: Vec<Box<dyn Migration<B>>> = MigrationSource::<B>::migrations(&source).map_err(failed)?;
    let step = |connection: &mut C| {
        let applied: Vec<String> = connection
            .applied_migrations()
            .map_err(failed)?
            .iter()
            .map(ToString::to_string)
            .collect();
        let version = |migration: &dyn Migration<B>| migration.name().version().to_string();
        if let Some(newer) = applied
            .iter()
            .find(|applied| !known.iter().any(|migration| version(&**migration) == **applied))
        {
            return Err(MigrateError::Newer(newer.clone()));
        }
        let Some(next) = known
            .iter()
            .find(|migration| !applied.contains(&version(&***migration)))
        else {
            return Ok(None);
        };
        let name = next.name().to_string();
        watched(&name, progress, || connection.run_migration(next).map(|_| ()))
            .map_err(|error| MigrateError::Step(format!("{name}: {error}")))?;
        Ok(Some(version(&**next)))
    };
    let mut done = Vec::new();
    while let Some(version) = transaction(connection, &step)? {
        done.push(version);
    }
    Ok(done)
}

/// Runs one migration, and tells in the log every ten seconds that it goes on.
fn watched<T>(
    name: &str,
    progress: &(dyn Fn(&mut Option<SqlConnection>) -> Option<String> + Sync),
    work: impl FnOnce() -> T,
) -> T {
    let (ended, watch) = std::sync::mpsc::channel::<()>();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut watcher = None;
            while watch.recv_timeout(TELL_EVERY) == Err(RecvTimeoutError::Timeout) {
                let details = progress(&mut watcher).unwrap_or_default();
                log::info!(
                    "migration {name} has been running for {} s{details}",
                    began.elapsed().as_secs()
                );
            }
        });
        let done = work();
        drop(ended);
        done
    })
}

#[derive(QueryableByName)]
struct Watched {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Returns how far an index is that the session `pid` builds, or which sessions it waits for.
fn postgres_progress(watcher: &mut Option<SqlConnection>, database: &Database, pid: i32) -> Option<String> {
    #[derive(QueryableByName)]
    struct Line {
        #[diesel(sql_type = Text)]
        line: String,
    }
    const SQL: &str = "SELECT COALESCE(\
        (SELECT ': it waits for the sessions ' || array_to_string(pg_blocking_pids($1), ', ') WHERE cardinality(pg_blocking_pids($1)) > 0), \
        (SELECT format(': %s, %s of %s blocks', phase, blocks_done, blocks_total) FROM pg_stat_progress_create_index WHERE pid = $1 LIMIT 1), \
        '') AS line";
    if watcher.is_none() {
        *watcher = pool::connect_without_limits(database.url()).ok();
    }
    let Some(SqlConnection::Postgres(connection)) = watcher else {
        return None;
    };
    let line: QueryResult<Line> = diesel::sql_query(SQL).bind::<Integer, _>(pid).get_result(connection);
    line.ok().map(|line| line.line)
}

/// Reverts every migration, newest first. For tests of the `down` files.
pub fn revert_all(database: &Database) -> Result<(), MigrateError> {
    database.read::<_, StorageError>(|connection| {
        Ok(match connection {
            SqlConnection::Sqlite(c) => c.revert_all_migrations(SQLITE).map(|_| ()),
            SqlConnection::Postgres(c) => c.revert_all_migrations(POSTGRES).map(|_| ()),
        }
        .map_err(|error| MigrateError::Step(error.to_string())))
    })?
}
