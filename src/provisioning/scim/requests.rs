//! HTTP requests to a target: URLs, credentials and parsed answers.
//!
//! There are no redirects and no proxies; only permitted addresses are used, and answers are bounded in size and time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request};
use serde_json::Value;
use url::Url;

use super::response::{Body, TargetResponse, retry_after};
use super::settings::{Auth, ScimTargetSettings};
use crate::domain::{Clock, Secret};
use crate::http_client::{HttpClient, HttpError, HttpResponse, HttpSettings};
use crate::provisioning::connector::PushError;

/// Sends requests to one target.
pub(super) struct Http {
    client: HttpClient,
    base: Url,
    auth: Auth,
    credentials: Option<(HeaderName, HeaderValue)>,
    clock: Clock,
}

/// The path and query of a request, relative to the target.
pub(super) struct PathAndQuery<'a> {
    /// The segments after the base URL.
    pub(super) path: &'a [&'a str],
    /// The query.
    pub(super) query: &'a [(&'a str, &'a str)],
}

impl Http {
    /// Creates the client for a target.
    pub(super) fn new(target: &ScimTargetSettings, idle_connections: usize, clock: Clock) -> Result<Self, String> {
        if !matches!(target.base_url.scheme(), "http" | "https") {
            return Err("base_url must begin with https:// or http://".to_owned());
        }
        let client = HttpClient::new(HttpSettings {
            allow_private_network: target.allow_private_network,
            allow_plain_http: true,
            timeout: target.timeout,
            total: target.timeout,
            idle_connections,
        })
        .map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            base: target.base_url.clone(),
            auth: target.auth.clone(),
            credentials: credentials(&target.auth)?,
            clock,
        })
    }

    /// Sends one request and returns the answer.
    pub(super) fn send(
        &self,
        method: Method,
        place: &PathAndQuery<'_>,
        body: Option<&Value>,
    ) -> Result<TargetResponse, PushError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.url(place)?.as_str())
            .header(ACCEPT, "application/scim+json, application/json");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/scim+json");
        }
        if let Some((name, value)) = &self.credentials {
            request = request.header(name, value);
        }
        let request = request
            .body(body.map_or_else(Vec::new, |body| body.to_string().into_bytes()))
            .map_err(|_| PushError::unreachable("a value of the request cannot be sent"))?;
        let response = self.client.send(request).map_err(|error| failure(&error))?;
        Ok(self.read(&response))
    }

    fn url(&self, place: &PathAndQuery<'_>) -> Result<Url, PushError> {
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

    fn read(&self, response: &HttpResponse) -> TargetResponse {
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
                .map(str::to_owned)
        };
        let html = header(CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
        let bytes = response.body();
        TargetResponse {
            status: response.status().as_u16(),
            retry_after: header(RETRY_AFTER).and_then(|text| retry_after(&text, self.clock.now())),
            location: header(LOCATION),
            body: match serde_json::from_slice(bytes) {
                _ if bytes.is_empty() => Body::Empty,
                Ok(value) if !html => Body::Json(value),
                _ => Body::Foreign,
            },
        }
    }

    /// Removes the credentials from a text that a target returned.
    pub(super) fn redact(&self, text: &str) -> String {
        redacted(&self.auth, text)
    }
}

/// Returns the text without the credentials, which a target may repeat as they were sent or decoded.
fn redacted(auth: &Auth, text: &str) -> String {
    let mut hidden = Vec::new();
    match auth {
        Auth::None => {}
        Auth::Bearer(secret) | Auth::Header { value: secret, .. } => hidden.push(secret.expose().to_owned()),
        Auth::Basic { user, password } => {
            hidden.push(basic(user, password));
            hidden.push(password.expose().to_owned());
        }
    }
    let hidden = hidden.iter().filter(|secret| !secret.is_empty());
    hidden.fold(text.to_owned(), |text, secret| {
        text.replace(secret.as_str(), "[hidden]")
    })
}

/// Returns the credentials of HTTP Basic authentication (RFC 7617 §2).
fn basic(user: &str, password: &Secret) -> String {
    STANDARD.encode(format!("{user}:{}", password.expose()))
}

/// Returns the header that authenticates requests.
fn credentials(auth: &Auth) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let (name, value) = match auth {
        Auth::None => return Ok(None),
        Auth::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", token.expose())),
        Auth::Basic { user, password } => (AUTHORIZATION, format!("Basic {}", basic(user, password))),
        Auth::Header { name, value } => {
            let name = HeaderName::try_from(name).map_err(|_| format!("{name} is not a valid header name"))?;
            (name, value.expose().to_owned())
        }
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| "the credentials contain a character that cannot be sent: check for a line break".to_owned())?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// The error of a request without an answer. It never shows the URL, which may hold a secret.
fn failure(error: &HttpError) -> PushError {
    PushError::unreachable(match error {
        HttpError::TimedOut(_) => "the target did not answer in time".to_owned(),
        HttpError::Unreachable(_) => "the target could not be reached".to_owned(),
        HttpError::Interrupted(_) => "the connection was closed before the answer was complete".to_owned(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_auth_setting_becomes_one_header() {
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
    fn credentials_in_an_answer_are_hidden_in_every_form() {
        let auth = Auth::Basic {
            user: "me".to_owned(),
            password: Secret::new("s3cret"),
        };
        for text in ["you sent Basic bWU6czNjcmV0", "wrong password s3cret"] {
            let shown = redacted(&auth, text);
            assert!(
                shown.contains("[hidden]") && !shown.contains("s3cret") && !shown.contains("bWU6"),
                "{shown}"
            );
        }
        assert_eq!(redacted(&Auth::Bearer(Secret::new("t0ken")), "no t0ken"), "no [hidden]");
        assert_eq!(redacted(&Auth::Bearer(Secret::new("")), "as it is"), "as it is");
    }

    #[test]
    fn unsendable_credentials_are_refused_and_not_shown() {
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
