//! Sends a browser on: to an application with the response to its request, or to another page.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use url::Url;

use super::href::Href;
use super::messages;
use super::page::{FormPostPage, RedirectPage, respond, respond_by_script, unavailable};
use crate::domain::login::ResponseMode;
use crate::oidc::AuthorizationResponse;

/// Where a browser goes on after a login.
pub enum Onward {
    /// To a page of this server.
    Page(Url),
    /// To the application.
    Application(AuthorizationResponse),
}

/// How a request was made: browsers check redirects after a form against the page's policy, but not after a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrivedBy {
    /// By a form of a page of this server.
    ByForm,
    /// By a link, a redirect or a form of another site.
    ByLink,
}

impl Onward {
    /// Sends the browser there, with a cookie.
    pub(super) fn follow(self, arrived: ArrivedBy, cookie: Option<Cookie<'static>>) -> HttpResponse {
        match self {
            Self::Application(response) if response.mode == ResponseMode::FormPost => form_post(response, cookie),
            Self::Application(response) => lead(&response.location(), arrived, cookie),
            Self::Page(url) => lead(url.as_str(), arrived, cookie),
        }
    }
}

/// Sends a browser to an address, with a cookie.
pub(super) fn lead(location: &str, arrived: ArrivedBy, cookie: Option<Cookie<'static>>) -> HttpResponse {
    match (arrived, Url::parse(location)) {
        (ArrivedBy::ByLink, _) => see_other(location, cookie),
        (ArrivedBy::ByForm, Ok(url)) => redirect_page(messages::text("onward.application"), &url, cookie),
        (ArrivedBy::ByForm, Err(_)) => unavailable(),
    }
}

/// Answers with a page whose form takes the response to the application (OAuth 2.0 Form Post Response Mode §2).
fn form_post(response: AuthorizationResponse, cookie: Option<Cookie<'static>>) -> HttpResponse {
    let Some(href) = Href::parse(&response.redirect_uri) else {
        return unavailable();
    };
    let page = FormPostPage {
        name: messages::text("onward.application").to_owned(),
        href,
        fields: response.parameters,
    };
    with_cookie(respond_by_script(page.render()), cookie)
}

pub(super) fn see_other(location: &str, cookie: Option<Cookie<'static>>) -> HttpResponse {
    let mut response = HttpResponse::SeeOther();
    response
        .insert_header(("Location", location))
        .insert_header(("Cache-Control", "no-store"));
    if let Some(cookie) = cookie {
        response.cookie(cookie);
    }
    response.finish()
}

/// Answers a form with a page that leads on, because the redirects that follow are unknown.
pub(super) fn redirect_page(name: &str, url: &Url, cookie: Option<Cookie<'static>>) -> HttpResponse {
    let Some(href) = Href::parse(url.as_str()) else {
        return unavailable();
    };
    let response = respond(
        StatusCode::OK,
        RedirectPage {
            name: name.to_owned(),
            href,
        }
        .render(),
        &[],
    );
    with_cookie(response, cookie)
}

fn with_cookie(mut response: HttpResponse, cookie: Option<Cookie<'static>>) -> HttpResponse {
    if cookie.is_some_and(|cookie| response.add_cookie(&cookie).is_err()) {
        log::error!("the session cookie cannot be written");
        return unavailable();
    }
    response
}
