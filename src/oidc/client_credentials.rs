//! The client credentials grant (RFC 6749 §4.4), which issues SCIM access tokens to clients.
//!
//! The token belongs to the client's service provider, has the same rights as one that an administrator creates, and is
//! valid for minutes.

use super::Oidc;
use super::client::Client;
use super::error::{ClientFailure, ErrorCode};
use super::parameters::Parameters;
use super::token::TokenResponse;
use crate::audit;
use crate::domain::{SecurityEvent, SecurityEventKind};
use crate::storage::StorageError;
use crate::storage::scim_tokens::{self, NewScimToken};

/// The scope of a token that may read and write.
const SCOPE: &str = "scim";
/// The scope of a token that may read only.
const READ_ONLY: &str = "scim:read";

/// The scopes of this grant, for the discovery document.
pub(super) const SCOPES: [&str; 2] = [SCOPE, READ_ONLY];

/// Returns the scope of a token.
pub(super) fn scope_of(read_only: bool) -> &'static str {
    if read_only { READ_ONLY } else { SCOPE }
}

impl Oidc {
    pub(super) fn client_credentials(
        &self,
        client: &Client,
        parameters: &Parameters<'_>,
    ) -> Result<TokenResponse, ClientFailure> {
        let life = client
            .scim_tokens
            .filter(|_| !client.is_public())
            .ok_or(ErrorCode::UnauthorizedClient.because("The client is not configured for client_credentials."))?;
        let read_only = match parameters.get("scope") {
            None | Some(SCOPE) => false,
            Some(READ_ONLY) => true,
            Some(_) => {
                return Err(ErrorCode::InvalidScope
                    .because("scope must be scim or scim:read.")
                    .into());
            }
        };
        let now = self.clock.now();
        let issue = NewScimToken {
            service_provider: client.name.clone(),
            client_id: Some(client.client_id.clone()),
            created: now,
            expires: now.plus(life),
            read_only,
        };
        let (id, token) = self
            .database
            .write::<_, StorageError>(move |connection| Ok(scim_tokens::issue(connection, &issue)?))?;
        let event = SecurityEvent {
            service_provider: Some(client.name.clone()),
            reason: Some(scope_of(read_only).to_owned()),
            object: Some(id),
            ..SecurityEvent::new(SecurityEventKind::TokenIssued, now)
        };
        audit::record(&self.database, event);
        Ok(TokenResponse {
            access_token: token,
            token_type: "Bearer",
            expires_in: i64::try_from(life.as_secs()).unwrap_or(i64::MAX),
            refresh_token: None,
            scope: scope_of(read_only).to_owned(),
            id_token: None,
        })
    }
}
