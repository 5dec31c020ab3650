use serde_json::json;

use super::*;
use crate::domain::Kind;
use crate::domain::schema::Registry;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn read(kind: &Kind, body: Value) -> (Result<Vec<PatchOperation>, Invalid>, Deviations) {
    let registry = Registry::builtin();
    let mut deviations = Deviations::default();
    let read = patch(registry.resource_type(kind).expect("built in"), body, &mut deviations);
    (read, deviations)
}

/// The strict operations as (op, path, value), and the rules.
fn strict(operation: Value) -> (Vec<(PatchOp, String, Value)>, Deviations) {
    let (read, deviations) = read(
        &Kind::USER,
        json!({"schemas": ["x"], "Operations": [operation.clone()]}),
    );
    let read = read.unwrap_or_else(|error| panic!("{operation}: {error}"));
    let shown = |operation: PatchOperation| {
        let path = operation.path.expect("strict operations have a path").attribute.path();
        (operation.op, path, operation.value.unwrap_or(Value::Null))
    };
    (read.into_iter().map(shown).collect(), deviations)
}

fn becomes(operation: Value, expected: &[(PatchOp, &str, Value)], rule: &str) {
    let (read, deviations) = strict(operation.clone());
    let expected: Vec<_> = expected
        .iter()
        .map(|(op, path, value)| (*op, (*path).to_owned(), value.clone()))
        .collect();
    assert_eq!(read, expected, "{operation}");
    assert!(deviations.count(rule) > 0, "{operation}: {deviations:?}");
}

fn refused(operation: Value) -> InvalidKind {
    read(&Kind::USER, json!({"Operations": [operation.clone()]}))
        .0
        .expect_err(&operation.to_string())
        .kind
}

#[test]
fn a_strict_operation_needs_no_rule() {
    let (read, deviations) = strict(json!({"op": "replace", "path": "name.givenName", "value": "A"}));
    assert_eq!(read, [(PatchOp::Replace, "name.givenName".to_owned(), json!("A"))]);
    assert!(deviations.is_empty(), "{deviations:?}");
}

#[test]
fn p0_operations_may_be_empty_misspelt_or_bare_not_missing() {
    let one = json!([{"op": "add", "path": "title", "value": "T"}]);
    for (body, count) in [
        (json!({"Operations": []}), 0),
        (json!({"operations": one}), 1),
        (json!({"Operations": one[0]}), 1),
        (one.clone(), 1),
    ] {
        let (read, deviations) = read(&Kind::USER, body.clone());
        assert_eq!(read.map(|read| read.len()), Ok(count), "{body}");
        assert_eq!(deviations.count(rule::OPERATIONS), 1, "{body}");
    }
    for body in [
        json!({}),
        json!({"Operations": {}}),
        json!("x"),
        json!({"Operations": null}),
    ] {
        assert_eq!(
            read(&Kind::USER, body).0.map_err(|error| error.kind),
            Err(InvalidKind::Syntax)
        );
    }
    let many = vec![json!({"op": "remove", "path": "title"}); MOST_OPERATIONS + 1];
    assert_eq!(
        read(&Kind::USER, json!({"Operations": many}))
            .0
            .map_err(|error| error.kind),
        Err(InvalidKind::TooMany)
    );
}

#[test]
fn p1_an_op_is_known_in_any_case() {
    let title = [(PatchOp::Add, "title", json!("T"))];
    becomes(
        json!({"op": "Add", "path": "title", "value": "T"}),
        &title,
        rule::OP_CASE,
    );
    for op in [json!("move"), json!(1), json!(null)] {
        assert_eq!(refused(json!({"op": op, "path": "title"})), InvalidKind::Syntax);
    }
}

#[test]
fn p2_a_path_that_is_null_or_empty_is_none() {
    for path in [json!(null), json!(""), json!(" ")] {
        let title = [(PatchOp::Replace, "title", json!("T"))];
        becomes(
            json!({"op": "replace", "path": path, "value": {"title": "T"}}),
            &title,
            rule::NULL_PATH,
        );
        assert_eq!(refused(json!({"op": "remove", "path": path})), InvalidKind::NoTarget);
    }
    assert_eq!(refused(json!({"op": "remove", "path": 7})), InvalidKind::Path);
}

#[test]
fn p3_keys_of_a_value_without_path_are_paths() {
    let value = json!({"id": "1", "nonsense": 1, "schemas": [], "name.givenName": "A", "emails[type eq \"work\"].value": "a@x",
        format!("{ENTERPRISE}:department"): "D", ENTERPRISE: {"schemas": [], "costCenter": 7}, "active": "False"});
    let department = format!("{ENTERPRISE}:department");
    let cost_center = format!("{ENTERPRISE}:costCenter");
    let expected = [
        (PatchOp::Replace, "name.givenName", json!("A")),
        (PatchOp::Replace, "emails.value", json!("a@x")),
        (PatchOp::Replace, department.as_str(), json!("D")),
        (PatchOp::Replace, cost_center.as_str(), json!("7")),
        (PatchOp::Replace, "active", json!(false)),
    ];
    becomes(json!({"op": "replace", "value": value}), &expected, rule::PATH_AS_KEY);
    assert_eq!(refused(json!({"op": "replace", "value": "x"})), InvalidKind::Value);
}

