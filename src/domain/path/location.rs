//! A place in the document of a resource.

use std::fmt;

use super::AttributePath;

/// The place of a value in a document, by the names that lead to it. The document tells which names are extensions: only
/// those hold a colon (RFC 7643 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(String);

impl Location {
    /// A name at the top level: an attribute, or the URN of an extension.
    pub(crate) fn top(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// A part of a value at the top level: an attribute of an extension follows its URN after a colon, a sub-attribute
    /// its attribute after a dot (RFC 7644 §3.10).
    pub fn part(top: &str, name: &str) -> Self {
        let separator = if Self::is_extension(top) { ':' } else { '.' };
        Self(format!("{top}{separator}{name}"))
    }

    /// A part of a value below the top level.
    pub fn below(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    /// Whether a name at the top level is the URN of an extension.
    pub(crate) fn is_extension(name: &str) -> bool {
        name.contains(':')
    }

    /// Whether a text that a person wrote names this place, in any case, with or without the URN of the core schema.
    pub(crate) fn is_named_by(&self, text: &str) -> bool {
        let is_same = |text: &str| text.eq_ignore_ascii_case(&self.0);
        is_same(text) || AttributePath::parse(text).is_some_and(|path| is_same(&path.to_string()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_of_any_extension_follows_a_colon() {
        for urn in [
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "urn:scim:wso2:schema",
            "urn:example:hr:1.0",
        ] {
            let country = Location::part(urn, "country");
            assert_eq!(country.as_str(), format!("{urn}:country"));
            assert_eq!(country.below("code").as_str(), format!("{urn}:country.code"));
            assert!(country.is_named_by(&format!("{}:COUNTRY", urn.to_uppercase())));
            assert!(Location::top(urn).is_named_by(urn));
            assert!(!country.is_named_by(urn));
        }
    }

    #[test]
    fn a_core_attribute_is_named_with_or_without_its_urn() {
        let name = Location::part("name", "givenName");
        assert_eq!(name.as_str(), "name.givenName");
        assert!(name.is_named_by("NAME.givenname"));
        assert!(name.is_named_by("urn:ietf:params:scim:schemas:core:2.0:User:name.givenName"));
        assert!(!name.is_named_by("name"));
    }
}
