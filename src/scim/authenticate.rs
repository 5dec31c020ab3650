//! Who a SCIM client is: its bearer token, looked up twice a second, so that a revoked one is dead within a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::converge::Adoption;
use super::error::{Fault, ScimError};
use super::{Caller, Scim};
use crate::domain::{Actor, Principal, ServiceProviderName, StoreName, Timestamp};
use crate::storage::scim_tokens::ScimToken;
use crate::storage::{StorageError, random, scim_tokens};

/// `last used` is kept to the minute: not every read should cost a write.
const TOUCH_EVERY_MS: i64 = 60_000;
/// How long a good token stays good without another look.
const TRUST: Duration = Duration::from_millis(500);

/// What a service provider's SCIM client may do.
#[derive(Clone, Debug)]
pub struct Client {
    /// The store that it works in, if it is one alone: nothing else exists for it.
    pub store: Option<StoreName>,
    /// Whether requests that only our tolerances understand are refused.
    pub strict: bool,
    /// Whose accounts it may take over when it sends somebody who is here already.
    pub adoption: Option<Adoption>,
}

/// The clients by service provider.
pub type Clients = HashMap<ServiceProviderName, Client>;

/// Tokens that were good a moment ago, by fingerprint. Bad ones are not kept, so nobody can fill it.
#[derive(Default)]
pub(super) struct RecentTokens(Mutex<HashMap<String, (Instant, ScimToken)>>);

impl RecentTokens {
    fn get(&self, fingerprint: &str) -> Option<ScimToken> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, token) = tokens.get(fingerprint)?;
        (seen.elapsed() < TRUST).then(|| token.clone())
    }

    /// Keeps a token as it was `seen` at the latest.
    fn put(&self, fingerprint: String, seen: Instant, token: ScimToken) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (seen, _)| seen.elapsed() < TRUST);
        tokens.insert(fingerprint, (seen, token));
    }
}

impl Scim {
    /// Finds out who sends a request by its `Authorization` header.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Caller, ScimError> {
        let fingerprint = random::fingerprint(bearer(authorization)?);
        let (seen, now) = (Instant::now(), self.directory.clock().now());
        let found = self
            .database
            .read::<_, StorageError>(|connection| scim_tokens::find(connection, &fingerprint))?;
        let mut token = found
            .filter(|token| token.is_good(now))
            .ok_or_else(|| refused("This token is unknown, expired or revoked."))?;
        let caller = self.caller(&token)?;
        if token.last_used.is_none_or(|used| now.0 - used.0 >= TOUCH_EVERY_MS) {
            self.touch(token.id.clone(), now);
            token.last_used = Some(now);
        }
        self.recent_tokens.put(fingerprint, seen, token);
        Ok(caller)
    }

    /// The same from memory alone: none if the token was not seen good a moment ago.
    pub fn recognise(&self, authorization: Option<&str>) -> Option<Caller> {
        let token = self
            .recent_tokens
            .get(&random::fingerprint(bearer(authorization).ok()?))?;
        let is_good = token.is_good(self.directory.clock().now());
        is_good.then(|| self.caller(&token).ok()).flatten()
    }

    fn caller(&self, token: &ScimToken) -> Result<Caller, ScimError> {
        let client = self
            .clients
            .get(&token.service_provider)
            .ok_or_else(|| refused("The service provider of this token is no longer configured."))?;
        Ok(Caller {
            actor: Actor {
                principal: Principal::Client {
                    token: token.id.clone(),
                    store: client.store.clone(),
                },
                service_provider: token.service_provider.clone(),
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
