//! The database: its URL, its pools, and access by [`Database::read`] and [`Database::write`].

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::R2D2Connection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection as _, PgConnection, SqliteConnection};

use super::connection::SqlConnection;
use super::writer::Writer;

/// The time that a caller waits for a free connection before the database counts as unavailable.
const CHECKOUT: Duration = Duration::from_secs(5);
/// Connections per pool. More than this on two cores makes PostgreSQL slower, not faster (`docs/performance.md`).
const POOL_SIZE: u32 = 8;
/// The total number of attempts for a transaction that lost a conflict with another.
const ATTEMPTS: usize = 3;

/// The database URL: `sqlite:PATH` or `postgres://…`.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file, created on first use.
    Sqlite(PathBuf),
    /// A PostgreSQL connection string.
    Postgres(String),
}

impl DatabaseUrl {
    /// Parses a URL from the configuration.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() || path == ":memory:" {
                Err("name a file, for example sqlite:data/vestibule.db".to_owned())
            } else {
                Ok(Self::Sqlite(PathBuf::from(path)))
            };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Self::postgres(text);
        }
        Err("use sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned())
    }

    /// Rejects a remote server if TLS is not compiled in, since libpq would silently fall back to plain text.
    fn postgres(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|error| error.to_string())?;
        // For a non-Web scheme, an address is parsed as plain text, IPv6 in brackets.
        let host = url.host_str().unwrap_or("localhost").trim_matches(['[', ']']);
        let local = host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        let plain_is_meant = url
            .query_pairs()
            .any(|(key, value)| key == "sslmode" && value == "disable");
        if local || plain_is_meant || cfg!(feature = "pg-tls") {
            Ok(Self::Postgres(text.to_owned()))
        } else {
            Err("this build has no TLS for PostgreSQL: build with --features pg-tls, or set sslmode=disable if you trust the network".to_owned())
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    /// Omits the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(text) => match url::Url::parse(text) {
                Ok(url) => write!(f, "postgres://{}{}", url.host_str().unwrap_or_default(), url.path()),
                Err(_) => f.write_str("postgres:"),
            },
        }
    }
}

/// The reason why the database did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A unique index rejected the row; `index` names it or its columns, as far as the database reports.
    #[error("a row with this key exists already")]
    Taken {
        /// The index's name on PostgreSQL; `table.column, …` on SQLite.
        index: String,
    },
    /// The database cannot be reached, is busy beyond the time limit, or its disk is full.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
    /// An unexpected error.
    #[error("the database rejected a statement")]
    Failed(#[source] DieselError),
}

impl From<DieselError> for StorageError {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                let index = info.constraint_name().unwrap_or_else(|| info.message()).to_owned();
                Self::Taken { index }
            }
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction,
                _,
            )
            | DieselError::BrokenTransactionManager => Self::Unavailable(error.into()),
            DieselError::DatabaseError(DatabaseErrorKind::Unknown, info) if is_shortage(info.message()) => {
                Self::Unavailable(error.into())
            }
            _ => Self::Failed(error),
        }
    }
}

/// Whether a message reports a full disk, a lock timeout or a shutdown, which both databases report only as text.
fn is_shortage(message: &str) -> bool {
    [
        "database is locked",
        "disk is full",
        "disk I/O error",
        "No space left",
        "terminating connection",
        "deadlock detected",
        "server closed the connection",
        "no connection to the server",
    ]
    .iter()
    .any(|words| message.contains(words))
}

impl StorageError {
    /// Whether an immediate retry may succeed: after a lost conflict or on a dead connection.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(cause) if cause.downcast_ref::<DieselError>().is_some_and(|error| match error {
            DieselError::DatabaseError(kind, info) => {
                !matches!(kind, DatabaseErrorKind::Unknown) || info.message().contains("deadlock") || info.message().contains("connection")
            }
            _ => true,
        }))
    }
}

/// A pooled connection, and whether it is broken.
pub(crate) struct Pooled {
    connection: SqlConnection,
    broken: bool,
}

/// Opens connections for a pool.
struct ConnectionOpener(DatabaseUrl);

