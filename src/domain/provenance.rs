//! Provenance, the writer of each value, and the diff of a change.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ids::{IdentityProviderName, ServiceProviderName};
use super::resource::Attributes;
use super::schema::{Attribute, DataType, Mutability, ResourceType};

/// Attribute path → writer, such as `name.givenName` → `idp:google`. An element of a multi-valued attribute has its own
/// path, `emails[alice@example.com]`, by its `value`, else by its whole JSON text.
pub type Writers = BTreeMap<String, String>;

/// The writer of a value that an administrator has taken over from an identity provider: no login writes it.
pub const HELD: &str = "held:admin";

/// The writer of values that users set in their own accounts.
pub(crate) const PERSON: &str = "self";

/// The writer of what administrators write, whichever of them it is.
pub(crate) const ADMINISTRATOR: &str = "admin";

/// The writer that an actor of the journal is.
pub(crate) fn writer_of(actor: &str) -> &str {
    match actor.split_once(':') {
        Some((ADMINISTRATOR, _)) => ADMINISTRATOR,
        _ => actor,
    }
}

/// The writer of the values that a SCIM client of a service provider sent.
pub(crate) fn of_client(name: &ServiceProviderName) -> String {
    format!("scim:{name}")
}

/// An identity provider as a writer.
pub fn of_provider(name: &IdentityProviderName) -> String {
    format!("idp:{name}")
}

/// A job of the server as a writer.
pub(crate) fn of_job(name: &str) -> String {
    format!("job:{name}")
}

/// Returns the name of the identity provider if the writer is one.
pub fn provider(writer: &str) -> Option<&str> {
    writer.strip_prefix("idp:")
}

/// [`Writers`] as a resource carries them: JSON text, read on demand, since most reads of a resource do not ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance(String);

impl Provenance {
    /// Serialises writers.
    pub fn of(writers: &Writers) -> Self {
        Self(serde_json::to_string(writers).expect("a map of texts always serialises"))
    }

    /// Wraps a text that [`Provenance::of`] wrote earlier.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Parses the writers.
    pub fn writers(&self) -> Writers {
        serde_json::from_str(&self.0).expect("provenance is a JSON object, written by Provenance::of alone")
    }
}

/// Attributes that only the server sets, and the relations, which have records of their own.
const UNRECORDED: [&str; 5] = ["schemas", "id", "meta", "members", "groups"];

/// Returns the writer of each value of `after`: `writer` where the value differs from `before`, else its previous
/// writer. Removed values have no writer.
pub(crate) fn assign_writers(before: &Attributes, after: &Attributes, writers: &Writers, writer: &str) -> Writers {
    let old = values(before);
    let stamped = values(after).into_iter().filter_map(|(path, value)| {
        let known = if old.get(&path) == Some(&value) {
            writers.get(&path).cloned()
        } else {
            Some(writer.to_owned())
        };
        known.map(|known| (path, known))
    });
    stamped.collect()
}

/// Returns the changes: attribute path → new value, null when removed. A list counts as one value, a complex value by
/// its sub-attributes. Secrets, members and server-assigned values are left out.
pub fn diff(resource_type: &ResourceType, before: &Attributes, after: &Attributes) -> Attributes {
    let mut changes = Attributes::new();
    for found in resource_type.attributes() {
        let definition = &found.attribute;
        let path = found.path();
        let is_derived = definition.mutability == Mutability::ReadOnly || path == "schemas";
        if is_derived || definition.is_secret() || definition.is_identified_by_value() {
            continue;
        }
        let of = |attributes: &Attributes| {
            let value = match &found.extension {
                None => attributes.get(&definition.name),
                Some(urn) => attributes
                    .get(urn)
                    .and_then(|extension| extension.get(&definition.name)),
            };
            public(definition, value.unwrap_or(&Value::Null))
        };
        let (old, new) = (of(before), of(after));
        if old == new {
            continue;
        }
        if definition.data_type != DataType::Complex || definition.multi_valued {
            changes.insert(path, new);
            continue;
        }
        for sub in &definition.sub_attributes {
            let part = new.get(&sub.name).unwrap_or(&Value::Null);
            if old.get(&sub.name).unwrap_or(&Value::Null) != part {
                changes.insert(format!("{path}.{}", sub.name), part.clone());
            }
        }
    }
    changes
}

/// The value without its secret parts.
fn public(definition: &Attribute, value: &Value) -> Value {
    match value {
        Value::Array(elements) => elements.iter().map(|element| public(definition, element)).collect(),
        Value::Object(parts) => {
            let shown = parts
                .iter()
                .filter(|(name, _)| definition.sub(name).is_none_or(|sub| !sub.is_secret()));
            Value::Object(shown.map(|(name, part)| (name.clone(), part.clone())).collect())
        }
        plain => plain.clone(),
    }
}

