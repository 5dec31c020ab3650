//! Deviations from the RFCs that are accepted because clients send them, over HTTP.

use serde_json::{Value, json};

use crate::support::{ENTERPRISE, PATCH_OP, USER, id_of, unique, wiki};

#[test]
fn a_base_that_ends_in_a_slash_is_as_good_as_one_without() {
    let path = wiki().user(&unique("ann"));
    for base in ["/scim/v2/", "/scim/", "/scim"] {
        wiki().get(&format!("{base}/Users/{}", id_of(&path))).gives(200);
        wiki().get(&format!("{base}/Users/?&count=1")).gives(200);
    }
    wiki().get("/scim/v2/Users//x").refuses(404, None);
}

#[test]
fn a_body_may_begin_with_a_byte_order_mark() {
    let body = json!({ "schemas": [USER], "userName": unique("ann") });
    wiki()
        .send("POST", "/scim/v2/Users", &[], format!("\u{feff}{body}"))
        .gives(201);
}

#[test]
fn a_person_is_found_by_the_manager_without_its_urn() {
    let path = wiki().user_with(
        &unique("ann"),
        &json!({ ENTERPRISE: { "manager": { "value": "boss" } } }),
    );
    let reports_to = |whom: &str| {
        let found = wiki().find("Users", &format!("id eq {} and manager eq {whom}", id_of(&path)));
        found.gives(200).body["totalResults"].clone()
    };
    assert_eq!((reports_to("boss"), reports_to("nobody")), (json!(1), json!(0)));
}

#[test]
fn an_attribute_of_an_extension_is_patched_without_its_urn() {
    let path = wiki().user(&unique("ann"));
    for operation in [
        json!({ "op": "Add", "path": "department", "value": "Ops" }),
        json!({ "op": "Replace", "value": { "department": "Ops" } }),
    ] {
        let user = wiki().patch(&path, &json!([operation])).gives(200).body;
        assert_eq!(user[ENTERPRISE]["department"], "Ops");
        wiki().patch(&path, &json!([{ "op": "remove", "path": ENTERPRISE }]));
    }
}

#[test]
fn empty_text_or_null_clears_any_attribute() {
    let full = json!({
        "title": "Dr", "name": { "givenName": "A" }, "addresses": [{ "type": "work", "country": "DE" }],
        "emails": [{ "type": "work", "value": "a@example.com" }],
        ENTERPRISE: { "department": "Ops", "manager": { "value": "boss" } },
    });
    let places = [
        ("title".to_owned(), "/title".to_owned()),
        ("name.givenName".to_owned(), "/name/givenName".to_owned()),
        ("addresses".to_owned(), "/addresses".to_owned()),
        (
            "addresses[type eq \"work\"].country".to_owned(),
            "/addresses/0/country".to_owned(),
        ),
        (
            "emails[type eq \"work\"].value".to_owned(),
            "/emails/0/value".to_owned(),
        ),
        (format!("{ENTERPRISE}:department"), format!("/{ENTERPRISE}/department")),
        (format!("{ENTERPRISE}:manager"), format!("/{ENTERPRISE}/manager")),
        (ENTERPRISE.to_owned(), format!("/{ENTERPRISE}")),
    ];
    for nothing in [json!(""), Value::Null] {
        for (path, place) in &places {
            let user = wiki().user_with(&unique("ann"), &full);
            assert!(wiki().get(&user).body.pointer(place).is_some(), "{place}");
            let operation = json!([{ "op": "replace", "path": path, "value": nothing }]);
            let left = wiki().patch(&user, &operation).gives(200).body.pointer(place).cloned();
            assert!(left.is_none_or(|left| left == ""), "{path} {nothing}");
        }
    }
}

#[test]
fn names_of_attributes_may_come_one_by_one() {
    let path = wiki().user_with(&unique("ann"), &json!({ "title": "Dr", "nickName": "A" }));
    let some = wiki()
        .get(&format!("{path}?attributes=title&attributes=nickName"))
        .gives(200)
        .body;
    assert_eq!((&some["title"], &some["nickName"]), (&json!("Dr"), &json!("A")));
    assert!(some.get("userName").is_none());
}

#[test]
fn one_operation_may_stand_without_its_list() {
    let path = wiki().user(&unique("ann"));
    let body = json!({ "schemas": [PATCH_OP], "Operations": { "op": "add", "path": "title", "value": "Dr" } });
    let user = wiki().send("PATCH", &path, &[], body.to_string()).gives(200).body;
    assert_eq!(user["title"], "Dr");
}
