//! Userstores that are LDAP directories.

use super::{Context, OperationError, Right};
use crate::directory::DirectoryError;
use crate::domain::StoreName;
use crate::userstore::StoreError;

/// Accepts the current content of a directory, including any number of deletions.
pub fn accept(context: &Context, store: &StoreName) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageUserstores)?;
    let unknown = || OperationError::Invalid(format!("{store} is not an LDAP userstore of the configuration."));
    if !context.directory.store_names().any(|known| known == store) {
        return Err(unknown());
    }
    context.directory.accept(store).map_err(|error| match error {
        DirectoryError::Store(StoreError::Unsupported(_)) => unknown(),
        DirectoryError::Store(StoreError::Unavailable(cause)) => {
            OperationError::Unavailable(format!("The userstore {store} does not answer: {cause}."))
        }
        error => error.into(),
    })?;
    context.record("userstore_accepted", |event| event.object = Some(store.to_string()));
    Ok(())
}
