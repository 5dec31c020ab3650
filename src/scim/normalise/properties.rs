//! Property tests for every input: no panic, and the result is strict.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Deviations, body, patch};
use crate::domain::patch::apply;
use crate::domain::schema::{Registry, ResourceType};
use crate::domain::validate::{check, ordered};
use crate::domain::{Attributes, Kind};

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn user() -> ResourceType {
    Registry::builtin()
        .resource_type(&Kind::USER)
        .expect("built in")
        .clone()
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("title"),
        Just("ACTIVE"),
        Just("name"),
        Just("familyName"),
        Just("emails"),
        Just("value"),
        Just("primary"),
        Just("type"),
        Just(ENTERPRISE),
        Just("manager"),
        Just("roles"),
        Just("groups"),
        Just("schemas"),
        Just("password"),
        Just("x"),
        Just(""),
        Just("name.familyName"),
        Just("emails[type eq \"a\"].value"),
        Just("emails[primary eq true"),
        Just("addresses.country"),
        Just("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User.manager.value"),
        Just("profileUrl"),
        Just("$ref"),
    ]
    .prop_map(str::to_owned)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("True"), Just("false"), Just(""), Just("work"), Just("a")].prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn operation() -> impl Strategy<Value = Value> {
    let op = prop_oneof![Just("add"), Just("Replace"), Just("remove")];
    (op, proptest::option::of(key()), proptest::option::of(json_value())).prop_map(|(op, path, value)| {
        let mut operation = json!({"op": op, "path": path});
        if let Some(value) = value {
            operation["value"] = value;
        }
        operation
    })
}

fn alice() -> Attributes {
    let alice = json!({"userName": "alice", "name": {"familyName": "A"}, "emails": [{"value": "a", "type": "work", "primary": true}]});
    alice.as_object().expect("an object").clone()
}

proptest! {
    #[test]
    fn a_normalised_body_is_strict(members in proptest::collection::vec((key(), json_value()), 0..8)) {
        let sent = Value::Object(members.into_iter().collect::<Map<_, _>>());
        if let Ok(mut strict) = body(&user(), sent, &mut Deviations::default()) {
            strict.insert("userName".to_owned(), json!("alice"));
            prop_assert_eq!(check(&user(), &strict), Ok(()));
            let again = body(&user(), Value::Object(strict.clone()), &mut Deviations::default());
            prop_assert_eq!(again, Ok(strict));
        }
    }

    #[test]
    fn a_patched_resource_is_valid_or_refused(operations in proptest::collection::vec(operation(), 1..4)) {
        let body = json!({"Operations": operations});
        if let Ok(operations) = patch(&user(), body, &mut Deviations::default())
            && let Ok(after) = apply(&user(), &alice(), &operations)
        {
            prop_assert_eq!(check(&user(), &ordered(&user(), after)), Ok(()));
        }
    }

    #[test]
    fn no_json_makes_the_normaliser_panic(value in json_value()) {
        let _ = body(&user(), value.clone(), &mut Deviations::default());
        let _ = patch(&user(), value.clone(), &mut Deviations::default());
        let _ = patch(&user(), json!({"Operations": [value]}), &mut Deviations::default());
    }
}
