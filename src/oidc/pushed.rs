//! Pushed authorization requests (RFC 9126): storing them, and loading them for the browser.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use super::Oidc;
use super::authorization_request::{self, ErrorDelivery};
use super::error::{ClientFailure, ErrorCode, PageError, PageFailure};
use super::parameters::Parameters;
use crate::storage::pushed_requests::{self, PushedRequest};
use crate::storage::{StorageError, random};

/// The prefix of `request_uri` values (§2.2).
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// The lifetime of a pushed request: enough for the way from the client through the browser to here.
const LIFETIME: Duration = Duration::from_mins(1);

/// The parameters that are stored. All others are dropped, such as client credentials and unknown parameters of any
/// size.
const KEPT: [&str; 16] = [
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "acr_values",
    "claims",
    "id_token_hint",
    "idp_hint",
    "login_hint",
    "ui_locales",
];

/// The largest request that is stored, in bytes of JSON: all parameters at their own limits do not come together.
const LARGEST: usize = 12 * 1024;

/// The most requests that a client may push at once, and per second in the long run. With their lifetime, these bound the
/// number of stored requests.
pub(super) const BURST: f64 = 2000.0;
pub(super) const PER_SECOND: f64 = 100.0;

/// The response to a pushed request (§2.2).
#[derive(Clone, Debug, Serialize)]
pub struct Pushed {
    /// The reference to the request, valid once.
    pub request_uri: String,
    /// Its lifetime in seconds.
    pub expires_in: u64,
}

impl Oidc {
    /// Stores an authorization request, given its `Authorization` header and its form. It is validated like one from a
    /// browser, and its errors are returned to the client.
    pub fn push(&self, authorization: Option<&str>, parameters: &[(String, String)]) -> Result<Pushed, ClientFailure> {
        let form = Parameters::new(parameters);
        form.refuse_repeated()?;
        let client = self.authenticate(authorization, &form)?;
        if form.get("request_uri").is_some() {
            return Err(ErrorCode::InvalidRequest
                .because("A pushed request may not contain request_uri.")
                .into());
        }
        let mut request: Vec<_> = parameters.to_vec();
        request.retain(|(name, _)| name != "client_id");
        request.push(("client_id".to_owned(), client.client_id.clone()));
        authorization_request::validate(&request, &self.clients).map_err(|refused| match refused.deliver {
            ErrorDelivery::Page(_) => ErrorCode::InvalidRequest.because("redirect_uri is not registered."),
            ErrorDelivery::Redirect { .. } => refused.error,
        })?;
        request.retain(|(name, _)| KEPT.contains(&name.as_str()) || name == "client_id");
        let parameters = serde_json::json!(request).to_string();
        if parameters.len() > LARGEST {
            return Err(ErrorCode::RequestTooLarge
                .because("The request is larger than 8 KiB.")
                .into());
        }
        if !self.pushes.take(&client.client_id) {
            return Err(ErrorCode::TooManyRequests
                .because("This client has pushed too many requests. Try again in a second.")
                .into());
        }
        let handle = random::token();
        let handle_hash = random::fingerprint(&handle);
        let request = PushedRequest {
            client_id: client.client_id.clone(),
            parameters,
            expires: self.clock.now().plus(LIFETIME),
        };
        self.database.write::<_, StorageError>(move |connection| {
            Ok(pushed_requests::insert(connection, &handle_hash, &request)?)
        })?;
        Ok(Pushed {
            request_uri: format!("{PREFIX}{handle}"),
            expires_in: LIFETIME.as_secs(),
        })
    }

    /// Returns the request of a browser: the pushed one that its `request_uri` names, which is consumed, or its own
    /// parameters. With a `request_uri`, all parameters but `client_id` are ignored (RFC 9101 §6.3).
    pub(super) fn resolve_pushed<'p>(
        &self,
        parameters: &'p [(String, String)],
    ) -> Result<IncomingRequest<'p>, PageFailure> {
        let form = Parameters::new(parameters);
        let Some(handle) = form.get("request_uri").and_then(|uri| uri.strip_prefix(PREFIX)) else {
            return Ok(IncomingRequest {
                parameters: Cow::Borrowed(parameters),
                was_pushed: false,
            });
        };
        let client_id = form.get("client_id").ok_or(PageError::MALFORMED)?.to_owned();
        let (handle_hash, now) = (random::fingerprint(handle), self.clock.now());
        let taken = self.database.write::<_, StorageError>(move |connection| {
            Ok(pushed_requests::take(connection, &handle_hash, &client_id, now)?)
        });
        let taken = taken.map_err(super::OidcError::from)?.ok_or(PageError::REQUEST_URI)?;
        Ok(IncomingRequest {
            parameters: Cow::Owned(serde_json::from_str(&taken).map_err(|_| PageError::REQUEST_URI)?),
            was_pushed: true,
        })
    }
}

/// An authorization request from a browser.
pub(super) struct IncomingRequest<'p> {
    pub(super) parameters: Cow<'p, [(String, String)]>,
    /// Whether the client pushed it.
    pub(super) was_pushed: bool,
}
