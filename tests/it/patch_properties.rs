//! Properties of every PATCH (RFC 7644 §3.5.2): repeating it changes nothing, operations apply in order, equivalent
//! forms have the same effect, the result is valid, and a group's members can be changed without reading the group.

#[path = "patch_properties/forms.rs"]
mod forms;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use proptest::test_runner::Config;
use serde_json::{Value, json};
use vestibule::directory::{Directory, DirectoryError};
use vestibule::domain::patch::apply;
use vestibule::domain::schema::AttributeRef;
use vestibule::domain::schema::{DataType, ResourceType};
use vestibule::domain::validate::{InvalidKind, check, ordered};
use vestibule::domain::{
    Actor, Attributes, Change, Clock, Kind, Operation, Precondition, Relations, StoreName, Timestamp,
};
use vestibule::scim::normalise::{Deviations, patch};
use vestibule::userstore::memory::MemoryUserstore;
use vestibule::userstore::{PasswordHasher, Userstore};

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

type Outcome = Result<Attributes, InvalidKind>;

/// Applies a request with these operations to a resource.
fn patched(resource_type: &ResourceType, before: &Attributes, operations: &[Value]) -> Outcome {
    requested(
        resource_type,
        before,
        json!({"schemas": [PATCH], "Operations": operations}),
    )
}

fn requested(resource_type: &ResourceType, before: &Attributes, request: Value) -> Outcome {
    let operations = patch(resource_type, request, &mut Deviations::default()).map_err(|error| error.kind)?;
    let after = apply(resource_type, before, &operations).map_err(|error| error.kind)?;
    check(resource_type, &after).map_err(|error| error.kind)?;
    Ok(ordered(resource_type, after))
}

/// A resource type, a resource of it, and further generated input.
fn about<T: std::fmt::Debug + 'static>(
    more: fn(&ResourceType) -> BoxedStrategy<T>,
) -> BoxedStrategy<(Kind, Attributes, T)> {
    let types = crate::fixtures::generate::registry().types().iter();
    Union::new(types.map(|found| {
        (
            Just(found.kind.clone()),
            crate::fixtures::generate::resource(found),
            more(found),
        )
    }))
    .boxed()
}

/// An operation on one attribute, in the form of the RFC. If it is `settled`, it is idempotent: it does not set the
/// sub-attribute that its filter compares.
fn operation_on(found: AttributeRef, settled: bool) -> BoxedStrategy<Value> {
    let attribute = Arc::clone(&found.attribute);
    let path = found.path();
    let at = |path: String, value: BoxedStrategy<Value>| {
        (select(vec!["add", "replace"]), value)
            .prop_map(move |(op, value)| json!({"op": op, "path": path, "value": value}))
            .boxed()
    };
    let without = |path: String| Just(json!({"op": "remove", "path": path})).boxed();
    let mut all = vec![
        at(path.clone(), crate::fixtures::generate::value(&attribute)),
        without(path.clone()),
    ];
    if attribute.data_type == DataType::Complex {
        for sub in &attribute.sub_attributes {
            let place = format!("{path}.{}", sub.name);
            all.push(at(place.clone(), crate::fixtures::generate::scalar(sub)));
            all.push(without(place));
        }
    }
    if attribute.multi_valued && attribute.data_type == DataType::Complex {
        let remove = crate::fixtures::generate::element_filter(&attribute);
        let one = path.clone();
        all.push(
            remove
                .prop_map(move |filter| json!({"op": "remove", "path": format!("{one}[{filter}]")}))
                .boxed(),
        );
        let pairs: Vec<_> = attribute
            .sub_attributes
            .iter()
            .flat_map(|by| {
                attribute
                    .sub_attributes
                    .iter()
                    .map(move |set| (Arc::clone(by), Arc::clone(set)))
            })
            .filter(|(by, set)| !settled || by.name != set.name)
            .collect();
        let chosen = select(pairs).prop_flat_map(move |(by, set)| {
            let path = path.clone();
            (
                select(vec!["add", "replace"]),
                crate::fixtures::generate::scalar(&by),
                crate::fixtures::generate::scalar(&set),
            )
                .prop_map(move |(op, wanted, value)| {
                    json!({"op": op, "path": format!("{path}[{} eq {wanted}].{}", by.name, set.name), "value": value})
                })
        });
        all.push(chosen.boxed());
    }
    Union::new(all).boxed()
}

