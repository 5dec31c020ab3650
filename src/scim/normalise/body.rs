//! Converts the bodies of POST and PUT requests to strict form.

use serde_json::Value;

use super::value::{Nulls, assigned, is_nothing, parts, wrong};
use super::{Deviations, rule};
use crate::domain::Attributes;
use crate::domain::schema::{Extension, Mutability, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// The prefix of every core schema of RFC 7643.
const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:";

/// Returns the attributes of a representation in strict form, without `schemas`, which follow from what is present, and
/// without read-only attributes. It does not check for required attributes.
pub fn body(resource_type: &ResourceType, body: Value, deviations: &mut Deviations) -> Result<Attributes, Invalid> {
    let Value::Object(given) = body else {
        return Err(Invalid::new(InvalidKind::Syntax, "the body must be a JSON object"));
    };
    let schemas = given
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case("schemas"))
        .map(|(_, value)| value);
    check_schemas(resource_type, schemas, &given, deviations)?;
    let mut strict = Attributes::new();
    for (key, value) in given {
        if let Some(extension) = resource_type.extension(&key) {
            extended(extension, &key, value, &mut strict, deviations)?;
            continue;
        }
        let found = resource_type
            .resolve(&key)
            .filter(|found| found.extension.is_none() && found.sub.is_none());
        let Some(definition) = found.map(|found| found.attribute) else {
            deviations.hit(rule::UNKNOWN);
            continue;
        };
        if definition.name != key {
            deviations.hit(rule::NAME_CASE);
        }
        if definition.name == "schemas" {
            continue;
        }
        if definition.mutability == Mutability::ReadOnly {
            deviations.hit(rule::READ_ONLY);
            continue;
        }
        strict.remove(&definition.name);
        let value = assigned(&definition, &definition.name, value, deviations)?;
        strict.extend(value.map(|value| (definition.name.clone(), value)));
    }
    Ok(strict)
}

fn extended(
    extension: &Extension,
    key: &str,
    value: Value,
    strict: &mut Attributes,
    deviations: &mut Deviations,
) -> Result<(), Invalid> {
    let urn = &extension.schema.id;
    if urn != key {
        deviations.hit(rule::URN_CASE);
    }
    strict.remove(urn);
    let value = match value {
        Value::Array(mut items) if items.len() == 1 => {
            deviations.hit(rule::WRAPPING);
            items.remove(0)
        }
        other => other,
    };
    if is_nothing(&value) {
        deviations.hit(rule::UNASSIGNED);
        return Ok(());
    }
    let Value::Object(given) = value else {
        return Err(wrong(urn, "must be an object"));
    };
    let read = parts(
        &extension.schema.attributes,
        &format!("{urn}:"),
        given,
        Nulls::Drop,
        deviations,
    )?;
    if !read.is_empty() {
        strict.insert(urn.clone(), Value::Object(read));
    }
    Ok(())
}

