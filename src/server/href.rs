//! An address that is safe as a link or redirect target.

use std::fmt;

use url::{Host, Url};

/// Schemes that run or show content in the page's own origin, or reach into the browser.
const REFUSED_SCHEMES: &[&str] = &[
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "javascript",
    "vbscript",
    "view-source",
];

/// An absolute address that is safe as a link and as the target of a redirect: `https`, `http`, or the own scheme of
/// a native application (RFC 8252 §7.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Href {
    text: String,
    source: String,
}

impl Href {
    /// Parses an address. `None` if it is not absolute or its scheme or host is not safe.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| !REFUSED_SCHEMES.contains(&url.scheme()))?;
        let source = csp_source(&url)?;
        // The serialised form: without the tabs and line ends that a browser would drop.
        Some(Self {
            text: url.into(),
            source,
        })
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address's origin (or bare scheme) as a Content-Security-Policy names it (CSP 3 §2.3.1).
    pub(crate) fn csp_source(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Href {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `None` if the host has a character that could end the directive: the URL standard allows `;` in a host.
fn csp_source(url: &Url) -> Option<String> {
    match url.host() {
        Some(Host::Domain(name)) if matches!(url.scheme(), "http" | "https") => name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
            .then(|| url.origin().ascii_serialization()),
        Some(Host::Ipv4(_)) if matches!(url.scheme(), "http" | "https") => Some(url.origin().ascii_serialization()),
        // A policy has no form for an IPv6 address or for the host of a native application's scheme.
        _ => Some(format!("{}:", url.scheme())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Option<String> {
        Href::parse(text).map(|href| href.csp_source().to_owned())
    }

    #[test]
    fn the_source_of_a_web_address_is_its_origin() {
        assert_eq!(
            source("https://wiki.example.com/callback?a=b").as_deref(),
            Some("https://wiki.example.com")
        );
        assert_eq!(
            source("http://127.0.0.1:9000/cb").as_deref(),
            Some("http://127.0.0.1:9000")
        );
        assert_eq!(
            source("HTTPS://Wiki.Example.com:443/cb").as_deref(),
            Some("https://wiki.example.com")
        );
    }

    #[test]
    fn csp_source_of_native_apps_and_ipv6_is_the_scheme() {
        assert_eq!(source("com.example.app:/oauth").as_deref(), Some("com.example.app:"));
        assert_eq!(source("http://[::1]:9000/cb").as_deref(), Some("http:"));
    }

    #[test]
    fn schemes_that_run_in_the_page_are_refused() {
        for text in [
            "javascript:alert(1)",
            " JaVaScRiPt:alert(1)",
            "java\tscript:alert(1)",
            "data:text/html,x",
            "blob:https://a/b",
        ] {
            assert_eq!(Href::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_relative_address_is_refused() {
        assert_eq!(Href::parse("//evil.example"), None);
        assert_eq!(Href::parse("/login"), None);
        assert_eq!(Href::parse(""), None);
    }

    #[test]
    fn a_host_that_would_end_the_directive_is_refused() {
        assert_eq!(Href::parse("http://a;script-src/"), None);
        assert_eq!(Href::parse("http://a,b/"), None);
        assert_eq!(Href::parse("http://a'b/"), None);
    }
}
