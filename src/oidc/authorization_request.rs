//! Validates authorization requests (OpenID Connect Core §3.1.2.1), without I/O.

use std::time::Duration;

use super::client::{Client, Clients};
use super::error::{ErrorCode, OAuthError, PageError};
use super::parameters::Parameters;
use super::pkce;
use super::{redirect, requested_claims};
use crate::domain::login::{AuthorizationRequest, ResponseMode};

/// The supported scopes.
pub(crate) const SCOPES: [&str; 7] = [
    "openid",
    "profile",
    "email",
    "phone",
    "address",
    "groups",
    "offline_access",
];

/// The longest accepted `scope`, `state`, `nonce` and hint, in bytes.
const LONGEST_SCOPE: usize = 1024;
const LONGEST_STATE: usize = 2048;
const LONGEST_NONCE: usize = 512;
const LONGEST_HINT: usize = 255;

/// Optional parameters that are accepted and ignored (OpenID Connect Core §3.1.2.1, §5.2): there is one page layout, and
/// claims have one language.
const WISHES: [&str; 2] = ["claims_locales", "display"];
const LONGEST_WISH: usize = 4096;

/// A valid request, with the conditions that depend on the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValidRequest {
    /// The request.
    pub request: AuthorizationRequest,
    /// Which pages may or must be shown to the user.
    pub prompt: Prompt,
    /// The maximum age of the login.
    pub max_age: Option<Duration>,
    /// An ID token of the user who is expected to be logged in.
    pub id_token_hint: Option<String>,
}

/// The meaning of the `prompt` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Show a login page if it is needed.
    Any,
    /// Show no page: answer at once, or with an error.
    None,
    /// The user must prove again who they are.
    Login,
    /// Show the login page, though a session would do: `select_account` and `consent`.
    Choose,
}

/// A refused request, and where its error is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorizeError {
    /// The error and its description.
    pub error: OAuthError,
    /// Where the error is delivered.
    pub deliver: ErrorDelivery,
}

/// Where an error of the authorization endpoint goes (RFC 6749 §4.1.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ErrorDelivery {
    /// On a page to the user, because the client or its redirect URI is not verified.
    Page(PageError),
    /// Back to the client.
    Redirect {
        /// A registered URI.
        redirect_uri: String,
        /// The client's own `state`.
        state: Option<String>,
        /// How it gets there.
        mode: ResponseMode,
    },
}

/// Checks an authorization request.
pub(super) fn validate(pairs: &[(String, String)], clients: &Clients) -> Result<ValidRequest, AuthorizeError> {
    let parameters = Parameters::new(pairs);
    let page = |page: PageError| AuthorizeError {
        error: ErrorCode::InvalidRequest.because("The request cannot be answered by redirect."),
        deliver: ErrorDelivery::Page(page),
    };
    if parameters.is_repeated("client_id") || parameters.is_repeated("redirect_uri") {
        return Err(page(PageError::MALFORMED));
    }
    let client = parameters
        .get("client_id")
        .and_then(|client_id| clients.get(client_id))
        .ok_or_else(|| page(PageError::UNKNOWN_CLIENT))?;
    let redirect_uri = parameters
        .get("redirect_uri")
        .filter(|uri| client.may_redirect_to(uri))
        .ok_or_else(|| page(PageError::REDIRECT_URI))?;
    let state = parameters.get("state").filter(|state| state.len() <= LONGEST_STATE);
    let mode = response_mode(&parameters, redirect_uri);
    check(&parameters, client, redirect_uri).map_err(|error| AuthorizeError {
        error,
        deliver: ErrorDelivery::Redirect {
            redirect_uri: redirect_uri.to_owned(),
            state: state.map(str::to_owned),
            mode: mode.unwrap_or_default(),
        },
    })
}

/// Makes the checks whose errors can be sent back to the client.
fn check(parameters: &Parameters<'_>, client: &Client, redirect_uri: &str) -> Result<ValidRequest, OAuthError> {
    parameters.refuse_repeated()?;
    refuse_unsupported(parameters)?;
    if parameters.required("response_type", "response_type is missing.")? != "code" {
        return Err(ErrorCode::UnsupportedResponseType.because("response_type must be code."));
    }
    limited(parameters, "id_token_hint", LONGEST_WISH)?;
    for wish in WISHES {
        limited(parameters, wish, LONGEST_WISH)?;
    }
    let prompt = prompt(parameters)?;
    let max_age = max_age(parameters)?;
    let asked = requested_claims::read(parameters)?;
    let request = AuthorizationRequest {
        client_id: client.client_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        scope: scope(parameters)?,
        response_mode: response_mode(parameters, redirect_uri)?,
        state: limited(parameters, "state", LONGEST_STATE)?,
        nonce: limited(parameters, "nonce", LONGEST_NONCE)?,
        code_challenge: challenge(parameters, client)?,
        idp_hint: limited(parameters, "idp_hint", LONGEST_HINT)?.map(Into::into),
        login_hint: limited(parameters, "login_hint", LONGEST_HINT)?,
        ui_locales: ui_locales(parameters)?,
        subject: asked.subject,
        claims: asked.claims,
        reauthenticate: matches!(prompt, Prompt::Login | Prompt::Choose) || max_age == Some(Duration::ZERO),
        again: false,
        fresh_since: None,
    };
    Ok(ValidRequest {
        request,
        prompt,
        max_age,
        id_token_hint: parameters.get("id_token_hint").map(str::to_owned),
    })
}

