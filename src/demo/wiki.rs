//! A tiny wiki that signs people in through Vestibule: the service provider of the demonstration.
//!
//! As a demonstration it keeps its sessions in memory and runs discovery for each login. The checks of the login itself
//! are those that any relying party should make.

mod facts;
mod relying_party;
mod sessions;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::{self, Data, Form, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use askama::Template;
use serde::Deserialize;

use self::facts::ClaimRow;
use self::relying_party::{RelyingParty, WikiLoginError};
use self::sessions::{LOGIN_LIFETIME, SESSION_LIFETIME, Sessions};
use crate::domain::{Clock, Secret};
use crate::server::assets::{self, Asset, Kind};
use crate::server::href::Href;
use crate::server::{blocking, headers, messages, page};
use crate::storage::random;

/// Cookies ignore ports: on loopback these names must differ from those of every other server of the demonstration.
const LOGIN_COOKIE: &str = "wiki_login";
const SESSION_COOKIE: &str = "wiki_session";

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("wiki", Kind::Css, include_str!("../../templates/wiki.css")));
static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("wiki", Kind::Svg, include_str!("../../templates/wiki.svg")));

/// The wiki's addresses, and its registration at the provider.
#[derive(Clone, Debug)]
pub struct WikiSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The provider's issuer identifier, exactly as its discovery document writes it.
    pub issuer: String,
    /// The wiki's `client_id`.
    pub client_id: String,
    /// The wiki's client secret, sent with `client_secret_basic`.
    pub client_secret: Secret,
    /// The public URL of the wiki, without a slash at its end. Registered at the provider are `/callback` below it,
    /// and `/` below it for the return from a logout.
    pub public_url: String,
}

/// Binds the wiki; the returned server runs when awaited. It handles no signals.
///
/// # Errors
/// The address cannot be bound.
pub fn server(settings: WikiSettings) -> std::io::Result<Server> {
    let listen = settings.listen;
    let wiki = Data::new(Wiki::new(settings, Clock::system()));
    let https = wiki.https;
    let factory = move || {
        App::new()
            .wrap(headers::defaults(https))
            .configure(|config| routes(config, &wiki))
    };
    Ok(HttpServer::new(factory)
        .workers(1)
        .disable_signals()
        .bind(listen)?
        .run())
}

struct Wiki {
    party: RelyingParty,
    sessions: Sessions,
    https: bool,
}

impl Wiki {
    fn new(settings: WikiSettings, clock: Clock) -> Self {
        let https = settings.public_url.starts_with("https:");
        Self {
            party: RelyingParty::new(settings, clock.clone()),
            sessions: Sessions::new(clock),
            https,
        }
    }

