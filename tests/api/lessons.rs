//! Bugs of other SCIM servers, each as a test of this one.

use std::thread;

use serde_json::{Value, json};

use crate::support::{ENTERPRISE, GROUP, PATCH_OP, USER, chat, id_of, unique, wiki};

#[test]
fn fifty_parallel_joins_are_all_there() {
    let group = wiki().group(&unique("busy"), &[]);
    let joining: Vec<String> = (0..50).map(|at| format!("member-{at}")).collect();
    thread::scope(|scope| {
        for id in &joining {
            let group = &group;
            scope.spawn(move || {
                let add = json!([{ "op": "add", "path": "members", "value": [{ "value": id }] }]);
                assert!(wiki().patch(group, &add).status < 300);
            });
        }
    });
    let mut there = wiki().members(&group);
    there.sort();
    let mut expected = joining;
    expected.sort();
    assert_eq!(there, expected);
}

#[test]
fn unknown_member_is_kept_along_with_the_others() {
    let ann = wiki().user(&unique("ann"));
    let name = unique("ops");
    let dangling = json!([{ "value": "nobody-at-all" }, { "value": id_of(&ann) }]);
    let expected = ["nobody-at-all", id_of(&ann)];
    let body = json!({ "schemas": [GROUP], "displayName": name, "members": dangling });
    let made = wiki().post("/scim/v2/Groups", &body).gives(201);
    let group = format!("/scim/v2/Groups/{}", made.id());
    assert_eq!(wiki().members(&group), expected);
    wiki().put(&group, &body).gives(200);
    assert_eq!(wiki().members(&group), expected);
    let replace = json!([{ "op": "replace", "path": "members", "value": dangling }]);
    assert!(wiki().patch(&group, &replace).status < 300);
    assert_eq!(wiki().members(&group), expected);
}

#[test]
fn an_id_that_the_client_sends_is_ignored() {
    let ann = wiki().user(&unique("ann"));
    let before = wiki().get(&ann).body;
    let made = wiki()
        .post(
            "/scim/v2/Users",
            &json!({ "schemas": [USER], "id": id_of(&ann), "userName": unique("eve") }),
        )
        .gives(201);
    assert_ne!(made.id(), id_of(&ann));
    assert_eq!(wiki().get(&ann).body, before);
}

#[test]
fn the_answer_to_a_change_is_what_is_read_next() {
    let (ann, bob) = (wiki().user(&unique("ann")), wiki().user(&unique("bob")));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    for operations in [
        json!([{ "op": "add", "path": "members", "value": [{ "value": id_of(&bob) }] }]),
        json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", id_of(&ann)) }]),
        json!([{ "op": "replace", "path": "displayName", "value": unique("renamed") }]),
    ] {
        let answer = wiki().patch(&group, &operations).gives(200);
        assert_eq!(answer.body, wiki().get(&group).body, "{operations}");
    }
    let body = json!({ "schemas": [GROUP], "displayName": unique("ops"), "members": [{ "value": id_of(&ann) }] });
    let made = wiki().post("/scim/v2/Groups", &body).gives(201);
    assert_eq!(made.body["members"][0]["value"], id_of(&ann));
    assert_eq!(made.body, wiki().get(&format!("/scim/v2/Groups/{}", made.id())).body);
}

#[test]
fn a_patch_is_checked_by_its_result() {
    let path = wiki().user(&unique("ann"));
    wiki()
        .patch(&path, &json!([{ "op": "replace", "value": { "nickName": "A" } }]))
        .gives(200);
}

#[test]
fn invalid_filter_is_an_error_and_not_an_empty_list() {
    for wrong in [
        "userName eq",
        "userName",
        "eq \"x\"",
        "userName eq \"x",
        "userName is \"x\"",
        "userName eq \"x\" and",
        "(userName eq \"x\"",
        "emails[value eq \"x\"",
    ] {
        wiki().find("Users", wrong).refuses(400, Some("invalidFilter"));
    }
}

#[test]
fn an_operation_of_any_kind_is_answered_without_5xx() {
    let path = wiki().user(&unique("ann"));
    for op in [
        json!("merge"),
        json!(""),
        json!(null),
        json!(1),
        json!(["add"]),
        json!({}),
    ] {
        for operation in [json!({ "op": op, "path": "title", "value": "x" }), json!({ "op": op })] {
            let status = wiki().patch(&path, &json!([operation])).status;
            assert!((400..500).contains(&status), "{operation}: {status}");
        }
    }
    for operations in [
        json!(null),
        json!({}),
        json!("x"),
        json!([1]),
        json!([[]]),
        json!([null]),
    ] {
        let status = wiki().patch(&path, &operations).status;
        assert!((200..500).contains(&status), "{operations}: {status}");
    }
}

#[test]
fn replacing_members_by_none_empties_the_group() {
    for operation in [
        json!({ "op": "replace", "path": "members", "value": [] }),
        json!({ "op": "replace", "value": { "members": [] } }),
        json!({ "op": "remove", "path": "members" }),
    ] {
        let group = wiki().group(&unique("ops"), &["one", "two"]);
        assert!(wiki().patch(&group, &json!([operation])).status < 300, "{operation}");
        assert!(wiki().members(&group).is_empty(), "{operation}");
    }
}

