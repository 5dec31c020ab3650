//! The HTTP endpoints of the OpenID provider.

use std::sync::Arc;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::json;
use url::Url;

use super::guesses::Guess;
use super::onward::{ArrivedBy, Onward, lead, see_other};
use super::page::{self, LogoutConfirm, respond};
use super::sent_cookies;
use super::{blocking, login, source};
use crate::domain::login::{AuthorizationRequest, ProviderToken};
use crate::domain::{IdentityProviderName, ServiceProviderName};
use crate::federation::login::visitor::SignedInUser;
use crate::oidc::{
    Authorized, ClientFailure, Confirmation, ErrorCode, LoggedOut, OAuthError, Oidc, OidcError, PUBLISHED_FRESH,
    PageFailure,
};

/// The largest form that is read, in bytes.
const LARGEST_FORM: usize = 32 * 1024;

/// The challenge for a client that is not authenticated (RFC 6749 §5.2).
const BASIC: &str = "Basic realm=\"vestibule\"";

/// Mounts the endpoints that discovery lists. Needs [`Oidc`] as `web::Data`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/.well-known/openid-configuration").get(discovery))
        .service(
            web::scope("/oauth2")
                .app_data(web::PayloadConfig::new(LARGEST_FORM))
                .service(web::resource("/authorize").get(authorize).post(authorize))
                .service(web::resource("/token").post(token))
                .service(web::resource("/par").post(push))
                .service(web::resource("/revoke").post(revoke))
                .service(web::resource("/introspect").post(introspect))
                .service(web::resource("/userinfo").get(userinfo).post(userinfo))
                .service(web::resource("/logout").get(logout).post(logout))
                .service(web::resource("/jwks").get(jwks)),
        );
}

async fn discovery(oidc: web::Data<Oidc>) -> HttpResponse {
    published(&oidc.discovery())
}

async fn jwks(oidc: web::Data<Oidc>) -> HttpResponse {
    match blocking::run(move || oidc.jwks()).await {
        Some(Ok(jwks)) => published(&jwks),
        Some(Err(error)) => failed(&error),
        None => stopping(),
    }
}

async fn authorize(
    oidc: web::Data<Oidc>,
    login_data: web::Data<login::LoginData>,
    http: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let session = session_of(&oidc, &http);
    let provider = oidc.clone();
    match blocking::LOGINS
        .run(move || provider.authorize(&parameters, session.as_deref()))
        .await
    {
        Some(Ok(Authorized::Answer(response))) => Onward::Application(response).follow(ArrivedBy::ByLink, None),
        Some(Ok(Authorized::Login(request))) => match source::turned_away(&http) {
            None => to_login(&oidc, (&login_data, &http), *request).await,
            Some(page) => page,
        },
        Some(Ok(Authorized::StepUp(request, authentication, session))) => {
            let visitor = SignedInUser {
                authentication,
                session,
            };
            match oidc.service_provider(&request.client_id).cloned() {
                Some(service_provider) => {
                    login::step_up((&login_data, &http), *request, service_provider, visitor).await
                }
                None => error_page(StatusCode::BAD_REQUEST, "invalid_client"),
            }
        }
        Some(Err(failure)) => page_failed(&failure),
        None => stopping(),
    }
}

/// Starts a login for a person who must log in first.
async fn to_login(
    oidc: &Oidc,
    (login_data, http): (&login::LoginData, &HttpRequest),
    request: AuthorizationRequest,
) -> HttpResponse {
    match oidc.service_provider(&request.client_id).cloned() {
        Some(service_provider) => login::start((login_data, http), request, service_provider).await,
        None => error_page(StatusCode::BAD_REQUEST, "invalid_client"),
    }
}

/// The answer to an address that sends too many wrong client secrets.
const TOO_MANY_GUESSES: OAuthError = OAuthError {
    code: ErrorCode::TooManyRequests,
    description: "Too many requests with wrong credentials come from this address. Try again later.",
};

/// Ends the guess of a client secret. It was wrong if the client is not authenticated.
fn settle_guess<T>(guess: Guess, answer: Option<&Result<T, ClientFailure>>) {
    let is_wrong = |failure: &ClientFailure| matches!(failure, ClientFailure::Refused(error) if error.code == ErrorCode::InvalidClient);
    if !matches!(answer, Some(Err(failure)) if is_wrong(failure)) {
        guess.forgive();
    }
}

