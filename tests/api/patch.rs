//! PATCH (RFC 7644 §3.5.2).

use serde_json::{Value, json};

use crate::support::{ENTERPRISE, unique, wiki};

fn patched(more: &Value, operations: &Value) -> Value {
    let path = wiki().user_with(&unique("ann"), more);
    wiki().patch(&path, operations).gives(200).body
}

#[test]
fn an_attribute_is_added_replaced_and_removed() {
    assert_eq!(
        patched(&json!({}), &json!([{ "op": "add", "path": "title", "value": "Dr" }]))["title"],
        "Dr"
    );
    assert_eq!(
        patched(
            &json!({ "title": "A" }),
            &json!([{ "op": "replace", "path": "title", "value": "B" }])
        )["title"],
        "B"
    );
    assert!(
        patched(&json!({ "title": "A" }), &json!([{ "op": "remove", "path": "title" }]))
            .get("title")
            .is_none()
    );
}

#[test]
fn without_a_path_the_value_names_the_attributes() {
    let user = patched(
        &json!({}),
        &json!([{ "op": "replace", "value": { "title": "Dr", "name": { "givenName": "A" } } }]),
    );
    assert_eq!(
        (&user["title"], &user["name"]["givenName"]),
        (&json!("Dr"), &json!("A"))
    );
}

#[test]
fn a_filtered_path_changes_the_elements_it_chooses() {
    let emails = json!({ "emails": [{ "value": "a@x", "type": "work" }, { "value": "b@x", "type": "home" }] });
    let user = patched(
        &emails,
        &json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "c@x" }]),
    );
    assert_eq!(
        user["emails"],
        json!([{ "value": "c@x", "type": "work" }, { "value": "b@x", "type": "home" }])
    );
    let user = patched(
        &emails,
        &json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }]),
    );
    assert_eq!(user["emails"], json!([{ "value": "b@x", "type": "home" }]));
}

#[test]
fn an_extension_is_reached_by_its_urn() {
    let user = patched(
        &json!({}),
        &json!([{ "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "Ops" }]),
    );
    assert_eq!(user[ENTERPRISE]["department"], "Ops");
    assert!(user["schemas"].as_array().unwrap().contains(&json!(ENTERPRISE)));
}

#[test]
fn a_new_primary_takes_it_from_the_old_one() {
    let emails = json!({ "emails": [{ "value": "a@x", "primary": true }] });
    let user = patched(
        &emails,
        &json!([{ "op": "add", "path": "emails", "value": [{ "value": "b@x", "primary": true }] }]),
    );
    let primaries: Vec<&Value> = user["emails"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["primary"] == true)
        .collect();
    assert_eq!(primaries.len(), 1);
    assert_eq!(primaries[0]["value"], "b@x");
}

#[test]
fn a_patch_happens_as_a_whole_or_not_at_all() {
    let path = wiki().user(&unique("ann"));
    let before = wiki().get(&path).body;
    let operations = json!([{ "op": "add", "path": "title", "value": "Dr" }, { "op": "remove", "path": "userName" }]);
    assert_eq!(wiki().patch(&path, &operations).status, 400);
    assert_eq!(wiki().get(&path).body, before);
}

#[test]
fn server_assigned_attributes_cannot_be_patched() {
    let path = wiki().user(&unique("ann"));
    wiki()
        .patch(&path, &json!([{ "op": "replace", "path": "id", "value": "other" }]))
        .refuses(400, Some("mutability"));
    assert_eq!(wiki().get(&path).status, 200);
}

#[test]
fn a_path_that_cannot_be_read_is_an_invalid_path() {
    let path = wiki().user(&unique("ann"));
    for wrong in ["emails[type eq", "emails[", "]"] {
        let answer = wiki().patch(&path, &json!([{ "op": "replace", "path": wrong, "value": "x" }]));
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.text);
        assert!(
            ["invalidPath", "invalidFilter"].contains(&answer.body["scimType"].as_str().unwrap()),
            "{}",
            answer.text
        );
    }
}

#[test]
fn a_removed_active_is_gone_and_equals_neither_value() {
    let name = unique("ann");
    let path = wiki().user(&name);
    let remove = json!([{ "op": "remove", "path": "active" }]);
    assert!(wiki().patch(&path, &remove).gives(200).body.get("active").is_none());
    for (filter, found) in [
        ("active eq true", 0),
        ("active eq false", 0),
        ("active ne true", 1),
        ("not (active pr)", 1),
    ] {
        let filter = format!("userName eq \"{name}\" and {filter}");
        assert_eq!(wiki().find("Users", &filter).body["totalResults"], found, "{filter}");
    }
}
