//! The security headers of every response (OWASP ASVS 5.0 §3.4).

use actix_web::HttpResponseBuilder;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::middleware::DefaultHeaders;

use super::href::Href;

/// The Content-Security-Policy of a response that is not a page: it may load, run and send nothing.
const NOTHING: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The Content-Security-Policy of a page that posts a form to an application by a script of this server.
const FORM_POST: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                         frame-ancestors 'none'; form-action https: http:";

/// The Content-Security-Policy of a page with a script of this server.
const WITH_SCRIPT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; \
                           frame-ancestors 'none'; form-action 'self'";

/// Default headers for responses that do not set their own: pages, JSON and errors of the framework.
///
/// `https` says whether the public URL uses TLS; only then is Strict-Transport-Security sent (RFC 6797 §7.2).
pub(crate) fn defaults(https: bool) -> DefaultHeaders {
    let headers = DefaultHeaders::new()
        .add((CONTENT_SECURITY_POLICY, NOTHING))
        .add((X_FRAME_OPTIONS, "DENY"))
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((REFERRER_POLICY, "no-referrer"))
        .add((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .add((CACHE_CONTROL, "no-store"));
    if https {
        headers.add((STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains"))
    } else {
        headers
    }
}

/// Sets the policies of a page: styles and pictures from this server, no script, and forms that post to this server.
///
/// The referrer policy is `same-origin`: under `no-referrer` a browser sends `Origin: null` with a form (Fetch §3.1),
/// and the server could not tell its own forms from foreign ones.
///
/// `targets` are further addresses that the response to a form may redirect to: Chromium checks the whole chain of
/// redirects after a POST against `form-action`.
pub(crate) fn page_policy(response: &mut HttpResponseBuilder, targets: &[Href]) {
    let mut policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self'"
        .to_owned();
    for target in targets {
        policy.push(' ');
        policy.push_str(target.csp_source());
    }
    // `Href` is ASCII only. If that ever changes, the page still gets the strictest policy by default.
    if let Ok(value) = HeaderValue::from_str(&policy) {
        response.insert_header((CONTENT_SECURITY_POLICY, value));
    }
    response.insert_header((REFERRER_POLICY, "same-origin"));
}

/// Like [`page_policy`], for a page with a script of this server. Without scripts it must work as well.
pub(crate) fn scripted_page_policy(response: &mut HttpResponseBuilder) {
    response
        .insert_header((CONTENT_SECURITY_POLICY, WITH_SCRIPT))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((CACHE_CONTROL, "no-store"));
}

/// Sets the policies of a page that posts the response of the authorization endpoint to an application. Its script sends
/// the form, which has nothing to fill in; where the application redirects to afterwards is not known.
pub(crate) fn form_post_policy(response: &mut HttpResponseBuilder) {
    response
        .insert_header((CONTENT_SECURITY_POLICY, FORM_POST))
        .insert_header((CACHE_CONTROL, "no-store"));
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderMap;
    use actix_web::{App, HttpResponse, test, web};

    use super::*;

    async fn headers_of(path: &str, https: bool) -> HeaderMap {
        let app = test::init_service(
            App::new()
                .wrap(defaults(https))
                .route(
                    "/page",
                    web::get().to(|| async {
                        let mut response = HttpResponse::Ok();
                        page_policy(
                            &mut response,
                            &[Href::parse("https://wiki.example.com/callback").unwrap()],
                        );
                        response.finish()
                    }),
                )
                .route(
                    "/fails",
                    web::get()
                        .to(|| async { Err::<HttpResponse, _>(actix_web::error::ErrorInternalServerError("cause")) }),
                ),
        )
        .await;
        let request = test::TestRequest::get().uri(path).to_request();
        test::call_service(&app, request).await.headers().clone()
    }

    fn policy(headers: &HeaderMap) -> &str {
        headers.get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap()
    }

    #[actix_web::test]
    async fn every_response_has_security_headers_even_errors() {
        for path in ["/page", "/fails", "/nowhere"] {
            let headers = headers_of(path, false).await;
            assert_eq!(headers.get(X_FRAME_OPTIONS).unwrap(), "DENY", "{path}");
            assert_eq!(headers.get(X_CONTENT_TYPE_OPTIONS).unwrap(), "nosniff", "{path}");
            let referrer = if path == "/page" { "same-origin" } else { "no-referrer" };
            assert_eq!(headers.get(REFERRER_POLICY).unwrap(), referrer, "{path}");
            assert_eq!(
                headers.get("cross-origin-opener-policy").unwrap(),
                "same-origin",
                "{path}"
            );
            assert_eq!(headers.get(CACHE_CONTROL).unwrap(), "no-store", "{path}");
            assert!(policy(&headers).contains("frame-ancestors 'none'"), "{path}");
            assert!(policy(&headers).starts_with("default-src 'none'"), "{path}");
        }
    }

    #[actix_web::test]
    async fn a_page_may_post_to_itself_and_its_targets() {
        let headers = headers_of("/page", false).await;
        assert!(policy(&headers).ends_with("form-action 'self' https://wiki.example.com"));
        assert!(!policy(&headers).contains("unsafe") && !policy(&headers).contains("script-src"));
    }

    #[actix_web::test]
    async fn an_answer_that_is_no_page_may_post_nowhere() {
        assert!(policy(&headers_of("/nowhere", false).await).contains("form-action 'none'"));
    }

    #[actix_web::test]
    async fn strict_transport_security_is_sent_over_https_alone() {
        assert!(headers_of("/page", true).await.contains_key(STRICT_TRANSPORT_SECURITY));
        assert!(!headers_of("/page", false).await.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
