//! Tests of the provisioning plan.

use super::*;
use crate::domain::provenance::{Provenance, Writers};
use crate::domain::{Document, ResourceId, StoreName, Timestamp, Version};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn attributes(value: Value) -> Attributes {
    value.as_object().unwrap().clone()
}

fn resource(value: Value) -> Resource {
    Resource {
        store: StoreName::PRIMARY,
        kind: Kind::USER,
        id: ResourceId::new("u1"),
        version: Version::FIRST,
        created: Timestamp(0),
        modified: Timestamp(0),
        document: Document::new(&attributes(value)),
        writers: Provenance::of(&Writers::new()),
        members: Vec::new(),
        groups: Vec::new(),
    }
}

fn operations(sent: Value, current: Value) -> Vec<Value> {
    let planned = plan(
        Some(&attributes(sent)),
        Some(&attributes(current)),
        &Kind::USER,
        &Profile::default(),
    );
    match planned.as_slice() {
        [] => Vec::new(),
        [TargetOperation::Update(update)] => patch_operations(&update.changes),
        other => panic!("an update was expected: {other:?}"),
    }
}

#[test]
fn only_differences_are_sent() {
    for (sent, current, expected) in [
        (json!({"userName": "a"}), json!({"userName": "a"}), json!([])),
        (
            json!({"title": "x"}),
            json!({"title": "y"}),
            json!([{"op": "replace", "path": "title", "value": "y"}]),
        ),
        (
            json!({"title": "x"}),
            json!({}),
            json!([{"op": "remove", "path": "title"}]),
        ),
        (
            json!({}),
            json!({"active": false}),
            json!([{"op": "replace", "path": "active", "value": false}]),
        ),
        (
            json!({"name": {"givenName": "A", "familyName": "B", "middleName": "C"}}),
            json!({"name": {"givenName": "A", "familyName": "D"}}),
            json!([{"op": "remove", "path": "name.middleName"}, {"op": "replace", "path": "name.familyName", "value": "D"}]),
        ),
        (
            json!({"name": {"givenName": "A"}}),
            json!({}),
            json!([{"op": "remove", "path": "name"}]),
        ),
        (
            json!({"emails": [{"value": "a@example.com"}]}),
            json!({"emails": [{"value": "b@example.com"}]}),
            json!([{"op": "replace", "path": "emails", "value": [{"value": "b@example.com"}]}]),
        ),
        (
            json!({ENTERPRISE: {"department": "X", "costCenter": "1"}}),
            json!({ENTERPRISE: {"department": "Y"}}),
            json!([
                {"op": "remove", "path": format!("{ENTERPRISE}:costCenter")},
                {"op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "Y"},
            ]),
        ),
        (json!({"schemas": ["a"]}), json!({"schemas": ["a", "b"]}), json!([])),
    ] {
        assert_eq!(
            Value::Array(operations(sent.clone(), current.clone())),
            expected,
            "{sent} to {current}"
        );
    }
}

#[test]
fn applying_the_difference_to_an_unknown_state_sends_everything() {
    let sent = operations(json!({}), json!({"userName": "a", "name": {"givenName": "A"}}));
    assert_eq!(sent.len(), 2);
}

#[test]
fn missing_resources_are_created_and_deleted_ones_removed() {
    let profile = Profile::default();
    let current = attributes(json!({"userName": "a"}));
    assert_eq!(
        plan(None, Some(&current), &Kind::USER, &profile),
        [TargetOperation::Create(current.clone())]
    );
    assert_eq!(
        plan(Some(&current), None, &Kind::USER, &profile),
        [TargetOperation::Delete]
    );
    assert_eq!(plan(None, None, &Kind::USER, &profile), []);
}

#[test]
fn a_target_that_keeps_accounts_gets_them_deactivated_once() {
    let profile = Profile {
        deprovision: Deprovision::Deactivate,
        ..Profile::default()
    };
    let active = attributes(json!({"userName": "a", "active": true}));
    let inactive = attributes(json!({"userName": "a", "active": false}));
    assert_eq!(
        plan(Some(&active), None, &Kind::USER, &profile),
        [TargetOperation::Deactivate]
    );
    assert_eq!(plan(Some(&inactive), None, &Kind::USER, &profile), []);
    assert_eq!(
        plan(Some(&active), None, &Kind::GROUP, &profile),
        [TargetOperation::Delete]
    );
}

#[test]
fn own_secret_forbidden_and_empty_attributes_are_not_sent() {
    let profile = Profile {
        forbidden: vec!["nickname".to_owned(), "emails.display".to_owned()],
        ..Profile::default()
    };
    let sent = outgoing(
        &resource(json!({
            "id": "x", "meta": {}, "groups": [{"value": "g"}], "password": "p", "Password": "p", "nickName": "n", "title": "",
            "locale": null, "photos": [], "name": {"givenName": ""}, "active": false, "externalId": "theirs", "userName": "a",
            "emails": [{"value": "a@example.com", "display": "d", "type": ""}],
        })),
        &profile,
    );
    assert_eq!(
        Value::Object(sent),
        json!({"active": false, "userName": "a", "emails": [{"value": "a@example.com"}], "externalId": "u1"})
    );
}

#[test]
fn attributes_of_every_extension_can_be_forbidden() {
    for urn in [ENTERPRISE, "urn:scim:wso2:schema", "urn:example:hr:1.0"] {
        let sent = |forbidden: &str| {
            let profile = Profile {
                forbidden: vec![forbidden.to_owned()],
                ..Profile::default()
            };
            let person =
                json!({"userName": "a", urn: {"country": "FI", "manager": {"value": "1", "displayName": "B"}}});
            outgoing(&resource(person), &profile)[urn].clone()
        };
        let manager = json!({"value": "1", "displayName": "B"});
        assert_eq!(sent(&format!("{urn}:country")), json!({"manager": manager}), "{urn}");
        assert_eq!(
            sent(&format!("{urn}:manager.displayName")),
            json!({"country": "FI", "manager": {"value": "1"}}),
            "{urn}"
        );
        let profile = Profile {
            forbidden: vec![urn.to_owned()],
            ..Profile::default()
        };
        let whole = outgoing(&resource(json!({"userName": "a", urn: {"country": "FI"}})), &profile);
        assert!(!whole.contains_key(urn), "{urn}");
    }
}

#[test]
fn attributes_of_every_extension_follow_its_urn_and_a_colon() {
    for urn in [ENTERPRISE, "urn:scim:wso2:schema", "urn:example:hr:1.0"] {
        let sent = operations(
            json!({urn: {"country": "FI", "title": "x"}}),
            json!({urn: {"country": "SE"}}),
        );
        assert_eq!(
            Value::Array(sent),
            json!([
                {"op": "remove", "path": format!("{urn}:title")},
                {"op": "replace", "path": format!("{urn}:country"), "value": "SE"},
            ])
        );
    }
}

#[test]
fn unknown_state_resends_values_and_removes_lost_ones() {
    let sent = attributes(json!({
        "userName": "a", "active": true, "title": "t", "name": {"givenName": "A", "familyName": "B"},
        ENTERPRISE: {"department": "D"},
    }));
    let current = attributes(json!({
        "userName": "a", "active": true, "name": {"givenName": "A"}, ENTERPRISE: {"department": "D"},
    }));
    let lost = [
        "nickName",
        "name.middleName",
        "password",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
    ];
    let lost = lost.map(str::to_owned);
    let doubted = doubted(&sent, &lost, &Profile::default());
    let mut paths: Vec<(String, bool)> = difference(&doubted, &current)
        .into_iter()
        .map(|change| (change.path, change.value.is_some()))
        .collect();
    paths.sort();
    let mut expected = [
        ("active", true),
        ("name.familyName", false),
        ("name.givenName", true),
        ("name.middleName", false),
        ("nickName", false),
        ("title", false),
        ("userName", true),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
            true,
        ),
        (
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
            false,
        ),
    ]
    .map(|(path, stays)| (path.to_owned(), stays));
    expected.sort();
    assert_eq!(paths, expected);
}

#[test]
fn losing_access_counts_as_a_removal() {
    let update = |value: Value| {
        plan(
            Some(&attributes(json!({"active": true}))),
            Some(&attributes(value)),
            &Kind::USER,
            &Profile::default(),
        )
    };
    assert!(update(json!({"active": false}))[0].is_removal());
    assert!(!update(json!({"active": true, "title": "x"}))[0].is_removal());
    assert!(TargetOperation::Delete.is_removal());
}
