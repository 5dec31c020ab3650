//! Bodies of PATCH.

use serde_json::Value;

use super::value::{Nulls, element, list, single, wrong};
use super::{Deviations, rule};
use crate::domain::patch::{PatchOp, PatchOperation, Path};
use crate::domain::schema::{Extension, Mutability, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// How many operations one request may have.
pub const MOST_OPERATIONS: usize = 1000;

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
            "a PATCH request can have 1000 operations",
        ));
    }
    let mut reader = Reader {
        resource_type,
        deviations,
        read: Vec::with_capacity(operations.len()),
    };
    for (index, operation) in operations.into_iter().enumerate() {
        reader.operation(operation).map_err(|error| error.in_operation(index))?;
    }
    Ok(reader.read)
}

/// P0: the list of operations, also without the object around it.
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
    let Some(Value::Array(list)) = list else {
        return Err(Invalid::new(
            InvalidKind::Syntax,
            "the body must be an object with a list of Operations",
        ));
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

struct Reader<'a> {
    resource_type: &'a ResourceType,
    deviations: &'a mut Deviations,
    read: Vec<PatchOperation>,
}

impl Reader<'_> {
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

    /// One key of a value without path: an attribute or a path. What is unknown or read-only there is ignored.
    fn key(&mut self, op: PatchOp, key: &str, value: Value) -> Result<(), Invalid> {
        let Ok(parsed) = Path::parse_noting(key, self.resource_type) else {
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

    /// P8: all that an extension holds.
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
                for (name, value) in parts {
                    self.key(op, &format!("{urn}:{name}"), value)?;
                }
                Ok(())
            }
            Value::Null if op == PatchOp::Add => Ok(()),
            Value::Null => self.remove_extension(extension),
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
        let parsed = Path::parse_noting(path, resource_type)?;
        self.strict(op, parsed.path, value, &parsed.deviations)
    }

    /// P9: the value in the shape that its path asks for.
    fn strict(
        &mut self,
        op: PatchOp,
        path: Path,
        value: Option<Value>,
        deviations: &[&'static str],
    ) -> Result<(), Invalid> {
        deviations.iter().copied().for_each(|rule| self.deviations.hit(rule));
        let value = match (op, value) {
            // Whatever the value is: the core refuses to write there.
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

    /// P6: the elements that a removal lists; none if it is about all that the path names.
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
                Value::Array(mut items) if items.len() == 1 => {
                    self.deviations.hit(rule::WRAPPING);
                    items.remove(0)
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
mod tests {
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
    fn p0_operations_may_be_empty_spelt_otherwise_or_bare_but_not_missing() {
        let one = json!([{"op": "add", "path": "title", "value": "T"}]);
        for (body, count) in [
            (json!({"Operations": []}), 0),
            (json!({"operations": one}), 1),
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
        becomes(operation, &expected, crate::domain::patch::tolerance::DOT_AFTER_URN);
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
        let (removed, _) = strict(json!({"op": "remove", "path": ENTERPRISE}));
        assert_eq!(removed.len(), 6);
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
        let missing = crate::domain::patch::tolerance::MISSING_BRACKET;
        becomes(
            json!({"op": "remove", "path": "emails[type eq \"work\""}),
            &expected,
            missing,
        );
    }

    #[test]
    fn an_error_names_the_operation_by_its_index() {
        let operations =
            json!([{"op": "remove", "path": "title"}, {"op": "replace", "path": "active", "value": "maybe"}]);
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
    fn a_read_only_path_is_left_to_the_core_to_refuse() {
        let (read, _) = strict(json!({"op": "replace", "path": "id", "value": {"any": "thing"}}));
        assert_eq!(read.len(), 1);
    }
}
