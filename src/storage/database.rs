//! The database: its URL, its pools, and access by [`Database::read`] and [`Database::write`].

use std::fmt;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::r2d2::R2D2Connection;
use diesel::result::Error as DieselError;

use super::connection::SqlConnection;
use super::error::{Retry, StorageError};
use super::index_forms::Unfinished;
use super::pool::{self, Pool};
use super::postgres_transaction;
use super::writer::Writer;

/// The total number of attempts for reads that draw dead connections: each makes the pool open new ones, so that a
/// second one fails only if the database went away again.
const ATTEMPTS: usize = 3;

/// The claim of a server on its database. The operating system ends it with the process.
#[expect(dead_code, reason = "the open file is the claim")]
pub(crate) struct ServerClaim(Option<std::fs::File>);

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
    unfinished: Unfinished,
}

impl Database {
    /// Opens the database. Creates an SQLite file and its folder; runs no migration ([`super::migrate::run`]).
    pub fn open(url: &DatabaseUrl) -> Result<Self, StorageError> {
        if let DatabaseUrl::Sqlite(path) = url {
            create_file(path).map_err(|error| StorageError::Unavailable(error.into()))?;
        }
        let readers = Pool::open(url)?;
        let writes = match url {
            DatabaseUrl::Sqlite(_) => WritePath::Writer(Writer::start(pool::connect(url)?)),
            DatabaseUrl::Postgres(_) => WritePath::Pool(readers.beside(url)?),
        };
        Ok(Self {
            url: Arc::new(url.clone()),
            readers,
            writes,
            unfinished: Unfinished::default(),
        })
    }

    /// Claims an SQLite file for one server, which keeps it by holding on to the value. Two servers would each take its
    /// copy of the state for the truth. `None` if another server has it. PostgreSQL serves any number of them.
    pub(crate) fn claim(url: &DatabaseUrl) -> std::io::Result<Option<ServerClaim>> {
        let DatabaseUrl::Sqlite(path) = url else {
            return Ok(Some(ServerClaim(None)));
        };
        create_file(path)?;
        let mut lock = path.clone().into_os_string();
        lock.push(".lock");
        create_file(Path::new(&lock))?;
        let file = std::fs::File::open(lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(ServerClaim(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The URL of the database.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// The indexes that may not be used yet.
    pub(crate) fn unfinished_indexes(&self) -> &Unfinished {
        &self.unfinished
    }

    /// Runs reads on a pooled connection. Blocks. `work` may run again on another connection if this one is dead.
    pub fn read<T, E: From<StorageError>>(
        &self,
        mut work: impl FnMut(&mut SqlConnection) -> Result<T, DieselError>,
    ) -> Result<T, E> {
        let mut attempt = 1;
        loop {
            let mut pooled = self.readers.get().map_err(E::from)?;
            match work(&mut pooled.connection).map_err(StorageError::from) {
                Ok(value) => return Ok(value),
                Err(error) if pooled.is_dead(&error) => {
                    self.readers.renew(&mut pooled);
                    if attempt == ATTEMPTS {
                        return Err(E::from(StorageError::Unavailable(error.into())));
                    }
                    attempt += 1;
                }
                Err(error) if error.is_transient() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Runs `work` in one durable transaction: on `Ok` everything is committed, otherwise nothing. Blocks. `work` may
    /// run again if the transaction lost a conflict or its connection, but never after it was committed.
    pub fn write<T, E>(&self, work: impl Fn(&mut SqlConnection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + From<DieselError> + Retry + Send + 'static,
    {
        match &self.writes {
            WritePath::Writer(writer) => writer.run(work),
            WritePath::Pool(pool) => postgres_transaction::run(pool, &work),
        }
    }

    /// Whether a read by key needs neither the network nor a wait for a connection.
    pub(crate) fn reads_are_quick(&self) -> bool {
        matches!(*self.url, DatabaseUrl::Sqlite(_)) && self.readers.has_idle()
    }

    /// Whether the database answers.
    pub fn ping(&self) -> Result<(), StorageError> {
        self.read(R2D2Connection::ping)
    }
}

/// Creates the file and its folder if they are not there, for their owner alone: the file holds the hashes of passwords. The
/// files that SQLite puts beside it get the same rights.
fn create_file(path: &Path) -> std::io::Result<()> {
    let mut folders = std::fs::DirBuilder::new();
    folders.recursive(true);
    let mut file = std::fs::OpenOptions::new();
    file.create(true).append(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::DirBuilderExt::mode(&mut folders, 0o700);
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        folders.create(folder)?;
    }
    file.open(path).map(|_| ())
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

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/vestibule.db");
        let database = Database::open(&DatabaseUrl::Sqlite(path.clone())).unwrap();
        database.ping().unwrap();
        let rights = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((rights(path.parent().unwrap()), rights(&path)), (0o700, 0o600));
    }

    #[test]
    fn one_server_has_an_sqlite_file_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("vestibule.db"));
        let claim = Database::claim(&url).unwrap();
        assert!(claim.is_some());
        assert!(Database::claim(&url).unwrap().is_none());
        drop(claim);
        assert!(Database::claim(&url).unwrap().is_some());
    }

    #[test]
    fn a_database_url_never_shows_its_password() {
        let url = DatabaseUrl::parse("postgres://user:hunter2@localhost/d").unwrap();
        assert_eq!(format!("{url:?}"), "postgres://localhost/d");
    }
}
