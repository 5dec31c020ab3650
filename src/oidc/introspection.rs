//! The token introspection endpoint (RFC 7662).

use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::{ClientFailure, ErrorCode, OidcError};
use super::parameters::Parameters;
use super::{Oidc, client_credentials};
use crate::domain::Timestamp;
use crate::storage::grants::Grant;
use crate::storage::scim_tokens::{self, ScimToken};
use crate::storage::{random, tokens};

/// The properties of a valid token.
struct Active {
    grant: Grant,
    scope: String,
    expires: Timestamp,
    is_access: bool,
}

impl Oidc {
    /// Answers an introspection request, given its `Authorization` header and its form (§2.1). Every token that is
    /// invalid, unknown or belongs to another client gets the same answer, `{"active": false}` (§2.2, §4).
    pub fn introspect(
        &self,
        authorization: Option<&str>,
        parameters: &[(String, String)],
    ) -> Result<Map<String, Value>, ClientFailure> {
        let parameters = Parameters::new(parameters);
        parameters.refuse_repeated()?;
        let client = self.authenticate(authorization, &parameters)?;
        // A `client_id` alone does not authenticate: anyone could probe tokens (§2.1).
        if client.is_public() {
            return Err(ErrorCode::InvalidClient
                .because("Public clients may not introspect tokens.")
                .into());
        }
        let hash = random::fingerprint(parameters.required("token", "token is missing.")?);
        let mut answer = Map::new();
        if let Some(active) = self.active(client, &hash)? {
            self.describe(&active, &mut answer);
        } else if let Some(token) = self.own_scim_token(client, &hash)? {
            self.describe_scim_token(&token, client, &mut answer);
        } else {
            answer.insert("active".to_owned(), json!(false));
        }
        Ok(answer)
    }

    /// Returns the SCIM access token with this hash, if it is valid and was issued to this client.
    pub(super) fn own_scim_token(&self, client: &Client, hash: &str) -> Result<Option<ScimToken>, OidcError> {
        let now = self.clock.now();
        let found = self
            .database
            .read::<_, OidcError>(|connection| scim_tokens::find(connection, hash))?;
        let is_own = |token: &ScimToken| token.client_id.as_ref() == Some(&client.client_id);
        Ok(found.filter(|token| is_own(token) && token.is_good(now)))
    }

    fn describe_scim_token(&self, token: &ScimToken, client: &Client, answer: &mut Map<String, Value>) {
        for (name, value) in [
            ("active", json!(true)),
            ("scope", json!(client_credentials::scope_of(token.read_only))),
            ("client_id", json!(client.client_id)),
            ("iss", json!(self.issuer)),
            ("iat", json!(token.created.seconds())),
            ("exp", json!(token.expires.seconds())),
            ("token_type", json!("Bearer")),
        ] {
            answer.insert(name.to_owned(), value);
        }
    }

    /// Returns the token with this hash, if it is valid and was issued to this client.
    fn active(&self, client: &Client, hash: &str) -> Result<Option<Active>, OidcError> {
        let now = self.clock.now();
        let (access, refresh) = self.database.read::<_, OidcError>(|connection| {
            Ok((
                tokens::access(connection, hash, now)?,
                tokens::refresh(connection, hash)?,
            ))
        })?;
        let access = access.map(|token| Active {
            grant: token.grant,
            scope: token.scope,
            expires: token.expires,
            is_access: true,
        });
        let refresh = refresh
            .filter(|token| token.used.is_none() && token.expires > now && token.grant.is_live(now))
            .map(|token| Active {
                expires: token.expires.min(token.grant.expires),
                grant: token.grant,
                scope: token.scope,
                is_access: false,
            });
        let Some(found) = access
            .or(refresh)
            .filter(|found| found.grant.client_id == client.client_id)
        else {
            return Ok(None);
        };
        let user = self.user_of(&found.grant, "")?;
        Ok(user.map(|_| found))
    }

    fn describe(&self, active: &Active, answer: &mut Map<String, Value>) {
        for (name, value) in [
            ("active", json!(true)),
            ("scope", json!(active.scope)),
            ("client_id", json!(active.grant.client_id)),
            ("sub", json!(active.grant.user)),
            ("aud", json!(active.grant.client_id)),
            ("iss", json!(self.issuer)),
            ("exp", json!(active.expires.seconds())),
        ] {
            answer.insert(name.to_owned(), value);
        }
        if let Some(at) = active.grant.authenticated_at {
            answer.insert("auth_time".to_owned(), json!(at.seconds()));
        }
        if active.is_access {
            answer.insert("token_type".to_owned(), json!("Bearer"));
        }
    }
}
