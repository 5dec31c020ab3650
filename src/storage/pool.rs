//! Pools of connections. When one connection turns out to be dead, or to lead to a standby, all that are as old are
//! replaced before their next use: after a failover none of them is of use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::R2D2Connection;
use diesel::{Connection as _, PgConnection, SqliteConnection};

use super::connection::SqlConnection;
use super::database::DatabaseUrl;
use super::error::StorageError;

/// The time that a caller waits for a free connection before the database counts as unavailable.
const CHECKOUT: Duration = Duration::from_secs(5);
/// Connections per pool. More than this on two cores makes PostgreSQL slower, not faster (`docs/performance.md`).
const POOL_SIZE: u32 = 8;

/// The settings of a session on SQLite.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA case_sensitive_like = ON; PRAGMA cache_size = -16000; PRAGMA wal_autocheckpoint = 8000; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY;";

/// The settings of a session on PostgreSQL, without time limits. The isolation level is the one that this program is
/// written for, and a commit is durable, whatever the server's defaults are. JIT is off, as compiling takes longer than
/// these queries run. Sequential scans are off because plans are cached: one made while a table was small must not scan
/// it when it has grown, and every hot query has an index.
const POSTGRES_SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
    SET enable_seqscan = off; SET client_min_messages = warning; SET jit = off;";

/// The time limits of requests on PostgreSQL.
const POSTGRES_LIMITS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s';";

/// A pooled connection, and whether it is of use.
pub(super) struct Pooled {
    pub(super) connection: SqlConnection,
    generation: u64,
    broken: bool,
}

impl Pooled {
    /// Whether the connection is of no use after this error: it is lost, or leads to a standby.
    pub(super) fn is_dead(&mut self, error: &StorageError) -> bool {
        if matches!(error, StorageError::Taken { .. }) {
            return false;
        }
        error.is_read_only() || self.connection.is_broken() || self.connection.ping().is_err()
    }
}

/// Opens connections for a pool.
pub(super) struct ConnectionOpener {
    url: DatabaseUrl,
    generation: Arc<AtomicU64>,
}

impl r2d2::ManageConnection for ConnectionOpener {
    type Connection = Pooled;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        // Read before connecting: a connection that was begun before a failover counts as old.
        let generation = self.generation.load(Ordering::Acquire);
        Ok(Pooled {
            connection: open(&self.url, POSTGRES_LIMITS)?,
            generation,
            broken: false,
        })
    }

    fn is_valid(&self, pooled: &mut Pooled) -> Result<(), Self::Error> {
        pooled.connection.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        pooled.broken || pooled.connection.is_broken()
    }
}

/// A pool of connections; clones share it.
#[derive(Clone)]
pub(super) struct Pool {
    connections: r2d2::Pool<ConnectionOpener>,
    /// Grows when the connections so far turn out to be of no use.
    generation: Arc<AtomicU64>,
}

impl Pool {
    /// Opens a pool.
    pub(super) fn open(url: &DatabaseUrl) -> Result<Self, StorageError> {
        Self::build(url, Arc::default())
    }

    /// Opens another pool of connections to the same database. What one finds out about the database, both obey.
    pub(super) fn beside(&self, url: &DatabaseUrl) -> Result<Self, StorageError> {
        Self::build(url, Arc::clone(&self.generation))
    }

    fn build(url: &DatabaseUrl, generation: Arc<AtomicU64>) -> Result<Self, StorageError> {
        // An idle SQLite connection is almost free; an idle PostgreSQL connection is a process on the server.
        let idle = match url {
            DatabaseUrl::Sqlite(_) => POOL_SIZE,
            DatabaseUrl::Postgres(_) => 1,
        };
        let opener = ConnectionOpener {
            url: url.clone(),
            generation: Arc::clone(&generation),
        };
        let connections = r2d2::Pool::builder()
            .max_size(POOL_SIZE)
            .min_idle(Some(idle))
            .test_on_check_out(false)
            .connection_timeout(CHECKOUT)
            .build(opener)
            .map_err(|error| StorageError::Unavailable(error.into()))?;
        Ok(Self {
            connections,
            generation,
        })
    }

    /// Returns a free connection that is not known to be of no use. Waits for one.
    pub(super) fn get(&self) -> Result<r2d2::PooledConnection<ConnectionOpener>, StorageError> {
        loop {
            let mut pooled = self
                .connections
                .get()
                .map_err(|error| StorageError::Unavailable(error.into()))?;
            if pooled.generation == self.generation.load(Ordering::Acquire) {
                return Ok(pooled);
            }
            pooled.broken = true;
        }
    }

    /// Replaces this connection and those that are as old.
    pub(super) fn renew(&self, dead: &mut Pooled) {
        dead.broken = true;
        // Others that were opened with it find the generation grown already.
        let grown = self.generation.compare_exchange(
            dead.generation,
            dead.generation + 1,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if grown.is_ok() {
            log::warn!("a connection to the database was lost; open connections are replaced");
        }
    }

    /// Whether a connection is free.
    pub(super) fn has_idle(&self) -> bool {
        self.connections.state().idle_connections > 0
    }
}

/// Opens one connection with the settings and time limits of requests.
pub(super) fn connect(url: &DatabaseUrl) -> Result<SqlConnection, StorageError> {
    open(url, POSTGRES_LIMITS).map_err(|error| StorageError::Unavailable(error.into()))
}

/// Opens one connection without time limits, for work that takes as long as it takes.
pub(super) fn connect_without_limits(url: &DatabaseUrl) -> Result<SqlConnection, StorageError> {
    open(url, "").map_err(|error| StorageError::Unavailable(error.into()))
}

fn open(url: &DatabaseUrl, limits: &str) -> Result<SqlConnection, diesel::r2d2::Error> {
    use diesel::r2d2::Error;
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut c = SqliteConnection::establish(&path.to_string_lossy()).map_err(Error::ConnectionError)?;
            c.batch_execute(SQLITE_SESSION).map_err(Error::QueryError)?;
            Ok(SqlConnection::Sqlite(c))
        }
        DatabaseUrl::Postgres(text) => {
            let mut c = PgConnection::establish(text).map_err(Error::ConnectionError)?;
            c.batch_execute(&format!("{POSTGRES_SESSION} {limits}"))
                .map_err(Error::QueryError)?;
            Ok(SqlConnection::Postgres(c))
        }
    }
}
