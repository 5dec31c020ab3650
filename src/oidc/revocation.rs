//! The token revocation endpoint (RFC 7009).

use super::Oidc;
use super::client::Client;
use super::error::{ClientFailure, ErrorCode, OidcError};
use super::parameters::Parameters;
use crate::storage::{StorageError, grants, random, scim_tokens, tokens};

impl Oidc {
    /// Answers a revocation request, given its `Authorization` header and its form. Revoking a refresh token also
    /// revokes all tokens of the same login; an unknown token counts as revoked (§2.2).
    pub fn revoke(&self, authorization: Option<&str>, parameters: &[(String, String)]) -> Result<(), ClientFailure> {
        let parameters = Parameters::new(parameters);
        parameters.refuse_repeated()?;
        let client = self.authenticate(authorization, &parameters)?;
        let hash = random::fingerprint(parameters.required("token", "token is missing.")?);
        let now = self.clock.now();
        let (refresh, access) = self.database.read::<_, OidcError>(|connection| {
            Ok((
                tokens::refresh(connection, &hash)?,
                tokens::access(connection, &hash, now)?,
            ))
        })?;
        let is_refresh = refresh.is_some();
        let Some(grant) = refresh.map(|token| token.grant).or(access.map(|token| token.grant)) else {
            return self.revoke_scim_token(client, &hash);
        };
        if grant.client_id != client.client_id {
            return Err(ErrorCode::InvalidGrant
                .because("The token was issued to another client.")
                .into());
        }
        self.database.write::<_, StorageError>(move |connection| {
            if is_refresh {
                grants::revoke(connection, &grant.id, now)?;
            } else {
                tokens::delete_access(connection, &hash)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Revokes a SCIM access token that was issued to this client. Any other is unknown here.
    fn revoke_scim_token(&self, client: &Client, hash: &str) -> Result<(), ClientFailure> {
        if let Some(token) = self.own_scim_token(client, hash)? {
            let now = self.clock.now();
            self.database
                .write::<_, StorageError>(move |connection| Ok(scim_tokens::revoke(connection, &token.id, now)?))?;
        }
        Ok(())
    }
}
