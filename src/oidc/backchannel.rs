//! Notifies service providers of ended sessions (OpenID Connect Back-Channel Logout 1.0).
//!
//! The transaction that ends a session stores the notifications to send; several processes share the sending.

use std::time::{Duration, Instant};

use http::header;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::endpoint::{CallError, Endpoint};
use super::keys::KeysError;
use super::{Oidc, OidcError};
use crate::domain::Timestamp;
use crate::domain::backoff::Backoff;
use crate::jose::jws;
use crate::storage::logouts::{self, Logout};
use crate::storage::{StorageError, random, sweep};

/// The lifetime of a logout token (§2.4).
const LIFETIME: Duration = Duration::from_mins(2);

/// How long a process keeps a notification that it sends from the others. No request takes that long.
const LEASE: Duration = Duration::from_mins(1);

/// The waits after failed attempts.
const RETRIES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_hours(1));

/// After this time, a notification is discarded.
const GIVEN_UP: Duration = Duration::from_hours(24);

/// How long one call sends notifications before it returns.
const SHIFT: Duration = Duration::from_secs(5);

/// The event in a logout token (§2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl Oidc {
    /// Returns whether any client has a back-channel logout URI.
    pub(crate) fn has_backchannel_logout(&self) -> bool {
        self.clients.any(|client| client.backchannel_logout.is_some())
    }

    /// Sends the logout notifications that are due, for a few seconds at most.
    pub(crate) fn send_logouts(&self) -> Result<(), OidcError> {
        let began = Instant::now();
        while began.elapsed() < SHIFT {
            let now = self.clock.now();
            if !self
                .database
                .read::<_, OidcError>(|connection| logouts::is_due(connection, now))?
            {
                break;
            }
            let claimed = self
                .database
                .write::<_, StorageError>(move |connection| Ok(logouts::claim(connection, now, now.plus(LEASE))?))?;
            let Some(logout) = claimed else { break };
            self.send_logout(logout)?;
        }
        Ok(())
    }

    /// Discards notifications that have been due for too long, and returns their number.
    pub(super) fn expire_logouts(&self) -> Result<usize, OidcError> {
        let since = Timestamp(self.clock.now().0 - i64::try_from(GIVEN_UP.as_millis()).unwrap_or(i64::MAX));
        let count = sweep::in_steps(&self.database, move |connection, limit| {
            logouts::delete_older(connection, since, limit)
        })?;
        if count > 0 {
            log::warn!("gave up on {count} logout notifications that were not accepted within a day");
        }
        Ok(count)
    }

    fn send_logout(&self, logout: Logout) -> Result<(), OidcError> {
        let client = self.clients.get(&logout.client_id);
        let sent = match client.and_then(|client| Some((client, client.backchannel_logout.as_ref()?))) {
            Some((client, endpoint)) => {
                let token = self.logout_token(client, &logout)?;
                self.send(endpoint, &token)
                    .inspect_err(|error| log::warn!("could not notify {} of a logout: {error}", client.name))
            }
            // The configuration has changed: the client is gone or no longer has a back-channel logout URI.
            None => Ok(()),
        };
        let now = self.clock.now();
        self.database.write::<_, StorageError>(move |connection| {
            match sent {
                Ok(()) => logouts::delete(connection, &logout.id)?,
                Err(_) => logouts::postpone(
                    connection,
                    &logout,
                    now,
                    now.plus(RETRIES.wait(u32::try_from(logout.attempts).unwrap_or_default())),
                )?,
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Posts a logout token. Status 200 or 204 means that it was accepted (§2.8).
    fn send(&self, endpoint: &Endpoint, token: &str) -> Result<(), CallError> {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("logout_token", token)
            .finish();
        let request = http::Request::post(&endpoint.url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.into_bytes())?;
        let status = self.http.send(request, endpoint.allow_private_network)?.status();
        match status.as_u16() {
            200 | 204 => Ok(()),
            other => Err(format!("the answer has status {other}").into()),
        }
    }

    /// Creates a logout token, a new one for each attempt: the service provider may have accepted the last one although
    /// its answer was lost, and would refuse it as a replay.
    fn logout_token(&self, client: &Client, logout: &Logout) -> Result<String, OidcError> {
        let now = self.clock.now();
        let mut claims = Map::new();
        for (name, value) in [
            ("iss", json!(self.issuer)),
            ("sub", json!(logout.user)),
            ("aud", json!(client.client_id)),
            ("iat", json!(now.seconds())),
            ("exp", json!(now.plus(LIFETIME).seconds())),
            ("jti", json!(random::token())),
            ("sid", json!(logout.sid)),
            ("events", json!({ (EVENT): Value::Object(Map::new()) })),
        ] {
            claims.insert(name.to_owned(), value);
        }
        let signer = self.keys.signer(client.id_token_alg)?;
        Ok(jws::write(&signer, jws::LOGOUT_TOKEN, &claims).map_err(KeysError::from)?)
    }
}
