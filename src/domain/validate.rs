//! Whether attributes are a valid resource of their type.

use std::sync::Arc;

use serde_json::Value;

use super::clock::Timestamp;
use super::name;
use super::resource::Attributes;
use super::schema::{Attribute, AttributeRef, DataType, Mutability, ResourceType};

/// The maximum length of a list; lists whose elements are identified by `value`, such as `members`, have no limit.
pub(crate) const MOST_ELEMENTS: usize = 1000;

/// A validation error of a resource or a change, in the terms of RFC 7644 §3.12.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// The kind of error.
    pub kind: InvalidKind,
    /// The message for the client: names the attribute, never repeats a value.
    pub detail: String,
}

impl Invalid {
    /// An error of one kind, with its message for the client.
    pub fn new(kind: InvalidKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }

    /// Adds the index of the PATCH operation, counted from 0, to the message.
    pub(crate) fn in_operation(self, index: usize) -> Self {
        Self {
            kind: self.kind,
            detail: format!("Operations[{index}]: {}", self.detail),
        }
    }
}

/// The kinds of invalid input that RFC 7644 §3.12 tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// `invalidFilter`
    Filter,
    /// `invalidSyntax`
    Syntax,
    /// `invalidPath`
    Path,
    /// `invalidValue`
    Value,
    /// `noTarget`
    NoTarget,
    /// `mutability`
    Mutability,
    /// `tooMany`
    TooMany,
}

/// Checks that a whole resource in strict form is valid: all required attributes are present, every value has its type,
/// the schemas define every attribute, and the name is valid.
///
/// Server-assigned attributes (read-only ones and `schemas`) may be present or absent.
pub fn check(resource_type: &ResourceType, attributes: &Attributes) -> Result<(), Invalid> {
    for (key, value) in attributes {
        if let Some(extension) = resource_type.extension(key) {
            let Some(parts) = value.as_object() else {
                return Err(wrong(key, "must be an object"));
            };
            check_known(parts, &extension.schema.attributes)?;
        } else if resource_type.resolve(key).is_none_or(|found| found.path() != *key) {
            return Err(Invalid::new(
                InvalidKind::Syntax,
                "the resource has an attribute that its schemas do not define",
            ));
        }
    }
    for extension in resource_type.extensions.iter().filter(|extension| extension.required) {
        if !attributes.contains_key(&extension.schema.id) {
            return Err(wrong(&extension.schema.id, "is required"));
        }
    }
    for found in resource_type.attributes() {
        let place = match &found.extension {
            None => Some(attributes),
            Some(urn) => attributes.get(urn).and_then(Value::as_object),
        };
        let Some(place) = place else { continue };
        check_attribute(&found.path(), &found.attribute, place.get(&found.attribute.name))?;
    }
    let unique = resource_type.name_attribute();
    let named = unique.and_then(|unique| Some((unique, attributes.get(&unique.name)?.as_str()?)));
    named.map_or(Ok(()), |(unique, text)| {
        name::check(text).map_err(|error| wrong(&unique.name, &error.to_string()))
    })
}

/// Whether a value has the type of an attribute, or of one element of a multi-valued attribute.
pub(crate) fn fits(attribute: &AttributeRef, value: &Value) -> bool {
    let definition = attribute.sub.as_ref().unwrap_or(&attribute.attribute);
    check_attribute(&definition.name, definition, Some(value)).is_ok()
}

