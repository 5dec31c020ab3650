//! PUT (RFC 7644 §3.5.1): merges the new representation with the stored one.

use std::sync::Arc;

use serde_json::Value;

use super::resource::Attributes;
use super::schema::{Attribute, Mutability, ResourceType};
use super::validate::{Invalid, InvalidKind};

/// Returns the resource that replaces the stored one: read-only values stay, write-only and immutable ones stay if left
/// out, an immutable one may not differ, all others are set or removed as the client sent them.
pub fn merge(resource_type: &ResourceType, stored: &Attributes, mut new: Attributes) -> Result<Attributes, Invalid> {
    for definition in super::schema::common_attributes()
        .iter()
        .chain(&resource_type.schema.attributes)
    {
        merge_attribute(definition, &definition.name, stored, &mut new)?;
    }
    let none = Attributes::new();
    for extension in &resource_type.extensions {
        let urn = &extension.schema.id;
        let old = stored.get(urn).and_then(Value::as_object).unwrap_or(&none);
        let mut parts = match new.remove(urn) {
            Some(Value::Object(parts)) => parts,
            _ => Attributes::new(),
        };
        for definition in &extension.schema.attributes {
            merge_attribute(definition, &format!("{urn}:{}", definition.name), old, &mut parts)?;
        }
        if !parts.is_empty() {
            new.insert(urn.clone(), Value::Object(parts));
        }
    }
    Ok(new)
}

/// Merges one attribute of the resource, or one sub-attribute of a complex attribute.
fn merge_attribute(
    definition: &Arc<Attribute>,
    path: &str,
    stored: &Attributes,
    new: &mut Attributes,
) -> Result<(), Invalid> {
    let name = &definition.name;
    match (definition.mutability, stored.get(name)) {
        (Mutability::ReadOnly, old) => {
            new.remove(name);
            new.extend(old.map(|old| (name.clone(), old.clone())));
        }
        (Mutability::WriteOnly | Mutability::Immutable, Some(old)) if !new.contains_key(name) => {
            new.insert(name.clone(), old.clone());
        }
        (Mutability::Immutable, Some(old)) if new.get(name) != Some(old) => {
            return Err(Invalid::new(
                InvalidKind::Mutability,
                format!("{path} cannot change once it has a value"),
            ));
        }
        (_, Some(Value::Object(old))) => {
            if let Some(Value::Object(parts)) = new.get_mut(name) {
                merge_parts(definition, path, old, parts)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn merge_parts(definition: &Attribute, path: &str, old: &Attributes, parts: &mut Attributes) -> Result<(), Invalid> {
    // Read-only parts, such as a manager's `displayName`, do not apply to another `value`.
    let same = old.get("value") == parts.get("value");
    for sub in &definition.sub_attributes {
        if sub.mutability == Mutability::ReadOnly && !same {
            parts.remove(&sub.name);
        } else {
            merge_attribute(sub, &format!("{path}.{}", sub.name), old, parts)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    const BADGE: &str = "urn:example:Badge";

    fn badge_holder() -> ResourceType {
        let file = json!([
            {"id": BADGE, "name": "Badge", "attributes": [
                {"name": "number", "mutability": "immutable"}, {"name": "pin", "mutability": "writeOnly"},
                {"name": "door", "mutability": "readOnly"}]},
            {"name": "User", "endpoint": "/Users", "schema": "urn:ietf:params:scim:schemas:core:2.0:User",
             "schemaExtensions": [{"schema": BADGE}]}]);
        let registry = Registry::load(&[("badge.json".to_owned(), file.to_string())]).expect("valid");
        registry.resource_type(&Kind::USER).expect("built in").clone()
    }

    fn object(value: Value) -> Attributes {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn put_removes_what_is_left_out_unless_it_is_protected() {
        let stored = object(
            json!({"id": "1", "userName": "a", "title": "T", "groups": [{"value": "g"}],
            BADGE: {"number": "7", "pin": "1234", "door": "north"}}),
        );
        let merged = merge(&badge_holder(), &stored, object(json!({"userName": "b", "groups": []})));
        let expected = object(json!({"userName": "b", "id": "1", "groups": [{"value": "g"}],
            BADGE: {"number": "7", "pin": "1234", "door": "north"}}));
        assert_eq!(merged, Ok(expected));
    }

    #[test]
    fn an_immutable_value_may_be_repeated_and_may_not_differ() {
        let stored = object(json!({"userName": "a", BADGE: {"number": "7"}}));
        let same = object(json!({"userName": "a", BADGE: {"number": "7"}}));
        assert_eq!(merge(&badge_holder(), &stored, same.clone()), Ok(same));
        let other = object(json!({"userName": "a", BADGE: {"number": "8"}}));
        assert_eq!(
            merge(&badge_holder(), &stored, other).map_err(|error| error.kind),
            Err(InvalidKind::Mutability)
        );
    }

    #[test]
    fn an_immutable_value_can_be_given_later() {
        let new = object(json!({"userName": "a", BADGE: {"number": "7"}}));
        assert_eq!(
            merge(&badge_holder(), &object(json!({"userName": "a"})), new.clone()),
            Ok(new)
        );
    }
}
