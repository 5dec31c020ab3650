//! The cookies that a step of a login needs and sets.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use super::{LoginData, run};
use crate::domain::login::Authentication;
use crate::federation::login::browser::Browser;

/// The cookie that holds a login's handle, where browsers do not use TLS.
pub const COOKIE: &str = "vestibule-login";
/// The cookie that holds a login's handle, where browsers use TLS: no other host and no plain request can plant it.
pub const SECURE_COOKIE: &str = "__Host-vestibule-login";
/// The lifetime of the cookie in seconds, the same as of the login itself.
const COOKIE_AGE: i64 = 600;
/// The cookie by which a browser is known, where browsers do not use TLS.
const KNOWN_COOKIE: &str = "vestibule-browser";
/// The cookie by which a browser is known, where browsers use TLS.
const SECURE_KNOWN_COOKIE: &str = "__Host-vestibule-browser";
/// The lifetime of that cookie in days.
const KNOWN_AGE: i64 = 180;

/// The cookies of a browser that takes a step of a login.
#[derive(Clone)]
pub(super) struct BrowserCookies {
    /// The handle of the login.
    pub(super) handle: String,
    /// The cookie of the session, if it has one.
    pub(super) session: Option<String>,
    /// The cookie by which the browser is known, if it has one.
    pub(super) known: Option<String>,
}

impl BrowserCookies {
    /// The browser.
    pub(super) fn browser(&self) -> Browser<'_> {
        Browser {
            handle: &self.handle,
            session: self.session.as_deref(),
            known: self.known.as_deref(),
        }
    }
}

impl LoginData {
    fn is_secure(&self) -> bool {
        self.federation.login.public_url().scheme() == "https"
    }

    fn cookie(&self) -> &'static str {
        if self.is_secure() { SECURE_COOKIE } else { COOKIE }
    }

    /// Returns the cookies of the browser of a login; none if it has no login under way.
    pub(super) fn cookies(&self, request: &HttpRequest) -> Option<BrowserCookies> {
        let value = |name: &str| request.cookie(name).map(|cookie| cookie.value().to_owned());
        Some(BrowserCookies {
            handle: value(self.cookie()).filter(|handle| !handle.is_empty())?,
            session: value(self.session_cookie),
            known: value(self.known_cookie_name()),
        })
    }

    fn known_cookie_name(&self) -> &'static str {
        if self.is_secure() {
            SECURE_KNOWN_COOKIE
        } else {
            KNOWN_COOKIE
        }
    }

    /// Makes the browser of a session known for the account, if the person used its password. Returns the cookie.
    pub(in crate::server) async fn remember_browser(
        &self,
        http: &HttpRequest,
        login: Authentication,
        session: String,
    ) -> Option<Cookie<'static>> {
        if !login.amr.iter().any(|method| method == "pwd") {
            return None;
        }
        let name = self.known_cookie_name();
        let before = http.cookie(name).map(|cookie| cookie.value().to_owned());
        let federation = Arc::clone(&self.federation);
        let remembered = run(move || Ok(federation.login.remember_browser(&login, &session, before.as_deref())?)).await;
        remembered.ok().flatten().map(|value| {
            Cookie::build(name, value)
                .path("/")
                .http_only(true)
                .same_site(SameSite::Lax)
                .secure(self.is_secure())
                .max_age(Duration::days(KNOWN_AGE))
                .finish()
        })
    }

    pub(in crate::server) fn handle_cookie(&self, handle: String) -> Cookie<'static> {
        Cookie::build(self.cookie(), handle)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.is_secure())
            .max_age(Duration::seconds(COOKIE_AGE))
            .finish()
    }

    pub(super) fn expired_cookie(&self) -> Cookie<'static> {
        let mut cookie = self.handle_cookie(String::new());
        cookie.make_removal();
        cookie
    }
}
