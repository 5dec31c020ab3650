//! Paths of PATCH operations, resolved against a resource type (RFC 7644 §3.5.2).

use std::sync::Arc;

use crate::domain::filter::{Filter, parse_value_filter, parse_with_deviations};
use crate::domain::schema::AttributeRef;
use crate::domain::schema::{DataType, ResourceType};
use crate::domain::validate::{Invalid, InvalidKind};

/// Accepted deviations of a path from the grammar of RFC 7644 §3.5.2.
pub mod tolerance {
    /// A dot in place of the colon after an extension's URN.
    pub(crate) const DOT_AFTER_URN: &str = "P4-dot-after-urn";
    /// The last `]` of a path is missing.
    pub(crate) const MISSING_BRACKET: &str = "P10-missing-bracket";
    /// An extension's attribute without its URN.
    pub(crate) const UNQUALIFIED: &str = "P11-unqualified-extension";
    /// A comparison as the whole path, `members.value eq "x"` (erratum 7122 to RFC 7644).
    pub(crate) const COMPARISON_AS_PATH: &str = "P12-comparison-as-path";
}

/// The target of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The attribute, and its sub-attribute if one is named, also after a filter.
    pub attribute: AttributeRef,
    /// Selects elements of a list; all without one.
    pub filter: Option<Filter>,
}

/// A path and the names of the tolerances that it needed.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedPath {
    /// The path.
    pub path: Path,
    /// The deviations from the grammar.
    pub deviations: Vec<&'static str>,
}

impl Path {
    /// Reads a path. The error is `invalidPath` and never repeats the text.
    pub fn parse(text: &str, resource_type: &ResourceType) -> Result<Self, Invalid> {
        Self::parse_with_deviations(text, resource_type).map(|parsed| parsed.path)
    }

    /// Reads a filter and returns its deviations from the grammar as well.
    pub fn parse_with_deviations(text: &str, resource_type: &ResourceType) -> Result<ParsedPath, Invalid> {
        let (name, brackets) = text
            .split_once('[')
            .map_or((text, None), |(name, rest)| (name, Some(rest)));
        let name = name.trim();
        let mut deviations = Vec::new();
        let qualified = resource_type.resolve(name);
        let Some(attribute) = qualified.or_else(|| {
            deviations.push(tolerance::UNQUALIFIED);
            resource_type.resolve_unqualified(name)
        }) else {
            let unknown = || invalid("the path names no attribute of this resource type");
            return comparison(text, resource_type).ok_or_else(unknown);
        };
        if has_dot_after_urn(name, &attribute) {
            deviations.push(tolerance::DOT_AFTER_URN);
        }
        let Some(brackets) = brackets else {
            return Ok(ParsedPath {
                path: Self {
                    attribute,
                    filter: None,
                },
                deviations,
            });
        };
        if attribute.sub.is_some()
            || !(attribute.attribute.multi_valued || attribute.attribute.data_type == DataType::Complex)
        {
            return Err(invalid("the path has brackets after an attribute that has no elements"));
        }
        let inside = parse_value_filter(brackets, &attribute)
            .map_err(|error| invalid(&format!("in the brackets of the path {}", error.detail)))?;
        deviations.extend(inside.deviations);
        let attribute = match inside.rest.strip_prefix(']') {
            Some(rest) => after_brackets(rest.trim(), attribute)?,
            None if inside.rest.is_empty() => {
                deviations.push(tolerance::MISSING_BRACKET);
                attribute
            }
            None => return Err(invalid("the brackets of the path are not closed")),
        };
        Ok(ParsedPath {
            path: Self {
                attribute,
                filter: Some(inside.filter),
            },
            deviations,
        })
    }
}

impl From<AttributeRef> for Path {
    fn from(attribute: AttributeRef) -> Self {
        Self {
            attribute,
            filter: None,
        }
    }
}

fn after_brackets(rest: &str, attribute: AttributeRef) -> Result<AttributeRef, Invalid> {
    if rest.is_empty() {
        return Ok(attribute);
    }
    let Some(name) = rest.strip_prefix('.') else {
        return Err(invalid("a dot was expected after the brackets of the path"));
    };
    let sub = attribute.attribute.sub(name).map(Arc::clone);
    let sub = sub.ok_or_else(|| invalid("the path names a sub-attribute that the attribute does not have"))?;
    Ok(AttributeRef {
        sub: Some(sub),
        ..attribute
    })
}

/// Reads a comparison as a path: it selects elements like one in brackets.
fn comparison(text: &str, resource_type: &ResourceType) -> Option<ParsedPath> {
    let mut parsed = parse_with_deviations(text, resource_type).ok()?;
    let Filter::Compare { attribute, .. } = &parsed.filter else {
        return None;
    };
    let attribute = AttributeRef {
        sub: None,
        ..attribute.clone()
    };
    parsed.deviations.push(tolerance::COMPARISON_AS_PATH);
    attribute.attribute.multi_valued.then_some(ParsedPath {
        path: Path {
            attribute,
            filter: Some(parsed.filter),
        },
        deviations: parsed.deviations,
    })
}

fn has_dot_after_urn(name: &str, attribute: &AttributeRef) -> bool {
    attribute
        .extension
        .as_ref()
        .is_some_and(|urn| name.as_bytes().get(urn.len()) == Some(&b'.'))
}

fn invalid(detail: &str) -> Invalid {
    Invalid::new(InvalidKind::Path, detail)
}
