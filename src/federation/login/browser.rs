//! The browser that takes a step of a login, by what its cookies hold.

/// A browser.
#[derive(Clone, Copy)]
pub struct Browser<'a> {
    /// The handle of the login.
    pub handle: &'a str,
    /// The cookie of the session, if it has one.
    pub session: Option<&'a str>,
    /// The cookie by which it is known from earlier logins, if it has one.
    pub known: Option<&'a str>,
}

impl<'a> From<&'a str> for Browser<'a> {
    /// A browser without other cookies.
    fn from(handle: &'a str) -> Self {
        Self {
            handle,
            session: None,
            known: None,
        }
    }
}

impl<'a> From<&'a String> for Browser<'a> {
    /// A browser without other cookies.
    fn from(handle: &'a String) -> Self {
        Self::from(handle.as_str())
    }
}
