//! Health, metrics, and the headers of every response.

use crate::support::{anonymous, unique, wiki};

#[test]
fn the_process_lives_and_is_ready() {
    assert_eq!(anonymous().get("/healthz").gives(200).body["status"], "ok");
    let ready = anonymous().get("/readyz").gives(200).body;
    assert_eq!(ready["status"], "ok");
    assert_eq!(ready["checks"]["database"], "ok");
    assert_eq!(ready["checks"]["userstore PRIMARY"], "ok");
}

#[test]
fn metrics_count_requests_without_personal_data() {
    let name = unique("ann");
    let path = wiki().user(&name);
    let metrics = anonymous().get("/metrics").gives(200);
    assert!(metrics.header("content-type").contains("openmetrics"));
    assert!(
        metrics
            .text
            .contains("vestibule_http_requests_total{method=\"POST\",area=\"scim\",status=\"201\"}"),
        "{}",
        metrics.text
    );
    assert!(!metrics.text.contains(&name) && !metrics.text.contains(crate::support::id_of(&path)));
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[test]
fn every_answer_carries_the_headers_that_protect_it() {
    for path in [
        "/",
        "/nothing",
        "/scim/v2/Users",
        "/healthz",
        "/metrics",
        "/.well-known/openid-configuration",
        "/login/nothing",
    ] {
        let answer = anonymous().get(path);
        // A page sends its origin to its own site, because the server checks where a form comes from.
        let is_page = answer.header("content-type").starts_with("text/html");
        let referrer = if is_page { "same-origin" } else { "no-referrer" };
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", referrer),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
        assert!(answer.headers.get("server").is_none(), "{path}");
    }
}

#[test]
fn personal_answers_are_not_cacheable() {
    let path = wiki().user(&unique("ann"));
    assert!(wiki().get(&path).header("cache-control").contains("no-store"));
    assert!(anonymous().get("/").header("cache-control").contains("no-store"));
}

#[test]
fn a_trace_is_refused() {
    let answer = anonymous().send("TRACE", "/scim/v2/Users", &[("x-secret", "c4n4ry")], "");
    assert!(
        answer.status >= 400 && !answer.text.contains("c4n4ry"),
        "{}",
        answer.status
    );
}
