//! `/Users` (RFC 7644 §3.3 to §3.6).

use serde_json::json;

use crate::support::{ENTERPRISE, USER, id_of, unique, wiki};

#[test]
fn a_new_user_gets_201_with_location_etag_and_meta() {
    let name = unique("ann");
    let made = wiki()
        .post("/scim/v2/Users", &json!({ "schemas": [USER], "userName": name }))
        .gives(201);
    let location = made.body["meta"]["location"].as_str().unwrap();
    assert_eq!(made.header("location"), location);
    assert!(location.ends_with(&format!("/scim/v2/Users/{}", made.id())));
    assert_eq!(made.header("etag"), made.body["meta"]["version"]);
    assert_eq!(made.header("content-type"), "application/scim+json");
    assert_eq!(made.body["meta"]["resourceType"], "User");
    assert_eq!(
        (&made.body["userName"], &made.body["active"]),
        (&json!(name), &json!(true))
    );
}

#[test]
fn created_resource_is_read_back_unchanged() {
    let body = json!({ "schemas": [USER, ENTERPRISE], "userName": unique("ann"), "title": "Dr", "externalId": "7",
        "emails": [{ "value": "a@example.com", "type": "work", "primary": true }], ENTERPRISE: { "department": "Ops" } });
    let made = wiki().post("/scim/v2/Users", &body).gives(201);
    let read = wiki().get(&format!("/scim/v2/Users/{}", made.id())).gives(200);
    assert_eq!(made.body, read.body);
    for key in ["title", "externalId", "emails", ENTERPRISE, "schemas"] {
        assert_eq!(read.body[key], body[key], "{key}");
    }
}

#[test]
fn taken_username_in_any_spelling_gets_409_uniqueness() {
    let name = unique("straße");
    wiki().user(&name);
    for twin in [name.clone(), name.to_uppercase(), name.replace('ß', "SS")] {
        wiki()
            .post("/scim/v2/Users", &json!({ "schemas": [USER], "userName": twin }))
            .refuses(409, Some("uniqueness"));
    }
}

#[test]
fn a_user_needs_a_name() {
    for body in [
        json!({ "schemas": [USER] }),
        json!({ "schemas": [USER], "userName": "" }),
        json!({ "schemas": [USER], "userName": null }),
    ] {
        wiki().post("/scim/v2/Users", &body).refuses(400, Some("invalidValue"));
    }
}

#[test]
fn a_replaced_user_loses_what_is_not_there_and_keeps_its_id() {
    let path = wiki().user_with(&unique("ann"), &json!({ "title": "Dr", "nickName": "A" }));
    let name = wiki().get(&path).body["userName"].clone();
    let replaced = wiki()
        .put(&path, &json!({ "schemas": [USER], "userName": name, "nickName": "B" }))
        .gives(200);
    assert_eq!(replaced.id(), id_of(&path));
    assert_eq!(replaced.body["nickName"], "B");
    assert!(replaced.body.get("title").is_none());
    assert_eq!(wiki().get(&path).body, replaced.body);
}

#[test]
fn a_replacement_by_the_same_makes_no_version() {
    let path = wiki().user(&unique("ann"));
    let before = wiki().get(&path);
    let after = wiki().put(&path, &before.body).gives(200);
    assert_eq!(before.header("etag"), after.header("etag"));
}

#[test]
fn a_deleted_user_is_gone_and_its_name_is_free() {
    let name = unique("ann");
    let path = wiki().user(&name);
    let gone = wiki().delete(&path).gives(204);
    assert!(gone.text.is_empty());
    wiki().get(&path).refuses(404, None);
    wiki().delete(&path).refuses(404, None);
    assert_ne!(wiki().user(&name), path);
}

#[test]
fn a_password_is_taken_and_never_shown() {
    let path = wiki().user_with(&unique("ann"), &json!({ "password": "c4n4ry-password" }));
    for answer in [
        wiki().get(&path),
        wiki().get(&format!("{path}?attributes=password,userName")),
        wiki().patch(
            &path,
            &json!([{ "op": "replace", "path": "password", "value": "c4n4ry-other" }]),
        ),
    ] {
        assert!(
            !answer.text.contains("c4n4ry") && !answer.text.contains("\"password\""),
            "{}",
            answer.text
        );
    }
    wiki()
        .find("Users", "password co \"c4n4ry\"")
        .refuses(400, Some("invalidFilter"));
}

#[test]
fn attributes_and_excluded_attributes_shape_the_answer() {
    let path = wiki().user_with(
        &unique("ann"),
        &json!({ "title": "Dr", "name": { "givenName": "A", "familyName": "B" } }),
    );
    let some = wiki().get(&format!("{path}?attributes=name.givenName")).gives(200).body;
    assert_eq!(some["name"], json!({ "givenName": "A" }));
    assert!(some.get("title").is_none() && some.get("id").is_some());
    let others = wiki()
        .get(&format!("{path}?excludedAttributes=title,id"))
        .gives(200)
        .body;
    assert!(others.get("title").is_none() && others.get("id").is_some());
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let path = wiki().user(&unique("ann"));
    let head = wiki().send("HEAD", &path, &[], "").gives(200);
    assert!(head.text.is_empty());
    assert_eq!(head.header("etag"), wiki().get(&path).header("etag"));
}

#[test]
fn change_updates_version_and_last_modified() {
    let path = wiki().user(&unique("ann"));
    let first = wiki().get(&path).body;
    let second = wiki()
        .patch(&path, &json!([{ "op": "add", "path": "title", "value": "Dr" }]))
        .gives(200)
        .body;
    assert_eq!(first["meta"]["created"], second["meta"]["created"]);
    assert!(first["meta"]["lastModified"].as_str() < second["meta"]["lastModified"].as_str());
    assert_ne!(first["meta"]["version"], second["meta"]["version"]);
}

#[test]
fn a_client_may_ask_for_plain_json() {
    let path = wiki().user(&unique("ann"));
    let plain = wiki()
        .send("GET", &path, &[("accept", "application/json")], "")
        .gives(200);
    assert_eq!(plain.header("content-type"), "application/json");
}
