//! The keys that sign ID tokens.

use super::{Context, OperationError, Right};
use crate::oidc::Oidc;

/// Replaces the signing keys at once. What the old ones signed is worth nothing from now on.
pub fn replace(context: &Context, oidc: &Oidc) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageKeys)?;
    oidc.replace_keys()?;
    context.record("keys_replaced", |_| {});
    Ok(())
}

/// Creates new signing keys. They are published at once, and sign when every client has had time to fetch them.
pub fn rotate(context: &Context, oidc: &Oidc) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageKeys)?;
    oidc.rotate_keys()?;
    context.record("keys_rotated", |_| {});
    Ok(())
}
