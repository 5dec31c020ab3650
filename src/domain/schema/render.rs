//! Schemas and resource types as the discovery endpoints show them (RFC 7643 §6, §7).

use serde_json::{Map, Value, json};

use super::{Attribute, DataType, Mutability, ResourceType, Returned, Schema, Uniqueness};

impl DataType {
    /// The word in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Decimal => "decimal",
            Self::Integer => "integer",
            Self::DateTime => "dateTime",
            Self::Binary => "binary",
            Self::Reference => "reference",
            Self::Complex => "complex",
        }
    }
}

impl Mutability {
    /// The word in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "readOnly",
            Self::ReadWrite => "readWrite",
            Self::Immutable => "immutable",
            Self::WriteOnly => "writeOnly",
        }
    }
}

impl Returned {
    /// The word in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Never => "never",
            Self::Default => "default",
            Self::Request => "request",
        }
    }
}

impl Uniqueness {
    /// The word in a schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Server => "server",
            Self::Global => "global",
        }
    }
}

impl Schema {
    /// The schema as `/Schemas` shows it, without `meta.location`, which depends on the server's address.
    pub(crate) fn to_json(&self) -> Value {
        let attributes: Vec<_> = self
            .attributes
            .iter()
            .map(|attribute| attribute_json(attribute))
            .collect();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "attributes": attributes,
            "meta": {"resourceType": "Schema"},
        })
    }
}

impl ResourceType {
    /// The resource type as `/ResourceTypes` shows it, without `meta.location`.
    pub(crate) fn to_json(&self) -> Value {
        let extensions: Vec<_> = self
            .extensions
            .iter()
            .map(|extension| json!({"schema": extension.schema.id, "required": extension.required}))
            .collect();
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": self.kind.as_str(),
            "name": self.kind.as_str(),
            "endpoint": self.endpoint,
            "description": self.description,
            "schema": self.schema.id,
            "schemaExtensions": extensions,
            "meta": {"resourceType": "ResourceType"},
        })
    }
}

/// Renders an attribute with each RFC 7643 characteristic that applies to its type, so without `indexed`.
fn attribute_json(attribute: &Attribute) -> Value {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), attribute.name.clone().into());
    shown.insert("type".to_owned(), attribute.data_type.as_str().into());
    shown.insert("multiValued".to_owned(), attribute.multi_valued.into());
    shown.insert("description".to_owned(), attribute.description.clone().into());
    shown.insert("required".to_owned(), attribute.required.into());
    if !attribute.canonical_values.is_empty() {
        shown.insert("canonicalValues".to_owned(), attribute.canonical_values.clone().into());
    }
    if !attribute.reference_types.is_empty() {
        shown.insert("referenceTypes".to_owned(), attribute.reference_types.clone().into());
    }
    if attribute.data_type != DataType::Complex {
        shown.insert("caseExact".to_owned(), attribute.case_exact.into());
    }
    shown.insert("mutability".to_owned(), attribute.mutability.as_str().into());
    shown.insert("returned".to_owned(), attribute.returned.as_str().into());
    if attribute.data_type != DataType::Complex {
        shown.insert("uniqueness".to_owned(), attribute.uniqueness.as_str().into());
    }
    if !attribute.sub_attributes.is_empty() {
        let parts: Vec<_> = attribute.sub_attributes.iter().map(|sub| attribute_json(sub)).collect();
        shown.insert("subAttributes".to_owned(), parts.into());
    }
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    #[test]
    fn a_schema_shows_every_characteristic_except_indexed() {
        let registry = Registry::builtin();
        let shown = registry.schemas()[0].to_json();
        let name = &shown["attributes"][0];
        assert_eq!(
            *name,
            json!({"name": "userName", "type": "string", "multiValued": false,
                "description": "The name under which the person signs in. Unique among users.", "required": true,
                "caseExact": false, "mutability": "readWrite", "returned": "default", "uniqueness": "server"})
        );
        assert!(!shown.to_string().contains("indexed"));
        assert!(!shown.to_string().contains("null"));
    }

    #[test]
    fn a_shown_schema_loads_again() {
        for schema in Registry::builtin().schemas() {
            let file = (String::from("again.json"), schema.to_json().to_string());
            assert!(Registry::load(&[file]).is_ok(), "{}", schema.id);
        }
    }

    #[test]
    fn a_resource_type_names_its_schema_and_extensions() {
        let registry = Registry::builtin();
        let shown = registry.resource_type(&Kind::USER).expect("built in").to_json();
        assert_eq!(shown["endpoint"], "/Users");
        assert_eq!(shown["schemaExtensions"][0]["required"], false);
    }
}