async fn token(oidc: web::Data<Oidc>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let authorization = authorization(http.headers());
    let Some(guess) = Guess::begin(&http) else {
        return refused(&TOO_MANY_GUESSES.into(), |_| BASIC.to_owned());
    };
    let answer = blocking::LOGINS
        .run(move || oidc.token(authorization.as_deref(), &parameters))
        .await;
    settle_guess(guess, answer.as_ref());
    match answer {
        Some(Ok(tokens)) => private(StatusCode::OK).json(tokens),
        Some(Err(failure)) => refused(&failure, |_| BASIC.to_owned()),
        None => stopping(),
    }
}

async fn revoke(oidc: web::Data<Oidc>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let authorization = authorization(http.headers());
    let Some(guess) = Guess::begin(&http) else {
        return refused(&TOO_MANY_GUESSES.into(), |_| BASIC.to_owned());
    };
    let answer = blocking::LOGINS
        .run(move || oidc.revoke(authorization.as_deref(), &parameters))
        .await;
    settle_guess(guess, answer.as_ref());
    match answer {
        Some(Ok(())) => private(StatusCode::OK).finish(),
        Some(Err(failure)) => refused(&failure, |_| BASIC.to_owned()),
        None => stopping(),
    }
}

async fn push(oidc: web::Data<Oidc>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let authorization = authorization(http.headers());
    let Some(guess) = Guess::begin(&http) else {
        return refused(&TOO_MANY_GUESSES.into(), |_| BASIC.to_owned());
    };
    let answer = blocking::LOGINS
        .run(move || oidc.push(authorization.as_deref(), &parameters))
        .await;
    settle_guess(guess, answer.as_ref());
    match answer {
        Some(Ok(pushed)) => private(StatusCode::CREATED).json(pushed),
        Some(Err(failure)) => refused(&failure, |_| BASIC.to_owned()),
        None => stopping(),
    }
}

async fn introspect(oidc: web::Data<Oidc>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let authorization = authorization(http.headers());
    let Some(guess) = Guess::begin(&http) else {
        return refused(&TOO_MANY_GUESSES.into(), |_| BASIC.to_owned());
    };
    let answer = blocking::LOGINS
        .run(move || oidc.introspect(authorization.as_deref(), &parameters))
        .await;
    settle_guess(guess, answer.as_ref());
    match answer {
        Some(Ok(answer)) => private(StatusCode::OK).json(answer),
        Some(Err(failure)) => refused(&failure, |_| BASIC.to_owned()),
        None => stopping(),
    }
}

async fn userinfo(oidc: web::Data<Oidc>, http: HttpRequest, body: web::Bytes) -> HttpResponse {
    let authorization = authorization(http.headers());
    // A token in the query would be in logs: only a form may have it.
    let form = if *http.method() == Method::POST {
        parameters(&http, &body)
    } else {
        Vec::new()
    };
    match blocking::run(move || oidc.userinfo(authorization.as_deref(), &form)).await {
        Some(Ok(claims)) => private(StatusCode::OK).json(claims),
        Some(Err(failure)) => refused(&failure, |error| {
            format!(
                r#"Bearer realm="vestibule", error="{}", error_description="{error}""#,
                error.code.as_str()
            )
        }),
        None => stopping(),
    }
}

