//! A strict service provider refuses requests that only a tolerance rule makes acceptable.

use serde_json::json;

use crate::support::{Caller, ENTERPRISE, PATCH_OP, USER, client_of, unique};

fn strict() -> Caller {
    client_of("strict")
}

#[test]
fn strict_refuses_nonstandard_body_and_names_the_rule() {
    for (body, scim_type, rule) in [
        (json!({ "userName": unique("s") }), "invalidSyntax", "R8-schemas"),
        (
            json!({ "schemas": [USER], "userName": unique("s"), "active": "True" }),
            "invalidValue",
            "R4-coerced",
        ),
        (
            json!({ "schemas": [USER], "userName": unique("s"), "shoeSize": 7 }),
            "invalidSyntax",
            "R2-unknown",
        ),
        (
            json!({ "schemas": [USER], "userName": unique("s"), "emails": ["a@b"] }),
            "invalidSyntax",
            "R6-bare",
        ),
    ] {
        let refused = strict().post("/scim/v2/Users", &body).refuses(400, Some(scim_type));
        assert!(
            refused.body["detail"].as_str().unwrap().contains(rule),
            "{}",
            refused.text
        );
    }
}

#[test]
fn strict_refuses_nonstandard_patch_and_changes_nothing() {
    let path = strict().user(&unique("s"));
    for operations in [
        json!([{ "op": "remove", "path": "emails", "value": [{ "value": "a@b" }] }]),
        json!([{ "op": "add", "value": { "name.givenName": "T" } }]),
        json!([]),
    ] {
        strict().patch(&path, &operations).refuses(400, Some("invalidSyntax"));
    }
    assert_eq!(strict().get(&path).body["meta"]["version"], "W/\"1\"");
}

#[test]
fn a_value_path_that_matches_nothing_has_no_target() {
    let path = strict().user_with(&unique("s"), &json!({ "emails": [{ "type": "home", "value": "a@b" }] }));
    let replace =
        |kind: &str| json!([{ "op": "replace", "path": format!("emails[type eq \"{kind}\"].value"), "value": "c@d" }]);
    strict().patch(&path, &replace("work")).refuses(400, Some("noTarget"));
    strict().patch(&path, &replace("home")).gives(200);
}

#[test]
fn a_filter_that_needs_a_tolerance_is_refused() {
    for filter in [
        "shoeSize eq 7",
        "userName eq alice",
        "active eq \"True\"",
        "userName pr 1",
    ] {
        strict().find("Users", filter).refuses(400, Some("invalidFilter"));
    }
}

/// Conformance test suites send these.
#[test]
fn strict_accepts_what_conformance_suites_send() {
    let path = strict().user(&unique("s"));
    strict()
        .patch(&path, &json!([{ "op": "Add", "path": "title", "value": "T" }]))
        .gives(200);
    strict()
        .find("Users", "emails[type eq \"work\"].value eq \"a@b\"")
        .gives(200);
}

#[test]
fn every_form_of_the_standard_is_accepted() {
    let path = strict().user(&unique("s"));
    strict()
        .find("Users", "USERNAME eq \"x\" and not (title pr)")
        .gives(200);
    let body = json!({ "schemas": [USER], "id": "mine", "USERNAME": unique("s"), "title": null, "emails": [] });
    strict().put(&path, &body).gives(200);
    let patch =
        json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "replace", "path": "name.givenName", "value": "A" }] });
    strict().send("PATCH", &path, &[], patch.to_string()).gives(200);
    let whole = json!([{ "op": "add", "path": ENTERPRISE, "value": { "schemas": [ENTERPRISE], "division": "D" } }]);
    strict().patch(&path, &whole).gives(200);
}
