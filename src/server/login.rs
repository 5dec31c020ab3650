//! The login endpoints: `/login/…` and `/federation/{idp}/callback`.

pub(super) mod answer;
mod callback;
mod cookies;
pub(super) mod details;
mod factor;

use std::sync::Arc;

use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Form, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use url::Url;

use self::answer::{out_of_date, refused, refused_request, refused_with_way_out, show};
use self::cookies::BrowserCookies;
pub use self::cookies::cookie_name;
pub(in crate::server) use self::cookies::login_path;
use super::blocking;
use super::csrf::{is_own_form, login_token};
use super::guesses::Guess;
use super::onward::{ArrivedBy, Onward, redirect_page, see_other};
use super::page::{LoggedOutPage, respond, unavailable};
use super::{sent_cookies, source};
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};
use crate::federation::error::RefusedPerson;
use crate::federation::jit::denial::Denial;
use crate::federation::login::StartedLogin;
use crate::federation::login::entry::StepUp;
use crate::federation::login::step::LoginStep;
use crate::federation::login::visitor::SignedInUser;
use crate::federation::{Federation, LoginError};

/// Opens a session for a completed login, in place of the one in the browser's cookie, and answers the application.
/// Blocks.
pub type Complete =
    dyn Fn(&AuthorizationRequest, &Authentication, Option<&str>) -> Result<Completed, Incomplete> + Send + Sync;
/// Tells the application that the person cancelled (`access_denied`, RFC 6749 §4.1.2.1). Blocks; `None` if it fails.
pub(crate) type Cancel = dyn Fn(&AuthorizationRequest) -> Option<Onward> + Send + Sync;

/// The response to a completed login.
pub struct Completed {
    /// The session's cookie, complete with its attributes.
    pub session: Cookie<'static>,
    /// Where the browser goes on.
    pub onward: Onward,
    /// Whether it is a login of its own, and not a step in the session that the browser had.
    pub is_new: bool,
}

/// The reason why a completed login opens no session.
pub enum Incomplete {
    /// The account changed after the login.
    Outdated,
    /// The server failed; the log has the cause.
    Failed,
    /// The request of the application is no longer valid; the code of the page that says so.
    Refused(&'static str),
}

/// The dependencies of the handlers.
#[derive(Clone)]
pub struct LoginData {
    /// The federation service.
    pub federation: Arc<Federation>,
    /// Called when a login is completed.
    pub complete: Arc<Complete>,
    /// Called when a login is cancelled.
    pub cancel: Arc<Cancel>,
    /// The name of the session's cookie.
    pub session_cookie: &'static str,
}

/// Mounts the routes. [`LoginData`] must be there as application data.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route("/login", web::get().to(view))
        .route("/login/idp", web::post().to(choose))
        .route("/login/email", web::post().to(email))
        .route("/login/password", web::post().to(password))
        .route("/login/prove", web::post().to(prove))
        .route("/login/details", web::post().to(details::answer))
        .route("/login/code", web::post().to(factor::code))
        .route("/login/codes", web::post().to(factor::read_codes))
        .route("/login/cancel", web::get().to(cancel))
        .route("/federation/{idp}/callback", web::get().to(callback::by_link))
        .route("/federation/{idp}/callback", web::post().to(callback::by_form))
        .route("/federation/{idp}/logout", web::get().to(after_logout));
}

/// Begins a login for a valid authorization request and redirects the browser to it.
pub async fn start(
    (login_data, http): (&LoginData, &HttpRequest),
    request: AuthorizationRequest,
    service_provider: ServiceProviderName,
) -> HttpResponse {
    let federation = Arc::clone(&login_data.federation);
    let started = run(move || Ok(federation.login.start(request, &service_provider)?)).await;
    to_first_page((login_data, http), started).await
}

/// Begins the step that a session lacks to enter an application, and redirects the browser to it.
pub(super) async fn step_up(
    (login_data, http): (&LoginData, &HttpRequest),
    request: AuthorizationRequest,
    service_provider: ServiceProviderName,
    visitor: SignedInUser,
) -> HttpResponse {
    let federation = Arc::clone(&login_data.federation);
    let begun = run(move || federation.login.step_up(request, &service_provider, &visitor)).await;
    match begun {
        Ok(StepUp::Begun(started)) => to_first_page((login_data, http), Ok(started)).await,
        Ok(StepUp::Needless(request, authentication)) => {
            let step = Ok(LoginStep::Complete(request, authentication));
            finish_step((login_data, http), None, step, ArrivedBy::ByLink).await
        }
        Err(stop) => stop.into_page(),
    }
}

