//! Filters (RFC 7644 §3.4.2.2): parsed against a resource type, then evaluated here or compiled by a userstore. What
//! [`matches`] says is the meaning; every store must agree with it.

use std::sync::Arc;

use super::clock::Timestamp;
use super::schema::Attribute;


/// An attribute that a resource type really has.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeRef {
    /// The URN of the extension that defines it; none for the core schema and the common attributes.
    pub extension: Option<String>,
    /// The attribute.
    pub attribute: Arc<Attribute>,
    /// Its sub-attribute, if one is meant.
    pub sub: Option<Arc<Attribute>>,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// equal
    Eq,
    /// not equal; holds for an absent attribute too
    Ne,
    /// contains
    Co,
    /// starts with
    Sw,
    /// ends with
    Ew,
    /// greater than
    Gt,
    /// greater than or equal
    Ge,
    /// less than
    Lt,
    /// less than or equal
    Le,
}

/// What an attribute is compared with, coerced to the attribute's type when the filter was parsed.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparand {
    /// For strings, references and binaries, as typed.
    Text(String),
    /// For booleans.
    Boolean(bool),
    /// For integers and decimals.
    Number(f64),
    /// For dateTimes, compared as instants.
    Moment(Timestamp),
}

/// A filter over one resource type. Every attribute in it exists: unknown ones became constants, and a bare complex
/// attribute became its `value`.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Always or never.
    Constant(bool),
    /// All of these.
    And(Vec<Filter>),
    /// At least one of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The attribute has a value that is neither null, empty text nor an empty list.
    Present(AttributeRef),
    /// Some value of the attribute compares so.
    Compare {
        /// The attribute.
        attribute: AttributeRef,
        /// The operator.
        operator: Operator,
        /// The value.
        value: Comparand,
    },
    /// One element of a complex attribute meets the whole inner filter, whose references carry the same attribute.
    Element {
        /// The complex attribute.
        attribute: AttributeRef,
        /// What one element must meet.
        filter: Box<Filter>,
    },
}

impl AttributeRef {
    /// The definition of what is finally named: the sub-attribute, else the attribute.
    pub fn leaf(&self) -> &Attribute {
        self.sub.as_deref().unwrap_or(&self.attribute)
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
