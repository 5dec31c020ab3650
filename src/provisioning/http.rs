//! HTTP towards a target: no redirects, no proxies, only permitted addresses, answers of bounded size and time.

use std::error::Error as StdError;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, redirect};
use serde_json::Value;
use url::Url;

use crate::domain::Clock;

use super::answer::{Answer, Body, retry_after};
use super::connector::PushError;
use super::guard::{Guard, Private};
use super::settings::{Auth, TargetSettings};

/// The longest answer that is read, in bytes.
const LONGEST_BODY: u64 = 1 << 20;

/// Sends requests to one target.
pub(super) struct Http {
    client: Client,
    base: Url,
    auth: Auth,
    credentials: Option<(HeaderName, HeaderValue)>,
    guard: Guard,
    timeout: Duration,
    clock: Clock,
}

/// Where within a target a request goes.
pub(super) struct Place<'a> {
    /// The segments after the base URL.
    pub(super) path: &'a [&'a str],
    /// The query.
    pub(super) query: &'a [(&'a str, &'a str)],
}

impl Http {
    /// Prepares requests to a target.
    pub(super) fn new(target: &TargetSettings, clock: Clock) -> Result<Self, String> {
        if !matches!(target.base_url.scheme(), "http" | "https") {
            return Err("base_url must begin with https:// or http://".to_owned());
        }
        let guard = Arc::new(Guard {
            allow_private: target.allow_private_network,
        });
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(target.timeout)
            .user_agent(concat!("vestibule/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(usize::from(target.concurrency))
            .dns_resolver(guard)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            base: target.base_url.clone(),
            auth: target.auth.clone(),
            credentials: credentials(&target.auth)?,
            guard: Guard {
                allow_private: target.allow_private_network,
            },
            timeout: target.timeout,
            clock,
        })
    }

    /// Sends one request and reads the answer.
    pub(super) fn send(&self, method: Method, place: &Place<'_>, body: Option<&Value>) -> Result<Answer, PushError> {
        let begun = Instant::now();
        let url = self.url(place)?;
        self.guard
            .check(&url)
            .map_err(|refusal| PushError::unreachable(refusal.to_string()))?;
        let mut request = self
            .client
            .request(method, url)
            .header(ACCEPT, "application/scim+json, application/json");
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/scim+json")
                .body(body.to_string());
        }
        if let Some((name, value)) = &self.credentials {
            request = request.header(name, value);
        }
        let response = request
            .send()
            .map_err(|error| PushError::unreachable(cause_of(&error)))?;
        self.read(response, begun)
    }

    fn url(&self, place: &Place<'_>) -> Result<Url, PushError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| PushError::unreachable("base_url cannot have a path"))?
            .pop_if_empty()
            .extend(place.path);
        if !place.query.is_empty() {
            url.query_pairs_mut().extend_pairs(place.query);
        }
        Ok(url)
    }

    fn read(&self, response: Response, begun: Instant) -> Result<Answer, PushError> {
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER).and_then(|text| retry_after(&text, self.clock.now())),
            location: header(LOCATION),
            body: Body::Empty,
        };
        let html = header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        let bytes = self.read_bounded(response, begun)?;
        answer.body = match serde_json::from_slice(&bytes) {
            _ if bytes.is_empty() => Body::Empty,
            Ok(value) if !html => Body::Json(value),
            _ => Body::Foreign,
        };
        Ok(answer)
    }

    /// Reads no more than [`LONGEST_BODY`] bytes, and no longer than the timeout however slowly they drip.
    fn read_bounded(&self, response: Response, begun: Instant) -> Result<Vec<u8>, PushError> {
        let mut body = response.take(LONGEST_BODY + 1);
        let mut bytes = Vec::new();
        let mut part = [0; 16 * 1024];
        loop {
            let length = body
                .read(&mut part)
                .map_err(|_| PushError::unreachable("the answer broke off"))?;
            bytes.extend_from_slice(&part[..length]);
            if bytes.len() as u64 > LONGEST_BODY {
                return Err(PushError::unreachable("the answer is longer than 1 MiB"));
            }
            if length == 0 {
                return Ok(bytes);
            }
            if begun.elapsed() > self.timeout {
                return Err(PushError::unreachable("the answer took too long"));
            }
        }
    }

    /// Takes our credentials out of a text that a target sent back.
    pub(super) fn redact(&self, text: &str) -> String {
        let secret = match &self.auth {
            Auth::None => return text.to_owned(),
            Auth::Bearer(secret) | Auth::Basic { password: secret, .. } | Auth::Header { value: secret, .. } => secret,
        };
        if secret.expose().is_empty() {
            text.to_owned()
        } else {
            text.replace(secret.expose(), "[hidden]")
        }
    }
}

/// The header that proves who we are.
fn credentials(auth: &Auth) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let (name, value) = match auth {
        Auth::None => return Ok(None),
        Auth::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", token.expose())),
        Auth::Basic { user, password } => (
            AUTHORIZATION,
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose()))),
        ),
        Auth::Header { name, value } => {
            let name = HeaderName::try_from(name).map_err(|_| format!("{name} is not the name of a header"))?;
            (name, value.expose().to_owned())
        }
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| "the credentials hold a character that cannot be sent: look for a line break".to_owned())?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// What went wrong in plain words; never the URL, which a person may have put a secret into.
fn cause_of(error: &reqwest::Error) -> String {
    let mut source: Option<&dyn StdError> = error.source();
    while let Some(cause) = source {
        if let Some(refusal) = cause.downcast_ref::<Private>() {
            return refusal.to_string();
        }
        source = cause.source();
    }
    if error.is_timeout() {
        "the target did not answer in time".to_owned()
    } else if error.is_connect() {
        "the target could not be reached".to_owned()
    } else {
        "the connection broke off before the answer".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn every_way_to_prove_who_we_are_becomes_one_header() {
        let secret = || Secret::new("s3cret");
        for (auth, name, value) in [
            (Auth::Bearer(secret()), "authorization", "Bearer s3cret"),
            (
                Auth::Basic {
                    user: "me".to_owned(),
                    password: secret(),
                },
                "authorization",
                "Basic bWU6czNjcmV0",
            ),
            (
                Auth::Header {
                    name: "X-Api-Key".to_owned(),
                    value: secret(),
                },
                "x-api-key",
                "s3cret",
            ),
        ] {
            let header = credentials(&auth).unwrap().unwrap();
            assert_eq!((header.0.as_str(), header.1.to_str().unwrap()), (name, value));
            assert!(!format!("{header:?}").contains("s3cret"));
        }
        assert_eq!(credentials(&Auth::None), Ok(None));
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_without_being_shown() {
        let problem = credentials(&Auth::Bearer(Secret::new("s3cret\n"))).unwrap_err();
        assert!(!problem.contains("s3cret"), "{problem}");
        assert!(
            credentials(&Auth::Header {
                name: "a b".to_owned(),
                value: Secret::new("x")
            })
            .is_err()
        );
    }
}
