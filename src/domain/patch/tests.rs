use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::path::{Path, tolerance};
use crate::domain::schema::{Registry, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};
use crate::domain::{Attributes, Kind, Member, ResourceId};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn resource_type(kind: &Kind) -> ResourceType {
    Registry::builtin().resource_type(kind).expect("built in").clone()
}

fn path(kind: &Kind, text: &str) -> Path {
    Path::parse(text, &resource_type(kind)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn add(text: &str, value: Value) -> PatchOperation {
    PatchOperation::add(path(&Kind::USER, text), value)
}

fn replace(text: &str, value: Value) -> PatchOperation {
    PatchOperation::replace(path(&Kind::USER, text), value)
}

fn remove(text: &str) -> PatchOperation {
    PatchOperation::remove(path(&Kind::USER, text))
}

fn alice() -> Attributes {
    let alice = json!({
        "userName": "alice",
        "title": "T",
        "name": {"givenName": "Alice", "familyName": "A"},
        "emails": [{"value": "w@x", "type": "work", "primary": true}, {"value": "h@x", "type": "home"}],
    });
    alice.as_object().expect("an object").clone()
}

fn patched(operations: &[PatchOperation]) -> Result<Value, Invalid> {
    apply(&resource_type(&Kind::USER), &alice(), operations).map(Value::Object)
}

fn part(operation: PatchOperation, name: &str) -> Value {
    let user = patched(&[operation]).unwrap_or_else(|error| panic!("{error}"));
    user.get(name).cloned().unwrap_or(Value::Null)
}

fn refusal(operation: PatchOperation) -> InvalidKind {
    patched(&[operation]).expect_err("refused").kind
}

#[test]
fn a_single_value_is_set_or_unassigned() {
    assert_eq!(part(add("title", json!("X")), "title"), "X");
    assert_eq!(part(replace("nickName", json!("N")), "nickName"), "N");
    assert_eq!(part(replace("title", Value::Null), "title"), Value::Null);
    assert_eq!(part(replace("title", json!("")), "title"), "");
    assert_eq!(part(remove("title"), "title"), Value::Null);
}

#[test]
fn a_complex_value_is_merged_and_null_unsets_a_part() {
    let both = json!({"givenName": null, "middleName": "M"});
    for operation in [add("name", both.clone()), replace("name", both)] {
        assert_eq!(part(operation, "name"), json!({"familyName": "A", "middleName": "M"}));
    }
    assert_eq!(part(remove("name.givenName"), "name"), json!({"familyName": "A"}));
}

#[test]
fn the_last_part_takes_the_complex_value_along() {
    let user = patched(&[remove("name.givenName"), remove("name.familyName")]).expect("valid");
    assert_eq!(user.get("name"), None);
    let user = patched(&[
        add(&format!("{ENTERPRISE}:manager.value"), json!("1")),
        remove(&format!("{ENTERPRISE}:manager")),
    ]);
    assert_eq!(user.expect("valid").get(ENTERPRISE), None);
}

#[test]
fn elements_are_appended_once_and_a_new_primary_takes_over() {
    assert_eq!(
        part(add("emails", json!([{"value": "h@x", "type": "home"}])), "emails"),
        alice()["emails"]
    );
    let emails = part(add("emails", json!([{"value": "n@x", "primary": true}])), "emails");
    assert_eq!(emails[0]["primary"], false);
    assert_eq!(emails[2], json!({"value": "n@x", "primary": true}));
    let emails = part(replace("emails[type eq \"home\"].primary", json!(true)), "emails");
    assert_eq!(
        (&emails[0]["primary"], &emails[1]["primary"]),
        (&json!(false), &json!(true))
    );
}

#[test]
fn a_replaced_list_holds_the_new_elements_only() {
    assert_eq!(
        part(replace("emails", json!([{"value": "n@x"}])), "emails"),
        json!([{"value": "n@x"}])
    );
    assert_eq!(part(replace("emails", json!([])), "emails"), Value::Null);
    assert_eq!(part(add("emails", json!([])), "emails"), alice()["emails"]);
}

#[test]
fn a_value_path_that_matches_changes_those_elements() {
    let emails = part(replace("emails[type eq \"work\"]", json!({"value": "n@x"})), "emails");
    assert_eq!(emails[0], json!({"value": "n@x", "type": "work", "primary": true}));
    assert_eq!(emails[1], alice()["emails"][1]);
    let emails = part(replace("emails.display", json!("D")), "emails");
    assert!(emails[0]["display"] == "D" && emails[1]["display"] == "D");
}

#[test]
fn an_unmatched_value_path_makes_the_described_element() {
    for make in [add as fn(&str, Value) -> PatchOperation, replace] {
        let emails = part(
            make("emails[type eq \"other\" and primary eq \"False\"].value", json!("o@x")),
            "emails",
        );
        assert_eq!(emails[2], json!({"type": "other", "primary": false, "value": "o@x"}));
        for vague in [
            "emails[type eq \"a\" or type eq \"b\"].value",
            "emails[type sw \"a\"].value",
            "emails[x eq \"a\"].value",
        ] {
            assert_eq!(refusal(make(vague, json!("o@x"))), InvalidKind::NoTarget, "{vague}");
        }
    }
    assert_eq!(
        part(add("addresses.country", json!("US")), "addresses"),
        json!([{"country": "US"}])
    );
}

#[test]
fn removal_by_filter_or_list_removes_only_those_elements() {
    assert_eq!(
        part(remove("emails[type eq \"home\"]"), "emails"),
        json!([alice()["emails"][0]])
    );
    assert_eq!(part(remove("emails[type eq \"other\"]"), "emails"), alice()["emails"]);
    assert_eq!(part(remove("emails[value pr]"), "emails"), Value::Null);
    assert_eq!(part(remove("emails.primary"), "emails")[0].get("primary"), None);
    let listed = |value: Value| PatchOperation {
        value: Some(value),
        ..remove("emails")
    };
    assert_eq!(
        part(listed(json!([{"value": "W@x"}])), "emails"),
        json!([alice()["emails"][1]])
    );
    assert_eq!(part(listed(json!([])), "emails"), alice()["emails"]);
    assert_eq!(part(listed(json!([{}])), "emails"), alice()["emails"]);
}

#[test]
fn null_at_a_value_path_removes_and_never_adds() {
    assert_eq!(
        part(replace("emails[type eq \"home\"]", Value::Null), "emails"),
        json!([alice()["emails"][0]])
    );
    assert_eq!(
        part(replace("emails[type eq \"home\"].type", Value::Null), "emails")[1],
        json!({"value": "h@x"})
    );
    assert_eq!(
        part(replace("emails[type eq \"other\"].value", Value::Null), "emails"),
        alice()["emails"]
    );
}

#[test]
fn read_only_attributes_cannot_be_patched() {
    for operation in [
        replace("id", json!("2")),
        add("groups", json!([{"value": "g"}])),
        replace("meta.created", json!("2020-01-01T00:00:00Z")),
        add(&format!("{ENTERPRISE}:manager.displayName"), json!("Boss")),
        remove("userName"),
        replace("userName", Value::Null),
    ] {
        assert_eq!(refusal(operation.clone()), InvalidKind::Mutability, "{operation:?}");
    }
}

#[test]
fn an_existing_member_keeps_its_sub_attributes() {
    let group = json!({"displayName": "G", "members": [{"value": "a", "type": "User"}]});
    let group = group.as_object().expect("an object");
    let with = |text, value| {
        apply(
            &resource_type(&Kind::GROUP),
            group,
            &[PatchOperation::replace(path(&Kind::GROUP, text), value)],
        )
    };
    assert_eq!(
        with("members[value eq \"a\"].value", json!("b")).map_err(|error| error.kind),
        Err(InvalidKind::Mutability)
    );
    assert_eq!(
        with("members[value eq \"a\"].type", Value::Null).map_err(|error| error.kind),
        Err(InvalidKind::Mutability)
    );
    assert!(
        with("members[value eq \"a\"].display", json!("A")).is_ok_and(|group| group["members"][0]["display"] == "A")
    );
}

#[test]
fn an_error_names_its_attribute_and_changes_nothing() {
    let error = patched(&[replace("title", json!("X")), replace("id", json!("2"))]).expect_err("refused");
    assert!(error.detail.starts_with("id "), "{error}");
    assert_eq!(
        refusal(PatchOperation {
            value: None,
            ..add("title", Value::Null)
        }),
        InvalidKind::Value
    );
    assert_eq!(refusal(replace("name", json!("x"))), InvalidKind::Value);
}

#[test]
fn without_a_path_the_value_is_an_object_of_attributes() {
    let whole = |op, value| PatchOperation {
        op,
        path: None,
        value: Some(value),
    };
    let value = json!({"title": "X", "name": {"givenName": "B"}, ENTERPRISE: {"department": "D"}});
    let user = patched(&[whole(PatchOp::Add, value)]).expect("valid");
    assert_eq!(
        (&user["title"], &user["name"]),
        (&json!("X"), &json!({"givenName": "B", "familyName": "A"}))
    );
    assert_eq!(user[ENTERPRISE], json!({"department": "D"}));
    assert_eq!(refusal(whole(PatchOp::Remove, json!({}))), InvalidKind::NoTarget);
    assert_eq!(refusal(whole(PatchOp::Add, json!([]))), InvalidKind::Value);
}

#[test]
fn a_path_is_read_or_refused_without_repeating_it() {
    let user = resource_type(&Kind::USER);
    for text in [
        "nonsense",
        "",
        "emails[",
        "emails[]",
        "emails[type eq",
        "title[value eq \"x\"]",
        "emails[type pr]x",
        "emails[type pr].x",
        "emails.type[value pr]",
        "emails[type pr)",
        ENTERPRISE,
        "emails[type pr].value.x",
    ] {
        let error = Path::parse(text, &user).expect_err(text);
        assert_eq!(error.kind, InvalidKind::Path, "{text}");
    }
    let open = Path::parse_with_deviations("emails[type eq \"work\"", &user).expect("understood");
    assert_eq!(open.deviations, [tolerance::MISSING_BRACKET]);
    let dotted = Path::parse_with_deviations(&format!("{ENTERPRISE}.manager"), &user).expect("understood");
    assert_eq!(dotted.deviations, [tolerance::DOT_AFTER_URN]);
    let bare = Path::parse_with_deviations("Department", &user).expect("understood");
    assert_eq!(bare.path.attribute.path(), format!("{ENTERPRISE}:department"));
    assert_eq!(bare.deviations, [tolerance::UNQUALIFIED]);
}

#[test]
fn a_comparison_as_a_path_chooses_elements_as_brackets_do() {
    for (kind, comparison, brackets) in [
        (Kind::GROUP, "members.value eq \"a\"", "members[value eq \"a\"]"),
        (Kind::USER, "emails eq \"a\"", "emails[value eq \"a\"]"),
        (Kind::USER, "schemas eq \"urn:x\"", "schemas[value eq \"urn:x\"]"),
    ] {
        let resource_type = resource_type(&kind);
        let parsed = Path::parse_with_deviations(comparison, &resource_type).expect("understood");
        assert_eq!(Path::parse(brackets, &resource_type), Ok(parsed.path), "{comparison}");
        assert_eq!(parsed.deviations, [tolerance::COMPARISON_AS_PATH], "{comparison}");
    }
    for text in [
        "title eq \"x\"",
        "emails pr",
        "emails eq \"a\" and emails eq \"b\"",
        "nonsense eq \"x\"",
    ] {
        assert!(Path::parse(text, &resource_type(&Kind::USER)).is_err(), "{text}");
    }
}

#[test]
fn membership_changes_are_recognised_without_the_group() {
    let at = |text: &str| path(&Kind::GROUP, text);
    let member = |id: &str| Member {
        id: ResourceId::new(id),
        body: format!("{{\"value\":\"{id}\"}}"),
    };
    let list = json!([{"value": "a"}]);
    let listed = PatchOperation {
        value: Some(list.clone()),
        ..PatchOperation::remove(at("members"))
    };
    for (operation, step) in [
        (
            PatchOperation::add(at("members"), list.clone()),
            MemberStep::Join(vec![member("a")]),
        ),
        (
            PatchOperation::replace(at("members"), list.clone()),
            MemberStep::Replace(vec![member("a")]),
        ),
        (PatchOperation::remove(at("members")), MemberStep::Clear),
        (listed, MemberStep::Leave(vec![ResourceId::new("a")])),
        (
            PatchOperation::remove(at("members[value eq \"a\" or value eq \"b\"]")),
            MemberStep::Leave(vec![ResourceId::new("a"), ResourceId::new("b")]),
        ),
    ] {
        assert_eq!(members_only(&[operation]), Some(vec![step]));
    }
}

#[test]
fn changes_that_need_the_group_are_not_membership_only() {
    let at = |text: &str| path(&Kind::GROUP, text);
    for operation in [
        PatchOperation::replace(at("displayName"), json!("G")),
        PatchOperation::remove(at("members[display eq \"a\"]")),
        PatchOperation::remove(at("members[not (value eq \"a\")]")),
        PatchOperation::remove(at("members.display")),
        PatchOperation::add(at("members"), json!([{"display": "nobody"}])),
        PatchOperation::add(at("members"), json!([{"value": "a\u{0}"}])),
        PatchOperation::add(at("members[value eq \"a\"]"), json!({"display": "A"})),
    ] {
        assert_eq!(members_only(std::slice::from_ref(&operation)), None, "{operation:?}");
    }
    assert_eq!(members_only(&[]), None);
}

#[test]
fn operations_that_would_take_very_long_are_refused() {
    let remove = remove("emails[type eq \"a\" or type eq \"b\"]");
    let within = |most| {
        apply::apply_within(
            most,
            &resource_type(&Kind::USER),
            &alice(),
            &[remove.clone(), remove.clone()],
        )
    };
    assert!(within(8).is_ok());
    assert_eq!(within(7).map_err(|error| error.kind), Err(InvalidKind::TooMany));
}

#[test]
fn an_operation_does_not_show_its_value() {
    assert!(!format!("{:?}", replace("password", json!("hunter2"))).contains("hunter2"));
    assert!(touches(&[replace("password", json!("hunter2"))], "password"));
    assert!(!touches(&[replace("title", json!("password"))], "password"));
}

proptest! {
    #[test]
    fn adding_the_same_again_changes_nothing(
        path in prop_oneof![
            "emails", "title", "emails\\[type eq \"other\"\\]\\.value", "name\\.givenName", "emails\\.type"].prop_map(|path| path.replace('\\', "")),
        text in "[a-c]{1,2}",
        primary in any::<bool>(),
    ) {
        let value = if path == "emails" { json!([{"value": text, "primary": primary}, {"value": "h@x"}]) } else { json!(text) };
        let once = patched(&[add(&path, value.clone())]).expect("valid");
        let twice = patched(&[add(&path, value.clone()), add(&path, value)]).expect("valid");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn parsing_a_path_never_panics(text in "(emails|name|urn:|\\[|\\]|\\.|type| eq |\"x\"|\\PC){0,8}") {
        let _ = Path::parse(&text, &resource_type(&Kind::USER));
    }
}
