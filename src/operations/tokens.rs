//! Creates, lists and revokes the bearer tokens of SCIM clients.

use std::time::Duration;

use super::{Context, OperationError, Right, configured};
use crate::domain::{Secret, ServiceProviderName, Timestamp};
use crate::storage::StorageError;
use crate::storage::scim_tokens::{self, NewScimToken, ScimToken};

/// A new token. The secret is shown once; only its hash is stored.
pub struct CreatedToken {
    /// The id, which the list shows.
    pub id: String,
    /// The service provider.
    pub service_provider: ServiceProviderName,
    /// When the token stops working.
    pub expires: Timestamp,
    /// The token.
    pub token: Secret,
}

/// Creates a token for the SCIM client of a service provider.
pub fn create(
    context: &Context,
    service_provider: &str,
    lifetime: Duration,
    read_only: bool,
) -> Result<CreatedToken, OperationError> {
    context.administrator.must(Right::ManageTokens)?;
    let known = &context.names.service_providers;
    let name = configured("service provider", known, service_provider)?.clone();
    let (now, owner) = (context.clock.now(), name.clone());
    let expires = now.plus(lifetime);
    let new = NewScimToken {
        service_provider: owner,
        client_id: None,
        created: now,
        expires,
        read_only,
    };
    let (id, token) = context
        .database
        .write::<_, StorageError>(move |connection| Ok(scim_tokens::issue(connection, &new)?))?;
    context.record("scim_token_created", |event| {
        event.service_provider = Some(name.clone());
        event.object = Some(id.clone());
    });
    Ok(CreatedToken {
        id,
        service_provider: name,
        expires,
        token: Secret::new(token),
    })
}

/// The tokens, without their secrets.
pub fn list(context: &Context) -> Result<Vec<ScimToken>, OperationError> {
    context.administrator.must(Right::Read)?;
    Ok(context.database.read::<_, StorageError>(scim_tokens::list)?)
}

/// Revokes a token by its id.
pub fn revoke(context: &Context, id: &str) -> Result<(), OperationError> {
    context.administrator.must(Right::ManageTokens)?;
    let (wanted, now) = (id.to_owned(), context.clock.now());
    let revoked = context
        .database
        .write::<_, StorageError>(move |connection| Ok(scim_tokens::revoke(connection, &wanted, now)?))?;
    if !revoked {
        return Err(OperationError::NotFound(format!(
            "No valid token has the id {id}. See `vestibule token list`."
        )));
    }
    context.record("scim_token_revoked", |event| event.object = Some(id.to_owned()));
    Ok(())
}