async fn logout(
    oidc: web::Data<Oidc>,
    login_data: web::Data<login::LoginData>,
    http: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let parameters = parameters(&http, &body);
    let asked = parameters.clone();
    let session = session_of(&oidc, &http);
    let is_form = http.method() == Method::POST;
    let arrived = if is_form { ArrivedBy::ByForm } else { ArrivedBy::ByLink };
    let (provider, has_session) = (oidc.clone(), session.is_some());
    let ended = blocking::run(move || {
        let elsewhere = match &session {
            Some(cookie) => provider.session_at_provider(cookie)?,
            None => None,
        };
        Ok::<_, PageFailure>((provider.logout(&parameters, session.as_deref(), is_form)?, elsewhere))
    });
    let (ended, elsewhere) = match ended.await {
        Some(Ok((ended, elsewhere))) => (ended, elsewhere),
        Some(Err(failure)) => return page_failed(&failure),
        None => return stopping(),
    };
    let mut answer = match ended {
        // A form of another site comes without the cookie. A redirect brings it, and the user is asked.
        LoggedOut::Redirect(_) | LoggedOut::Done if is_form && !has_session && !is_asked(&asked) => {
            let hinted = {
                let (provider, asked) = (oidc.clone(), asked.clone());
                blocking::run(move || provider.hinted_client(&asked)).await
            };
            return see_other(&ask_again(&asked, hinted.and_then(Result::ok).flatten()), None);
        }
        LoggedOut::Confirm(confirmation) => return confirm(confirmation),
        LoggedOut::Redirect(location) => {
            let at_provider = logout_at(&login_data, elsewhere, Some(location.clone())).await;
            lead(at_provider.as_ref().map_or(&location, Url::as_str), arrived, None)
        }
        LoggedOut::Done => match logout_at(&login_data, elsewhere, None).await {
            Some(url) => lead(url.as_str(), arrived, None),
            None => respond(StatusCode::OK, page::LoggedOutPage { way_out: None }.render(), &[]),
        },
    };
    if has_session {
        // Adding a cookie fails only if its text is no valid header value; the value of this one is empty.
        let _ = answer.add_removal_cookie(&session_cookie(&oidc, String::new()));
    }
    answer
}

/// Returns the URL that ends the session at the identity provider that a login came through, if that is configured.
async fn logout_at(
    login_data: &login::LoginData,
    elsewhere: Option<(IdentityProviderName, Option<ProviderToken>)>,
    next: Option<String>,
) -> Option<Url> {
    let (provider, token) = elsewhere?;
    let federation = Arc::clone(&login_data.federation);
    let name = provider.clone();
    let url = blocking::at_provider(name.as_str(), move || {
        federation.login.logout_at(&provider, token.as_ref(), next.as_deref())
    });
    url.await?
}

/// Whether a logout form comes from this server's own page.
fn is_asked(parameters: &[(String, String)]) -> bool {
    parameters.iter().any(|(name, _)| name == "confirm")
}

/// The address at which a browser asks again for a logout. The ID token stays out of it; the client that it names does
/// not.
fn ask_again(parameters: &[(String, String)], hinted: Option<String>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let (Some(client_id), false) = (hinted, parameters.iter().any(|(name, _)| name == "client_id")) {
        query.append_pair("client_id", &client_id);
    }
    let kept = ["client_id", "post_logout_redirect_uri", "state"];
    query.extend_pairs(parameters.iter().filter(|(name, _)| kept.contains(&name.as_str())));
    format!("/oauth2/logout?{}", query.finish())
}

/// Completes a login: opens a session and answers the service provider.
pub(super) fn completes(oidc: Arc<Oidc>) -> Arc<login::Complete> {
    Arc::new(move |request, authentication, before| {
        let earlier = before.and_then(|cookie| oidc.session(cookie).ok().flatten());
        let is_new =
            earlier.is_none_or(|earlier| earlier.user != authentication.user || earlier.at != authentication.at);
        let application = if request.is_of_ourselves() {
            Some(&ServiceProviderName::RESIDENT)
        } else {
            oidc.service_provider(&request.client_id)
        };
        let session = match oidc.open_session(authentication, before, application.filter(|_| is_new)) {
            Ok(session) => session,
            Err(OidcError::Outdated) => return Err(login::Incomplete::Outdated),
            Err(error) => {
                log_cause(&error);
                return Err(login::Incomplete::Failed);
            }
        };
        let onward = if request.is_of_ourselves() {
            Onward::Page(request.redirect_uri.parse().map_err(|_| login::Incomplete::Failed)?)
        } else {
            let completed = oidc.complete(request, authentication, &session);
            let response = completed.inspect_err(log_failure).map_err(|failure| match failure {
                PageFailure::Refused(page) => login::Incomplete::Refused(page.code),
                PageFailure::Failed(_) => login::Incomplete::Failed,
            })?;
            Onward::Application(response)
        };
        Ok(login::Completed {
            session: session_cookie(&oidc, session),
            onward,
            is_new,
        })
    })
}

/// Cancels a login: answers the service provider with `access_denied`.
pub(super) fn cancels(oidc: Arc<Oidc>) -> Arc<login::Cancel> {
    Arc::new(move |request| {
        if request.is_of_ourselves() {
            // Without a session the account page would ask for a login again.
            let back = if request.subject.is_some() { "" } else { "/" };
            let page = Url::parse(&request.redirect_uri).ok()?.join(back).ok()?;
            return Some(Onward::Page(page));
        }
        let refused = oidc.refuse(request, ErrorCode::AccessDenied);
        refused.inspect_err(log_failure).ok().map(Onward::Application)
    })
}

