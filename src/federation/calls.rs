//! The requests that a login makes of an identity provider: the code for tokens, and a token for claims.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openidconnect::http::{Request, StatusCode, header};
use openidconnect::{HttpRequest, HttpResponse};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::fetch::Fetcher;
use super::provider::{Pending, ProviderError};
use crate::domain::Secret;

/// A code that is exchanged for tokens (RFC 6749 §4.1.3).
pub(super) struct Exchange<'a> {
    /// Where.
    pub(super) endpoint: &'a Url,
    /// Our name there.
    pub(super) client_id: &'a str,
    /// Our secret there.
    pub(super) client_secret: Option<&'a Secret>,
    /// Whether the secret goes into the body and not into a header (RFC 6749 §2.3.1).
    pub(super) secret_in_body: bool,
    /// The code.
    pub(super) code: &'a str,
    /// The login that it ends.
    pub(super) pending: &'a Pending,
    /// Whether the code is bound to the verifier (RFC 7636 §4.5).
    pub(super) pkce: bool,
}

impl Exchange<'_> {
    /// The answer, whatever its status.
    pub(super) fn send(&self, fetcher: &Fetcher) -> Result<HttpResponse, ProviderError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", self.code)
            .append_pair("redirect_uri", self.pending.callback.as_str());
        if self.pkce {
            form.append_pair("code_verifier", &self.pending.verifier);
        }
        let mut request = Request::post(self.endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        match self.client_secret {
            Some(secret) if !self.secret_in_body => {
                // Both parts are form-encoded first (RFC 6749 §2.3.1).
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(self.client_id), encode(secret.expose()));
                request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            Some(secret) => {
                form.append_pair("client_id", self.client_id)
                    .append_pair("client_secret", secret.expose());
            }
            None => {
                form.append_pair("client_id", self.client_id);
            }
        }
        Ok(fetcher.send(prepared(request.body(form.finish().into_bytes()))?)?)
    }
}

/// What an endpoint says to a bearer token, as JSON. The token goes into the header, never into the URL (RFC 6750 §2.1).
pub(super) fn ask(fetcher: &Fetcher, endpoint: &Url, access_token: &str) -> Result<Value, ProviderError> {
    let request = Request::get(endpoint.as_str())
        .header(header::ACCEPT, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    let response = fetcher.send(prepared(request.body(Vec::new()))?)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(&response));
    }
    serde_json::from_slice(response.body()).map_err(|_| ProviderError::Unusable("its userinfo is not JSON".to_owned()))
}

/// The token type must be one that we know how to use (RFC 6749 §7.1).
pub(super) fn must_be_bearer(token_type: &str) -> Result<(), ProviderError> {
    if token_type.eq_ignore_ascii_case("bearer") {
        return Ok(());
    }
    let message = "its access token is not a bearer token";
    Err(ProviderError::Unusable(message.to_owned()))
}

fn prepared(request: Result<HttpRequest, openidconnect::http::Error>) -> Result<HttpRequest, ProviderError> {
    request.map_err(|_| ProviderError::Unusable("a value of it does not fit into a request".to_owned()))
}

/// What an answer other than 200 means: an OAuth error, or a server in trouble.
pub(super) fn refusal(response: &HttpResponse) -> ProviderError {
    let code = serde_json::from_slice::<Map<String, Value>>(response.body()).ok();
    match code.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str) {
        Some(code) => ProviderError::from_code(code),
        None if response.status().is_server_error() => ProviderError::Unavailable(None),
        None => ProviderError::Unusable(format!(
            "its answer has status {} and not what was asked for",
            response.status().as_u16()
        )),
    }
}