/// Every value by its path. Two elements of a list can share a path.
fn values(attributes: &Attributes) -> BTreeMap<String, Vec<&Value>> {
    let mut found = BTreeMap::new();
    for (name, value) in attributes
        .iter()
        .filter(|(name, _)| !UNRECORDED.contains(&name.as_str()))
    {
        match value.as_object() {
            Some(extension) if name.contains(':') => {
                for (name_within, value) in extension {
                    collect(format!("{name}:{name_within}"), value, &mut found);
                }
            }
            _ => collect(name.clone(), value, &mut found),
        }
    }
    found
}

fn collect<'a>(path: String, value: &'a Value, found: &mut BTreeMap<String, Vec<&'a Value>>) {
    match value {
        Value::Object(parts) => {
            for (name, part) in parts {
                found.entry(format!("{path}.{name}")).or_default().push(part);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                let key = element.get("value").unwrap_or(element);
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                found.entry(format!("{path}[{key}]")).or_default().push(element);
            }
        }
        plain => found.entry(path).or_default().push(plain),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn object(value: Value) -> Attributes {
        value.as_object().expect("an object").clone()
    }

    fn before() -> Attributes {
        object(
            json!({"schemas": ["x"], "userName": "a", "title": "T", "name": {"givenName": "A", "familyName": "B"},
            "emails": [{"value": "w@x", "type": "work"}, {"value": "h@x"}], "addresses": [{"country": "DE"}],
            ENTERPRISE: {"department": "D", "manager": {"value": "1"}}}),
        )
    }

    fn after() -> Attributes {
        object(
            json!({"schemas": ["y"], "userName": "a", "nickName": "N", "name": {"givenName": "C", "familyName": "B"},
            "emails": [{"value": "w@x", "type": "home"}, {"value": "h@x"}, {"value": "n@x"}],
            ENTERPRISE: {"department": "D", "manager": {"value": "2"}}}),
        )
    }

    #[test]
    fn every_value_has_the_writer_who_set_it_last() {
        let first = assign_writers(&Attributes::new(), &before(), &Writers::new(), "admin");
        assert!(first.values().all(|writer| writer == "admin"));
        assert_eq!(
            first.get("addresses[{\"country\":\"DE\"}]").map(String::as_str),
            Some("admin")
        );
        let second = assign_writers(&before(), &after(), &first, "scim:wiki");
        let department = format!("{ENTERPRISE}:department");
        let manager = format!("{ENTERPRISE}:manager.value");
        let expected = [
            ("emails[h@x]", "admin"),
            ("emails[n@x]", "scim:wiki"),
            ("emails[w@x]", "scim:wiki"),
            ("name.familyName", "admin"),
            ("name.givenName", "scim:wiki"),
            ("nickName", "scim:wiki"),
            (&department, "admin"),
            (&manager, "scim:wiki"),
            ("userName", "admin"),
        ];
        assert_eq!(
            second,
            expected
                .map(|(path, writer)| (path.to_owned(), writer.to_owned()))
                .into_iter()
                .collect()
        );
    }

    #[test]
    fn an_unchanged_value_without_a_writer_gets_none() {
        assert_eq!(
            assign_writers(&before(), &before(), &Writers::new(), "admin"),
            Writers::new()
        );
    }

    #[test]
    fn a_diff_names_what_is_new_changed_or_gone() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let expected = json!({"name.givenName": "C", "nickName": "N", "title": null, "addresses": null,
            "emails": [{"value": "w@x", "type": "home"}, {"value": "h@x"}, {"value": "n@x"}],
            format!("{ENTERPRISE}:manager.value"): "2"});
        assert_eq!(Value::Object(diff(user, &before(), &after())), expected);
        assert_eq!(diff(user, &after(), &after()), Attributes::new());
    }

    #[test]
    fn a_diff_holds_no_secret_and_no_members() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let secret =
            object(json!({"password": "hunter2", "id": "1", "groups": [{"value": "g"}], "meta": {"version": "1"}}));
        assert_eq!(diff(user, &Attributes::new(), &secret), Attributes::new());
        let group = registry.resource_type(&Kind::GROUP).expect("built in");
        let members = object(json!({"displayName": "G", "members": [{"value": "1"}]}));
        assert_eq!(
            diff(group, &Attributes::new(), &members),
            object(json!({"displayName": "G"}))
        );
    }
}
