//! The cookies that a step of a login needs.

use crate::federation::login::browser::Browser;

/// The cookies of a browser that takes a step of a login.
#[derive(Clone)]
pub(super) struct BrowserCookies {
    /// The handle of the login.
    pub(super) handle: String,
    /// The cookie of the session, if it has one.
    pub(super) session: Option<String>,
}

impl BrowserCookies {
    /// The browser.
    pub(super) fn browser(&self) -> Browser<'_> {
        Browser {
            handle: &self.handle,
            session: self.session.as_deref(),
        }
    }
}
