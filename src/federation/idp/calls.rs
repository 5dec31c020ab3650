//! Requests of a login to an identity provider: the code exchange and calls with the access token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openidconnect::http::{Request, StatusCode, header};
use openidconnect::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::provider::{CallbackParameters, LoginSecret, ProviderError};
use crate::domain::Secret;
use crate::http_client::HttpClient;
use crate::storage::random;

/// The state of an authorization request until its answer comes. Secret; only `state` and `nonce` go into a URL.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingAuthorization {
    /// The issuer that must answer.
    pub(crate) issuer: String,
    /// Redirect URI that the browser comes back to.
    pub(crate) callback: Url,
    /// Binds the answer to this browser (RFC 6749 §10.12).
    pub(crate) state: String,
    /// Binds the ID token to this login (OpenID Connect Core §3.1.2.1).
    pub(crate) nonce: String,
    /// Binds the code to this login (RFC 7636).
    pub(crate) verifier: String,
}

impl PendingAuthorization {
    /// Fresh random values for a request to an issuer.
    pub(crate) fn new(issuer: &str, callback: &Url) -> Self {
        Self {
            issuer: issuer.to_owned(),
            callback: callback.clone(),
            state: random::token(),
            nonce: random::token(),
            verifier: random::token(),
        }
    }
}

/// The parameters of an authorization response (RFC 6749 §4.1.2, RFC 9207 §2).
pub(crate) const RESPONSE: [&str; 4] = ["state", "code", "iss", "error"];

/// Whether parameters carry the state of a pending authorization request, and none of a response's more than once
/// (RFC 6749 §3.1).
pub(crate) fn carry_state(parameters: &CallbackParameters, state: &LoginSecret) -> bool {
    if RESPONSE.iter().any(|name| parameters.repeat(name)) {
        return false;
    }
    let pending = state.read::<PendingAuthorization>();
    let given = parameters.get("state");
    given.is_some_and(|given| pending.is_ok_and(|pending| random::equal(given, &pending.state)))
}

/// A code that is exchanged for tokens (RFC 6749 §4.1.3).
pub(crate) struct Exchange<'a> {
    /// Token endpoint.
    pub(crate) endpoint: &'a Url,
    /// Our `client_id` there.
    pub(crate) client_id: &'a str,
    /// Our secret there.
    pub(crate) client_secret: Option<&'a Secret>,
    /// Whether the secret goes into the body and not into a header (RFC 6749 §2.3.1).
    pub(crate) secret_in_body: bool,
    /// The code.
    pub(crate) code: &'a str,
    /// The login that the code belongs to.
    pub(crate) pending: &'a PendingAuthorization,
    /// Whether the code is bound to the verifier (RFC 7636 §4.5).
    pub(crate) pkce: bool,
}

impl Exchange<'_> {
    /// Sends the request and returns the answer, whatever its status.
    pub(crate) fn send(&self, client: &HttpClient) -> Result<HttpResponse, ProviderError> {
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
        Ok(client.send(prepared(request.body(form.finish().into_bytes()))?)?)
    }
}

/// Calls an endpoint with a bearer token and returns its JSON answer. The token goes into the header, never into the
/// URL (RFC 6750 §2.1).
pub(crate) fn ask(client: &HttpClient, endpoint: &Url, access_token: &str) -> Result<Value, ProviderError> {
    let response = call(client, endpoint, access_token, "application/json")?;
    serde_json::from_slice(response.body()).map_err(|_| ProviderError::Unusable("its userinfo is not JSON".to_owned()))
}

fn call(client: &HttpClient, endpoint: &Url, access_token: &str, accept: &str) -> Result<HttpResponse, ProviderError> {
    let request = Request::get(endpoint.as_str())
        .header(header::ACCEPT, accept)
        .header(header::AUTHORIZATION, format!("Bearer {access_token}"));
    let response = client.send(prepared(request.body(Vec::new()))?)?;
    if response.status() != StatusCode::OK {
        return Err(refusal(&response));
    }
    Ok(response)
}

/// The answer of a userinfo endpoint.
pub(crate) enum Userinfo {
    /// A JSON object.
    Plain(Map<String, Value>),
    /// A signed token, not verified yet.
    Signed(String),
}

/// Asks a userinfo endpoint, which answers with JSON or with a signed token (OpenID Connect Core §5.3.2).
pub(crate) fn ask_userinfo(client: &HttpClient, endpoint: &Url, access_token: &str) -> Result<Userinfo, ProviderError> {
    let unusable = |what: &str| ProviderError::Unusable(format!("its userinfo is {what}"));
    let response = call(client, endpoint, access_token, "application/json, application/jwt")?;
    let body = response.body();
    // The body tells the forms apart; a JSON object begins with a brace whatever its content type.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        return match value {
            Value::Object(claims) => Ok(Userinfo::Plain(claims)),
            _ => Err(unusable("not a JSON object")),
        };
    }
    let text = std::str::from_utf8(body).map_err(|_| unusable("neither JSON nor a token"))?;
    match text.trim().split('.').count() {
        3 => Ok(Userinfo::Signed(text.trim().to_owned())),
        5 => Err(unusable("encrypted, which is not supported")),
        _ => Err(unusable("neither JSON nor a token")),
    }
}

/// Rejects token types other than `bearer` (RFC 6749 §7.1).
pub(crate) fn must_be_bearer(token_type: &str) -> Result<(), ProviderError> {
    if token_type.eq_ignore_ascii_case("bearer") {
        return Ok(());
    }
    let message = "its access token is not a bearer token";
    Err(ProviderError::Unusable(message.to_owned()))
}

fn prepared(request: Result<HttpRequest, openidconnect::http::Error>) -> Result<HttpRequest, ProviderError> {
    request.map_err(|_| ProviderError::Unusable("a value does not fit into an HTTP request".to_owned()))
}

/// Returns the error for an unusable answer: an OAuth error code, or a server failure.
pub(crate) fn refusal(response: &HttpResponse) -> ProviderError {
    let code = serde_json::from_slice::<Map<String, Value>>(response.body()).ok();
    match code.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str) {
        Some(code) => ProviderError::from_code(code),
        None if response.status().is_server_error() => {
            ProviderError::Unavailable(format!("it answered with status {}", response.status().as_u16()))
        }
        None => ProviderError::Unusable(format!(
            "its answer has status {} and unexpected content",
            response.status().as_u16()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_parameter_of_the_response_is_no_answer() {
        let callback = Url::parse("https://door.example/callback").unwrap();
        let pending = PendingAuthorization::new("https://idp.example", &callback);
        let state = LoginSecret::new(&pending);
        let carry = |more: &[(&str, &str)]| {
            let given = [("state", pending.state.as_str()), ("code", "c")];
            carry_state(&given.iter().chain(more).copied().collect(), &state)
        };
        assert!(carry(&[]) && carry(&[("iss", "https://idp.example"), ("x", "1"), ("x", "2")]));
        for name in RESPONSE {
            assert!(!carry(&[(name, "a"), (name, "a")]), "{name}");
        }
    }
}