#[test]
fn p4_a_dot_may_stand_after_the_urn() {
    let manager = format!("{ENTERPRISE}:manager");
    let operation = json!({"op": "add", "path": format!("{ENTERPRISE}.manager"), "value": "1"});
    let expected = [(PatchOp::Add, manager.as_str(), json!({"value": "1"}))];
    becomes(operation, &expected, crate::domain::path::tolerance::DOT_AFTER_URN);
}

#[test]
fn p5_a_single_value_is_taken_out_of_its_wrapping() {
    for value in [json!([{"value": "False"}]), json!({"value": "False"})] {
        let expected = [(PatchOp::Replace, "active", json!(false))];
        becomes(
            json!({"op": "replace", "path": "active", "value": value}),
            &expected,
            rule::WRAPPED_VALUE,
        );
    }
}

#[test]
fn p6_a_removal_with_a_value_lists_elements() {
    for (value, listed) in [
        (json!([{"value": "a", "$ref": null}]), json!([{"value": "a"}])),
        (json!({"value": "a"}), json!([{"value": "a"}])),
        (json!("a"), json!([{"value": "a"}])),
        (json!([]), json!([])),
    ] {
        let expected = [(PatchOp::Remove, "emails", listed)];
        becomes(
            json!({"op": "remove", "path": "emails", "value": value}),
            &expected,
            rule::REMOVE_WITH_VALUE,
        );
    }
    let title = [(PatchOp::Remove, "title", Value::Null)];
    becomes(
        json!({"op": "remove", "path": "title", "value": "T"}),
        &title,
        rule::REMOVE_WITH_VALUE,
    );
}

#[test]
fn p8_a_bare_urn_stands_for_all_attributes_of_its_schema() {
    let department = format!("{ENTERPRISE}:department");
    let expected = [(PatchOp::Add, department.as_str(), json!("D"))];
    let value = json!({"department": "D", "schemas": [ENTERPRISE]});
    becomes(
        json!({"op": "add", "path": ENTERPRISE.to_uppercase(), "value": value}),
        &expected,
        rule::URN_AS_PATH,
    );
    for operation in [
        json!({"op": "remove", "path": ENTERPRISE}),
        json!({"op": "replace", "path": ENTERPRISE, "value": ""}),
        json!({"op": "replace", "path": ENTERPRISE, "value": []}),
    ] {
        assert_eq!(strict(operation).0.len(), 6);
    }
    assert_eq!(
        refused(json!({"op": "add", "path": ENTERPRISE, "value": "x"})),
        InvalidKind::Value
    );
}

#[test]
fn p9_values_are_normalised_as_in_bodies_and_null_unsets_a_part() {
    let expected = [(PatchOp::Replace, "name", json!({"familyName": null, "givenName": "A"}))];
    let value = json!({"GIVENNAME": "A", "familyName": null, "x": 1});
    becomes(
        json!({"op": "replace", "path": "name", "value": value}),
        &expected,
        rule::NAME_CASE,
    );
    let cleared = format!("{ENTERPRISE}:manager");
    let expected = [(PatchOp::Replace, cleared.as_str(), Value::Null)];
    becomes(
        json!({"op": "replace", "path": cleared, "value": {"value": ""}}),
        &expected,
        rule::REFERENCE,
    );
}

#[test]
fn p10_the_last_bracket_may_be_missing() {
    let expected = [(PatchOp::Remove, "emails", Value::Null)];
    let missing = crate::domain::path::tolerance::MISSING_BRACKET;
    becomes(
        json!({"op": "remove", "path": "emails[type eq \"work\""}),
        &expected,
        missing,
    );
}

#[test]
fn an_error_names_the_operation_by_its_index() {
    let operations = json!([{"op": "remove", "path": "title"}, {"op": "replace", "path": "active", "value": "maybe"}]);
    let (read, _) = read(&Kind::USER, json!({"Operations": operations}));
    assert_eq!(
        read.expect_err("wrong").detail,
        "Operations[1]: active must be true or false"
    );
    assert_eq!(refused(json!({"op": "add", "path": "title"})), InvalidKind::Value);
    assert_eq!(
        refused(json!({"op": "add", "path": "nonsense", "value": 1})),
        InvalidKind::Path
    );
    assert_eq!(refused(json!("x")), InvalidKind::Syntax);
}

#[test]
fn the_core_refuses_read_only_paths() {
    let (read, _) = strict(json!({"op": "replace", "path": "id", "value": {"any": "thing"}}));
    assert_eq!(read.len(), 1);
}
