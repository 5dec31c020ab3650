//! The schemas and resource types of this installation (RFC 7643 §6, §7). They are data, read from `schemas/*.json`:
//! the code names an attribute only where it must.

mod attribute_ref;
mod load;
mod read;
mod registry;
mod render;
mod resolve;

use std::sync::Arc;

use super::ids::Kind;

pub use attribute_ref::AttributeRef;
pub(crate) use load::SchemaError;
pub use registry::Registry;
pub(crate) use resolve::common_attributes;

/// The data types of RFC 7643 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `string`
    String,
    /// `boolean`
    Boolean,
    /// `decimal`
    Decimal,
    /// `integer`
    Integer,
    /// `dateTime`
    DateTime,
    /// `binary`
    Binary,
    /// `reference`
    Reference,
    /// `complex`
    Complex,
}

/// The `mutability` of an attribute: whether and when clients may write it (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Only the server writes it.
    ReadOnly,
    /// Clients write it at any time.
    ReadWrite,
    /// Clients write it while it has no value.
    Immutable,
    /// Clients write it, and it is never returned.
    WriteOnly,
}

/// The `returned` characteristic: when an attribute is part of a response (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// In every response.
    Always,
    /// In no response.
    Never,
    /// Unless the request leaves it out.
    Default,
    /// Only if the request names it.
    Request,
}

/// The `uniqueness` of an attribute: the scope in which a value is unique (RFC 7643 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniqueness {
    /// The value need not be unique.
    None,
    /// Among the resources of its type in one store.
    Server,
    /// Among all resources.
    Global,
}

/// One attribute's definition.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the characteristics of RFC 7643 §7"
)]
pub struct Attribute {
    /// Its name in canonical case.
    pub name: String,
    /// Its data type.
    pub data_type: DataType,
    /// Whether it holds a list.
    pub multi_valued: bool,
    /// Its meaning, for people.
    pub description: String,
    /// Whether a resource must have it.
    pub required: bool,
    /// Values that are suggested (RFC 7643 §7); never enforced.
    pub canonical_values: Vec<String>,
    /// Whether case matters when comparing.
    pub case_exact: bool,
    /// Its mutability.
    pub mutability: Mutability,
    /// When it is returned.
    pub returned: Returned,
    /// Where it is unique.
    pub uniqueness: Uniqueness,
    /// Whether it names the resources of its schema: the first required string that is unique and not case-exact.
    pub is_name: bool,
    /// The types that a reference may point to.
    pub reference_types: Vec<String>,
    /// Whether SQL stores index its values. Not part of RFC 7643: `"indexed": true` in the schema file.
    pub indexed: bool,
    /// The parts of a complex attribute.
    pub sub_attributes: Vec<Arc<Attribute>>,
}

/// One schema, core or extension.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Its URN.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The description.
    pub description: String,
    /// Its attributes, in the order in which they are returned.
    pub attributes: Vec<Arc<Attribute>>,
}

/// A schema that adds to a resource type.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The schema.
    pub schema: Arc<Schema>,
    /// Whether each resource must carry it.
    pub required: bool,
}

/// A resource type: an endpoint, a core schema and its extensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceType {
    /// Its name, such as `User`.
    pub kind: Kind,
    /// Where it is served, such as `/Users`.
    pub endpoint: String,
    /// The description.
    pub description: String,
    /// Its core schema.
    pub schema: Arc<Schema>,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// The unique attributes and sub-attributes, except the name.
    pub unique: Vec<AttributeRef>,
}

impl Attribute {
    /// The sub-attribute of this name, in any case.
    pub fn sub(&self, name: &str) -> Option<&Arc<Attribute>> {
        self.sub_attributes
            .iter()
            .find(|sub| sub.name.eq_ignore_ascii_case(name))
    }

    /// Whether no client may learn its value (RFC 7644 §7.5.2): never returned or write-only.
    pub fn is_secret(&self) -> bool {
        self.returned == Returned::Never || self.mutability == Mutability::WriteOnly
    }

    /// Whether the elements of the list are identified by `value` alone, as a group's members are: the `value` is
    /// immutable, so two elements with the same `value` are the same element.
    pub(crate) fn is_identified_by_value(&self) -> bool {
        self.multi_valued
            && self
                .sub("value")
                .is_some_and(|value| value.mutability == Mutability::Immutable)
    }
}

impl ResourceType {
    /// The core attribute that names a resource among those of its type in one store, such as `userName`.
    pub fn name_attribute(&self) -> Option<&Arc<Attribute>> {
        self.schema.attributes.iter().find(|attribute| attribute.is_name)
    }

    /// The extension with this URN, in any case.
    pub fn extension(&self, urn: &str) -> Option<&Extension> {
        self.extensions
            .iter()
            .find(|extension| extension.schema.id.eq_ignore_ascii_case(urn))
    }
}
