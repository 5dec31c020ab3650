//! Counts of the deviations from the standard in the requests of SCIM clients.

use super::{Context, OperationError, Right};
use crate::domain::ServiceProviderName;
use crate::storage::StorageError;
use crate::storage::dialects::{self, Dialect};

/// The counts of all clients, or of one service provider's.
pub fn list(context: &Context, service_provider: Option<&str>) -> Result<Vec<Dialect>, OperationError> {
    context.administrator.must(Right::Read)?;
    let name = service_provider.map(|name| known(context, name)).transpose()?;
    let mut counts = context.database.read::<_, StorageError>(dialects::all)?;
    counts.retain(|count| name.is_none_or(|name| count.service_provider == *name));
    Ok(counts)
}

/// Resets the counts of a service provider, and returns how many there were.
pub fn forget(context: &Context, service_provider: &str) -> Result<usize, OperationError> {
    context.administrator.must(Right::ManageTokens)?;
    let name = known(context, service_provider)?.clone();
    let owner = name.clone();
    let count = context
        .database
        .write::<_, StorageError>(move |connection| Ok(dialects::forget(connection, &owner)?))?;
    context.record("dialects_forgotten", |event| event.service_provider = Some(name));
    Ok(count)
}

fn known<'a>(context: &'a Context, name: &str) -> Result<&'a ServiceProviderName, OperationError> {
    let mut known = context.names.service_providers.iter();
    known.find(|known| known.as_str() == name).ok_or_else(|| {
        OperationError::Invalid(format!(
            "No service provider is called {name}. See [[service_providers]] in the configuration."
        ))
    })
}
