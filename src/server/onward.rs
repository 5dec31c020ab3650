//! Sends a browser on: to an application with the response to its request, or to another page.

use actix_web::HttpResponse;
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use askama::Template;
use url::Url;

use super::href::Href;
use super::page::{rendered, respond, unavailable};
use super::{headers, messages};
use crate::domain::login::ResponseMode;
use crate::oidc::AuthorizationResponse;

/// Leads to another address by a refresh instead of a redirect.
///
/// For the response to a form's POST when the redirects that follow are unknown: browsers check `form-action` through a
/// redirect, but not past this page.
#[derive(Clone, Debug, Template)]
#[template(path = "onward.html")]
pub(super) struct RedirectPage {
    /// The display name of the destination.
    pub(super) name: String,
    /// The address.
    pub(super) href: Href,
}

/// Takes the response of the authorization endpoint to an application, by a form that a script sends.
#[derive(Clone, Debug, Template)]
#[template(path = "form_post.html")]
pub(super) struct FormPostPage {
    /// The display name of the destination.
    pub(super) name: String,
    /// The address.
    pub(super) href: Href,
    /// The fields, by name.
    pub(super) fields: Vec<(&'static str, String)>,
}

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
    let mut response = HttpResponse::Ok();
    headers::form_post_policy(&mut response);
    let response = response.content_type(ContentType::html()).body(rendered(&page));
    with_cookie(response, cookie)
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
        rendered(&RedirectPage {
            name: name.to_owned(),
            href,
        }),
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
