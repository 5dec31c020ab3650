//! The unique values of a resource (RFC 7643 §7), except its name, which has a key of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Timestamp;
use super::name::canonical;
use super::resource::Attributes;
use super::schema::AttributeRef;
use super::schema::{Attribute, DataType, ResourceType, Uniqueness};

/// One unique value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UniqueValue {
    /// Whether it is unique among all resources (`global`) or among those of its type in its store (`server`).
    pub global: bool,
    /// The attribute with the URN of its schema: types that share an extension share its attributes.
    pub path: String,
    /// The attribute as clients name it, for the message when the value is taken.
    pub attribute: String,
    /// The value in the form in which it compares.
    pub value: String,
}

/// Returns the unique values of a resource, or `None` if its type has no unique attribute except the name. An empty
/// string is not a value.
pub fn unique_values(resource_type: &ResourceType, attributes: &Attributes) -> Option<BTreeSet<UniqueValue>> {
    let all = resource_type.unique.iter();
    let all = all.flat_map(|found| values(resource_type, found, attributes)).collect();
    (!resource_type.unique.is_empty()).then_some(all)
}

fn values(resource_type: &ResourceType, found: &AttributeRef, attributes: &Attributes) -> Vec<UniqueValue> {
    let holder = match &found.extension {
        None => Some(attributes),
        Some(urn) => attributes.get(urn).and_then(Value::as_object),
    };
    let attribute = found.path();
    let path = match &found.extension {
        None => format!("{}:{attribute}", resource_type.schema.id),
        Some(_) => attribute.clone(),
    };
    let part = |element| match &found.sub {
        None => Some(element),
        Some(sub) => Value::get(element, &sub.name),
    };
    let stored = holder.and_then(|holder| holder.get(&found.attribute.name));
    stored
        .into_iter()
        .flat_map(elements)
        .filter_map(part)
        .filter_map(|value| comparable(found.leaf(), value))
        .map(|value| UniqueValue {
            global: found.leaf().uniqueness == Uniqueness::Global,
            path: path.clone(),
            attribute: attribute.clone(),
            value,
        })
        .collect()
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        single => std::slice::from_ref(single),
    }
}

/// Returns a text that is the same for values that a filter finds equal.
fn comparable(attribute: &Attribute, value: &Value) -> Option<String> {
    match (attribute.data_type, value) {
        (DataType::DateTime, Value::String(text)) => Timestamp::parse(text).map(|moment| moment.0.to_string()),
        (_, Value::String(text)) if text.is_empty() => None,
        (_, Value::String(text)) if attribute.case_exact => Some(text.clone()),
        (_, Value::String(text)) => Some(canonical(text)),
        // -0.0 and 0.0 are the same number; adding 0.0 makes them one text.
        (DataType::Decimal, Value::Number(number)) => number.as_f64().map(|number| (number + 0.0).to_string()),
        (_, Value::Number(number)) => Some(number.to_string()),
        (_, Value::Bool(flag)) => Some(flag.to_string()),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    fn values_of(attributes: Value) -> Vec<(bool, String, String)> {
        let file = json!([
            {"id": "urn:example:Tag", "name": "Tag", "attributes": [
                {"name": "name", "required": true, "uniqueness": "server"},
                {"name": "serial", "caseExact": true, "uniqueness": "global"},
                {"name": "label", "uniqueness": "server"},
                {"name": "number", "type": "integer", "uniqueness": "server"},
                {"name": "weight", "type": "decimal", "uniqueness": "server"},
                {"name": "made", "type": "dateTime", "uniqueness": "server"},
                {"name": "chips", "type": "complex", "multiValued": true, "subAttributes": [
                    {"name": "value", "uniqueness": "server"}, {"name": "kind"}]}]},
            {"name": "Tag", "endpoint": "/Tags", "schema": "urn:example:Tag"}]);
        let registry = Registry::load(&[("tag.json".to_owned(), file.to_string())]).expect("valid");
        let tag = registry.resource_type(&Kind::new("Tag")).expect("there");
        let found = unique_values(tag, attributes.as_object().expect("an object")).expect("some are unique");
        found
            .into_iter()
            .map(|one| (one.global, one.attribute, one.value))
            .collect()
    }

    #[test]
    fn values_have_the_form_in_which_they_compare() {
        let one = json!({"name": "N", "serial": "aB", "label": "Straße", "number": 7, "weight": -0.0,
            "made": "2026-01-01T01:00:00+01:00", "chips": [{"value": "C"}, {"kind": "x"}, {"value": "c"}]});
        let owned = |global, attribute: &str, value: &str| (global, attribute.to_owned(), value.to_owned());
        assert_eq!(
            values_of(one),
            [
                owned(false, "chips.value", "c"),
                owned(false, "label", "strasse"),
                owned(false, "made", "1767225600000"),
                owned(false, "number", "7"),
                owned(false, "weight", "0"),
                owned(true, "serial", "aB"),
            ]
        );
    }

    #[test]
    fn absent_and_empty_values_are_not_unique_values() {
        assert_eq!(values_of(json!({"name": "N", "label": ""})), []);
    }

    #[test]
    fn a_type_without_unique_attributes_has_no_unique_values() {
        let registry = Registry::builtin();
        for kind in [Kind::USER, Kind::GROUP] {
            let resource_type = registry.resource_type(&kind).expect("built in");
            assert_eq!(unique_values(resource_type, &Attributes::new()), None);
        }
    }
}