async fn to_first_page(
    (login_data, http): (&LoginData, &HttpRequest),
    started: Result<StartedLogin, Stop>,
) -> HttpResponse {
    let started = match started {
        Ok(started) => started,
        Err(stop) => return stop.into_page(),
    };
    let away = to_provider(login_data, &started).await;
    let to = away.map_or_else(|| login_path(&started.handle), String::from);
    let mut response = see_other(&to, Some(login_data.handle_cookie(started.handle)));
    for cookie in login_data.given_up(http) {
        // Adding a cookie fails only if its text is no valid header value; these have come in a header.
        let _ = response.add_cookie(&cookie);
    }
    response
}

/// Sends a login to the provider that it goes to at once. `None` if it shows a page instead.
pub(super) async fn to_provider(login_data: &LoginData, started: &StartedLogin) -> Option<Url> {
    let provider = started.to.clone()?;
    let (federation, handle) = (Arc::clone(&login_data.federation), started.handle.clone());
    let asked = provider.clone();
    let sent = run_at_provider(&asked, move || federation.login.send_to(&handle, &provider)).await;
    sent.ok()
}

/// `GET /login`: shows the current page of the login.
async fn view(login_data: Data<LoginData>, request: HttpRequest) -> HttpResponse {
    let Some(cookies) = login_data.cookies(&request) else {
        return refused(&Denial::NotUnderWay);
    };
    let (federation, handle) = (Arc::clone(&login_data.federation), cookies.handle.clone());
    match run(move || federation.login.view(cookies.browser())).await {
        Ok(LoginStep::Show(screen)) => show(screen, &handle),
        // Viewing a login does not complete it.
        Ok(LoginStep::Complete(..)) => refused(&Denial::NotUnderWay),
        Err(stop) => stop.into_page(),
    }
}

#[derive(Deserialize)]
struct ChooseForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    identity_provider: String,
}

/// `POST /login/idp`: goes to an identity provider.
async fn choose(login_data: Data<LoginData>, request: HttpRequest, form: Form<ChooseForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &request, &form.csrf) else {
        return foreign_form(&login_data, &request);
    };
    let provider = IdentityProviderName::new(form.into_inner().identity_provider);
    let federation = Arc::clone(&login_data.federation);
    let handle = cookies.handle.clone();
    let (name, asked) = (federation.login.display_name(&provider), provider.clone());
    let choice = move || federation.login.choose(cookies.browser(), &provider);
    let chosen = match &name {
        Some(_) => run_at_provider(&asked, choice).await,
        None => run(choice).await,
    };
    let name = name.unwrap_or_default();
    match chosen {
        Ok(url) => redirect_page(&name, &url, None),
        Err(stop) => stopped((&login_data, &request), Some(&handle), stop).await,
    }
}

#[derive(Deserialize)]
struct AddressForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    email: String,
}

/// `POST /login/email`: goes to the identity provider of an e-mail domain.
async fn email(login_data: Data<LoginData>, request: HttpRequest, form: Form<AddressForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &request, &form.csrf) else {
        return foreign_form(&login_data, &request);
    };
    let (federation, handle) = (Arc::clone(&login_data.federation), cookies.handle.clone());
    match run(move || federation.login.choose_by_email(cookies.browser(), &form.email)).await {
        Ok(Some((name, url))) => redirect_page(&name, &url, None),
        Ok(None) => see_other(&login_path(&handle), None),
        Err(stop) => stopped((&login_data, &request), Some(&handle), stop).await,
    }
}

#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    username: String,
    #[serde(default = "empty")]
    password: Secret,
}

fn empty() -> Secret {
    Secret::new("")
}

/// `POST /login/password`: checks a local username and password.
async fn password(login_data: Data<LoginData>, request: HttpRequest, form: Form<PasswordForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &request, &form.csrf) else {
        return foreign_form(&login_data, &request);
    };
    let Some(guess) = Guess::begin(&request) else {
        return source::too_many_guesses();
    };
    let (federation, form) = (Arc::clone(&login_data.federation), form.into_inner());
    let handle = cookies.handle.clone();
    let step = run_with_password(move || {
        federation
            .login
            .password(cookies.browser(), &form.username, &form.password)
    })
    .await;
    settle_guess(guess, &step);
    finish_step((&login_data, &request), Some(&handle), step, ArrivedBy::ByForm).await
}

