//! Why the account page changes nothing.

use crate::directory::DirectoryError;
use crate::domain::password::PasswordDefect;
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::storage::StorageError;

/// Reason why an account is not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The person must correct something, or sign in again.
    #[error("{0:?}")]
    Refused(AccountProblem),
    /// The identity provider may not be used.
    #[error("denied: {}", .0.code())]
    Denied(Denial),
    /// Something failed here.
    #[error(transparent)]
    Failed(#[from] FederationError),
}

/// A problem that the person must correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountProblem {
    /// The last login is too old, or lacks the second factor.
    NotFresh,
    /// The account has changed meanwhile, or no longer exists.
    Outdated,
    /// It is the last way to sign in.
    LastWayIn,
    /// The old password is wrong.
    WrongPassword,
    /// The new password does not meet the policy.
    Password(PasswordDefect),
    /// The two new passwords differ.
    PasswordsDiffer,
    /// A value is not valid.
    Unfit,
    /// The schema or the userstore does not allow the change.
    Impossible,
    /// The administrator does not allow people this change.
    NotAllowed,
}

impl From<Denial> for AccountError {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl From<AccountProblem> for AccountError {
    fn from(complaint: AccountProblem) -> Self {
        Self::Refused(complaint)
    }
}

impl From<DirectoryError> for AccountError {
    fn from(error: DirectoryError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StorageError> for AccountError {
    fn from(error: StorageError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<LoginError> for AccountError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Denied(denial, _) => Self::Denied(denial),
            LoginError::Failed(error) => Self::Failed(error),
        }
    }
}