/// Returns how the response gets to the client. An application that is no web server receives no form.
fn response_mode(parameters: &Parameters<'_>, redirect_uri: &str) -> Result<ResponseMode, OAuthError> {
    match parameters.get("response_mode") {
        None | Some("query") => Ok(ResponseMode::Query),
        Some("form_post") if redirect::is_of_web(redirect_uri) => Ok(ResponseMode::FormPost),
        Some("form_post") => Err(ErrorCode::InvalidRequest.because("form_post needs an http or https redirect_uri.")),
        Some(_) => Err(ErrorCode::InvalidRequest.because("response_mode must be query or form_post.")),
    }
}

/// Returns the first eight requested languages; longer lists are cut.
fn ui_locales(parameters: &Parameters<'_>) -> Result<Vec<String>, OAuthError> {
    let tags = limited(parameters, "ui_locales", LONGEST_HINT)?.unwrap_or_default();
    Ok(tags.split_ascii_whitespace().take(8).map(str::to_owned).collect())
}

fn refuse_unsupported(parameters: &Parameters<'_>) -> Result<(), OAuthError> {
    for (name, code, description) in [
        (
            "request",
            ErrorCode::RequestNotSupported,
            "Request objects are not supported.",
        ),
        (
            "request_uri",
            ErrorCode::RequestUriNotSupported,
            "request_uri is not supported.",
        ),
        (
            "registration",
            ErrorCode::RegistrationNotSupported,
            "registration is not supported.",
        ),
        ("resource", ErrorCode::InvalidTarget, "resource is not supported."),
    ] {
        if parameters.get(name).is_some() {
            return Err(code.because(description));
        }
    }
    Ok(())
}

/// Returns the supported scopes of the request. Others are left out, which the token response shows (RFC 6749 §3.3).
fn scope(parameters: &Parameters<'_>) -> Result<Vec<String>, OAuthError> {
    let asked = parameters.get("scope").unwrap_or_default();
    if asked.len() > LONGEST_SCOPE {
        return Err(ErrorCode::InvalidScope.because("scope is too long."));
    }
    let scope: Vec<String> = SCOPES
        .into_iter()
        .filter(|known| asked.split(' ').any(|word| word == *known))
        .map(str::to_owned)
        .collect();
    if scope.first().is_some_and(|first| first == "openid") {
        Ok(scope)
    } else {
        Err(ErrorCode::InvalidScope.because("scope must contain openid."))
    }
}

/// Returns the PKCE challenge. `plain` is refused, also as the default method (RFC 7636 §4.3).
fn challenge(parameters: &Parameters<'_>, client: &Client) -> Result<Option<String>, OAuthError> {
    let invalid = |description| Err(ErrorCode::InvalidRequest.because(description));
    match (
        parameters.get("code_challenge"),
        parameters.get("code_challenge_method"),
    ) {
        (None, None) if client.needs_pkce() => invalid("code_challenge is required."),
        (None, None) => Ok(None),
        (None, Some(_)) => invalid("code_challenge is missing."),
        (Some(challenge), Some("S256")) if pkce::is_challenge(challenge) => Ok(Some(challenge.to_owned())),
        (Some(_), Some("S256")) => invalid("code_challenge is not a base64url-encoded SHA-256."),
        (Some(_), _) => invalid("code_challenge_method must be S256."),
    }
}

fn prompt(parameters: &Parameters<'_>) -> Result<Prompt, OAuthError> {
    let words: Vec<&str> = parameters
        .get("prompt")
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    match words.as_slice() {
        [] => Ok(Prompt::Any),
        ["none"] => Ok(Prompt::None),
        words
            if words
                .iter()
                .all(|word| matches!(*word, "login" | "select_account" | "consent")) =>
        {
            Ok(if words.contains(&"login") {
                Prompt::Login
            } else {
                Prompt::Choose
            })
        }
        words if words.contains(&"none") => Err(ErrorCode::InvalidRequest.because("prompt=none must stand alone.")),
        _ => Err(ErrorCode::InvalidRequest.because("prompt has an unknown value.")),
    }
}

fn max_age(parameters: &Parameters<'_>) -> Result<Option<Duration>, OAuthError> {
    match parameters.get("max_age").map(str::parse::<u32>) {
        None => Ok(None),
        Some(Ok(seconds)) => Ok(Some(Duration::from_secs(seconds.into()))),
        Some(Err(_)) => Err(ErrorCode::InvalidRequest.because("max_age must be a number of seconds.")),
    }
}

fn limited(parameters: &Parameters<'_>, name: &str, longest: usize) -> Result<Option<String>, OAuthError> {
    match parameters.get(name) {
        Some(value) if value.len() > longest => Err(ErrorCode::InvalidRequest.because("A parameter is too long.")),
        value => Ok(value.map(str::to_owned)),
    }
}

#[cfg(test)]
#[path = "authorize_tests.rs"]
mod tests;
