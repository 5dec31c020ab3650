//! `/Me` (RFC 7644 §3.11): the user of the access token.

use super::{Reply, RequestOptions, Scim, ScimError, ScimErrorKind, authenticate::bearer};
use crate::domain::Kind;
use crate::storage::tokens::AccessToken;
use crate::storage::{StorageError, random, scim_tokens, tokens};

impl Scim {
    /// `GET /Me`: the user of an access token with the scope `openid`, at the user's own location.
    pub fn me(&self, authorization: Option<&str>, terms: &RequestOptions) -> Result<Reply, ScimError> {
        let fingerprint = random::fingerprint(bearer(authorization)?);
        let now = self.directory.clock().now();
        let (person, client) = self.database.read::<_, StorageError>(|connection| {
            let person = tokens::access(connection, &fingerprint, now)?;
            let client = scim_tokens::find(connection, &fingerprint)?.filter(|token| token.is_good(now));
            Ok((person, client))
        })?;
        let Some(AccessToken { grant, scope, .. }) = person else {
            return Err(if client.is_some() {
                ScimErrorKind::NotFound
                    .because("This token belongs to an application and not to a person, so there is no Me.")
            } else {
                ScimErrorKind::Unauthorized.because("This token is unknown, expired or revoked.")
            });
        };
        if !scope.split(' ').any(|word| word == "openid") {
            return Err(ScimErrorKind::Forbidden.because("The access token needs the scope openid."));
        }
        let resource_type = self.resource_type(&Kind::USER)?;
        let projection = terms.parameters.projection(resource_type);
        let user = self
            .directory
            .get(&Kind::USER, &grant.user, projection.relations())?
            .filter(|user| user.store == grant.store && user.is_active())
            .ok_or_else(|| {
                ScimErrorKind::Unauthorized.because("The user of this token no longer exists or is inactive.")
            })?;
        let status = if terms.conditions.already_has(user.version) {
            304
        } else {
            200
        };
        Ok(self.answer(status, &user, resource_type, &projection))
    }
}