/// R8: `schemas` may be missing or wrong, but must not name another resource type.
fn check_schemas(
    resource_type: &ResourceType,
    schemas: Option<&Value>,
    given: &Attributes,
    deviations: &mut Deviations,
) -> Result<(), Invalid> {
    let named: Vec<&str> = match schemas {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(single)) => vec![single],
        _ => Vec::new(),
    };
    let own = named
        .iter()
        .any(|urn| urn.eq_ignore_ascii_case(&resource_type.schema.id));
    let is_core = |urn: &&str| {
        urn.get(..CORE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(CORE))
    };
    if !own && named.iter().any(is_core) {
        let detail = format!(
            "schemas names another type of resource; this endpoint takes {}",
            resource_type.kind
        );
        return Err(Invalid::new(InvalidKind::Syntax, detail));
    }
    let is_present = |urn: &str| given.keys().any(|key| key.eq_ignore_ascii_case(urn));
    let is_right = |urn: &&str| {
        urn.eq_ignore_ascii_case(&resource_type.schema.id) || resource_type.extension(urn).is_some() && is_present(urn)
    };
    if !own || !named.iter().all(is_right) {
        deviations.hit(rule::SCHEMAS);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

    fn read(kind: &Kind, value: Value) -> (Result<Value, InvalidKind>, Deviations) {
        let registry = Registry::builtin();
        let mut deviations = Deviations::default();
        let strict = body(registry.resource_type(kind).expect("built in"), value, &mut deviations);
        (strict.map(Value::Object).map_err(|error| error.kind), deviations)
    }

    /// Reads a user with correct `schemas`, and expects exactly these rules.
    fn becomes(mut sent: Value, strict: Value, rules: &[&str]) {
        sent["schemas"] = json!([USER]);
        let (read, deviations) = read(&Kind::USER, sent.clone());
        assert_eq!(read, Ok(strict), "{sent}");
        assert_eq!(
            deviations.iter().map(|(rule, _)| rule).collect::<Vec<_>>(),
            rules,
            "{sent}"
        );
    }

    fn refused(value: Value) -> InvalidKind {
        read(&Kind::USER, value.clone()).0.expect_err(&value.to_string())
    }

    #[test]
    fn a_strict_body_needs_no_rule() {
        let strict = json!({"userName": "a", "name": {"familyName": "A"}, "emails": [{"value": "a@x", "primary": true}], "active": true});
        becomes(strict.clone(), strict, &[]);
    }

    #[test]
    fn r1_names_get_canonical_case_and_the_last_spelling_wins() {
        becomes(
            json!({"USERNAME": "a", "username": "b", "Emails": [{"VALUE": "x"}]}),
            json!({"userName": "b", "emails": [{"value": "x"}]}),
            &[rule::NAME_CASE],
        );
    }

    #[test]
    fn r2_unknown_members_are_dropped_at_every_depth() {
        becomes(
            json!({"x": 1, "name": {"y": 2, "familyName": "A"}}),
            json!({"name": {"familyName": "A"}}),
            &[rule::UNKNOWN],
        );
    }

    #[test]
    fn r3_null_and_empty_lists_unassign_but_empty_text_does_not() {
        becomes(
            json!({"title": "", "nickName": null, "roles": [], "name": {"givenName": null}, "emails": [null], "active": "",
                "addresses": "", "photos": "", ENTERPRISE: ""}),
            json!({"title": ""}),
            &[rule::UNASSIGNED],
        );
    }

    #[test]
    fn r4_scalars_take_the_type_of_their_schema() {
        becomes(
            json!({"active": "False", "title": 7, "emails": [{"value": "a", "primary": "TRUE"}]}),
            json!({"active": false, "title": "7", "emails": [{"value": "a", "primary": true}]}),
            &[rule::COERCED],
        );
        for wrong in [
            json!({"active": 1}),
            json!({"active": "yes"}),
            json!({"title": {"x": 1}}),
            json!({"emails": [[]]}),
        ] {
            assert_eq!(refused(wrong), InvalidKind::Value);
        }
    }

    #[test]
    fn r5_lists_and_single_values_are_wrapped_and_unwrapped() {
        becomes(
            json!({"title": ["T"], "name": [{"familyName": "A"}], "emails": {"value": "a"}}),
            json!({"title": "T", "name": {"familyName": "A"}, "emails": [{"value": "a"}]}),
            &[rule::WRAPPING],
        );
        for wrong in [
            json!({"title": ["a", "b"]}),
            json!({"emails": "a"}),
            json!({"emails": true}),
        ] {
            assert_eq!(refused(wrong), InvalidKind::Value);
        }
    }

    #[test]
    fn r6_a_bare_text_is_the_value_of_an_element() {
        becomes(
            json!({"emails": ["a", "b"]}),
            json!({"emails": [{"value": "a"}, {"value": "b"}]}),
            &[rule::BARE_ELEMENT],
        );
        assert_eq!(refused(json!({"addresses": ["Berlin"]})), InvalidKind::Value);
    }

    #[test]
    fn r7_read_only_values_are_ignored() {
        becomes(
            json!({"id": "1", "meta": {}, "groups": [1], "title": "T"}),
            json!({"title": "T"}),
            &[rule::READ_ONLY],
        );
    }

    #[test]
    fn r8_schemas_may_be_wrong_but_not_of_another_type() {
        for schemas in [
            json!(null),
            json!(USER),
            json!([]),
            json!([USER, ENTERPRISE]),
            json!([USER, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"]),
        ] {
            let (strict, deviations) = read(&Kind::USER, json!({"schemas": schemas, "userName": "a"}));
            assert_eq!(strict, Ok(json!({"userName": "a"})), "{schemas}");
            assert_eq!(
                deviations.count(rule::SCHEMAS),
                usize::from(schemas != USER),
                "{schemas}"
            );
        }
        assert_eq!(
            refused(json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"]})),
            InvalidKind::Syntax
        );
    }

    #[test]
    fn r9_equal_elements_are_kept_once_and_members_by_their_value() {
        becomes(
            json!({"roles": [{"value": "a"}, {"value": "a"}]}),
            json!({"roles": [{"value": "a"}]}),
            &[rule::DUPLICATE],
        );
        let (group, _) = read(
            &Kind::GROUP,
            json!({"members": [{"value": "a", "$ref": null}, {"display": "A", "value": "a"}]}),
        );
        assert_eq!(group, Ok(json!({"members": [{"value": "a"}]})));
    }

    #[test]
    fn r10_the_last_primary_wins() {
        becomes(
            json!({"emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]}),
            json!({"emails": [{"value": "a", "primary": false}, {"value": "b", "primary": true}]}),
            &[rule::PRIMARY],
        );
    }

    #[test]
    fn r11_a_manager_may_be_a_text_a_list_or_empty() {
        let with = |manager: Value| {
            read(
                &Kind::USER,
                json!({"schemas": [USER], ENTERPRISE: {"manager": manager}}),
            )
            .0
            .expect("understood")
        };
        let expected = json!({ENTERPRISE: {"manager": {"value": "1"}}});
        for sent in [
            json!("1"),
            json!({"value": "1"}),
            json!([{"value": "1", "$ref": null}]),
            json!({"value": 1, "displayName": "B"}),
        ] {
            assert_eq!(with(sent.clone()), expected, "{sent}");
        }
        for sent in [
            json!(""),
            json!({"value": ""}),
            json!({"value": null}),
            json!([]),
            json!(null),
            json!({"managerId": "1"}),
        ] {
            assert_eq!(with(sent.clone()), json!({}), "{sent}");
        }
    }

    #[test]
    fn r12_an_extension_is_known_by_its_urn_in_any_case() {
        becomes(
            json!({ENTERPRISE.to_uppercase(): {"Department": "D", "employeeNumber": 7}}),
            json!({ENTERPRISE: {"employeeNumber": "7", "department": "D"}}),
            &[rule::NAME_CASE, rule::URN_CASE, rule::COERCED],
        );
    }

    #[test]
    fn a_body_that_is_not_an_object_is_a_syntax_error() {
        for value in [json!([1, 2]), json!("x"), json!(null)] {
            assert_eq!(refused(value), InvalidKind::Syntax);
        }
    }

    #[test]
    fn an_error_names_the_attribute_and_not_the_value() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let error = body(
            user,
            json!({"emails": [{"primary": "hunter2"}]}),
            &mut Deviations::default(),
        )
        .expect_err("wrong");
        assert_eq!(error.detail, "emails.primary must be true or false");
    }
}
