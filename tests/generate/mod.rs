//! Random resources, paths and filters of any resource type, generated from its schema. Few values are used often, so
//! that paths and filters find matches.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

use std::sync::{Arc, LazyLock};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};
use vestibule::domain::schema::AttributeRef;
use vestibule::domain::schema::{Attribute, DataType, Mutability, Registry, ResourceType};
use vestibule::domain::{Attributes, Kind};
use vestibule::scim::normalise::{Deviations, body};

/// The built-in types, a type `Device` with attributes of every kind, and an extension of `User`.
pub(crate) fn registry() -> &'static Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
        let file = ("device.json".to_owned(), include_str!("device.json").to_owned());
        Arc::new(Registry::load(&[file]).unwrap())
    });
    &REGISTRY
}

/// A resource type of the registry.
pub(crate) fn resource_type(kind: &Kind) -> &'static ResourceType {
    registry().resource_type(kind).unwrap()
}

const TEXTS: &[&str] = &[
    "a", "A", "b", "ab", "work", "Work", "home", "%", "a_b", "ß", "SS", "é", "true", "7", " ", "",
];
const MOMENTS: &[&str] = &[
    "2026-01-01T00:00:00Z",
    "2026-01-01T01:00:00+01:00",
    "2025-12-31T19:00:00.000-05:00",
    "2026-01-01T00:00:00.5Z",
    "2026-01-01T00:00:01Z",
    "2025-12-31T23:59:59.999Z",
    "1969-07-20T20:17:40Z",
];
const BINARIES: &[&str] = &["AAEC", "aaec", "/+8=", "AA=="];
const INTEGERS: &[i64] = &[-1, 0, 1, 2, 7, 10, i64::MIN, i64::MAX, (1 << 53) + 1];
const DECIMALS: &[f64] = &[-1.5, 0.0, 0.1, 0.5, 1.0, 7.0, 1e300];

/// A simple value of an attribute's type.
pub(crate) fn scalar(attribute: &Attribute) -> BoxedStrategy<Value> {
    let text = || select(TEXTS).prop_map(Value::from);
    match attribute.data_type {
        DataType::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        DataType::Integer => select(INTEGERS).prop_map(Value::from).boxed(),
        DataType::Decimal => prop_oneof![
            select(DECIMALS).prop_map(Value::from),
            select(INTEGERS).prop_map(Value::from)
        ]
        .boxed(),
        DataType::DateTime => select(MOMENTS).prop_map(Value::from).boxed(),
        DataType::Binary => select(BINARIES).prop_map(Value::from).boxed(),
        // An empty reference counts as absent.
        DataType::Reference => select(TEXTS.split_last().unwrap().1).prop_map(Value::from).boxed(),
        DataType::String | DataType::Complex => text().boxed(),
    }
}

/// One value: an element of a list, or the value of a single-valued attribute.
pub(crate) fn single(attribute: &Attribute) -> BoxedStrategy<Value> {
    if attribute.data_type == DataType::Complex {
        object(&attribute.sub_attributes)
    } else {
        scalar(attribute)
    }
}

/// A value in the shape that the schema requires.
pub(crate) fn value(attribute: &Attribute) -> BoxedStrategy<Value> {
    if attribute.multi_valued {
        vec(single(attribute), 0..4).prop_map(Value::from).boxed()
    } else {
        single(attribute)
    }
}

/// An object of some of these attributes.
fn object(attributes: &[Arc<Attribute>]) -> BoxedStrategy<Value> {
    let mut all = Just(Map::new()).boxed();
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.mutability != Mutability::ReadOnly)
    {
        let name = attribute.name.clone();
        let given = if attribute.required {
            value(attribute).prop_map(Some).boxed()
        } else {
            option::weighted(0.4, value(attribute)).boxed()
        };
        all = (all, given)
            .prop_map(move |(mut object, value)| {
                object.extend(value.map(|value| (name.clone(), value)));
                object
            })
            .boxed();
    }
    all.prop_map(Value::Object).boxed()
}

/// The attributes of a resource in strict form. Required attributes get a short name that is not empty.
pub(crate) fn resource(resource_type: &ResourceType) -> BoxedStrategy<Attributes> {
    let resource_type = resource_type.clone();
    let mut all = (
        object(&resource_type.schema.attributes),
        option::of(select(TEXTS).prop_map(Value::from)),
    )
        .prop_map(|(mut core, external_id)| {
            if let Some(id) = external_id {
                core["externalId"] = id;
            }
            core
        })
        .boxed();
    for extension in &resource_type.extensions {
        let urn = extension.schema.id.clone();
        all = (all, option::of(object(&extension.schema.attributes)))
            .prop_map(move |(mut resource, parts)| {
                if let Some(parts) = parts {
                    resource[urn.as_str()] = parts;
                }
                resource
            })
            .boxed();
    }
    (all, "[a-d]{1,3}")
        .prop_map(move |(mut sent, name)| {
            for attribute in resource_type
                .schema
                .attributes
                .iter()
                .filter(|attribute| attribute.required)
            {
                sent[attribute.name.as_str()] = json!(name);
            }
            body(&resource_type, sent, &mut Deviations::default()).unwrap()
        })
        .boxed()
}

