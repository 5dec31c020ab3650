//! The path of an attribute as text, without a schema.

use std::fmt;

/// The beginning of the URNs of the core schemas (RFC 7643 §8.7.1). Their attributes need no URN.
const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:";

/// A path that names one attribute, or a part of it: `attribute`, `attribute.sub`, `attribute[sub eq "value"]` or
/// `attribute[sub eq "value"].sub`, each perhaps after the URN of an extension and a colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttributePath {
    /// The URN of the extension; none for the core schema and the common attributes.
    pub extension: Option<String>,
    /// The attribute.
    pub attribute: String,
    /// The elements of a multi-valued attribute that are meant; all without one.
    pub selector: Option<Selector>,
    /// The sub-attribute.
    pub sub: Option<String>,
}

/// A choice of elements by the text of one sub-attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Selector {
    /// The sub-attribute.
    pub attribute: String,
    /// Its text, without quotation marks and backslashes.
    pub value: String,
}

impl AttributePath {
    /// Reads a path. A URN ends at the last colon before a selector, whatever its segments look like; the URN of a core
    /// schema is left out. None if the text is not such a path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (extension, rest) = split_urn(text)?;
        let (attribute, selector, sub) = match rest.split_once('[') {
            Some((attribute, rest)) => {
                let (name, rest) = rest.split_once(" eq \"")?;
                let (value, after) = rest.split_once("\"]")?;
                if value.contains(['"', '\\']) {
                    return None;
                }
                let selector = Selector {
                    attribute: name_of(name)?,
                    value: value.to_owned(),
                };
                let sub = if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix('.')?)
                };
                (attribute, Some(selector), sub)
            }
            None => match rest.split_once('.') {
                Some((attribute, sub)) => (attribute, None, Some(sub)),
                None => (rest, None, None),
            },
        };
        Some(Self {
            extension: extension.filter(|urn| !is_core(urn)).map(str::to_owned),
            attribute: name_of(attribute)?,
            selector,
            sub: match sub {
                Some(sub) => Some(name_of(sub)?),
                None => None,
            },
        })
    }

    /// The path of the whole attribute, without selector and sub-attribute.
    pub(crate) fn of_attribute(&self) -> Self {
        Self {
            selector: None,
            sub: None,
            ..self.clone()
        }
    }

    /// The path of the selected elements, without the sub-attribute.
    pub(crate) fn of_elements(&self) -> Self {
        Self {
            sub: None,
            ..self.clone()
        }
    }

    /// The names that lead to the value in a document: the URN, the attribute, the sub-attribute.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let urn = self.extension.as_deref();
        urn.into_iter()
            .chain([self.attribute.as_str()])
            .chain(self.sub.as_deref())
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.extension {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.attribute)?;
        if let Some(Selector { attribute, value }) = &self.selector {
            write!(f, "[{attribute} eq \"{value}\"]")?;
        }
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

/// The URN before an attribute, and the rest. None if there is only a URN.
fn split_urn(text: &str) -> Option<(Option<&str>, &str)> {
    if !text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:")) {
        return Some((None, text));
    }
    let end = text.find('[').unwrap_or(text.len());
    let colon = text[..end].rfind(':')?;
    // A URN has a namespace and a non-empty rest (RFC 8141 §2).
    let has_namespace = text[..colon].split(':').count() > 2;
    has_namespace.then(|| (Some(&text[..colon]), &text[colon + 1..]))
}

fn is_core(urn: &str) -> bool {
    urn.get(..CORE.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(CORE))
}

/// The text, if it is an attribute name (RFC 7643 §2.1).
fn name_of(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let first = bytes.next()?;
    let is_name = (first == b'$' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::schema::Registry;

    fn parsed(text: &str) -> AttributePath {
        AttributePath::parse(text).unwrap_or_else(|| panic!("{text} is a path"))
    }

    #[test]
    fn the_urn_ends_at_the_last_colon() {
        for urn in [
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
            "urn:scim:wso2:schema",
            "urn:example:hr:1.0",
        ] {
            let path = parsed(&format!("{urn}:manager.displayName"));
            assert_eq!(path.extension.as_deref(), Some(urn));
            assert_eq!(
                (path.attribute.as_str(), path.sub.as_deref()),
                ("manager", Some("displayName"))
            );
            let path = parsed(&format!("{urn}:phones[type eq \"a:b.c\"].value"));
            assert_eq!(path.extension.as_deref(), Some(urn));
            assert_eq!(path.selector.map(|selector| selector.value), Some("a:b.c".to_owned()));
        }
    }

    #[test]
    fn the_urn_of_a_core_schema_is_left_out() {
        assert_eq!(
            parsed("urn:ietf:params:scim:schemas:core:2.0:User:active"),
            parsed("active")
        );
        assert_eq!(
            parsed("URN:IETF:params:scim:schemas:core:2.0:User:name.givenName"),
            parsed("name.givenName")
        );
    }

    #[test]
    fn texts_that_are_no_paths_are_refused() {
        for text in [
            "",
            ".",
            "a.",
            "a.b.c",
            "a b",
            "1a",
            "urn:x",
            "urn:x:y:",
            "a[b eq \"\\\"\"].c",
            "a[b ne \"c\"]",
            "a[b eq \"c\"]d",
            "a[b eq \"c",
        ] {
            assert_eq!(AttributePath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_attribute_of_the_schemas_is_read_as_it_is_printed() {
        let registry = Registry::builtin();
        for kind in [crate::domain::Kind::USER, crate::domain::Kind::GROUP] {
            for attribute in registry.resource_type(&kind).unwrap().attributes() {
                assert_eq!(parsed(&attribute.path()).to_string(), attribute.path());
                assert_eq!(parsed(&attribute.path()).extension, attribute.extension);
            }
        }
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-zA-Z$][a-zA-Z0-9_-]{0,8}"
    }

    prop_compose! {
        fn path()(
            extension in proptest::option::of("urn:[a-z]{2,6}(:[a-zA-Z0-9.]{1,6}){1,4}"),
            attribute in name(),
            selector in proptest::option::of((name(), "[^\"\\\\]{0,9}")),
            sub in proptest::option::of(name()),
        ) -> AttributePath {
            let selector = selector.map(|(attribute, value)| Selector { attribute, value });
            AttributePath { extension, attribute, selector, sub }
        }
    }

    proptest! {
        #[test]
        fn a_printed_path_is_read_as_the_same_path(path in path()) {
            prop_assert_eq!(AttributePath::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn a_path_that_is_read_is_printed_in_one_spelling(text in ".{0,40}") {
            if let Some(path) = AttributePath::parse(&text) {
                prop_assert_eq!(AttributePath::parse(&path.to_string()), Some(path));
            }
        }
    }
}