#[test]
fn a_member_without_a_type_joins() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[]);
    for value in [json!({ "value": id_of(&ann) }), json!([{ "value": id_of(&ann) }])] {
        assert!(
            wiki()
                .patch(&group, &json!([{ "op": "Add", "path": "members", "value": value }]))
                .status
                < 300
        );
        assert_eq!(wiki().members(&group), [id_of(&ann)]);
    }
}

#[test]
fn dotted_keys_without_a_path_reach_their_attributes() {
    let path = wiki().user(&unique("ann"));
    let department = format!("{ENTERPRISE}:department");
    let value = json!({ "name.givenName": "A", "name.familyName": "B", department: "Ops", "active": "False" });
    let user = wiki()
        .patch(&path, &json!([{ "op": "Replace", "value": value }]))
        .gives(200)
        .body;
    assert_eq!(user["name"]["givenName"], "A");
    assert_eq!(user["name"]["familyName"], "B");
    assert_eq!(user[ENTERPRISE]["department"], "Ops");
    assert_eq!(user["active"], false);
}

#[test]
fn adding_again_is_adding_once() {
    let path = wiki().user(&unique("ann"));
    let email = json!([{ "op": "add", "path": "emails", "value": [{ "value": "a@example.com", "type": "work" }] }]);
    wiki().patch(&path, &email).gives(200);
    let again = wiki().patch(&path, &email).gives(200);
    assert_eq!(again.body["emails"].as_array().unwrap().len(), 1);
    let group = wiki().group(&unique("ops"), &[id_of(&path)]);
    let other =
        json!([{ "op": "add", "path": "members", "value": [{ "value": id_of(&path), "display": "Somebody Else" }] }]);
    assert!(wiki().patch(&group, &other).status < 300);
    assert_eq!(wiki().members(&group), [id_of(&path)]);
}

#[test]
fn a_path_of_three_levels_is_understood() {
    let path = wiki().user(&unique("ann"));
    let manager = format!("{ENTERPRISE}:manager.value");
    let user = wiki()
        .patch(&path, &json!([{ "op": "add", "path": manager, "value": "boss" }]))
        .gives(200)
        .body;
    assert_eq!(user[ENTERPRISE]["manager"]["value"], "boss");
}

#[test]
fn a_remove_without_a_path_has_no_target() {
    let path = wiki().user(&unique("ann"));
    wiki()
        .patch(&path, &json!([{ "op": "remove" }]))
        .refuses(400, Some("noTarget"));
}

#[test]
fn a_filtered_path_on_an_absent_list_makes_the_element() {
    let path = wiki().user(&unique("ann"));
    let add = json!([{ "op": "Add", "path": "emails[type eq \"work\"].value", "value": "a@example.com" }]);
    let user = wiki().patch(&path, &add).gives(200).body;
    assert_eq!(
        (&user["emails"][0]["value"], &user["emails"][0]["type"]),
        (&json!("a@example.com"), &json!("work"))
    );
}

#[test]
fn required_attribute_cannot_be_removed_by_any_path() {
    let path = wiki().user(&unique("ann"));
    let name = wiki().get(&path).body["userName"].clone();
    for operation in [
        json!({ "op": "remove", "path": "userName" }),
        json!({ "op": "replace", "path": "userName", "value": null }),
        json!({ "op": "replace", "path": "userName", "value": "" }),
        json!({ "op": "replace", "path": "userName", "value": [] }),
        json!({ "op": "replace", "value": { "userName": null } }),
        json!({ "op": "replace", "path": USER, "value": {} }),
    ] {
        let status = wiki().patch(&path, &json!([operation])).status;
        assert!(status < 500, "{operation}: {status}");
        assert_eq!(wiki().get(&path).body["userName"], name, "{operation}");
    }
}

#[test]
fn a_patch_that_is_spelt_oddly_is_still_one() {
    let path = wiki().user(&unique("ann"));
    let body = json!({ "schemas": [PATCH_OP], "operations": [{ "OP": "REPLACE", "path": "Title", "value": "Dr" }] });
    let answer = wiki().send(
        "PATCH",
        &path,
        &[("content-type", "application/json")],
        body.to_string(),
    );
    assert_eq!(answer.gives(200).body["title"], "Dr");
}

#[test]
fn a_boolean_may_be_a_text() {
    let words: [(Value, bool); 4] = [
        (json!("True"), true),
        (json!("False"), false),
        (json!("true"), true),
        (json!("false"), false),
    ];
    for (word, expected) in words {
        let made = wiki().user_with(&unique("ann"), &json!({ "active": word }));
        assert_eq!(wiki().get(&made).body["active"], expected, "{word}");
    }
}

#[test]
fn ones_own_name_in_another_store_is_no_conflict() {
    let name = unique("ann");
    wiki().user(&name);
    chat().user(&name);
}