    fn cookie(&self, name: &'static str, value: String, lifetime: Duration) -> Cookie<'static> {
        Cookie::build(name, value)
            .path("/")
            .http_only(true)
            // Lax, not Strict: the browser comes back from the provider, which is another site.
            .same_site(SameSite::Lax)
            .secure(self.https)
            .max_age(lifetime.try_into().unwrap_or(actix_web::cookie::time::Duration::ZERO))
            .finish()
    }

    fn gone(&self, name: &'static str) -> Cookie<'static> {
        self.cookie(name, String::new(), Duration::ZERO)
    }
}

fn routes(config: &mut web::ServiceConfig, wiki: &Data<Wiki>) {
    for asset in [assets::style(), &*STYLE, &*MARK] {
        asset.mount(config);
    }
    config
        .app_data(wiki.clone())
        .route("/", web::get().to(front))
        .route("/login", web::get().to(login))
        .route("/callback", web::get().to(callback))
        .route("/logout", web::post().to(logout))
        .default_service(web::to(not_found));
}

/// The response of the provider (RFC 6749 §4.1.2, RFC 9207). Error descriptions are not read.
#[derive(Deserialize)]
struct Return {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

#[derive(Deserialize)]
struct LogoutForm {
    csrf: String,
}

/// `GET /`: shows the wiki to signed-in people, and the login link to others.
async fn front(wiki: Data<Wiki>, request: HttpRequest) -> HttpResponse {
    let Some(member) = request
        .cookie(SESSION_COOKIE)
        .and_then(|cookie| wiki.sessions.find(cookie.value()))
    else {
        return page::respond(
            StatusCode::OK,
            page::rendered(&Public {
                issuer: wiki.party.issuer(),
            }),
            &[],
        );
    };
    let claims = &member.person.claims;
    let article = Article {
        name: facts::display_name(claims),
        facts: facts::facts(claims),
        csrf: &member.csrf,
        issuer: wiki.party.issuer(),
    };
    // Logging out redirects to the provider, and Chromium checks that against the page's policy.
    let targets: Vec<_> = member
        .person
        .logout
        .as_deref()
        .and_then(Href::parse)
        .into_iter()
        .collect();
    page::respond(StatusCode::OK, page::rendered(&article), &targets)
}

/// `GET /login`: sends the browser to the provider.
async fn login(wiki: Data<Wiki>) -> HttpResponse {
    let asked = wiki.clone();
    match blocking::run(move || asked.party.begin()).await {
        Some(Ok((url, pending))) => {
            let cookie = wiki.cookie(LOGIN_COOKIE, wiki.sessions.begin(pending), LOGIN_LIFETIME);
            HttpResponse::SeeOther()
                .insert_header((LOCATION, url))
                .cookie(cookie)
                .finish()
        }
        failed => refused(code_of(failed)),
    }
}

/// `GET /callback`: the browser comes back from the provider.
async fn callback(wiki: Data<Wiki>, request: HttpRequest, answer: Option<Query<Return>>) -> HttpResponse {
    let asked = wiki.clone();
    let cookie = request.cookie(LOGIN_COOKIE);
    let finished = blocking::run(move || finish(&asked, cookie.as_ref().map(Cookie::value), answer)).await;
    let mut reply = match finished.unwrap_or(Err("internal")) {
        Ok(session) => {
            // An earlier session ends here and is never reused, which prevents session fixation.
            if let Some(before) = request.cookie(SESSION_COOKIE) {
                wiki.sessions.close(before.value());
            }
            let cookie = wiki.cookie(SESSION_COOKIE, session, SESSION_LIFETIME);
            HttpResponse::SeeOther()
                .insert_header((LOCATION, "/"))
                .cookie(cookie)
                .finish()
        }
        Err(code) => refused(code),
    };
    if let Err(error) = reply.add_cookie(&wiki.gone(LOGIN_COOKIE)) {
        log::error!("a cookie could not be removed: {error}");
    }
    reply
}

/// Completes a login: returns the new session's cookie, or an error code. Blocks.
fn finish(wiki: &Wiki, cookie: Option<&str>, answer: Option<Query<Return>>) -> Result<String, &'static str> {
    let Return {
        code,
        state,
        error,
        iss,
    } = answer.ok_or("invalid_request")?.into_inner();
    let pending = cookie
        .and_then(|token| wiki.sessions.take_login(token))
        .ok_or("expired_login")?;
    if !state.is_some_and(|state| random::equal(&state, pending.state.secret())) {
        return Err("wrong_browser");
    }
    if iss.is_some_and(|iss| iss != wiki.party.issuer()) {
        return Err("provider_error");
    }
    match error.as_deref() {
        None => {}
        Some("access_denied") => return Err("cancelled"),
        Some(_) => return Err("provider_refused"),
    }
    let code = code.ok_or("invalid_request")?;
    let person = wiki
        .party
        .finish(pending, code)
        .map_err(|error| code_of::<()>(Some(Err(error))))?;
    Ok(wiki.sessions.open(person))
}

/// `POST /logout`: ends the session here, then at the provider (OpenID Connect RP-Initiated Logout 1.0).
async fn logout(wiki: Data<Wiki>, request: HttpRequest, form: Form<LogoutForm>) -> HttpResponse {
    let cookie = request.cookie(SESSION_COOKIE);
    let found = cookie.and_then(|cookie| Some((wiki.sessions.find(cookie.value())?, cookie)));
    let Some((member, cookie)) = found else {
        return HttpResponse::SeeOther().insert_header((LOCATION, "/")).finish();
    };
    if !random::equal(&form.csrf, &member.csrf) {
        return refused("wrong_csrf");
    }
    wiki.sessions.close(cookie.value());
    let next = member.person.logout.clone().unwrap_or_else(|| "/".to_owned());
    HttpResponse::SeeOther()
        .insert_header((LOCATION, next))
        .cookie(wiki.gone(SESSION_COOKIE))
        .finish()
}

async fn not_found() -> HttpResponse {
    let refusal = Refusal {
        title: "Page not found",
        text: "The address may be mistyped, or nobody has written this page yet.",
        code: "not_found",
    };
    page::respond(StatusCode::NOT_FOUND, page::rendered(&refusal), &[])
}

fn refused(code: &'static str) -> HttpResponse {
    let (title, text) = messages::message(code);
    let status = match code {
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        "provider_unavailable" | "provider_error" => StatusCode::BAD_GATEWAY,
        _ => StatusCode::BAD_REQUEST,
    };
    page::respond(status, page::rendered(&Refusal { title, text, code }), &[])
}

/// Returns the error code of a failure and logs its cause.
fn code_of<T>(failed: Option<Result<T, WikiLoginError>>) -> &'static str {
    match failed {
        Some(Err(error)) => {
            log::warn!("a login to the wiki failed: {error}");
            error.code()
        }
        _ => "internal",
    }
}

#[derive(Template)]
#[template(path = "wiki_public.html")]
struct Public<'a> {
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "wiki_article.html")]
struct Article<'a> {
    name: String,
    facts: Vec<ClaimRow>,
    csrf: &'a str,
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "wiki_refusal.html")]
struct Refusal {
    title: &'static str,
    text: &'static str,
    code: &'static str,
}
