//! Client authentication with a signed JWT (RFC 7523 §2.2, §3).
//!
//! OpenID Connect Core §9 calls it `private_key_jwt`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Oidc;
use super::client::Client;
use super::client_authentication::REFUSED;
use super::error::ClientFailure;
use super::parameters::Parameters;
use crate::domain::Timestamp;
use crate::jose::ALGORITHMS;
use crate::jose::jws::Compact;
use crate::storage::{StorageError, client_assertions, random};

/// The only supported `client_assertion_type`.
const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The furthest that an assertion's `exp` may be in the future, and so how long its use is remembered.
const LONGEST: Duration = Duration::from_mins(10);

/// How far the client's clock may be ahead of this server's.
const SKEW: Duration = Duration::from_mins(1);

/// The longest accepted `jti`, in bytes.
const LONGEST_JTI: usize = 255;

impl Oidc {
    /// Returns the client that signed the assertion of this request. It must be configured with keys, and an assertion
    /// is valid only once.
    pub(super) fn by_assertion(&self, parameters: &Parameters<'_>) -> Result<&Client, ClientFailure> {
        let assertion = parameters
            .get("client_assertion")
            .filter(|_| parameters.get("client_assertion_type") == Some(TYPE))
            .and_then(Compact::read)
            .ok_or(REFUSED)?;
        let client = self
            .asserted(&assertion.claims)
            .filter(|client| {
                parameters
                    .get("client_id")
                    .is_none_or(|named| named == client.client_id)
            })
            .ok_or(REFUSED)?;
        if !self.has_signed(client, &assertion) {
            return Err(REFUSED.into());
        }
        let expires = self.expiry(&assertion.claims).ok_or(REFUSED)?;
        let jti = assertion.claims.get("jti").and_then(Value::as_str);
        let jti = jti
            .filter(|jti| !jti.is_empty() && jti.len() <= LONGEST_JTI)
            .ok_or(REFUSED)?;
        let jti_hash = random::fingerprint(&format!("{} {jti}", random::fingerprint(&client.client_id)));
        let taken = self
            .database
            .write::<_, StorageError>(move |connection| Ok(client_assertions::take(connection, &jti_hash, expires)?))?;
        if taken { Ok(client) } else { Err(REFUSED.into()) }
    }

    /// Returns the client that the claims name, before any signature is checked.
    fn asserted(&self, claims: &Map<String, Value>) -> Option<&Client> {
        let subject = claims.get("sub")?.as_str()?;
        let is_own = claims.get("iss").is_some_and(|issuer| *issuer == subject);
        self.clients
            .get(subject)
            .filter(|client| is_own && client.keys.is_some())
    }

    fn has_signed(&self, client: &Client, assertion: &Compact<'_>) -> bool {
        let header = &assertion.header;
        let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        // Critical header parameters must be understood (RFC 7515 §4.1.11), and none is supported here.
        if !ALGORITHMS.contains(&algorithm) || header.contains_key("crit") {
            return false;
        }
        let kid = header.get("kid").and_then(Value::as_str);
        let keys = self.client_keys.of(client, kid);
        keys.iter()
            .filter(|key| key.is_called(kid))
            .any(|key| key.verify(algorithm, assertion.signed.as_bytes(), &assertion.signature))
    }

    /// Returns until when to remember the assertion, if its audience and its times are valid.
    fn expiry(&self, claims: &Map<String, Value>) -> Option<Timestamp> {
        let now = self.clock.now();
        let time = |name: &str| match claims.get(name) {
            None => Some(None),
            Some(value) => value.as_f64().map(Some),
        };
        let seconds = |moment: Timestamp| {
            #[expect(clippy::cast_precision_loss, reason = "seconds of the next 100 million years fit")]
            let seconds = moment.seconds() as f64;
            seconds
        };
        let ends = time("exp")??;
        let begun = [time("nbf")?, time("iat")?]
            .into_iter()
            .flatten()
            .all(|moment| moment <= seconds(now.plus(SKEW)));
        let lasts = ends > seconds(now) && ends <= seconds(now.plus(LONGEST));
        // It is remembered for longer than it can be used.
        (self.is_audience(claims.get("aud")?) && begun && lasts).then(|| now.plus(LONGEST + SKEW))
    }

    /// Returns whether the assertion is addressed only to this server. Another server that is an audience too could
    /// replay it here.
    fn is_audience(&self, audience: &Value) -> bool {
        let ours = |name: &Value| {
            name.as_str().is_some_and(|name| {
                let path = name.strip_prefix(self.issuer.as_str());
                path.is_some_and(|path| matches!(path, "" | "/oauth2/token" | "/oauth2/par"))
            })
        };
        match audience {
            Value::Array(names) => !names.is_empty() && names.iter().all(ours),
            name => ours(name),
        }
    }
}
