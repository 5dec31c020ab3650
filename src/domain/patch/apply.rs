//! Applies operations to a resource.

use serde_json::{Map, Value};

use super::{PatchOp, PatchOperation, list};
use crate::domain::Attributes;
use crate::domain::filter::{Filter, matches_element};
use crate::domain::multi_valued::{FEW, drop_repeated};
use crate::domain::path::Path;
use crate::domain::schema::{Attribute, AttributeRef, DataType, Mutability, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// The maximum number of element comparisons of all operations together: 1000 single additions to a group of 100,000.
const MOST_COMPARISONS: usize = 100_000_000;

/// Returns the resource after all operations, in order. An error names the attribute and leaves the resource unchanged.
///
/// Each operation must respect mutability and required attributes. [`crate::domain::validate::check`] decides whether
/// the result as a whole is valid.
pub fn apply(
    resource_type: &ResourceType,
    before: &Attributes,
    operations: &[PatchOperation],
) -> Result<Attributes, Invalid> {
    apply_within(MOST_COMPARISONS, resource_type, before, operations)
}

/// Whether an operation has to create the element that its value path describes, since none matches. RFC 7644 §3.5.2.3
/// would let a replace fail then; clients rely on the element (P7). Members are excluded: they are not part of a
/// document.
pub(crate) fn makes_elements(resource_type: &ResourceType, before: &Attributes, operations: &[PatchOperation]) -> bool {
    let mut after = before.clone();
    for (at, operation) in operations.iter().enumerate() {
        if makes_element(&after, operation) {
            return true;
        }
        if apply_one(resource_type, &mut after, (operation, operations.get(at + 1))).is_err() {
            return false;
        }
    }
    false
}

fn makes_element(attributes: &Attributes, operation: &PatchOperation) -> bool {
    let Some(path) = operation.path.as_ref().filter(|_| operation.op != PatchOp::Remove) else {
        return false;
    };
    let (Some(filter), name) = (&path.filter, &path.attribute.attribute.name) else {
        return false;
    };
    let holder = match &path.attribute.extension {
        None => Some(attributes),
        Some(urn) => attributes.get(urn).and_then(Value::as_object),
    };
    let elements = holder.and_then(|holder| holder.get(name)).and_then(Value::as_array);
    let matched = elements.is_some_and(|elements| elements.iter().any(|element| matches_element(filter, element)));
    path.attribute.attribute.multi_valued && name != "members" && !matched
}

/// Like [`apply`], with a limit on comparisons.
pub(super) fn apply_within(
    most_comparisons: usize,
    resource_type: &ResourceType,
    before: &Attributes,
    operations: &[PatchOperation],
) -> Result<Attributes, Invalid> {
    let mut after = before.clone();
    let mut comparisons = 0_usize;
    for (at, operation) in operations.iter().enumerate() {
        comparisons = comparisons.saturating_add(cost(&after, operation));
        if comparisons > most_comparisons {
            return Err(Invalid::new(
                InvalidKind::TooMany,
                "these operations take too many comparisons; send fewer at a time",
            ));
        }
        apply_one(resource_type, &mut after, (operation, operations.get(at + 1)))?;
    }
    Ok(after)
}

/// Applies an operation that is followed by another one or none.
fn apply_one(
    resource_type: &ResourceType,
    after: &mut Attributes,
    (operation, next): (&PatchOperation, Option<&PatchOperation>),
) -> Result<(), Invalid> {
    match &operation.path {
        Some(path) => at_path(after, path, operation.op, operation.value.as_ref())?,
        None => whole(resource_type, after, operation)?,
    }
    // Once for operations in a row on one attribute: each would look at every element.
    if let Some(path) = &operation.path
        && !next.is_some_and(|next| is_on(next, &path.attribute))
    {
        drop_repeated_at(after, &path.attribute);
    }
    Ok(())
}

/// Whether an operation is on the same attribute, in whole or in part.
fn is_on(operation: &PatchOperation, reference: &AttributeRef) -> bool {
    operation.path.as_ref().is_some_and(|path| {
        path.attribute.extension == reference.extension && path.attribute.attribute.name == reference.attribute.name
    })
}

/// Removes repeated elements of an attribute.
fn drop_repeated_at(after: &mut Attributes, reference: &AttributeRef) {
    let holder = match &reference.extension {
        None => Some(after),
        Some(urn) => after.get_mut(urn).and_then(Value::as_object_mut),
    };
    if let Some(Value::Array(list)) = holder.and_then(|holder| holder.get_mut(&reference.attribute.name)) {
        drop_repeated(&reference.attribute, list);
    }
}

/// Returns the maximum number of comparisons of an operation.
fn cost(after: &Attributes, operation: &PatchOperation) -> usize {
    let Some(path) = &operation.path else { return 0 };
    let name = &path.attribute.attribute.name;
    let value = match &path.attribute.extension {
        None => after.get(name),
        Some(urn) => after.get(urn).and_then(|parts| parts.get(name)),
    };
    let elements = value.and_then(Value::as_array).map_or(0, Vec::len);
    let given = operation.value.as_ref().and_then(Value::as_array).map_or(1, Vec::len);
    elements.saturating_mul(path.filter.as_ref().map_or(given.min(FEW), Filter::size))
}

/// Applies an operation without a path: its value is an object of attributes.
fn whole(resource_type: &ResourceType, after: &mut Attributes, operation: &PatchOperation) -> Result<(), Invalid> {
    if operation.op == PatchOp::Remove {
        return Err(Invalid::new(InvalidKind::NoTarget, "remove needs a path"));
    }
    let Some(Value::Object(attributes)) = &operation.value else {
        return Err(Invalid::new(
            InvalidKind::Value,
            "without a path the value must be an object",
        ));
    };
    for (key, value) in attributes {
        if resource_type.extension(key).is_some() {
            let parts = value.as_object().into_iter().flatten();
            for (name, value) in parts {
                one_key(resource_type, after, &format!("{key}:{name}"), operation.op, value)?;
            }
        } else {
            one_key(resource_type, after, key, operation.op, value)?;
        }
    }
    Ok(())
}

fn one_key(
    resource_type: &ResourceType,
    after: &mut Attributes,
    key: &str,
    op: PatchOp,
    value: &Value,
) -> Result<(), Invalid> {
    let unknown = || {
        Invalid::new(
            InvalidKind::Path,
            "the value has an attribute that this resource type does not have",
        )
    };
    let attribute = resource_type.resolve(key).ok_or_else(unknown)?;
    at_path(after, &Path::from(attribute.clone()), op, Some(value))?;
    drop_repeated_at(after, &attribute);
    Ok(())
}

/// Applies one operation at one path. An attribute that becomes empty is unassigned.
fn at_path(after: &mut Attributes, path: &Path, op: PatchOp, value: Option<&Value>) -> Result<(), Invalid> {
    let reference = &path.attribute;
    let attribute = &reference.attribute;
    if attribute.mutability == Mutability::ReadOnly || reference.leaf().mutability == Mutability::ReadOnly {
        return Err(immutable(&reference.path(), "is read-only"));
    }
    let Some(urn) = &reference.extension else {
        return in_map(after, path, op, value);
    };
    let mut parts = match after.remove(urn) {
        Some(Value::Object(parts)) => parts,
        _ => Map::new(),
    };
    let done = in_map(&mut parts, path, op, value);
    if !parts.is_empty() {
        after.insert(urn.clone(), Value::Object(parts));
    }
    done
}

fn in_map(map: &mut Attributes, path: &Path, op: PatchOp, value: Option<&Value>) -> Result<(), Invalid> {
    let attribute = &path.attribute.attribute;
    let settled = (attribute.mutability == Mutability::Immutable)
        .then(|| map.get(&attribute.name).cloned())
        .flatten();
    if attribute.multi_valued {
        list::edit(map, path, op, value)?;
        if settled.is_some()
            && let Some(Value::Array(list)) = map.get_mut(&attribute.name)
        {
            // An element that is added again is no change.
            drop_repeated(attribute, list);
        }
    } else {
        edit_single(map, path, op, value)?;
    }
    let present = map.get(&attribute.name);
    if present.is_none_or(is_void) {
        if attribute.required {
            return Err(immutable(&path.attribute.path(), "is required and cannot be removed"));
        }
        map.remove(&attribute.name);
    }
    if settled.is_some() && settled.as_ref() != map.get(&attribute.name) {
        return Err(immutable(&path.attribute.path(), "cannot change once it has a value"));
    }
    Ok(())
}

fn edit_single(map: &mut Attributes, path: &Path, op: PatchOp, value: Option<&Value>) -> Result<(), Invalid> {
    let attribute = &path.attribute.attribute;
    let fits = |present: &Value| {
        path.filter
            .as_ref()
            .is_none_or(|filter| matches_element(filter, present))
    };
    let present = map.get(&attribute.name);
    let value = match (op, value) {
        (PatchOp::Remove, _) => &Value::Null,
        (_, Some(value)) => value,
        (_, None) => return Err(no_value(path)),
    };
    if path.filter.is_some() && !present.is_some_and(fits) {
        return if op == PatchOp::Remove {
            Ok(())
        } else {
            Err(no_target(path))
        };
    }
    if value.is_null() && path.attribute.sub.is_none() {
        map.remove(&attribute.name);
        return Ok(());
    }
    let mut changed = map.get(&attribute.name).cloned().unwrap_or(Value::Null);
    set_element(&mut changed, path, value)?;
    map.insert(attribute.name.clone(), changed);
    Ok(())
}

/// Sets one element, or the only value: the named part of it, the given parts, or all of it. A null for a part that is
/// not there has no effect.
pub(super) fn set_element(element: &mut Value, path: &Path, value: &Value) -> Result<(), Invalid> {
    let attribute = &path.attribute.attribute;
    if attribute.data_type != DataType::Complex {
        *element = value.clone();
        return Ok(());
    }
    if !element.is_object() {
        *element = Value::Object(Map::new());
    }
    let Some(parts) = element.as_object_mut() else {
        return Ok(());
    };
    if let Some(sub) = &path.attribute.sub {
        return set_part(parts, sub, &path.attribute.path(), value);
    }
    let Some(given) = value.as_object() else {
        return Err(Invalid::new(
            InvalidKind::Value,
            format!("{} must be an object", path.attribute.path()),
        ));
    };
    for (name, value) in given {
        match attribute.sub(name) {
            Some(sub) if sub.mutability == Mutability::ReadOnly => {}
            Some(sub) => set_part(parts, sub, &format!("{}.{}", path.attribute.path(), sub.name), value)?,
            None => {
                return Err(Invalid::new(
                    InvalidKind::Value,
                    format!("{} has no such part", path.attribute.path()),
                ));
            }
        }
    }
    Ok(())
}

/// Sets a part of a complex value; null removes it.
pub(super) fn set_part(parts: &mut Attributes, sub: &Attribute, place: &str, value: &Value) -> Result<(), Invalid> {
    let present = parts.get(&sub.name);
    if sub.mutability == Mutability::Immutable && present.is_some_and(|present| present != value) {
        return Err(immutable(place, "cannot change once it has a value"));
    }
    if is_void(value) {
        if sub.required {
            return Err(immutable(place, "is required and cannot be removed"));
        }
        parts.remove(&sub.name);
    } else {
        parts.insert(sub.name.clone(), value.clone());
    }
    Ok(())
}

/// Whether a value counts as unassigned: null, and lists and objects without content. An empty string is a value.
pub(super) fn is_void(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn immutable(place: &str, why: &str) -> Invalid {
    Invalid::new(InvalidKind::Mutability, format!("{place} {why}"))
}

pub(super) fn no_value(path: &Path) -> Invalid {
    Invalid::new(
        InvalidKind::Value,
        format!("a value for {} is missing", path.attribute.path()),
    )
}

pub(super) fn no_target(path: &Path) -> Invalid {
    let detail = format!(
        "no element of {} matches the path, and none can be made from it",
        path.attribute.attribute.name
    );
    Invalid::new(InvalidKind::NoTarget, detail)
}
