//! Who a SCIM client is: its bearer token, looked up at every request so that a revoked one is dead at once.

use std::collections::HashMap;

use super::converge::Adoption;
use super::error::{Fault, ScimError};
use super::{Caller, Scim};
use crate::domain::{Actor, Principal, ServiceProviderName, StoreName, Timestamp};
use crate::storage::{StorageError, scim_tokens};

/// `last used` is kept to the minute: not every read should cost a write.
const TOUCH_EVERY_MS: i64 = 60_000;

/// What a service provider's SCIM client may do.
#[derive(Clone, Debug)]
pub struct Client {
    /// The store that it works in.
    pub store: StoreName,
    /// Whether requests that only our tolerances understand are refused.
    pub strict: bool,
    /// Whose accounts it may take over when it sends somebody who is here already.
    pub adoption: Option<Adoption>,
}

/// The clients by service provider.
pub type Clients = HashMap<ServiceProviderName, Client>;

impl Scim {
    /// Finds out who sends a request by its `Authorization` header.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Caller, ScimError> {
        let token = bearer(authorization)?;
        let found = self
            .database
            .read::<_, StorageError>(|connection| scim_tokens::find(connection, token))?;
        let now = self.directory.clock().now();
        let token = found
            .filter(|token| token.is_good(now))
            .ok_or_else(|| refused("This token is unknown, expired or revoked."))?;
        let service_provider = token.service_provider;
        let client = self
            .clients
            .get(&service_provider)
            .ok_or_else(|| refused("The service provider of this token is no longer configured."))?;
        if token.last_used.is_none_or(|used| now.0 - used.0 >= TOUCH_EVERY_MS) {
            self.touch(token.id.clone(), now);
        }
        let principal = Principal::Client {
            token: token.id,
            store: client.store.clone(),
        };
        Ok(Caller {
            actor: Actor {
                principal,
                service_provider,
            },
            client: client.clone(),
        })
    }

    /// A note that fails to be written must not fail the request.
    fn touch(&self, id: String, now: Timestamp) {
        let noted = self
            .database
            .write::<_, StorageError>(move |connection| Ok(scim_tokens::touch(connection, &id, now)?));
        if let Err(error) = noted {
            log::warn!("the last use of a token could not be noted: {error}");
        }
    }
}

fn refused(detail: &str) -> ScimError {
    Fault::Unauthorized.because(detail)
}

/// The token of `Bearer TOKEN`, the scheme in any case (RFC 9110 §11.1).
pub(super) fn bearer(authorization: Option<&str>) -> Result<&str, ScimError> {
    let header = authorization.ok_or_else(|| refused("Send the bearer token of a service provider."))?;
    let (scheme, token) = header.trim().split_once(' ').unwrap_or_default();
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= 512 {
        Ok(token)
    } else {
        Err(refused("The Authorization header must be: Bearer TOKEN."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_taken_in_any_case_and_a_bare_word_is_not_a_token() {
        assert_eq!(bearer(Some("bearer abc")).unwrap(), "abc");
        assert_eq!(bearer(Some("Bearer  abc ")).unwrap(), "abc");
        for bad in ["abc", "", "Bearer", "Bearer ", "Basic abc"] {
            assert_eq!(bearer(Some(bad)).unwrap_err().fault, Fault::Unauthorized, "{bad}");
        }
    }
}
