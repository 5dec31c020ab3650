//! `/Groups` (RFC 7643 §4.2).

use serde_json::json;

use crate::support::{GROUP, id_of, unique, wiki};

#[test]
fn a_group_shows_its_members_and_each_member_its_group() {
    let (ann, bob) = (wiki().user(&unique("ann")), wiki().user(&unique("bob")));
    let name = unique("ops");
    let group = wiki().group(&name, &[id_of(&ann), id_of(&bob)]);
    assert_eq!(wiki().members(&group), [id_of(&ann), id_of(&bob)]);
    let groups = wiki().get(&ann).body["groups"].clone();
    assert_eq!(
        (&groups[0]["value"], &groups[0]["display"]),
        (&json!(id_of(&group)), &json!(name))
    );
}

#[test]
fn a_group_needs_a_name_that_no_other_has() {
    wiki()
        .post("/scim/v2/Groups", &json!({ "schemas": [GROUP] }))
        .refuses(400, Some("invalidValue"));
    let name = unique("Ops");
    wiki().group(&name, &[]);
    let twin = json!({ "schemas": [GROUP], "displayName": name.to_uppercase() });
    wiki().post("/scim/v2/Groups", &twin).refuses(409, Some("uniqueness"));
}

#[test]
fn members_come_and_go_by_patch() {
    let (ann, bob) = (wiki().user(&unique("ann")), wiki().user(&unique("bob")));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    wiki().patch(
        &group,
        &json!([{ "op": "add", "path": "members", "value": [{ "value": id_of(&bob) }] }]),
    );
    assert_eq!(wiki().members(&group), [id_of(&ann), id_of(&bob)]);
    let leave = format!("members[value eq \"{}\"]", id_of(&ann));
    wiki().patch(&group, &json!([{ "op": "remove", "path": leave }]));
    assert_eq!(wiki().members(&group), [id_of(&bob)]);
}

#[test]
fn a_replaced_group_has_the_members_of_the_replacement() {
    let (ann, bob) = (wiki().user(&unique("ann")), wiki().user(&unique("bob")));
    let name = unique("ops");
    let group = wiki().group(&name, &[id_of(&ann)]);
    let body = json!({ "schemas": [GROUP], "displayName": name, "members": [{ "value": id_of(&bob) }] });
    wiki().put(&group, &body).gives(200);
    assert_eq!(wiki().members(&group), [id_of(&bob)]);
}

#[test]
fn a_deleted_user_leaves_its_groups() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    wiki().delete(&ann).gives(204);
    assert!(wiki().members(&group).is_empty());
}

#[test]
fn a_deleted_group_is_gone_from_its_members() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    wiki().delete(&group).gives(204);
    assert!(
        wiki()
            .get(&ann)
            .body
            .get("groups")
            .is_none_or(|groups| groups == &json!([]))
    );
}

#[test]
fn groups_of_a_user_change_through_groups_alone() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[]);
    wiki().patch(
        &ann,
        &json!([{ "op": "add", "path": "groups", "value": [{ "value": id_of(&group) }] }]),
    );
    assert!(wiki().members(&group).is_empty());
}

#[test]
fn a_group_may_be_read_without_its_members() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    assert!(
        wiki()
            .get(&format!("{group}?excludedAttributes=members"))
            .body
            .get("members")
            .is_none()
    );
}

#[test]
fn a_patch_of_a_large_group_answers_without_it() {
    let ids: Vec<String> = (0..150).map(|at| format!("nobody-{at}")).collect();
    let group = wiki().group(&unique("large"), &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let answer = wiki().patch(
        &group,
        &json!([{ "op": "add", "path": "members", "value": [{ "value": "one-more" }] }]),
    );
    answer.gives(204);
    assert_eq!(wiki().members(&group).len(), 151);
}

#[test]
fn how_a_member_is_shown_can_be_changed() {
    let path = wiki().group(&unique("staff"), &["a", "b"]);
    let rename = json!([{ "op": "replace", "path": "members[value eq \"b\"].display", "value": "Bea" }]);
    let patched = wiki().patch(&path, &rename).gives(200).body;
    assert_eq!(patched["members"][1], json!({ "value": "b", "display": "Bea" }));
    assert_eq!(patched["meta"]["version"], "W/\"2\"");
    let again = wiki().patch(&path, &rename);
    assert_eq!(again.gives(200).body["meta"]["version"], "W/\"2\"");
}
