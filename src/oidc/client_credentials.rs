//! The client credentials grant (RFC 6749 §4.4), which issues SCIM access tokens to clients.
//!
//! The token belongs to the client's service provider, has the same rights as one that an administrator creates, and is
//! valid for minutes.

use super::Oidc;
use super::client::Client;
use super::error::{ClientFailure, ErrorCode};
use super::parameters::Parameters;
use super::token::TokenResponse;
use crate::storage::StorageError;
use crate::storage::scim_tokens::{self, NewScimToken};

/// The only scope of such a token.
pub(super) const SCOPE: &str = "scim";

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
        if parameters.get("scope").is_some_and(|scope| scope != SCOPE) {
            return Err(ErrorCode::InvalidScope.because("scope must be scim.").into());
        }
        let now = self.clock.now();
        let issue = NewScimToken {
            service_provider: client.name.clone(),
            client_id: Some(client.client_id.clone()),
            created: now,
            expires: now.plus(life),
        };
        let (_, token) = self
            .database
            .write::<_, StorageError>(move |connection| Ok(scim_tokens::issue(connection, &issue)?))?;
        Ok(TokenResponse {
            access_token: token,
            token_type: "Bearer",
            expires_in: i64::try_from(life.as_secs()).unwrap_or(i64::MAX),
            refresh_token: None,
            scope: SCOPE.to_owned(),
            id_token: None,
        })
    }
}
