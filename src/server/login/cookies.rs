//! The cookies that a step of a login needs and sets.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use url::form_urlencoded;

use super::{LoginData, run};
use crate::domain::login::Authentication;
use crate::federation::login::browser::Browser;
use crate::server::sent_cookies;
use crate::storage::random;

/// The cookie that holds a login's handle, where browsers do not use TLS; the id of the login follows.
const COOKIE: &str = "vestibule-login-";
/// The cookie that holds a login's handle, where browsers use TLS: no other host and no plain request can plant it. The id
/// of the login follows.
const SECURE_COOKIE: &str = "__Host-vestibule-login-";
/// The most logins that a browser keeps at a time, each in a tab of its own. The oldest is given up for a new one.
const MOST_LOGINS: usize = 8;
/// Length of the id of a login in its cookie and in addresses, in characters.
const ID_LENGTH: usize = 12;
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

/// Returns the id by which the addresses and the cookie of a login tell it from others in the same browser. It is derived
/// from the handle and does not reveal it.
fn login_id(handle: &str) -> String {
    let mut id = random::fingerprint(&format!("login-id/{handle}"));
    id.truncate(ID_LENGTH);
    id
}

/// Returns the path of a login's current page.
pub(in crate::server) fn login_path(handle: &str) -> String {
    format!("/login?login={}", login_id(handle))
}

/// Returns the path that cancels a login.
pub(super) fn cancel_path(handle: &str) -> String {
    format!("/login/cancel?login={}", login_id(handle))
}

/// Returns the name of the cookie that holds a login's handle, where browsers use TLS or not.
pub fn cookie_name(handle: &str, is_secure: bool) -> String {
    let prefix = if is_secure { SECURE_COOKIE } else { COOKIE };
    format!("{prefix}{}", login_id(handle))
}

impl LoginData {
    fn is_secure(&self) -> bool {
        self.federation.login.public_url().scheme() == "https"
    }

    /// Returns the handles of the logins of a browser, oldest first (RFC 6265 §5.4).
    pub(super) fn handles(&self, request: &HttpRequest) -> Vec<String> {
        let cookies = sent_cookies::all(request);
        let handles = cookies.filter(|(name, value)| *name == cookie_name(value, self.is_secure()));
        handles.map(|(_, value)| value.to_owned()).collect()
    }

    /// Returns the cookies of a browser for the login that the address names; without a name, for the newest.
    pub(super) fn cookies(&self, request: &HttpRequest) -> Option<BrowserCookies> {
        let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
        let named = pairs.find(|(name, _)| name == "login").map(|(_, id)| id.into_owned());
        let mut handles = self.handles(request).into_iter().rev();
        let handle = handles.find(|handle| named.as_ref().is_none_or(|id| login_id(handle) == *id));
        handle.map(|handle| self.cookies_of(request, handle))
    }

    /// Returns the cookies of a browser for one of its logins.
    pub(super) fn cookies_of(&self, request: &HttpRequest, handle: String) -> BrowserCookies {
        let value = |name: &str| sent_cookies::value(request, name);
        BrowserCookies {
            handle,
            session: value(self.session_cookie),
            known: self.known_browser(request),
        }
    }

    /// Returns removals of the cookies of a browser's oldest logins, so that there is room for one more.
    pub(super) fn given_up(&self, request: &HttpRequest) -> Vec<Cookie<'static>> {
        let handles = self.handles(request);
        let surplus = (handles.len() + 1).saturating_sub(MOST_LOGINS);
        handles[..surplus]
            .iter()
            .map(|handle| self.expired_cookie(handle))
            .collect()
    }

    /// Returns the cookie by which a browser is known.
    pub(in crate::server) fn known_browser(&self, request: &HttpRequest) -> Option<String> {
        sent_cookies::value(request, self.known_cookie_name())
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
        let before = sent_cookies::value(http, name);
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
        Cookie::build(cookie_name(&handle, self.is_secure()), handle)
            .path("/")
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.is_secure())
            .max_age(Duration::seconds(COOKIE_AGE))
            .finish()
    }

    pub(super) fn expired_cookie(&self, handle: &str) -> Cookie<'static> {
        let mut cookie = self.handle_cookie(handle.to_owned());
        cookie.make_removal();
        cookie
    }
}