/// Returns the attributes in document order: `schemas`, derived from what is present, `id` and `externalId`, then each
/// in schema order, `meta` last. Attributes that the schemas do not define are left out.
pub fn ordered(resource_type: &ResourceType, mut attributes: Attributes) -> Attributes {
    let mut schemas = vec![Value::from(resource_type.schema.id.clone())];
    let mut extensions = Vec::new();
    for extension in &resource_type.extensions {
        let urn = &extension.schema.id;
        let Some(Value::Object(mut parts)) = attributes.remove(urn) else {
            continue;
        };
        let known: Attributes = in_order(&mut parts, &extension.schema.attributes);
        if !known.is_empty() {
            schemas.push(Value::from(urn.clone()));
            extensions.push((urn.clone(), Value::Object(known)));
        }
    }
    let mut sorted = Attributes::new();
    sorted.insert("schemas".to_owned(), Value::Array(schemas));
    for common in ["id", "externalId"] {
        sorted.extend(attributes.remove_entry(common));
    }
    sorted.extend(in_order(&mut attributes, &resource_type.schema.attributes));
    sorted.extend(extensions);
    sorted.extend(attributes.remove_entry("meta"));
    sorted
}

fn in_order(from: &mut Attributes, definitions: &[Arc<Attribute>]) -> Attributes {
    definitions
        .iter()
        .filter_map(|definition| from.remove_entry(&definition.name))
        .collect()
}

fn check_known(parts: &Attributes, definitions: &[Arc<Attribute>]) -> Result<(), Invalid> {
    if parts
        .keys()
        .all(|key| definitions.iter().any(|definition| definition.name == *key))
    {
        return Ok(());
    }
    Err(Invalid::new(
        InvalidKind::Syntax,
        "the resource has an attribute that its schemas do not define",
    ))
}

/// Checks that an attribute or sub-attribute may have this value, or none.
pub(super) fn check_attribute(path: &str, definition: &Attribute, value: Option<&Value>) -> Result<(), Invalid> {
    let Some(value) = value else {
        let assigned = definition.mutability == Mutability::ReadOnly || path == "schemas";
        return if definition.required && !assigned {
            Err(wrong(path, "is required"))
        } else {
            Ok(())
        };
    };
    if !definition.multi_valued {
        return check_single(path, definition, value);
    }
    let Some(elements) = value.as_array() else {
        return Err(wrong(path, "must be a list"));
    };
    if definition.required && elements.is_empty() {
        return Err(wrong(path, "is required"));
    }
    if elements.len() > MOST_ELEMENTS && !definition.is_identified_by_value() {
        return Err(wrong(path, "has more than 1000 elements"));
    }
    elements
        .iter()
        .try_for_each(|element| check_single(path, definition, element))?;
    let primaries = elements
        .iter()
        .filter(|element| element.get("primary") == Some(&Value::Bool(true)));
    if primaries.count() > 1 {
        Err(wrong(path, "has more than one primary element"))
    } else {
        Ok(())
    }
}

fn check_single(path: &str, definition: &Attribute, value: &Value) -> Result<(), Invalid> {
    let expected = match definition.data_type {
        DataType::Complex => return check_complex(path, definition, value),
        DataType::Boolean => value.is_boolean().then_some(()).ok_or("must be true or false"),
        DataType::Integer => (value.is_i64() || value.is_u64())
            .then_some(())
            .ok_or("must be a whole number"),
        DataType::Decimal => value.is_number().then_some(()).ok_or("must be a number"),
        DataType::DateTime => value
            .as_str()
            .and_then(Timestamp::parse)
            .map(|_| ())
            .ok_or("must be a date and time, such as 2026-01-31T08:00:00Z"),
        DataType::String | DataType::Binary | DataType::Reference => match value.as_str() {
            None => Err("must be a string"),
            Some(text) if text.contains('\0') => Err("cannot hold a null character"),
            Some(_) => Ok(()),
        },
    };
    expected.map_err(|expected| wrong(path, expected))
}

fn check_complex(path: &str, definition: &Attribute, value: &Value) -> Result<(), Invalid> {
    let Some(parts) = value.as_object() else {
        return Err(wrong(path, "must be an object"));
    };
    check_known(parts, &definition.sub_attributes)?;
    if parts.is_empty() {
        return Err(wrong(path, "must have a value or be left out"));
    }
    definition.sub_attributes.iter().try_for_each(|sub| {
        let part = parts.get(&sub.name);
        if part.is_none() && !sub.required {
            Ok(())
        } else {
            check_attribute(&format!("{path}.{}", sub.name), sub, part)
        }
    })
}

