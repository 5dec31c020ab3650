//! Lists, filters, sorting and pages (RFC 7644 §3.4.2). `tests/filter_agreement.rs` checks that all stores agree.

use serde_json::{Value, json};

use crate::support::{Reply, anonymous, id_of, unique, wiki};

fn names(reply: &Reply) -> Vec<&str> {
    let resources = reply.body["Resources"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    resources.iter().map(|one| one["userName"].as_str().unwrap()).collect()
}

/// Creates three users; returns a filter that finds them, and their names.
fn trio() -> (String, [String; 3]) {
    let tag = unique("trio");
    let names = ["a", "b", "c"].map(|letter| format!("{tag}-{letter}"));
    for (name, nick) in names.iter().zip(["zoe", "yan", "xia"]) {
        wiki().user_with(name, &json!({ "title": tag, "nickName": nick }));
    }
    (format!("title%20eq%20%22{tag}%22"), names)
}

#[test]
fn a_list_tells_how_many_there_are_in_all() {
    let (filter, expected) = trio();
    let list = wiki()
        .get(&format!("/scim/v2/Users?filter={filter}&count=2"))
        .gives(200);
    assert_eq!(
        list.body["schemas"],
        json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"])
    );
    assert_eq!(
        (
            &list.body["totalResults"],
            &list.body["itemsPerPage"],
            &list.body["startIndex"]
        ),
        (&json!(3), &json!(2), &json!(1))
    );
    assert_eq!(names(&list), expected[..2]);
}

#[test]
fn pages_meet_without_gap_or_overlap() {
    let (filter, expected) = trio();
    let page = |start: usize| {
        let list = wiki()
            .get(&format!("/scim/v2/Users?filter={filter}&count=1&startIndex={start}"))
            .gives(200);
        names(&list).join("")
    };
    assert_eq!([page(1), page(2), page(3)], expected);
    assert_eq!(page(4), "");
}

#[test]
fn no_count_asks_for_the_total_alone() {
    let (filter, _) = trio();
    let list = wiki()
        .get(&format!("/scim/v2/Users?filter={filter}&count=0"))
        .gives(200);
    assert_eq!(list.body["totalResults"], 3);
    assert_eq!(list.body["Resources"].as_array().map_or(0, Vec::len), 0);
}

#[test]
fn a_list_is_sorted_either_way() {
    let (filter, [a, b, c]) = trio();
    let up = wiki()
        .get(&format!("/scim/v2/Users?filter={filter}&sortBy=nickName"))
        .gives(200);
    assert_eq!(names(&up), [&c, &b, &a]);
    let down = wiki()
        .get(&format!(
            "/scim/v2/Users?filter={filter}&sortBy=nickName&sortOrder=descending"
        ))
        .gives(200);
    assert_eq!(names(&down), [&a, &b, &c]);
}

#[test]
fn a_filter_finds_by_group_and_by_member() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    let holders = wiki().find("Groups", &format!("members.value eq \"{}\"", id_of(&ann)));
    assert_eq!(holders.body["Resources"][0]["id"], id_of(&group));
    let people = wiki().find("Users", &format!("groups.value eq \"{}\"", id_of(&group)));
    assert_eq!(people.body["Resources"][0]["id"], id_of(&ann));
}

#[test]
fn a_query_at_the_root_is_over_all_types() {
    let tag = unique("both");
    let (ann, ops) = (
        wiki().user_with(&unique("ann"), &json!({ "externalId": tag })),
        wiki().group(&tag, &[]),
    );
    let filter = format!("externalId%20eq%20%22{tag}%22%20or%20displayName%20eq%20%22{tag}%22");
    for root in ["/scim/v2", "/scim/v2/", "/scim"] {
        let found = wiki()
            .get(&format!("{root}?filter={filter}&attributes=id"))
            .gives(200)
            .body;
        let ids: Vec<_> = found["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, [id_of(&ann), id_of(&ops)], "{root}");
    }
    anonymous().get("/scim/v2/").refuses(401, None);
    wiki().send("POST", "/scim/v2/", &[], "{}").refuses(405, None);
}

#[test]
fn no_match_is_an_empty_list() {
    let list = wiki()
        .find("Users", "userName eq \"there is nobody of this name\"")
        .gives(200);
    assert_eq!(list.body["totalResults"], 0);
    assert_eq!(list.body.get("Resources").unwrap_or(&Value::Null), &json!([]));
}

#[test]
fn unknown_attribute_in_a_filter_matches_nothing() {
    assert_eq!(
        wiki().find("Users", "nonsense eq \"x\"").gives(200).body["totalResults"],
        0
    );
}

#[test]
fn count_that_is_not_a_number_is_an_invalid_value() {
    wiki()
        .get("/scim/v2/Users?count=many")
        .refuses(400, Some("invalidValue"));
    wiki()
        .get("/scim/v2/Users?startIndex=first")
        .refuses(400, Some("invalidValue"));
}

#[test]
fn a_filter_that_unfolds_to_many_characters_is_answered() {
    wiki().user_with(&unique("ann"), &json!({ "displayName": "Ann" }));
    // One character that normalises to eighteen, so the longest filter grows tenfold.
    let filter = format!("displayName co \"{}\"", "\u{fdfa}".repeat(2600));
    assert_eq!(wiki().find("Users", &filter).gives(200).body["totalResults"], 0);
}