impl r2d2::ManageConnection for ConnectionOpener {
    type Connection = Pooled;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Pooled, Self::Error> {
        let connection = connect(&self.0)?;
        Ok(Pooled {
            connection,
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

/// Opens one connection and sets it up.
fn connect(url: &DatabaseUrl) -> Result<SqlConnection, diesel::r2d2::Error> {
    use diesel::r2d2::Error;
    match url {
        DatabaseUrl::Sqlite(path) => {
            let mut c = SqliteConnection::establish(&path.to_string_lossy()).map_err(Error::ConnectionError)?;
            c.batch_execute(
                "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                 PRAGMA case_sensitive_like = ON; PRAGMA cache_size = -16000; PRAGMA wal_autocheckpoint = 8000; PRAGMA mmap_size = 268435456; PRAGMA temp_store = MEMORY;",
            )
            .map_err(Error::QueryError)?;
            Ok(SqlConnection::Sqlite(c))
        }
        DatabaseUrl::Postgres(text) => {
            let mut c = PgConnection::establish(text).map_err(Error::ConnectionError)?;
            c.batch_execute(
                // JIT is off, as compiling takes longer than these queries run. Sequential scans are off because plans
                // are cached: one made while a table was small must not scan it when it has grown, and every hot query
                // has an index.
                "SET enable_seqscan = off; SET statement_timeout = '30s'; SET lock_timeout = '10s'; SET client_min_messages = warning; SET jit = off;",
            )
            .map_err(Error::QueryError)?;
            Ok(SqlConnection::Postgres(c))
        }
    }
}

type Pool = r2d2::Pool<ConnectionOpener>;

/// The path of writes: on SQLite through its single writer, on PostgreSQL through a separate pool, so that waiting
/// writers never starve readers.
#[derive(Clone)]
enum WritePath {
    Writer(Writer),
    Pool(Pool),
}

/// A handle to the database; clones share its pools.
#[derive(Clone)]
pub struct Database {
    url: Arc<DatabaseUrl>,
    readers: Pool,
    writes: WritePath,
}

impl Database {
    /// Opens the database. Creates an SQLite file and its folder; runs no migration ([`super::migrate::run`]).
    pub fn open(url: &DatabaseUrl) -> Result<Self, StorageError> {
        if let DatabaseUrl::Sqlite(path) = url {
            create_folder(path)?;
        }
        let readers = pool(url)?;
        let writes = match url {
            DatabaseUrl::Sqlite(_) => {
                let connection = connect(url).map_err(|error| StorageError::Unavailable(error.into()))?;
                WritePath::Writer(Writer::start(connection))
            }
            DatabaseUrl::Postgres(_) => WritePath::Pool(pool(url)?),
        };
        Ok(Self {
            url: Arc::new(url.clone()),
            readers,
            writes,
        })
    }

    /// The URL of the database.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Runs reads on a pooled connection. Blocks. `work` may run again on another connection if this one is dead.
    pub fn read<T, E: From<StorageError>>(
        &self,
        mut work: impl FnMut(&mut SqlConnection) -> Result<T, DieselError>,
    ) -> Result<T, E> {
        let mut attempt = 1;
        loop {
            let mut pooled = self
                .readers
                .get()
                .map_err(|error| E::from(StorageError::Unavailable(error.into())))?;
            match work(&mut pooled.connection).map_err(StorageError::from) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    pooled.broken = matches!(error, StorageError::Unavailable(_));
                    if !error.is_transient() || attempt == ATTEMPTS {
                        return Err(error.into());
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// Runs `work` in one durable transaction: on `Ok` everything is committed, otherwise nothing. Blocks. `work` may
    /// run again if the transaction lost a conflict.
    pub fn write<T, E>(&self, work: impl Fn(&mut SqlConnection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + From<DieselError> + Retry + Send + 'static,
    {
        match &self.writes {
            WritePath::Writer(writer) => writer.run(work),
            WritePath::Pool(pool) => {
                let mut attempt = 1;
                loop {
                    let mut pooled = pool
                        .get()
                        .map_err(|error| E::from(StorageError::Unavailable(error.into())))?;
                    match pooled.connection.write_transaction(&work) {
                        Err(error)
                            if error
                                .storage()
                                .is_some_and(|cause| matches!(cause, StorageError::Unavailable(_))) =>
                        {
                            pooled.broken = pooled.connection.is_broken() || pooled.connection.ping().is_err();
                            if !error.storage().is_some_and(StorageError::is_transient) || attempt == ATTEMPTS {
                                return Err(error);
                            }
                            attempt += 1;
                        }
                        settled => return settled,
                    }
                }
            }
        }
    }

    /// Whether a read by key needs neither the network nor a wait for a connection.
    pub(crate) fn reads_are_quick(&self) -> bool {
        matches!(*self.url, DatabaseUrl::Sqlite(_)) && self.readers.state().idle_connections > 0
    }

    /// Whether the database answers.
    pub fn ping(&self) -> Result<(), StorageError> {
        self.read(R2D2Connection::ping)
    }
}

/// Lets [`Database::write`] find the database's own error inside a caller's error.
pub trait Retry {
    /// Returns the database's error, if this error is one.
    fn storage(&self) -> Option<&StorageError>;
}

impl Retry for StorageError {
    fn storage(&self) -> Option<&StorageError> {
        Some(self)
    }
}

fn pool(url: &DatabaseUrl) -> Result<Pool, StorageError> {
    // An idle SQLite connection is almost free; an idle PostgreSQL connection is a process on the server.
    let idle = match url {
        DatabaseUrl::Sqlite(_) => POOL_SIZE,
        DatabaseUrl::Postgres(_) => 1,
    };
    r2d2::Pool::builder()
        .max_size(POOL_SIZE)
        .min_idle(Some(idle))
        .test_on_check_out(false)
        .connection_timeout(CHECKOUT)
        .build(ConnectionOpener(url.clone()))
        .map_err(|error| StorageError::Unavailable(error.into()))
}

fn create_folder(file: &Path) -> Result<(), StorageError> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|error| StorageError::Unavailable(error.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_names_a_file_or_a_server() {
        assert_eq!(
            DatabaseUrl::parse("sqlite:a/b.db"),
            Ok(DatabaseUrl::Sqlite("a/b.db".into()))
        );
        for good in [
            "postgres://u:p@127.0.0.1:5432/d",
            "postgresql://localhost/d",
            "postgres://u@[::1]/d",
            "postgres://db.example/d?sslmode=disable",
        ] {
            assert_eq!(
                DatabaseUrl::parse(good),
                Ok(DatabaseUrl::Postgres(good.to_owned())),
                "{good}"
            );
        }
        for bad in ["", "sqlite:", "sqlite::memory:", "mysql://x", "postgres://[::"] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[cfg(not(feature = "pg-tls"))]
    #[test]
    fn without_tls_a_server_elsewhere_is_refused() {
        assert!(DatabaseUrl::parse("postgres://u:p@db.example.com/d").is_err());
        assert!(DatabaseUrl::parse("postgres://u:p@10.0.0.7/d?sslmode=prefer").is_err());
    }

    #[test]
    fn a_database_url_never_shows_its_password() {
        let url = DatabaseUrl::parse("postgres://user:hunter2@localhost/d").unwrap();
        assert_eq!(format!("{url:?}"), "postgres://localhost/d");
    }
}
