//! The removal of identity providers, with the accounts and links that came from them.

use std::sync::Arc;

use super::{Context, OperationError, Right};
use crate::domain::IdentityProviderName;
use crate::federation::removal::{Affected, ProviderRemover};
use crate::storage::removals::Removal;

/// Reports every account and link that a removal would affect. Nothing is changed.
pub fn preview(
    context: &Context,
    provider: &IdentityProviderName,
    tell: impl FnMut(Affected),
) -> Result<(), OperationError> {
    context.administrator.must(Right::Read)?;
    known(context, provider)?;
    Ok(remover(context).preview(provider, tell)?)
}

/// Begins a removal, or continues one that was interrupted. From now on logins through the provider are refused.
pub fn begin(context: &Context, provider: &IdentityProviderName, deletes: bool) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageProviders)?;
    known(context, provider)?;
    remover(context).begin(provider, deletes)?;
    context.record("provider_removed", |event| {
        event.identity_provider = Some(provider.clone());
    });
    Ok(())
}

/// Carries out the next step of a removal, unless another process does. Returns its progress; none if it was restored.
pub fn step(context: &Context, provider: &IdentityProviderName) -> Result<Option<Removal>, OperationError> {
    context.administrator.must(Right::ManageProviders)?;
    Ok(remover(context).step(provider)?)
}

/// The removals, with their progress.
pub fn list(context: &Context) -> Result<Vec<Removal>, OperationError> {
    context.administrator.must(Right::Read)?;
    Ok(remover(context).all()?)
}

/// Allows logins through a removed identity provider again. Accounts stay as they are.
pub fn restore(context: &Context, provider: &IdentityProviderName) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageProviders)?;
    if !remover(context).restore(provider)? {
        return Err(OperationError::NotFound(format!(
            "The identity provider {provider} has not been removed."
        )));
    }
    context.record("provider_restored", |event| {
        event.identity_provider = Some(provider.clone());
    });
    Ok(())
}

/// Fails if a provider is neither configured nor has links or a removal, which is a misspelled name.
fn known(context: &Context, provider: &IdentityProviderName) -> Result<(), OperationError> {
    let remover = remover(context);
    let mut configured = context.names.identity_providers.iter();
    let mut removals = remover.all()?.into_iter();
    if configured.any(|(name, _)| name == provider) || removals.any(|removal| removal.identity_provider == *provider) {
        return Ok(());
    }
    let mut is_linked = false;
    remover.preview(provider, |_| is_linked = true)?;
    if is_linked {
        return Ok(());
    }
    let names = context.names.identity_providers.iter();
    Err(OperationError::NotConfigured {
        what: "identity provider",
        name: provider.to_string(),
        known: names.map(|(name, _)| name.to_string()).collect(),
    })
}

fn remover(context: &Context) -> ProviderRemover {
    ProviderRemover::new(Arc::clone(&context.directory), context.database.clone())
}
