//! `/Me` (RFC 7644 §3.11): the user of the access token.

use super::{Reply, RequestOptions, Scim, ScimError, ScimErrorKind, authenticate::bearer};
use crate::domain::{Document, Kind, Resource};
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
        let counts = (self.grants)(&grant).map_err(|error| {
            log::error!("whether a token still counts is not known: {error}");
            ScimErrorKind::Unavailable.because("The server cannot check this token now. Try again later.")
        })?;
        let resource_type = self.resource_type(&Kind::USER)?;
        let projection = terms.parameters.projection(resource_type);
        let user = self
            .directory
            .get(&Kind::USER, &grant.user, projection.relations())?
            .filter(|user| user.store == grant.store && user.is_active())
            .filter(|_| counts)
            .ok_or_else(|| {
                ScimErrorKind::Unauthorized.because("The user of this token no longer exists or is inactive.")
            })?;
        let user = within_scope(user, &scope);
        let status = if terms.conditions.already_has(user.version) {
            304
        } else {
            200
        };
        Ok(self.answer(status, &user, resource_type, &projection))
    }
}

/// The attributes that each scope shows, as the claims of an ID token do (OpenID Connect Core §5.4).
const SHOWN: [(&str, &[&str]); 6] = [
    ("openid", &["schemas", "id", "meta", "active"]),
    (
        "profile",
        &[
            "userName",
            "name",
            "displayName",
            "nickName",
            "profileUrl",
            "photos",
            "locale",
            "timezone",
            "preferredLanguage",
        ],
    ),
    ("email", &["emails"]),
    ("phone", &["phoneNumbers"]),
    ("address", &["addresses"]),
    ("groups", &["groups"]),
];

/// Returns the user with the attributes that the scopes of a token show.
fn within_scope(user: Resource, scope: &str) -> Resource {
    let scopes = SHOWN
        .iter()
        .filter(|(name, _)| scope.split(' ').any(|word| word == *name));
    let shown: Vec<&str> = scopes.flat_map(|(_, attributes)| *attributes).copied().collect();
    let mut attributes = user.document.attributes();
    attributes.retain(|name, _| shown.contains(&name.as_str()));
    let groups = if shown.contains(&"groups") {
        user.groups
    } else {
        Vec::new()
    };
    Resource {
        document: Document::new(&attributes),
        groups,
        ..user
    }
}