/// Any operation, and the path of its attribute.
fn operation_and_attribute(resource_type: &ResourceType, settled: bool) -> BoxedStrategy<(Value, String)> {
    let all = crate::fixtures::generate::writable(resource_type).into_iter();
    Union::new(all.map(|found| {
        let path = found.path();
        operation_on(found, settled)
            .prop_map(move |operation| (operation, path.clone()))
            .boxed()
    }))
    .boxed()
}

fn settled(resource_type: &ResourceType) -> BoxedStrategy<Value> {
    operation_and_attribute(resource_type, true)
        .prop_map(|(operation, _)| operation)
        .boxed()
}

fn operation(resource_type: &ResourceType) -> BoxedStrategy<Value> {
    operation_and_attribute(resource_type, false)
        .prop_map(|(operation, _)| operation)
        .boxed()
}

fn operations(resource_type: &ResourceType) -> BoxedStrategy<Vec<Value>> {
    vec(operation(resource_type), 0..5).boxed()
}

fn operations_on_two_attributes(resource_type: &ResourceType) -> BoxedStrategy<(Value, Value)> {
    let one = || operation_and_attribute(resource_type, false);
    (one(), one())
        .prop_filter("two attributes", |(one, other)| one.1 != other.1)
        .prop_map(|(one, other)| (one.0, other.0))
        .boxed()
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_repeated_operation_changes_nothing(
        (kind, before, operation) in about(settled),
    ) {
        let resource_type = crate::fixtures::generate::resource_type(&kind);
        if let Ok(once) = patched(resource_type, &before, std::slice::from_ref(&operation)) {
            let twice = patched(resource_type, &before, &[operation.clone(), operation.clone()]);
            prop_assert_eq!(twice.as_ref(), Ok(&once));
            prop_assert_eq!(patched(resource_type, &once, &[operation]), Ok(once));
        }
    }

    #[test]
    fn operations_count_one_after_the_other(
        (kind, before, operations) in about(operations),
    ) {
        let resource_type = crate::fixtures::generate::resource_type(&kind);
        let together = patched(resource_type, &before, &operations);
        let mut one_by_one = Ok(ordered(resource_type, before));
        for operation in operations {
            one_by_one = one_by_one.and_then(|before| patched(resource_type, &before, &[operation]));
        }
        // A request is validated only at its end, so it may succeed where a single operation fails.
        if one_by_one.is_ok() {
            prop_assert_eq!(together, one_by_one);
        }
    }

    #[test]
    fn operations_on_different_attributes_may_change_places(
        (kind, before, (one, other)) in about(operations_on_two_attributes),
    ) {
        let resource_type = crate::fixtures::generate::resource_type(&kind);
        let forth = patched(resource_type, &before, &[one.clone(), other.clone()]);
        let back = patched(resource_type, &before, &[other, one]);
        match (forth, back) {
            (Ok(forth), Ok(back)) => prop_assert_eq!(forth, back),
            (forth, back) => prop_assert_eq!(forth.is_err(), back.is_err()),
        }
    }

    #[test]
    fn forms_that_mean_the_same_do_the_same(
        (kind, before, operation) in about(operation),
    ) {
        let resource_type = crate::fixtures::generate::resource_type(&kind);
        let plain = patched(resource_type, &before, std::slice::from_ref(&operation));
        for request in forms::of(resource_type, &operation) {
            let outcome = requested(resource_type, &before, request.clone());
            prop_assert_eq!(&outcome, &plain, "{}", request);
        }
    }

    #[test]
    fn patched_resource_is_valid_and_read_only_values_stay(
        (kind, before, operations) in about(operations),
    ) {
        let resource_type = crate::fixtures::generate::resource_type(&kind);
        let mut before = before;
        before.insert("id".to_owned(), json!("1"));
        before.insert("meta".to_owned(), json!({"resourceType": resource_type.kind, "created": "2026-01-01T00:00:00Z"}));
        for read_only in ["groups", "firmware"] {
            if let Some(found) = resource_type.resolve(read_only) {
                let value = if found.attribute.multi_valued { json!([{"value": "g"}]) } else { json!("1.0") };
                before.insert(read_only.to_owned(), value);
            }
        }
        if let Ok(after) = patched(resource_type, &before, &operations) {
            prop_assert_eq!(check(resource_type, &after), Ok(()));
            for name in ["id", "meta", "groups", "firmware"] {
                prop_assert_eq!(after.get(name), before.get(name));
            }
            for (name, value) in &after {
                let elements = value.as_array().map_or(&[][..], Vec::as_slice);
                let repeated = (1..elements.len()).find(|at| elements[..*at].contains(&elements[*at]));
                prop_assert_eq!(repeated, None, "{} holds an element twice: {}", name, value);
            }
        }
    }

    #[test]
    fn a_group_need_not_be_read_to_change_its_members(
        present in vec(member_id(), 0..5),
        operations in vec(member_operation(), 1..5),
    ) {
        let group = crate::fixtures::generate::resource_type(&Kind::GROUP);
        let mut before = json!({"displayName": "G"}).as_object().unwrap().clone();
        let mut ids = present;
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !id.is_empty() && !id.contains('\0'));
        if !ids.is_empty() {
            before.insert("members".to_owned(), ids.iter().map(|id| element(id)).collect());
        }
        let whole = patched(group, &before, &operations).map(|after| by_value(after.get("members")));
        // An empty value refers to nobody.
        let whole = whole.and_then(|members| {
            if members.contains_key("\"\"") {
                Err(InvalidKind::Value)
            } else {
                Ok(members)
            }
        });
        prop_assert_eq!(by_steps(group, &before, &operations), whole);
    }
}

