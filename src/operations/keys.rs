//! The keys that sign ID tokens.

use super::{Context, OperationError, Right};
use crate::oidc::Oidc;

/// Creates new signing keys. They are published at once, and sign when every client has had time to fetch them.
pub fn rotate(context: &Context, oidc: &Oidc) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageKeys)?;
    oidc.rotate_keys()?;
    log::info!("{} rotated the signing keys", context.administrator.name());
    Ok(())
}
