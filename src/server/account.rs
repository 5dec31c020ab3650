//! The account page over HTTP: `/account`, and the forms on it.

pub(super) mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Form, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;

use self::page::AccountPage;
use super::csrf::{account_token, is_own_form};
use super::guesses::Guess;
use super::login::answer::out_of_date;
use super::login::{LoginData, login_path, run, run_with_password, to_provider};
use super::oidc::{log_cause, session_cookie, session_of};
use super::onward::{redirect_page, see_other};
use super::page::{LoggedOutPage, NotFound, respond, unavailable};
use super::{blocking, messages, source};
use crate::domain::login::Authentication;
use crate::domain::password::PasswordDefect;
use crate::domain::{IdentityProviderName, Link, Secret};
use crate::federation::account::{AccountError, AccountProblem, LinkingRedirect, PasswordForm, SessionSelection};
use crate::federation::login::visitor::SignedInUser;
use crate::federation::{Federation, FederationError, LoginError};
use crate::oidc::{Oidc, OidcError};
use crate::storage::random;

/// The path of the page.
const PAGE: &str = "/account";

/// Mounts the page. Wants [`Oidc`] and [`LoginData`] as application data.
pub fn routes(config: &mut ServiceConfig) {
    config
        .route(PAGE, web::get().to(view))
        .route("/account/{form}", web::post().to(change));
}

/// The outcome of the last form, as codes in the query. Only known codes have a text.
#[derive(Deserialize)]
struct PageNotice {
    done: Option<String>,
    problem: Option<String>,
}

/// `GET /account`: shows the page, or starts a login for it.
async fn view(
    oidc: Data<Oidc>,
    login_data: Data<LoginData>,
    http: HttpRequest,
    told: Query<PageNotice>,
) -> HttpResponse {
    let visit = match visit(&oidc, &http).await {
        Ok(Some(visit)) => visit,
        Ok(None) => return enter(&login_data, &http, None).await,
        Err(response) => return response,
    };
    let (federation, visitor) = (Arc::clone(&login_data.federation), visit.visitor.clone());
    match run(move || Ok(federation.account.view(&visitor)?)).await {
        Ok(Some(account)) => {
            let PageNotice { done, problem } = told.into_inner();
            let page = AccountPage::new(account, visit.token(), (done.as_deref(), problem.as_deref()));
            respond(StatusCode::OK, page.render(), &[])
        }
        Ok(None) => enter(&login_data, &http, None).await,
        Err(stop) => stop.into_page(),
    }
}

/// `POST /account/{form}`: carries out one change.
async fn change(
    oidc: Data<Oidc>,
    login_data: Data<LoginData>,
    http: HttpRequest,
    form: Path<String>,
    fields: Form<Vec<(String, String)>>,
) -> HttpResponse {
    let visit = match visit(&oidc, &http).await {
        Ok(Some(visit)) => visit,
        Ok(None) => return enter(&login_data, &http, None).await,
        Err(response) => return response,
    };
    let Some(fields) = AccountForm::read(fields.into_inner()) else {
        return out_of_date();
    };
    if !is_own_form(
        &http,
        login_data.federation.login.public_url(),
        &visit.token(),
        fields.text("csrf"),
    ) {
        return out_of_date();
    }
    let Some(guess) = Guess::begin(&http) else {
        return source::too_many_guesses();
    };
    let (federation, visitor) = (Arc::clone(&login_data.federation), visit.visitor.clone());
    let (form, known) = (form.into_inner(), login_data.known_browser(&http));
    let change = move || carry_out(&federation, &visitor, (&form, known.as_deref()), &fields);
    let next = run_with_password(change).await;
    if !matches!(next, Ok(FormOutcome::Problem(AccountProblem::WrongPassword))) {
        guess.forgive();
    }
    let next = match next {
        Ok(next) => next,
        Err(stop) => return stop.into_page(),
    };
    match next {
        FormOutcome::Done(what) => see_other(&format!("{PAGE}?done={what}"), None),
        FormOutcome::Problem(AccountProblem::NotFresh) => enter(&login_data, &http, Some(visit.visitor)).await,
        FormOutcome::Problem(complaint) => see_other(&format!("{PAGE}?problem={}", code(complaint)), None),
        FormOutcome::Step(handle) => see_other(&login_path(&handle), Some(login_data.handle_cookie(handle))),
        FormOutcome::Away(name, away) => redirect_page(&name, &away.to, Some(login_data.handle_cookie(away.handle))),
        FormOutcome::SignedIn(authentication) => renew_session(oidc, (&login_data, &http), authentication).await,
        FormOutcome::SignedOut => {
            let mut response = respond(StatusCode::OK, LoggedOutPage { way_out: None }.render(), &[]);
            // Adding a cookie fails only if its text is no valid header value; the value of this one is empty.
            let _ = response.add_removal_cookie(&session_cookie(&oidc, String::new()));
            response
        }
        FormOutcome::Unknown => respond(StatusCode::NOT_FOUND, NotFound.render(), &[]),
    }
}