/// The `readWrite` attributes of the type, without `schemas`.
pub(crate) fn writable(resource_type: &ResourceType) -> Vec<AttributeRef> {
    let writable =
        |found: &AttributeRef| found.attribute.mutability == Mutability::ReadWrite && found.attribute.name != "schemas";
    resource_type.attributes().filter(writable).collect()
}

/// Every attribute and sub-attribute that can be compared.
fn leaves(resource_type: &ResourceType) -> Vec<AttributeRef> {
    let mut leaves = Vec::new();
    for found in resource_type.attributes().filter(|found| !found.attribute.is_secret()) {
        for sub in &found.attribute.sub_attributes {
            let sub = Some(Arc::clone(sub));
            leaves.push(AttributeRef { sub, ..found.clone() });
        }
        if found.attribute.data_type != DataType::Complex || found.attribute.sub("value").is_some() {
            leaves.push(found);
        }
    }
    leaves
}

/// A path to sort by.
pub(crate) fn order(resource_type: &ResourceType) -> BoxedStrategy<String> {
    let paths: Vec<String> = leaves(resource_type).iter().map(AttributeRef::path).collect();
    select(paths).boxed()
}

/// A filter over resources of the type: every operator on attributes of every type, `pr`, `not`, `and`, `or`, and value
/// paths of several conditions.
pub(crate) fn filter(resource_type: &ResourceType) -> BoxedStrategy<String> {
    let plain = leaves(resource_type)
        .into_iter()
        .map(|found| test(&found.path(), &compared(&found)));
    let complex = |found: &AttributeRef| !found.attribute.is_secret() && found.attribute.data_type == DataType::Complex;
    let element = resource_type.attributes().filter(complex).map(|found| {
        let path = found.path();
        element_filter(&found.attribute)
            .prop_map(move |inner| format!("{path}[{inner}]"))
            .boxed()
    });
    let (plain, element) = (Union::new(plain), Union::new(element));
    combined(prop_oneof![3 => plain, 1 => element].boxed())
}

/// A filter on the sub-attributes of one element, as in brackets.
pub(crate) fn element_filter(attribute: &Attribute) -> BoxedStrategy<String> {
    let parts = attribute
        .sub_attributes
        .iter()
        .filter(|sub| !sub.is_secret())
        .map(|sub| test(&sub.name, sub));
    combined(Union::new(parts).boxed())
}

fn combined(leaf: BoxedStrategy<String>) -> BoxedStrategy<String> {
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(") and ("))),
            vec(inner.clone(), 2..4).prop_map(|all| format!("({})", all.join(") or ("))),
            inner.prop_map(|one| format!("not ({one})")),
        ]
    })
    .boxed()
}

/// The attribute that a filter compares: for a complex attribute its `value`.
fn compared(found: &AttributeRef) -> Arc<Attribute> {
    let leaf = found.sub.as_ref().unwrap_or(&found.attribute);
    Arc::clone(leaf.sub("value").unwrap_or(leaf))
}

/// One comparison of the attribute, or a test for its presence.
fn test(path: &str, attribute: &Arc<Attribute>) -> BoxedStrategy<String> {
    let operators: &[&str] = match attribute.data_type {
        DataType::Boolean => &["eq", "ne"],
        DataType::Integer | DataType::Decimal | DataType::DateTime => &["eq", "ne", "gt", "ge", "lt", "le"],
        DataType::Binary => &["eq", "ne", "co", "sw", "ew"],
        DataType::String | DataType::Reference | DataType::Complex => {
            &["eq", "eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
        }
    };
    let wanted = match path {
        "id" | "groups" | "groups.value" | "members" | "members.value" => (select(vec!["u", "g", "d"]), 0..6)
            .prop_map(|(kind, at)| json!(format!("@{kind}{at}")))
            .boxed(),
        _ => scalar(attribute),
    };
    let (one, other) = (path.to_owned(), path.to_owned());
    prop_oneof![
        5 => (select(operators), wanted).prop_map(move |(operator, value)| format!("{one} {operator} {value}")),
        1 => select(vec!["pr", "eq null", "ne null"]).prop_map(move |test| format!("{other} {test}")),
    ]
    .boxed()
}
