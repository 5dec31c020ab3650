//! Authenticates SCIM clients by bearer token. Tokens are looked up twice a second, so a revoked one stops working
//! within a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::converge::Adoption;
use super::error::{ScimError, ScimErrorKind};
use super::{Caller, Scim};
use crate::audit;
use crate::domain::{Actor, Principal, SecurityEvent, SecurityEventKind, ServiceProviderName, StoreName, Timestamp};
use crate::storage::scim_tokens::ScimToken;
use crate::storage::{StorageError, random, scim_tokens};

/// `last used` is accurate to the minute, so that not every read costs a write.
const TOUCH_EVERY_MS: i64 = 60_000;
/// The time for which a valid token is accepted without another lookup.
const TRUST: Duration = Duration::from_millis(500);

/// The configuration of a service provider's SCIM client.
#[derive(Clone, Debug)]
pub struct ScimClient {
    /// The only store that it can access, if it is bound to one.
    pub store: Option<StoreName>,
    /// Whether requests that need a tolerance are refused.
    pub strict: bool,
    /// The accounts that it may take over when it sends a user who already has one.
    pub adoption: Option<Adoption>,
    /// The `client_id` that may ask for tokens by `client_credentials`, if it may.
    pub token_client: Option<String>,
}

/// The clients by service provider.
pub type ScimClients = HashMap<ServiceProviderName, ScimClient>;

/// Recently validated tokens by fingerprint. Invalid ones are not kept, so that they cannot fill it.
#[derive(Default)]
pub(super) struct RecentTokens(Mutex<HashMap<String, (Instant, ScimToken)>>);

impl RecentTokens {
    fn get(&self, fingerprint: &str) -> Option<ScimToken> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, token) = tokens.get(fingerprint)?;
        (seen.elapsed() < TRUST).then(|| token.clone())
    }

    /// Keeps a token that was validated at `seen`.
    fn put(&self, fingerprint: String, seen: Instant, token: ScimToken) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, (seen, _)| seen.elapsed() < TRUST);
        tokens.insert(fingerprint, (seen, token));
    }
}

impl Scim {
    /// Records that a token was refused.
    pub(crate) fn record_refusal(&self) {
        let event = SecurityEvent {
            reason: Some("scim_token".to_owned()),
            ..SecurityEvent::new(SecurityEventKind::TokenRefused, self.directory.clock().now())
        };
        audit::record(&self.database, event);
    }

    /// Authenticates the sender of a request by its `Authorization` header.
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

    /// Like `authenticate`, from memory alone; `None` if the token was not validated recently.
    pub(crate) fn recognise(&self, authorization: Option<&str>) -> Option<Caller> {
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
        if token.client_id.is_some() && token.client_id != client.token_client {
            return Err(refused("The client of this token may not ask for tokens any more."));
        }
        Ok(Caller {
            actor: Actor {
                principal: Principal::Client {
                    token: token.id.clone(),
                    store: client.store.clone(),
                },
                service_provider: token.service_provider.clone(),
            },
            client: client.clone(),
            read_only: token.read_only,
        })
    }

    /// Records the last use of a token. A failure is only logged, because it must not fail the request.
    fn touch(&self, id: String, now: Timestamp) {
        let noted = self
            .database
            .write::<_, StorageError>(move |connection| Ok(scim_tokens::touch(connection, &id, now)?));
        if let Err(error) = noted {
            log::warn!("the last use of a token could not be recorded: {error}");
        }
    }
}

fn refused(detail: &str) -> ScimError {
    ScimErrorKind::Unauthorized.because(detail)
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
    fn the_scheme_is_case_insensitive_and_must_be_present() {
        assert_eq!(bearer(Some("bearer abc")).unwrap(), "abc");
        assert_eq!(bearer(Some("Bearer  abc ")).unwrap(), "abc");
        for bad in ["abc", "", "Bearer", "Bearer ", "Basic abc"] {
            assert_eq!(
                bearer(Some(bad)).unwrap_err().fault,
                ScimErrorKind::Unauthorized,
                "{bad}"
            );
        }
    }
}