fn log_failure(failure: &PageFailure) {
    match failure {
        PageFailure::Refused(page) => log::info!("a completed login could not be returned to the application: {page}"),
        PageFailure::Failed(error) => log_cause(error),
    }
}

/// The value of the session's cookie.
pub(crate) fn session_of(oidc: &Oidc, http: &HttpRequest) -> Option<String> {
    sent_cookies::value(http, cookie_name(oidc))
}

/// The cookie that keeps a session at the browser, until the browser closes or the session ends.
pub fn session_cookie(oidc: &Oidc, value: String) -> Cookie<'static> {
    Cookie::build(cookie_name(oidc), value)
        .path("/")
        .http_only(true)
        .secure(oidc.is_secure())
        .same_site(SameSite::Lax)
        .finish()
}

/// With the prefix `__Host-` a browser accepts the cookie only from this host and only over TLS.
pub(super) fn cookie_name(oidc: &Oidc) -> &'static str {
    if oidc.is_secure() {
        "__Host-vestibule-session"
    } else {
        "vestibule-session"
    }
}

/// The parameters: the query of a GET or the form of a POST; any other POST has none.
fn parameters(http: &HttpRequest, body: &web::Bytes) -> Vec<(String, String)> {
    let form = "application/x-www-form-urlencoded";
    let encoded = match *http.method() {
        Method::POST if actix_web::HttpMessage::content_type(http).eq_ignore_ascii_case(form) => body,
        Method::POST => return Vec::new(),
        _ => http.query_string().as_bytes(),
    };
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap_or_default().to_owned())
}

/// A response for one person or client, never cached.
fn private(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
        ));
    answer
}

fn published(document: &serde_json::Value) -> HttpResponse {
    let kept = format!("public, max-age={}", PUBLISHED_FRESH.as_secs());
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, kept))
        .json(document)
}

/// An error as JSON (RFC 6749 §5.2), with the challenge that a 401 or 403 must carry.
fn refused(failure: &ClientFailure, challenge: impl Fn(&OAuthError) -> String) -> HttpResponse {
    let error = match failure {
        ClientFailure::Refused(error) => error,
        ClientFailure::Failed(error) => return failed(error),
    };
    let mut answer = private(status(error.code));
    if matches!(
        error.code,
        ErrorCode::InvalidClient | ErrorCode::InvalidToken | ErrorCode::InsufficientScope
    ) {
        answer.insert_header((header::WWW_AUTHENTICATE, challenge(error)));
    }
    answer.json(json!({ "error": error.code.as_str(), "error_description": error.description }))
}

fn failed(error: &OidcError) -> HttpResponse {
    log_cause(error);
    private(status(error.code())).json(json!({ "error": error.code().as_str() }))
}

fn page_failed(failure: &PageFailure) -> HttpResponse {
    match failure {
        PageFailure::Refused(page) => error_page(StatusCode::BAD_REQUEST, page.code),
        PageFailure::Failed(error) => {
            log_cause(error);
            error_page(status(error.code()), "unavailable")
        }
    }
}

fn error_page(status: StatusCode, code: &'static str) -> HttpResponse {
    log::info!("an authorization request ended on the page {code}");
    page::error_page(status, code)
}

fn stopping() -> HttpResponse {
    private(StatusCode::SERVICE_UNAVAILABLE).json(json!({ "error": ErrorCode::TemporarilyUnavailable.as_str() }))
}

fn status(code: ErrorCode) -> StatusCode {
    StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn log_cause(error: &OidcError) {
    let mut causes = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        causes = format!("{causes}: {deeper}");
        cause = deeper.source();
    }
    log::error!("the OpenID provider failed: {causes}");
}

/// Asks the person to confirm the logout.
fn confirm(confirmation: Confirmation) -> HttpResponse {
    let page = LogoutConfirm {
        action: "/oauth2/logout",
        fields: confirmation.fields,
    };
    respond(StatusCode::OK, page.render(), &[])
}

#[cfg(test)]
#[path = "oidc_tests.rs"]
mod tests;
