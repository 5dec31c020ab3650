//! R1 to R7, R9 to R11: the value of one attribute.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::scalar::scalar;
use super::{Deviations, rule};
use crate::domain::Attributes;
use crate::domain::multi_valued::{append, drop_repeated, keep_one_primary};
use crate::domain::schema::{Attribute, DataType, Mutability};
use crate::domain::validate::{Invalid, InvalidKind};

/// The meaning of null for a part of a complex value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// The part is left out.
    Drop,
    /// The null is kept, because it removes the part.
    Keep,
}

/// The elements of a list attribute.
pub(super) fn list(
    definition: &Attribute,
    path: &str,
    value: Value,
    deviations: &mut Deviations,
) -> Result<Vec<Value>, Invalid> {
    let items = match value {
        Value::Array(items) => items,
        none if none.is_null() || none == "" => Vec::new(),
        single => {
            deviations.hit(rule::WRAPPING);
            vec![single]
        }
    };
    if items.is_empty() {
        deviations.hit(rule::UNASSIGNED);
    }
    let mut read = Vec::with_capacity(items.len());
    for item in items {
        read.extend(element(definition, path, item, Nulls::Drop, deviations)?);
    }
    let all = read.len();
    let mut elements = Vec::new();
    append(definition, &mut elements, read);
    if keep_one_primary(&mut elements, &[]) {
        deviations.hit(rule::PRIMARY);
        drop_repeated(definition, &mut elements);
    }
    if elements.len() < all {
        deviations.hit(rule::DUPLICATE);
    }
    Ok(elements)
}

/// One element of a list attribute; none if it is empty.
pub(super) fn element(
    definition: &Attribute,
    path: &str,
    value: Value,
    nulls: Nulls,
    deviations: &mut Deviations,
) -> Result<Option<Value>, Invalid> {
    if value.is_null() {
        deviations.hit(rule::UNASSIGNED);
        return Ok(None);
    }
    if definition.data_type != DataType::Complex {
        return plain(definition, path, value, deviations);
    }
    let value = match value {
        bare @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) if definition.sub("value").is_some() => {
            deviations.hit(rule::BARE_ELEMENT);
            Value::Object(Map::from_iter([("value".to_owned(), bare)]))
        }
        other => other,
    };
    let Value::Object(given) = value else {
        return Err(wrong(path, "must be an object"));
    };
    let parts = parts(
        &definition.sub_attributes,
        &format!("{path}."),
        given,
        nulls,
        deviations,
    )?;
    Ok((nulls == Nulls::Keep || !parts.is_empty()).then_some(Value::Object(parts)))
}

/// The value of a single-valued attribute; none if it is unassigned.
pub(super) fn single(
    definition: &Attribute,
    path: &str,
    value: Value,
    nulls: Nulls,
    deviations: &mut Deviations,
) -> Result<Option<Value>, Invalid> {
    let value = match value {
        Value::Array(mut items) if items.len() <= 1 => {
            deviations.hit(if items.is_empty() {
                rule::UNASSIGNED
            } else {
                rule::WRAPPING
            });
            items.pop().unwrap_or(Value::Null)
        }
        Value::Array(_) => return Err(wrong(path, "takes one value")),
        other => other,
    };
    if definition.data_type != DataType::Complex {
        return plain(definition, path, value, deviations);
    }
    if value.is_null() || value == "" {
        deviations.hit(if value.is_null() {
            rule::UNASSIGNED
        } else {
            rule::REFERENCE
        });
        return Ok(None);
    }
    let given = match value {
        Value::Object(given) => given,
        bare if definition.sub("value").is_some() => {
            deviations.hit(rule::REFERENCE);
            Map::from_iter([("value".to_owned(), bare)])
        }
        _ => return Err(wrong(path, "must be an object")),
    };
    let parts = parts(
        &definition.sub_attributes,
        &format!("{path}."),
        given,
        nulls,
        deviations,
    )?;
    if parts.get("value").is_some_and(|value| value.is_null() || value == "") {
        deviations.hit(rule::REFERENCE);
        return Ok(None);
    }
    Ok((nulls == Nulls::Keep || !parts.is_empty()).then_some(Value::Object(parts)))
}

/// A plain value, unwrapped from `{"value": …}` if needed.
fn plain(
    definition: &Attribute,
    path: &str,
    value: Value,
    deviations: &mut Deviations,
) -> Result<Option<Value>, Invalid> {
    let value = match value {
        Value::Object(mut parts) if parts.contains_key("value") => {
            deviations.hit(rule::WRAPPED_VALUE);
            parts.remove("value").unwrap_or(Value::Null)
        }
        other => other,
    };
    scalar(definition, path, value, deviations)
}

/// The attributes of an object, in schema order: a complex value, or an extension. The prefix precedes their names in
/// errors.
pub(super) fn parts(
    definitions: &[Arc<Attribute>],
    prefix: &str,
    given: Attributes,
    nulls: Nulls,
    deviations: &mut Deviations,
) -> Result<Attributes, Invalid> {
    let mut read: Vec<(usize, Value)> = Vec::new();
    for (key, value) in given {
        let known = definitions
            .iter()
            .position(|definition| definition.name.eq_ignore_ascii_case(&key));
        let Some(index) = known else {
            deviations.hit(rule::UNKNOWN);
            continue;
        };
        let definition = &definitions[index];
        if definition.name != key {
            deviations.hit(rule::NAME_CASE);
        }
        if definition.mutability == Mutability::ReadOnly {
            deviations.hit(rule::READ_ONLY);
            continue;
        }
        let path = format!("{prefix}{}", definition.name);
        let value = assigned(definition, &path, value, deviations)?;
        // If a name occurs in two spellings, the last one counts.
        read.retain(|(other, _)| *other != index);
        match (value, nulls) {
            (Some(value), _) => read.push((index, value)),
            (None, Nulls::Keep) => read.push((index, Value::Null)),
            (None, Nulls::Drop) => {}
        }
    }
    read.sort_by_key(|(index, _)| *index);
    Ok(read
        .into_iter()
        .map(|(index, value)| (definitions[index].name.clone(), value))
        .collect())
}

/// The value of an attribute in a whole representation; none if it is unassigned.
pub(super) fn assigned(
    definition: &Attribute,
    path: &str,
    value: Value,
    deviations: &mut Deviations,
) -> Result<Option<Value>, Invalid> {
    if definition.multi_valued {
        // In a whole representation this is a mistake; in PATCH some clients send a single member in this form.
        let is_plain = (value.is_string() && value != "") || value.is_number() || value.is_boolean();
        if definition.data_type == DataType::Complex && is_plain {
            return Err(wrong(path, "must be a list"));
        }
        let elements = list(definition, path, value, deviations)?;
        return Ok((!elements.is_empty()).then_some(Value::Array(elements)));
    }
    single(definition, path, value, Nulls::Drop, deviations)
}

/// Whether this value unassigns an extension.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

pub(super) fn wrong(path: &str, what: &str) -> Invalid {
    Invalid::new(InvalidKind::Value, format!("{path} {what}"))
}