fn wrong(path: &str, what: &str) -> Invalid {
    Invalid::new(InvalidKind::Value, format!("{path} {what}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn resource_type(kind: &Kind) -> ResourceType {
        Registry::builtin().resource_type(kind).expect("built in").clone()
    }

    fn object(value: Value) -> Attributes {
        value.as_object().expect("an object").clone()
    }

    fn verdict(value: Value) -> Result<(), InvalidKind> {
        check(&resource_type(&Kind::USER), &object(value)).map_err(|error| error.kind)
    }

    #[test]
    fn a_user_needs_a_name_and_nothing_else() {
        assert_eq!(verdict(json!({"userName": "alice"})), Ok(()));
        assert_eq!(verdict(json!({"displayName": "Alice"})), Err(InvalidKind::Value));
        for name in ["", " ", "a\u{200b}b"] {
            assert_eq!(verdict(json!({"userName": name})), Err(InvalidKind::Value), "{name:?}");
        }
    }

    #[test]
    fn every_value_has_the_type_that_its_schema_says() {
        for wrong in [
            json!({"active": "true"}),
            json!({"title": 1}),
            json!({"title": null}),
            json!({"title": "a\u{0}"}),
            json!({"name": "Alice"}),
            json!({"name": {}}),
            json!({"emails": {"value": "a"}}),
            json!({"emails": ["a"]}),
            json!({"emails": [{"value": 1}]}),
            json!({"emails": [{"primary": true}, {"primary": true}]}),
            json!({"emails": vec![json!({"value": "a"}); 1001]}),
            json!({ENTERPRISE: "x"}),
            json!({ENTERPRISE: {"manager": "x"}}),
        ] {
            let mut user = object(wrong.clone());
            user.insert("userName".to_owned(), json!("alice"));
            assert_eq!(verdict(Value::Object(user)), Err(InvalidKind::Value), "{wrong}");
        }
    }

    #[test]
    fn undefined_attributes_are_refused() {
        for unknown in [
            json!({"nonsense": 1}),
            json!({"USERNAME": "x"}),
            json!({"name": {"nonsense": 1}}),
            json!({ENTERPRISE: {"x": 1}}),
        ] {
            let mut user = object(unknown.clone());
            user.insert("userName".to_owned(), json!("alice"));
            assert_eq!(verdict(Value::Object(user)), Err(InvalidKind::Syntax), "{unknown}");
        }
    }

    #[test]
    fn a_member_needs_a_value() {
        let group = resource_type(&Kind::GROUP);
        let with = |member: Value| check(&group, &object(json!({"displayName": "G", "members": [member]})));
        assert_eq!(with(json!({"value": "1"})), Ok(()));
        assert!(with(json!({"display": "One"})).is_err());
    }

    #[test]
    fn schemas_follow_from_what_is_present() {
        let user = resource_type(&Kind::USER);
        let given = json!({ENTERPRISE: {"department": "D", "employeeNumber": "1"}, "schemas": ["x"], "title": "T", "nonsense": 1,
            "externalId": "e", "userName": "alice"});
        let expected = json!({"schemas": [user.schema.id, ENTERPRISE], "externalId": "e", "userName": "alice", "title": "T",
            ENTERPRISE: {"employeeNumber": "1", "department": "D"}});
        assert_eq!(
            Value::Object(ordered(&user, object(given))).to_string(),
            expected.to_string()
        );
        let core_only = ordered(&user, object(json!({"userName": "alice", ENTERPRISE: {}})));
        assert_eq!(
            Value::Object(core_only),
            json!({"schemas": [user.schema.id], "userName": "alice"})
        );
    }
}
