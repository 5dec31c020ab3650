//! CSRF protection: checks that a form was sent from a page of this server (OWASP ASVS 5.0 §3.5).

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, ORIGIN};
use url::Url;

use crate::storage::random;

/// Returns the CSRF token for the forms of a login. It is derived from the handle and does not reveal it.
pub(super) fn login_token(handle: &str) -> String {
    random::fingerprint(&format!("login-form/{handle}"))
}

/// Returns the CSRF token for the account page, derived from the session cookie.
pub(super) fn account_token(session: &str) -> String {
    random::fingerprint(&format!("account-form/{session}"))
}

/// Checks that a form carries the token and that no browser header names another origin.
pub(super) fn is_own_form(request: &HttpRequest, public_url: &Url, token: &str, csrf: &str) -> bool {
    let header = |name: HeaderName| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let ours = public_url.origin().ascii_serialization();
    let from_us = header(ORIGIN).is_none_or(|origin| origin == ours);
    let same_site = header(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
    from_us && same_site && random::equal(csrf, token)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn is_own(headers: &[(&str, &str)], csrf: &str) -> bool {
        let request = headers
            .iter()
            .fold(TestRequest::post(), |request, header| request.insert_header(*header));
        is_own_form(
            &request.to_http_request(),
            &Url::parse("https://id.example/x").unwrap(),
            &login_token("handle"),
            csrf,
        )
    }

    #[test]
    fn only_a_form_of_ours_for_this_login_counts() {
        let token = login_token("handle");
        assert!(is_own(&[], &token));
        assert!(is_own(
            &[("Origin", "https://id.example"), ("Sec-Fetch-Site", "same-origin")],
            &token
        ));
        assert!(!is_own(&[], ""));
        assert!(!is_own(&[], "handle"));
        assert!(!is_own(&[], &login_token("another")));
        assert!(!is_own(&[], &account_token("handle")));
        assert!(!is_own(&[("Origin", "https://evil.example")], &token));
        assert!(!is_own(&[("Origin", "null")], &token));
        assert!(!is_own(&[("Sec-Fetch-Site", "same-site")], &token));
        assert!(!is_own(&[("Sec-Fetch-Site", "cross-site")], &token));
    }
}