#[derive(Deserialize)]
struct ProveForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    decision: String,
    #[serde(default = "empty")]
    password: Secret,
}

/// `POST /login/prove`: checks the password of the account to link, or goes back to the other sign-in methods.
async fn prove(login_data: Data<LoginData>, request: HttpRequest, form: Form<ProveForm>) -> HttpResponse {
    let Some(cookies) = own_cookies(&login_data, &request, &form.csrf) else {
        return foreign_form(&login_data, &request);
    };
    let Some(guess) = Guess::begin(&request) else {
        return source::too_many_guesses();
    };
    let (federation, form) = (Arc::clone(&login_data.federation), form.into_inner());
    let handle = cookies.handle.clone();
    let step = run_with_password(move || match form.decision.as_str() {
        "link" => federation.login.prove(cookies.browser(), &form.password),
        "mail" => federation.login.prove_by_mail(cookies.browser()),
        "rename" => federation.login.rename(cookies.browser()),
        "back" => federation.login.back(cookies.browser()),
        _ => federation.login.view(cookies.browser()),
    })
    .await;
    settle_guess(guess, &step);
    finish_step((&login_data, &request), Some(&handle), step, ArrivedBy::ByForm).await
}

/// Ends the guess of a step. It was wrong if the page shows so, or if it ended the login.
fn settle_guess(guess: Guess, step: &Result<LoginStep, Stop>) {
    let is_wrong = match step {
        Ok(LoginStep::Show(screen)) => screen.page.shows_a_wrong_guess(),
        Err(Stop::Denied(denial, _)) => *denial == Denial::TooManyAttempts,
        Ok(LoginStep::Complete(..)) | Err(Stop::Failed(_)) => false,
    };
    if !is_wrong {
        guess.forgive();
    }
}

/// `GET /login/cancel`: returns to the application without a login.
async fn cancel(login_data: Data<LoginData>, request: HttpRequest) -> HttpResponse {
    let Some(cookies) = login_data.cookies(&request) else {
        return refused(&Denial::NotUnderWay);
    };
    let (federation, answer) = (Arc::clone(&login_data.federation), Arc::clone(&login_data.cancel));
    let expired = login_data.expired_cookie(&cookies.handle);
    let cancelled = run(move || {
        Ok(federation
            .login
            .cancel(cookies.browser())?
            .and_then(|request| answer(&request)))
    })
    .await;
    match cancelled {
        Ok(Some(onward)) => onward.follow(ArrivedBy::ByLink, Some(expired)),
        Ok(None) => refused(&Denial::NotUnderWay),
        Err(stop) => stop.into_page(),
    }
}

#[derive(Deserialize)]
struct AfterLogout {
    #[serde(default)]
    state: String,
}

/// `GET /federation/{idp}/logout`: the browser comes back from the logout at an identity provider.
async fn after_logout(login_data: Data<LoginData>, parameters: Query<AfterLogout>) -> HttpResponse {
    match login_data.federation.login.after_logout(&parameters.state) {
        Some(next) => see_other(&next, None),
        None => respond(StatusCode::OK, LoggedOutPage { way_out: None }.render(), &[]),
    }
}

/// Shows the reason of a refusal, and how to continue if the login is still under way.
async fn stopped((login_data, http): (&LoginData, &HttpRequest), handle: Option<&str>, stop: Stop) -> HttpResponse {
    let (denial, person) = match stop {
        Stop::Denied(denial, person) => (denial, person),
        Stop::Failed(response) => return response,
    };
    let (Some(handle), federation) = (handle, Arc::clone(&login_data.federation)) else {
        return refused(&denial);
    };
    let (cookies, told) = (login_data.cookies_of(http, handle.to_owned()), denial.clone());
    let record = move || Ok(federation.login.refused(cookies.browser(), &told, person.as_deref())?);
    match run(record).await {
        Ok(Some(context)) => refused_with_way_out(&denial, context, login_data.federation.login.public_url(), handle),
        Ok(None) => refused(&denial),
        Err(stop) => stop.into_page(),
    }
}

