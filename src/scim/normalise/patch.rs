//! Converts the bodies of PATCH requests to strict form.

use serde_json::Value;

use super::value::{Nulls, element, is_nothing, list, single, wrong};
use super::{Deviations, rule};
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::path::Path;
use crate::domain::schema::{Extension, Mutability, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// The maximum number of operations in one request.
pub(crate) const MOST_OPERATIONS: usize = 1000;

/// The operations of a PATCH request (RFC 7644 §3.5.2) in strict form, each with a path. An error names the operation
/// by its index in the request.
pub fn patch(
    resource_type: &ResourceType,
    body: Value,
    deviations: &mut Deviations,
) -> Result<Vec<PatchOperation>, Invalid> {
    let operations = operations(body, deviations)?;
    if operations.len() > MOST_OPERATIONS {
        return Err(Invalid::new(
            InvalidKind::TooMany,
            "a PATCH request can have at most 1000 operations",
        ));
    }
    let mut reader = PatchReader {
        resource_type,
        deviations,
        read: Vec::with_capacity(operations.len()),
    };
    for (index, operation) in operations.into_iter().enumerate() {
        reader.operation(operation).map_err(|error| error.in_operation(index))?;
    }
    Ok(reader.read)
}

/// P0: the list of operations, also without the object around it, or one operation without its list.
fn operations(body: Value, deviations: &mut Deviations) -> Result<Vec<Value>, Invalid> {
    let list = match body {
        Value::Array(list) => {
            deviations.hit(rule::OPERATIONS);
            Some(Value::Array(list))
        }
        Value::Object(mut members) => {
            if !members.contains_key("schemas") {
                deviations.hit(rule::SCHEMAS);
            }
            take(&mut members, "Operations", rule::OPERATIONS, deviations)
        }
        _ => None,
    };
    let list = match list {
        Some(Value::Array(list)) => list,
        Some(single @ Value::Object(_)) => {
            deviations.hit(rule::OPERATIONS);
            vec![single]
        }
        _ => {
            return Err(Invalid::new(
                InvalidKind::Syntax,
                "the body must be an object with a list of Operations",
            ));
        }
    };
    if list.is_empty() {
        deviations.hit(rule::OPERATIONS);
    }
    Ok(list)
}

/// A member by its name, in any case.
fn take(
    members: &mut crate::domain::Attributes,
    name: &str,
    rule: &'static str,
    deviations: &mut Deviations,
) -> Option<Value> {
    let key = members.keys().rev().find(|key| key.eq_ignore_ascii_case(name))?.clone();
    if key != name {
        deviations.hit(rule);
    }
    members.remove(&key)
}

struct PatchReader<'a> {
    resource_type: &'a ResourceType,
    deviations: &'a mut Deviations,
    read: Vec<PatchOperation>,
}

