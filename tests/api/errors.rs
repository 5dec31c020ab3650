//! Errors (RFC 7644 §3.12): the right status, a SCIM body, and no internal details.

use serde_json::json;

use crate::support::{USER, unique, wiki};

#[test]
fn a_body_that_is_no_json_is_an_invalid_syntax() {
    for body in ["{", "", "[]", "null", "\u{feff}", "{\"userName\": }"] {
        wiki()
            .send("POST", "/scim/v2/Users", &[], body)
            .refuses(400, Some("invalidSyntax"));
    }
}

#[test]
fn a_body_of_another_media_type_is_415() {
    for media_type in ["text/xml", "application/x-www-form-urlencoded", "multipart/form-data"] {
        wiki()
            .send("POST", "/scim/v2/Users", &[("content-type", media_type)], "{}")
            .refuses(415, None);
    }
}

#[test]
fn an_unknown_method_is_405_with_the_methods_that_are_known() {
    let path = wiki().user(&unique("ann"));
    let refused = wiki().send("POST", &path, &[], "{}").refuses(405, None);
    assert_eq!(refused.header("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT");
    wiki().send("DELETE", "/scim/v2/Users", &[], "").refuses(405, None);
    assert_eq!(
        wiki().send("OPTIONS", &path, &[], "").gives(204).header("allow"),
        refused.header("allow")
    );
}

#[test]
fn an_unknown_place_is_404() {
    for path in [
        "/scim/v2/Nothing",
        "/scim/v2/Users/nobody",
        "/scim/v2/Users/a/b",
        "/scim/v2/Users/a/b/",
    ] {
        wiki().get(path).refuses(404, None);
    }
}

#[test]
fn another_version_of_scim_is_told_which_one_is_spoken() {
    let refused = wiki().get("/scim/v1/Users").refuses(400, Some("invalidVers"));
    assert!(refused.body["detail"].as_str().unwrap().contains("/scim/v2"));
}

#[test]
fn a_value_of_the_wrong_type_is_named_and_not_repeated() {
    let body = json!({ "schemas": [USER], "userName": unique("ann"), "title": { "secret": "c4n4ry" } });
    let refused = wiki().post("/scim/v2/Users", &body).refuses(400, Some("invalidValue"));
    assert!(
        refused.text.contains("title") && !refused.text.contains("c4n4ry"),
        "{}",
        refused.text
    );
}

#[test]
fn a_wrong_filter_is_not_repeated() {
    let refused = wiki()
        .find("Users", "userName eq \"c4n4ry\" and (")
        .refuses(400, Some("invalidFilter"));
    assert!(!refused.text.contains("c4n4ry"), "{}", refused.text);
}

#[test]
fn a_compressed_body_is_refused_as_such() {
    let headers = [("content-encoding", "gzip")];
    wiki()
        .send("POST", "/scim/v2/Users", &headers, "\u{1f}")
        .refuses(415, None);
}
