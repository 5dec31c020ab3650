//! The cookies that a browser sent, by their names as they were sent.
//!
//! Browsers let no other host and no plain request set a cookie whose name begins with `__Host-`. A name that is encoded
//! otherwise, such as `%5F%5FHost-`, has no such protection, and must not count as one that has.

use actix_web::HttpRequest;
use actix_web::http::header::COOKIE;

/// Returns the cookies of a request, in the order in which they were sent.
pub(super) fn all(request: &HttpRequest) -> impl Iterator<Item = (&str, &str)> {
    let lines = request.headers().get_all(COOKIE);
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('='))
}

/// Returns the value of a cookie.
pub(super) fn value(request: &HttpRequest, wanted: &str) -> Option<String> {
    let mut cookies = all(request).filter(|(name, value)| *name == wanted && !value.is_empty());
    cookies.next().map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn encoded_name_is_another_name() {
        for name in ["%5F%5FHost-a", "__Host%2Da", "__host-a"] {
            let request = TestRequest::default()
                .insert_header(("Cookie", format!("{name}=planted; __Host-a=ours; b=c")))
                .to_http_request();
            assert_eq!(value(&request, "__Host-a").as_deref(), Some("ours"), "{name}");
            let request = TestRequest::default()
                .insert_header(("Cookie", format!("{name}=planted")))
                .to_http_request();
            assert_eq!(value(&request, "__Host-a"), None, "{name}");
        }
    }
}
