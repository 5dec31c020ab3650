//! An attribute of a resource type, with its extension and a sub-attribute.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Attribute;

/// A reference to an existing attribute of a resource type.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeRef {
    /// The URN of the extension that defines it; none for the core schema and the common attributes.
    pub extension: Option<String>,
    /// The attribute.
    pub attribute: Arc<Attribute>,
    /// Its sub-attribute, if one is meant.
    pub sub: Option<Arc<Attribute>>,
}

impl AttributeRef {
    /// The definition of the sub-attribute, else of the attribute.
    pub fn leaf(&self) -> &Attribute {
        self.sub.as_deref().unwrap_or(&self.attribute)
    }

    /// Returns its value in `attributes` if it is a single string.
    pub(crate) fn single_text<'a>(&self, attributes: &'a Map<String, Value>) -> Option<&'a str> {
        let holder = match &self.extension {
            Some(urn) => attributes.get(urn)?.as_object()?,
            None => attributes,
        };
        let value = holder.get(&self.attribute.name)?;
        self.sub
            .as_ref()
            .map_or(Some(value), |sub| value.get(&sub.name))?
            .as_str()
    }

    /// The canonical path: `name.familyName`, `urn:…:User:manager.value`.
    pub fn path(&self) -> String {
        let mut path = match &self.extension {
            Some(urn) => format!("{urn}:{}", self.attribute.name),
            None => self.attribute.name.clone(),
        };
        if let Some(sub) = &self.sub {
            path.push('.');
            path.push_str(&sub.name);
        }
        path
    }
}