// ---- members ----

fn member_id() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "c", "A", "", "ß", "a\u{0}"])
}

/// A member with fixed sub-attributes, so that one who leaves and joins again is equal.
fn element(id: &str) -> Value {
    json!({"value": id, "display": id.to_uppercase()})
}

fn member_operation() -> impl Strategy<Value = Value> {
    let some = || vec(member_id(), 0..4).prop_map(|ids| ids.into_iter().map(element).collect::<Value>());
    let quoted = |ids: Vec<&str>| {
        ids.iter()
            .map(|id| format!("value eq {}", json!(id)))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    prop_oneof![
        some().prop_map(|members| json!({"op": "add", "path": "members", "value": members})),
        some().prop_map(|members| json!({"op": "replace", "path": "members", "value": members})),
        some().prop_map(|members| json!({"op": "remove", "path": "members", "value": members})),
        some().prop_map(|members| json!({"op": "add", "value": {"members": members}})),
        vec(member_id(), 1..3)
            .prop_map(move |ids| json!({"op": "remove", "path": format!("members[{}]", quoted(ids))})),
        Just(json!({"op": "remove", "path": "members"})),
        Just(json!({"op": "replace", "path": "displayName", "value": "H"})),
        Just(json!({"op": "remove", "path": "members[display sw \"A\"]"})),
        Just(json!({"op": "remove", "path": "members[not (value eq \"a\")]"})),
        Just(json!({"op": "add", "path": "members", "value": [{"display": "nobody"}]})),
    ]
}

fn by_value(members: Option<&Value>) -> BTreeMap<String, Value> {
    let elements = members.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    elements
        .iter()
        .map(|element| (element["value"].to_string(), element.clone()))
        .collect()
}

/// The group's members after the directory applied the operations.
fn by_steps(
    group: &ResourceType,
    before: &Attributes,
    operations: &[Value],
) -> Result<BTreeMap<String, Value>, InvalidKind> {
    static HASHER: LazyLock<PasswordHasher> = LazyLock::new(PasswordHasher::new);
    let clock = Clock::fixed(Timestamp(1_767_225_600_000));
    let hasher = HASHER.clone();
    let store: Arc<dyn Userstore> = Arc::new(MemoryUserstore::new(StoreName::PRIMARY, hasher.clone(), clock.clone()));
    let directory = Directory::new(
        vec![store],
        Arc::clone(crate::fixtures::generate::registry()),
        hasher,
        clock,
    );
    let act = |operation| {
        directory.apply(Change {
            actor: Actor::administrator("test"),
            operation,
            side_records: Vec::new(),
        })
    };
    let made = act(Operation::Create {
        store: StoreName::PRIMARY,
        kind: Kind::GROUP,
        attributes: before.clone(),
        typed: Vec::new(),
    });
    let id = made.unwrap().into_resource().id;
    let request = json!({"schemas": [PATCH], "Operations": operations});
    let operations = patch(group, request, &mut Deviations::default()).map_err(|error| error.kind)?;
    let done = act(Operation::Patch {
        kind: Kind::GROUP,
        id: id.clone(),
        operations,
        precondition: Precondition::None,
    });
    match done {
        Ok(_) => {
            let group = directory.get(&Kind::GROUP, &id, Relations::ALL).unwrap().unwrap();
            Ok(by_value(group.view().get("members")))
        }
        Err(DirectoryError::Invalid(error)) => Err(error.kind),
        Err(other) => panic!("{other}"),
    }
}