/// The response to a form.
enum FormOutcome {
    Done(&'static str),
    Problem(AccountProblem),
    /// A page of the login.
    Step(String),
    /// An identity provider, by its display name.
    Away(String, LinkingRedirect),
    /// The change ended every session; opens a new one for this browser.
    SignedIn(Authentication),
    SignedOut,
    Unknown,
}

/// Makes the change that a form asks for; a complaint is one of the things that can follow.
fn carry_out(
    federation: &Federation,
    visitor: &SignedInUser,
    form: (&str, Option<&str>),
    fields: &AccountForm,
) -> Result<FormOutcome, LoginError> {
    match change_account(federation, visitor, form, fields) {
        Ok(next) => Ok(next),
        Err(AccountError::Refused(complaint)) => Ok(FormOutcome::Problem(complaint)),
        Err(AccountError::Denied(denial)) => Err(denial.into()),
        Err(AccountError::Failed(error)) => Err(error.into()),
    }
}

fn change_account(
    federation: &Federation,
    visitor: &SignedInUser,
    (form, known): (&str, Option<&str>),
    fields: &AccountForm,
) -> Result<FormOutcome, AccountError> {
    let account = &federation.account;
    match form {
        "confirm" => Ok(FormOutcome::Problem(AccountProblem::NotFresh)),
        "profile" => account
            .edit_profile(visitor, &fields.attributes())
            .map(|()| FormOutcome::Done("profile")),
        "link" => link(federation, visitor, fields),
        "unlink" => {
            let link = Link {
                identity_provider: fields.text("identity_provider").into(),
                issuer: fields.text("issuer").to_owned(),
                subject: fields.text("subject").to_owned(),
            };
            let goes_on = account.unlink(visitor, &link)?;
            Ok(if goes_on {
                FormOutcome::Done("unlinked")
            } else {
                FormOutcome::SignedOut
            })
        }
        "consent" => {
            let path = Some(fields.text("path")).filter(|path| !path.is_empty());
            account.withdraw(visitor, fields.text("purpose"), path)?;
            Ok(FormOutcome::Done("withdrawn"))
        }
        "authenticator" => match fields.text("decision") {
            "set_up" => account.begin_authenticator(visitor).map(FormOutcome::Step),
            "renew_codes" => account.renew_codes(visitor).map(FormOutcome::Step),
            "remove" => account
                .drop_authenticator(visitor)
                .map(|()| FormOutcome::Done("authenticator_removed")),
            _ => Ok(FormOutcome::Unknown),
        },
        "password" => {
            let form = PasswordForm {
                before: fields.secret("before"),
                password: fields.secret("password"),
                again: fields.secret("password_again"),
                known,
            };
            let authentication = account.set_password(visitor, &form)?;
            Ok(FormOutcome::SignedIn(authentication))
        }
        "sessions" => Ok(sign_out(federation, visitor, fields.text("session"))?),
        _ => Ok(FormOutcome::Unknown),
    }
}

fn link(federation: &Federation, visitor: &SignedInUser, fields: &AccountForm) -> Result<FormOutcome, AccountError> {
    let provider = IdentityProviderName::new(fields.text("identity_provider").to_owned());
    let away = federation.account.begin_linking(visitor, &provider)?;
    let name = federation.login.display_name(&provider).unwrap_or_default();
    Ok(FormOutcome::Away(name, away))
}

fn sign_out(federation: &Federation, visitor: &SignedInUser, session: &str) -> Result<FormOutcome, FederationError> {
    if session.is_empty() {
        federation.account.sign_out(visitor, SessionSelection::All)?;
        return Ok(FormOutcome::SignedOut);
    }
    federation
        .account
        .sign_out(visitor, SessionSelection::One(session.to_owned()))?;
    Ok(FormOutcome::Done("signed_out"))
}

/// Opens a new session after a change that ended the old one.
async fn renew_session(
    oidc: Data<Oidc>,
    (login_data, http): (&LoginData, &HttpRequest),
    authentication: Authentication,
) -> HttpResponse {
    let (provider, login) = (oidc.clone(), authentication.clone());
    let opened = blocking::run(move || provider.open_session(&authentication, None, None)).await;
    match opened {
        Some(Ok(session)) => {
            let known = login_data.remember_browser(http, login, session.clone()).await;
            let mut response = see_other("/account?done=password", Some(session_cookie(&oidc, session)));
            if known.is_some_and(|cookie| response.add_cookie(&cookie).is_err()) {
                log::error!("the cookie of a browser cannot be written");
            }
            response
        }
        // The identity that the session came with was unlinked: the person signs in again.
        Some(Err(OidcError::Outdated)) => see_other("/account?done=password", None),
        Some(Err(error)) => {
            log_cause(&error);
            unavailable()
        }
        None => unavailable(),
    }
}

/// Starts a login for the account page; with a visitor, only that person may sign in.
async fn enter(login_data: &LoginData, http: &HttpRequest, visitor: Option<SignedInUser>) -> HttpResponse {
    if let Some(page) = source::turned_away(http) {
        return page;
    }
    let federation = Arc::clone(&login_data.federation);
    let started = match run(move || Ok(federation.account.start(visitor.as_ref())?)).await {
        Ok(started) => started,
        Err(stop) => return stop.into_page(),
    };
    let away = to_provider(login_data, &started).await;
    let cookie = login_data.handle_cookie(started.handle.clone());
    match away {
        Some(to) => redirect_page(messages::text("account.sign_in"), &to, Some(cookie)),
        None => see_other(&login_path(&started.handle), Some(cookie)),
    }
}

/// A visitor with a session.
struct AccountSession {
    cookie: String,
    visitor: SignedInUser,
}

impl AccountSession {
    fn token(&self) -> String {
        account_token(&self.cookie)
    }
}

async fn visit(oidc: &Data<Oidc>, http: &HttpRequest) -> Result<Option<AccountSession>, HttpResponse> {
    let Some(cookie) = session_of(oidc, http) else {
        return Ok(None);
    };
    let (provider, value) = (oidc.clone(), cookie.clone());
    match blocking::run(move || provider.session(&value)).await {
        Some(Ok(found)) => Ok(found.map(|authentication| AccountSession {
            visitor: SignedInUser {
                authentication,
                session: random::fingerprint(&cookie),
            },
            cookie,
        })),
        Some(Err(error)) => {
            log_cause(&error);
            Err(unavailable())
        }
        None => Err(unavailable()),
    }
}

/// The fields of a form, each at most once.
struct AccountForm(BTreeMap<String, String>);

impl AccountForm {
    fn read(pairs: Vec<(String, String)>) -> Option<Self> {
        let count = pairs.len();
        let fields: BTreeMap<_, _> = pairs.into_iter().collect();
        (fields.len() == count).then_some(Self(fields))
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn secret(&self, name: &str) -> Secret {
        Secret::new(self.text(name))
    }

    /// The texts of attributes, by path.
    fn attributes(&self) -> BTreeMap<String, String> {
        let texts = self.0.iter();
        texts
            .filter_map(|(name, text)| Some((name.strip_prefix(page::PREFIX)?.to_owned(), text.clone())))
            .collect()
    }
}

/// The stable code of a complaint; its text is in `locales/`.
fn code(complaint: AccountProblem) -> &'static str {
    match complaint {
        AccountProblem::NotFresh => "not_fresh",
        AccountProblem::Outdated => "account_outdated",
        AccountProblem::LastWayIn => "last_way_in",
        AccountProblem::WrongPassword => "wrong_old_password",
        AccountProblem::Password(PasswordDefect::Short) => "password_short",
        AccountProblem::Password(PasswordDefect::Long) => "password_long",
        AccountProblem::Password(PasswordDefect::Username) => "password_is_name",
        AccountProblem::Password(PasswordDefect::Common) => "password_common",
        AccountProblem::PasswordsDiffer => "passwords_differ",
        AccountProblem::Unfit => "attribute_unfit",
        AccountProblem::Impossible => "not_here",
        AccountProblem::NotAllowed => "not_allowed",
    }
}
