//! Versions (RFC 7644 §3.14).

use serde_json::json;

use crate::support::{PATCH_OP, Reply, USER, unique, wiki};

fn conditional(method: &str, path: &str, header: &str, etag: &str) -> Reply {
    let body = match method {
        "PUT" => json!({ "schemas": [USER], "userName": unique("ann") }),
        "PATCH" => {
            json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "add", "path": "title", "value": unique("t") }] })
        }
        _ => json!({}),
    };
    let body = if ["GET", "DELETE"].contains(&method) {
        String::new()
    } else {
        body.to_string()
    };
    wiki().send(method, path, &[(header, etag)], body)
}

#[test]
fn a_change_of_the_version_at_hand_goes_through() {
    for method in ["PATCH", "PUT", "DELETE"] {
        let path = wiki().user(&unique("ann"));
        let etag = wiki().get(&path).header("etag").to_owned();
        assert!(conditional(method, &path, "if-match", &etag).status < 300, "{method}");
    }
}

#[test]
fn a_change_of_an_old_version_is_412_and_changes_nothing() {
    for method in ["PATCH", "PUT", "DELETE"] {
        let path = wiki().user(&unique("ann"));
        let old = wiki().get(&path).header("etag").to_owned();
        wiki()
            .patch(&path, &json!([{ "op": "add", "path": "title", "value": "Dr" }]))
            .gives(200);
        let now = wiki().get(&path).body;
        conditional(method, &path, "if-match", &old).refuses(412, None);
        assert_eq!(wiki().get(&path).body, now, "{method}");
    }
}

#[test]
fn if_match_star_matches_any_version() {
    let path = wiki().user(&unique("ann"));
    conditional("PATCH", &path, "if-match", "*").gives(200);
    wiki().delete(&path);
    assert!([404, 412].contains(&conditional("PATCH", &path, "if-match", "*").status));
}

#[test]
fn unchanged_resource_is_304_not_modified() {
    let path = wiki().user(&unique("ann"));
    let etag = wiki().get(&path).header("etag").to_owned();
    let same = conditional("GET", &path, "if-none-match", &etag).gives(304);
    assert!(same.text.is_empty());
    wiki()
        .patch(&path, &json!([{ "op": "add", "path": "title", "value": "Dr" }]))
        .gives(200);
    conditional("GET", &path, "if-none-match", &etag).gives(200);
}
