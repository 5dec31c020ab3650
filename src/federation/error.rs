//! Why a step of a login does not go on: it is denied to the person, or it failed here.

use super::jit::denial::Denial;
use crate::directory::DirectoryError;
use crate::domain::ServiceProviderName;
use crate::storage::StorageError;

/// A failure that is not the person's.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Reading or writing our own records failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Concurrent writes of the same account won every retry.
    #[error("too many logins changed the same account at once")]
    Contended,
    /// The application is not configured.
    #[error("the service provider {0} is not configured")]
    NoServiceProvider(ServiceProviderName),
}

/// Why a step of a login leads to no page and to no end.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The person may not go on this way.
    #[error("denied: {}", .0.code())]
    Denied(Denial),
    /// Something failed here.
    #[error(transparent)]
    Failed(#[from] FederationError),
}

impl From<Denial> for LoginError {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<DirectoryError> for LoginError {
    fn from(error: DirectoryError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StorageError> for LoginError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}
