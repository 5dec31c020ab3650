//! The userinfo endpoint, which returns claims of the user (OpenID Connect Core §5.3).

use serde_json::{Map, Value, json};

use super::Oidc;
use super::error::{ClientFailure, ErrorCode, OAuthError, OidcError};
use crate::storage::tokens::AccessToken;
use crate::storage::{random, tokens};

const INVALID: OAuthError = ErrorCode::InvalidToken.because("The access token is missing, expired or revoked.");

/// The length of every access token of this server; other values are not looked up.
const LENGTH: usize = 43;

impl Oidc {
    /// Answers a userinfo request, given its `Authorization` header (RFC 6750 §2.1) and the parameters of its form, of which
    /// one may have the token instead (§2.2).
    pub fn userinfo(
        &self,
        authorization: Option<&str>,
        form: &[(String, String)],
    ) -> Result<Map<String, Value>, ClientFailure> {
        let mut sent = form.iter().filter(|(name, _)| name == "access_token");
        let token = match (authorization, sent.next(), sent.next()) {
            (None, Some((_, token)), None) if token.len() == LENGTH => token,
            (Some(header), None, None) => bearer(header).ok_or(INVALID)?,
            (None, None, _) | (None, Some(_), None) => return Err(INVALID.into()),
            (Some(_), Some(_), _) | (_, _, Some(_)) => {
                return Err(ErrorCode::InvalidRequest
                    .because("Send the access token once: in the header or in the form.")
                    .into());
            }
        };
        let hash = random::fingerprint(token);
        let now = self.clock.now();
        let found = self
            .database
            .read::<_, OidcError>(|connection| tokens::access(connection, &hash, now))?;
        let AccessToken { grant, scope, .. } = found.ok_or(INVALID)?;
        let user = self.user_of(&grant, &scope)?.ok_or(INVALID)?;
        if !scope.split(' ').any(|word| word == "openid") {
            return Err(ErrorCode::InsufficientScope
                .because("The access token does not have the scope openid.")
                .into());
        }
        let mut claims = self.claims_of(&user, &scope, &grant.claims.userinfo)?;
        claims.insert("sub".to_owned(), json!(grant.user));
        Ok(claims)
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.len() == LENGTH).then_some(token)
}
