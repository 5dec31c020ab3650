//! Errors of a login step: a denial to the person, or a failure of the server.

use super::jit::denial::Denial;
use crate::directory::DirectoryError;
use crate::domain::{Link, ResourceId, ServiceProviderName};
use crate::storage::StorageError;

/// A failure that the person did not cause.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Reading or writing our own records failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Every retry met a conflict with another write of the account.
    #[error("too many logins changed the same account at once")]
    Contended,
    /// The application is not configured.
    #[error("the service provider {0} is not configured")]
    NoServiceProvider(ServiceProviderName),
}

/// Reason why a login step returns neither a page nor a completed login.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The login is refused, of this person if it is known who it is.
    #[error("denied: {}", .0.code())]
    Denied(Denial, Option<Box<RefusedPerson>>),
    /// The server failed.
    #[error(transparent)]
    Failed(#[from] FederationError),
}

/// The person whose login is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPerson {
    /// The identity that an identity provider asserted.
    pub identity: Option<Link>,
    /// The account.
    pub user: Option<ResourceId>,
}

impl From<Denial> for LoginError {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial, None)
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