impl PatchReader<'_> {
    fn operation(&mut self, operation: Value) -> Result<(), Invalid> {
        let Value::Object(mut members) = operation else {
            return Err(Invalid::new(InvalidKind::Syntax, "an operation must be an object"));
        };
        let op = take(&mut members, "op", rule::NAME_CASE, self.deviations);
        let op = self.op(op.as_ref())?;
        let path = match take(&mut members, "path", rule::NAME_CASE, self.deviations) {
            None => None,
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Some(Value::Null | Value::String(_)) => {
                self.deviations.hit(rule::NULL_PATH);
                None
            }
            Some(_) => return Err(Invalid::new(InvalidKind::Path, "the path must be a string")),
        };
        let value = take(&mut members, "value", rule::NAME_CASE, self.deviations);
        match path {
            None if op == PatchOp::Remove => Err(Invalid::new(InvalidKind::NoTarget, "remove needs a path")),
            None => self.whole(op, value),
            Some(path) => self.at(op, &path, value),
        }
    }

    /// P1: the operation in any case.
    fn op(&mut self, op: Option<&Value>) -> Result<PatchOp, Invalid> {
        let word = op.and_then(Value::as_str).unwrap_or_default();
        let lower = word.to_ascii_lowercase();
        if lower != word {
            self.deviations.hit(rule::OP_CASE);
        }
        match lower.as_str() {
            "add" => Ok(PatchOp::Add),
            "replace" => Ok(PatchOp::Replace),
            "remove" => Ok(PatchOp::Remove),
            _ => Err(Invalid::new(InvalidKind::Syntax, "op must be add, replace or remove")),
        }
    }

    /// P3: one operation for each key of a value without path.
    fn whole(&mut self, op: PatchOp, value: Option<Value>) -> Result<(), Invalid> {
        let Some(Value::Object(members)) = value else {
            return Err(Invalid::new(
                InvalidKind::Value,
                "without a path the value must be an object",
            ));
        };
        for (key, value) in members {
            let resource_type = self.resource_type;
            if let Some(extension) = resource_type.extension(&key) {
                self.extension(op, extension, value)?;
            } else {
                self.key(op, &key, value)?;
            }
        }
        Ok(())
    }

    /// One key of a value without a path: an attribute or a path. Unknown and read-only ones are ignored.
    fn key(&mut self, op: PatchOp, key: &str, value: Value) -> Result<(), Invalid> {
        let Ok(parsed) = Path::parse_with_deviations(key, self.resource_type) else {
            self.deviations.hit(rule::UNKNOWN);
            return Ok(());
        };
        let attribute = &parsed.path.attribute;
        if is_read_only(&parsed.path) {
            self.deviations.hit(rule::READ_ONLY);
            return Ok(());
        }
        if attribute.extension.is_none() && attribute.attribute.name == "schemas" {
            return Ok(());
        }
        if attribute.extension.is_none() && !attribute.attribute.name.eq_ignore_ascii_case(key) {
            self.deviations.hit(rule::PATH_AS_KEY);
        }
        self.strict(op, parsed.path, Some(value), &parsed.deviations)
    }

    /// P8: all attributes of an extension.
    fn extension(&mut self, op: PatchOp, extension: &Extension, value: Value) -> Result<(), Invalid> {
        let urn = &extension.schema.id;
        let value = match value {
            Value::Array(mut items) if items.len() == 1 => {
                self.deviations.hit(rule::WRAPPING);
                items.remove(0)
            }
            other => other,
        };
        match value {
            Value::Object(parts) => {
                // Some clients repeat `schemas` inside the extension.
                let attributes = parts
                    .into_iter()
                    .filter(|(name, _)| !name.eq_ignore_ascii_case("schemas"));
                for (name, value) in attributes {
                    self.key(op, &format!("{urn}:{name}"), value)?;
                }
                Ok(())
            }
            nothing if is_nothing(&nothing) => {
                self.deviations.hit(rule::UNASSIGNED);
                match op {
                    PatchOp::Add => Ok(()),
                    PatchOp::Replace | PatchOp::Remove => self.remove_extension(extension),
                }
            }
            _ => Err(wrong(urn, "must be an object")),
        }
    }

    fn remove_extension(&mut self, extension: &Extension) -> Result<(), Invalid> {
        for attribute in extension
            .schema
            .attributes
            .iter()
            .filter(|attribute| attribute.mutability != Mutability::ReadOnly)
        {
            let path = Path::parse(
                &format!("{}:{}", extension.schema.id, attribute.name),
                self.resource_type,
            )?;
            self.read.push(PatchOperation::remove(path));
        }
        Ok(())
    }

    fn at(&mut self, op: PatchOp, path: &str, value: Option<Value>) -> Result<(), Invalid> {
        let resource_type = self.resource_type;
        if let Some(extension) = resource_type.extension(path) {
            self.deviations.hit(rule::URN_AS_PATH);
            return match (op, value) {
                (PatchOp::Remove, _) => self.remove_extension(extension),
                (_, Some(value)) => self.extension(op, extension, value),
                (_, None) => Err(Invalid::new(InvalidKind::Value, "a value is missing")),
            };
        }
        if resource_type.schema.id.eq_ignore_ascii_case(path) && op != PatchOp::Remove {
            self.deviations.hit(rule::URN_AS_PATH);
            return self.whole(op, value);
        }
        let parsed = Path::parse_with_deviations(path, resource_type)?;
        self.strict(op, parsed.path, value, &parsed.deviations)
    }

    /// P9: converts the value to the type that its path requires.
    fn strict(
        &mut self,
        op: PatchOp,
        path: Path,
        value: Option<Value>,
        deviations: &[&'static str],
    ) -> Result<(), Invalid> {
        deviations.iter().copied().for_each(|rule| self.deviations.hit(rule));
        let value = match (op, value) {
            // The value does not matter: the core refuses to write there.
            _ if is_read_only(&path) => None,
            (PatchOp::Remove, value) => self.listed(&path, value)?,
            (_, Some(value)) => Some(self.shaped(&path, value)?),
            (_, None) => return Err(wrong(&path.attribute.path(), "needs a value")),
        };
        self.read.push(PatchOperation {
            op,
            path: Some(path),
            value,
        });
        Ok(())
    }

    /// P6: the elements that a removal lists; none if it removes everything that the path selects.
    fn listed(&mut self, path: &Path, value: Option<Value>) -> Result<Option<Value>, Invalid> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        self.deviations.hit(rule::REMOVE_WITH_VALUE);
        let attribute = &path.attribute;
        if !attribute.attribute.multi_valued || attribute.sub.is_some() || path.filter.is_some() {
            return Ok(None);
        }
        list(&attribute.attribute, &attribute.path(), value, self.deviations)
            .map(|elements| Some(Value::Array(elements)))
    }

    fn shaped(&mut self, path: &Path, value: Value) -> Result<Value, Invalid> {
        let reference = &path.attribute;
        let (definition, place) = (reference.leaf(), reference.path());
        if definition.multi_valued && path.filter.is_none() {
            return list(definition, &place, value, self.deviations).map(Value::Array);
        }
        let read = if definition.multi_valued {
            let value = match value {
                Value::Array(mut items) if items.len() <= 1 => {
                    self.deviations.hit(rule::WRAPPING);
                    items.pop().unwrap_or(Value::Null)
                }
                other => other,
            };
            element(definition, &place, value, Nulls::Keep, self.deviations)?
        } else {
            single(definition, &place, value, Nulls::Keep, self.deviations)?
        };
        Ok(read.unwrap_or(Value::Null))
    }
}

fn is_read_only(path: &Path) -> bool {
    path.attribute.attribute.mutability == Mutability::ReadOnly
        || path.attribute.leaf().mutability == Mutability::ReadOnly
}

#[cfg(test)]
mod tests;