/// Answers a step of a login: completes it, shows its next page, or refuses it.
async fn finish_step(
    (login_data, http): (&LoginData, &HttpRequest),
    handle: Option<&str>,
    step: Result<LoginStep, Stop>,
    arrived: ArrivedBy,
) -> HttpResponse {
    let (request, authentication) = match step {
        Ok(LoginStep::Complete(request, authentication)) => (request, authentication),
        Ok(LoginStep::Show(_)) => return see_other(&handle.map_or_else(|| "/login".to_owned(), login_path), None),
        Err(stop) => return stopped((login_data, http), handle, stop).await,
    };
    let complete = Arc::clone(&login_data.complete);
    let before = sent_cookies::value(http, login_data.session_cookie);
    let login = authentication.clone();
    let done = run(move || Ok(complete(&request, &authentication, before.as_deref()))).await;
    let opened;
    let mut response = match done {
        Ok(Ok(Completed {
            session,
            onward,
            is_new,
        })) => {
            opened = is_new.then(|| session.value().to_owned());
            onward.follow(arrived, Some(session))
        }
        Ok(Err(Incomplete::Outdated)) => return refused(&Denial::NotUnderWay),
        Ok(Err(Incomplete::Refused(code))) => return refused_request(code),
        Ok(Err(Incomplete::Failed)) => return unavailable(),
        Err(stop) => return stop.into_page(),
    };
    let known = match opened {
        Some(session) => login_data.remember_browser(http, login, session).await,
        None => None,
    };
    let cookies = [handle.map(|handle| login_data.expired_cookie(handle)), known];
    if cookies
        .iter()
        .flatten()
        .any(|cookie| response.add_cookie(cookie).is_err())
    {
        log::error!("the cookies of a login cannot be written");
    }
    response
}

/// Returns the browser's cookies for the login that a form belongs to, if it passes the CSRF check.
fn own_cookies(login_data: &LoginData, request: &HttpRequest, csrf: &str) -> Option<BrowserCookies> {
    let public_url = login_data.federation.login.public_url();
    let is_own = |handle: &String| is_own_form(request, public_url, &login_token(handle), csrf);
    let handle = login_data.handles(request).into_iter().find(is_own)?;
    Some(login_data.cookies_of(request, handle))
}

/// Answers a form that fails the CSRF check.
fn foreign_form(login_data: &LoginData, request: &HttpRequest) -> HttpResponse {
    if login_data.handles(request).is_empty() {
        refused(&Denial::NotUnderWay)
    } else {
        out_of_date()
    }
}

/// Why a step does not go on.
pub(super) enum Stop {
    /// The person is denied; the person as far as they are known.
    Denied(Denial, Option<Box<RefusedPerson>>),
    /// Something failed here; the page says so.
    Failed(HttpResponse),
}

impl Stop {
    /// The page, without a way to go on.
    pub(super) fn into_page(self) -> HttpResponse {
        match self {
            Self::Denied(denial, _) => refused(&denial),
            Self::Failed(response) => response,
        }
    }
}

/// Runs a step of a login; a failure becomes a page.
pub(super) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, Stop> {
    match blocking::LOGINS.run(work).await {
        Some(Ok(value)) => Ok(value),
        failed => Err(stop(failed.and_then(Result::err))),
    }
}

/// Like [`run`], for a step that asks an identity provider.
async fn run_at_provider<T: Send + 'static>(
    provider: &IdentityProviderName,
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, Stop> {
    match blocking::at_provider(provider.as_str(), work).await {
        Some(Ok(value)) => Ok(value),
        failed => Err(stop(failed.and_then(Result::err))),
    }
}

/// Like [`run`], for a step that checks or hashes a password.
pub(super) async fn run_with_password<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoginError> + Send + 'static,
) -> Result<T, Stop> {
    match blocking::PASSWORDS.run(work).await {
        Some(Ok(value)) => Ok(value),
        failed => Err(stop(failed.and_then(Result::err))),
    }
}

/// Returns why a step does not go on; without an error, it could not be run.
fn stop(error: Option<LoginError>) -> Stop {
    match error {
        Some(LoginError::Denied(denial, person)) => Stop::Denied(denial, person),
        Some(LoginError::Failed(error)) => {
            log::error!("a login failed: {error}");
            Stop::Failed(unavailable())
        }
        None => Stop::Failed(unavailable()),
    }
}
