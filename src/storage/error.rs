//! The reasons why the database did not carry out a request.

use std::error::Error as StdError;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

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
    /// The database rejects the statement or its values. The same request will fail again.
    #[error("the database rejected a statement: {0}")]
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

/// Whether a message reports a full disk, a timeout, a shutdown or a lost connection, which both databases report only
/// as text.
fn is_shortage(message: &str) -> bool {
    [
        "database is locked",
        "database table is locked",
        "disk is full",
        "disk I/O error",
        "unable to open database file",
        "readonly database",
        "No space left",
        "could not extend file",
        "out of memory",
        "out of shared memory",
        "deadlock detected",
        "lock timeout",
        "statement timeout",
        "terminating connection",
        "server closed the connection",
        "connection not open",
        "no connection to the server",
        "could not receive data",
        "could not send data",
        "SSL connection has been closed",
        "SSL SYSCALL error",
        "the database system is",
        "remaining connection slots",
        "too many clients",
    ]
    .iter()
    .any(|words| message.contains(words))
}

impl StorageError {
    /// Whether the connection is useless although it answers: its server has become a standby.
    pub(super) fn is_read_only(&self) -> bool {
        let of_standby = |error: &DieselError| {
            matches!(
                error,
                DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
            )
        };
        matches!(self, Self::Unavailable(cause) if cause.downcast_ref::<DieselError>().is_some_and(of_standby))
    }

    /// Whether a retry may succeed soon: after a lost conflict or on a dead connection.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(cause) if cause.downcast_ref::<DieselError>().is_some_and(|error| match error {
            DieselError::DatabaseError(kind, info) => {
                !matches!(kind, DatabaseErrorKind::Unknown)
                    || ["deadlock", "connection", "receive data", "send data"].iter().any(|word| info.message().contains(word))
            }
            _ => true,
        }))
    }
}

/// Lets [`super::Database::write`] find the database's own error inside a caller's error.
pub trait Retry {
    /// Returns the database's error, if this error is one.
    fn storage(&self) -> Option<&StorageError>;
}

impl Retry for StorageError {
    fn storage(&self) -> Option<&StorageError> {
        Some(self)
    }
}
