//! Converts requests of clients into strict form. Each leniency that a client needs beyond the RFC, or that the RFC
//! leaves to the server, is a named rule here, and each use of a rule is counted. The core behind it is strict.
//!
//! An administrator sees the counts of each client, so a tenant that wants a rule refused can look for it in the
//! counts.

mod body;
mod patch;
#[cfg(test)]
mod properties;
mod scalar;
mod value;

use std::collections::BTreeMap;

pub use body::body;
pub(crate) use patch::MOST_OPERATIONS;
pub use patch::patch;

/// The names of the rules. Those for paths and filters are in [`crate::domain::path::tolerance`] and
/// [`crate::domain::filter::tolerance`]. P9 is that R1 to R12 hold for values of PATCH too.
pub mod rule {
    use crate::domain::filter::tolerance;
    use crate::scim::ScimErrorKind;

    /// A name in another case than the schema's; allowed by RFC 7643 §2.1.
    pub(crate) const NAME_CASE: &str = "R1-name-case";
    /// An attribute that no schema defines was dropped.
    pub(crate) const UNKNOWN: &str = "R2-unknown-attribute";
    /// Null, an empty list, or an empty string for a type other than string or binary means unassigned (RFC 7643 §2.5).
    pub const UNASSIGNED: &str = "R3-unassigned";
    /// A value of another type was converted to the schema's.
    pub(crate) const COERCED: &str = "R4-coerced";
    /// A single value in a list, a list without its brackets, or an extension in a list.
    pub(crate) const WRAPPING: &str = "R5-wrapping";
    /// A bare value in place of an object with `value`, in a list.
    pub(crate) const BARE_ELEMENT: &str = "R6-bare-element";
    /// A read-only value was ignored, as RFC 7644 §3.3 asks.
    pub(crate) const READ_ONLY: &str = "R7-read-only";
    /// `schemas` is missing, has another form or names a schema that is not present.
    pub(crate) const SCHEMAS: &str = "R8-schemas";
    /// An element was repeated.
    pub(crate) const DUPLICATE: &str = "R9-duplicate";
    /// More than one element was primary.
    pub const PRIMARY: &str = "R10-primary";
    /// A reference such as `manager` given as a string, or unassigned by an empty string.
    pub const REFERENCE: &str = "R11-reference";
    /// An extension's URN in another case.
    pub(crate) const URN_CASE: &str = "R12-urn-case";
    /// A PATCH body without operations, with `Operations` in another case or left out, or with one outside a list.
    pub(crate) const OPERATIONS: &str = "P0-operations";
    /// An `op` that is not in lower case.
    pub(crate) const OP_CASE: &str = "P1-op-case";
    /// A path that is null or empty.
    pub(crate) const NULL_PATH: &str = "P2-null-path";
    /// A key that is a path, in a value without path.
    pub(crate) const PATH_AS_KEY: &str = "P3-path-as-key";
    /// A single value wrapped as `[{"value": …}]`.
    pub(crate) const WRAPPED_VALUE: &str = "P5-wrapped-value";
    /// `remove` with a value: the elements that it lists are removed.
    pub const REMOVE_WITH_VALUE: &str = "P6-remove-with-value";
    /// A value path that matches nothing and describes the element: the element is created.
    pub(crate) const ELEMENT_MADE: &str = "P7-element-made";
    /// A schema's URN as the whole path.
    pub(crate) const URN_AS_PATH: &str = "P8-urn-as-path";
    /// A member or a method of a bulk request in another case, or a path that does not begin with `/`.
    pub(crate) const BULK_SPELLING: &str = "B1-bulk-spelling";

    /// Rules that the RFCs require or allow, or that conformance suites expect: no client is refused for these.
    pub const STANDARD: [&str; 7] = [
        NAME_CASE,
        UNASSIGNED,
        READ_ONLY,
        URN_CASE,
        OP_CASE,
        URN_AS_PATH,
        tolerance::AFTER_BRACKETS,
    ];

    /// The error that a strict client gets when a rule would be needed.
    pub(in crate::scim) fn fault(rule: &str) -> ScimErrorKind {
        match rule.as_bytes().first() {
            Some(b'F') => ScimErrorKind::InvalidFilter,
            _ if rule == ELEMENT_MADE => ScimErrorKind::NoTarget,
            _ if rule == COERCED => ScimErrorKind::InvalidValue,
            _ => ScimErrorKind::InvalidSyntax,
        }
    }
}

/// The number of uses of each rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deviations(BTreeMap<&'static str, usize>);

impl Deviations {
    /// Counts one use of a rule.
    pub fn hit(&mut self, rule: &'static str) {
        *self.0.entry(rule).or_default() += 1;
    }

    /// The number of uses of a rule.
    pub fn count(&self, rule: &str) -> usize {
        self.0.get(rule).copied().unwrap_or(0)
    }

    /// The rules that were needed, with the number of uses, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        self.0.iter().map(|(rule, count)| (*rule, *count))
    }

    /// The names of the rules that were needed.
    pub fn rules(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }

    /// Whether no rule was needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
