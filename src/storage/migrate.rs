//! Migrates the database to the schema that this binary needs.

use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::SqlConnection;
use super::database::{Database, StorageError};

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Serialises the migrations of processes that start at the same time on one PostgreSQL.
const ADVISORY_LOCK: &str = "SELECT pg_advisory_lock(7164253)";
const ADVISORY_UNLOCK: &str = "SELECT pg_advisory_unlock(7164253)";

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

/// Runs the pending migrations, each in a transaction of its own, and returns their names.
pub fn run(database: &Database) -> Result<Vec<String>, MigrateError> {
    database.read::<_, StorageError>(|connection| Ok(migrate(connection)))?
}

fn migrate(connection: &mut SqlConnection) -> Result<Vec<String>, MigrateError> {
    use diesel::connection::SimpleConnection;
    match connection {
        SqlConnection::Sqlite(c) => pending(c, SQLITE),
        SqlConnection::Postgres(c) => {
            c.batch_execute(ADVISORY_LOCK)?;
            let done = pending(c, POSTGRES);
            c.batch_execute(ADVISORY_UNLOCK)?;
            done
        }
    }
}

fn pending<B: diesel::backend::Backend, H: MigrationHarness<B>>(
    harness: &mut H,
    source: EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError>
where
    EmbeddedMigrations: MigrationSource<B>,
{
    let step = |error: Box<dyn std::error::Error + Send + Sync>| MigrateError::Step(error.to_string());
    let known: Vec<String> = MigrationSource::<B>::migrations(&source)
        .map_err(step)?
        .iter()
        .map(|migration| migration.name().version().to_string())
        .collect();
    let applied = harness.applied_migrations().map_err(step)?;
    if let Some(newer) = applied
        .iter()
        .map(ToString::to_string)
        .find(|version| !known.contains(version))
    {
        return Err(MigrateError::Newer(newer));
    }
    let done = harness.run_pending_migrations(source).map_err(step)?;
    Ok(done.iter().map(ToString::to_string).collect())
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
