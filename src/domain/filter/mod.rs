//! Filters (RFC 7644 §3.4.2.2): parsed against a resource type, then evaluated here or compiled by a userstore.
//! [`matches()`] defines the semantics; every store must agree with it.

mod coerce;
mod matches;
mod parse;
mod scan;

use super::clock::Timestamp;
use super::resource::Relations;
use super::schema::AttributeRef;

pub use matches::matches;

pub(crate) use matches::matches_element;
pub(crate) use parse::parse_value_filter;
pub use parse::{Parsed, parse, parse_with_deviations};

/// The longest filter that is accepted, in bytes.
pub const LONGEST: usize = 8 * 1024;
/// The maximum nesting depth of parentheses, brackets and `not`.
pub const DEEPEST: usize = 50;
/// The maximum number of comparisons, groups and negations in a filter.
pub const MOST_NODES: usize = 200;

/// Accepted deviations of a filter from the grammar of RFC 7644 §3.4.2.2. [`parse_with_deviations`] returns those that a filter
/// needed, so that they can be counted, or refused where an administrator wants that.
pub mod tolerance {
    /// An attribute that the resource type does not have; it counts as absent.
    pub const UNKNOWN_ATTRIBUTE: &str = "F1-unknown-attribute";
    /// A text without its quotes.
    pub(crate) const UNQUOTED_TEXT: &str = "F2-unquoted-text";
    /// A boolean or number in quotes, or a boolean in another case.
    pub(crate) const LITERAL_SPELLING: &str = "F3-literal-spelling";
    /// A value after `pr`; it is ignored.
    pub(crate) const VALUE_AFTER_PR: &str = "F4-value-after-pr";
    /// `not` without parentheses.
    pub(crate) const BARE_NOT: &str = "F5-bare-not";
    /// A blank missing where the grammar has one, or a `+`, tab or line break in its place.
    pub(crate) const BLANKS: &str = "F6-blanks";
    /// `emails[type eq "work"].value eq "x"`.
    pub(crate) const AFTER_BRACKETS: &str = "F7-comparison-after-brackets";
    /// Brackets after an attribute that has one value only.
    pub const BRACKETS_ON_SINGLE: &str = "F8-brackets-on-single-value";
    /// A date without a time.
    pub(crate) const DATE_ONLY: &str = "F9-date-only";
    /// An extension's attribute without its URN.
    pub(crate) const UNQUALIFIED: &str = "F10-unqualified-extension";
}

/// A comparison operator.
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

/// The value that an attribute is compared with, coerced to the attribute's type when the filter was parsed.
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
    /// Some value of the attribute satisfies the comparison.
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
        /// The filter that one element must meet.
        filter: Box<Filter>,
    },
}

impl Filter {
    /// Returns the maximum number of comparisons needed to match one resource or element.
    pub fn size(&self) -> usize {
        match self {
            Self::Constant(_) | Self::Present(_) | Self::Compare { .. } => 1,
            Self::And(terms) | Self::Or(terms) => terms.iter().map(Self::size).sum(),
            Self::Not(inner) | Self::Element { filter: inner, .. } => inner.size(),
        }
    }

    /// Returns the relations that it uses.
    pub(crate) fn relations_used(&self) -> Relations {
        match self {
            Self::Constant(_) => Relations::NONE,
            Self::And(terms) | Self::Or(terms) => terms
                .iter()
                .map(Self::relations_used)
                .fold(Relations::NONE, Relations::and),
            Self::Not(inner) => inner.relations_used(),
            Self::Present(attribute) | Self::Compare { attribute, .. } | Self::Element { attribute, .. } => {
                attribute.relations_used()
            }
        }
    }

    /// Returns the wanted name if the whole filter is an equality of the type's name attribute.
    pub(crate) fn name_wanted(&self) -> Option<&str> {
        match self {
            Self::Compare {
                attribute:
                    AttributeRef {
                        extension: None,
                        attribute,
                        sub: None,
                    },
                operator: Operator::Eq,
                value: Comparand::Text(name),
            } if attribute.is_name => Some(name),
            _ => None,
        }
    }
}

impl AttributeRef {
    /// The relation that it belongs to, if any.
    pub(crate) fn relations_used(&self) -> Relations {
        Relations {
            members: self.attribute.name == "members",
            groups: self.attribute.name == "groups",
        }
    }
}

#[cfg(test)]
mod tests;
