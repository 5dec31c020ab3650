//! Why an operation was not carried out.

use super::rights::Right;
use crate::directory::DirectoryError;
use crate::federation::FederationError;
use crate::storage::StorageError;

/// Why an operation was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The administrator lacks a right.
    #[error("{administrator} may not {right}")]
    Forbidden {
        /// The administrator.
        administrator: String,
        /// The right.
        right: Right,
    },
    /// The configuration does not have the name.
    #[error("No {what} is called {name}: {}.", listed(.known))]
    NotConfigured {
        /// The kind of object, such as `target`.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A value is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// The object does not exist, or is not in the state that the operation needs.
    #[error("{0}")]
    NotFound(String),
    /// Something that the operation needs does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The change was refused, or the userstore does not answer.
    #[error("{0}.")]
    Directory(#[from] DirectoryError),
    /// The database does not answer.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A removal failed.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The signing keys cannot be rotated.
    #[error(transparent)]
    Keys(#[from] crate::oidc::OidcError),
}

impl OperationError {
    /// Whether the request itself is wrong, so that it cannot succeed by trying again.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::NotConfigured { .. } | Self::Invalid(_))
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "none is configured".to_owned()
    } else {
        format!("there is {}", known.join(", "))
    }
}
