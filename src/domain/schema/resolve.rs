//! Resolves an attribute path to its definition (RFC 7644 §3.10).

use std::sync::{Arc, LazyLock};

use super::read::{Problems, read_schema};
use super::{Attribute, ResourceType};
use crate::domain::schema::AttributeRef;

/// The attributes that every resource has: `schemas`, `id`, `externalId` and `meta` (RFC 7643 §3.1).
///
/// # Panics
///
/// Never: the file is part of the program.
pub(crate) fn common_attributes() -> &'static [Arc<Attribute>] {
    static COMMON: LazyLock<Vec<Arc<Attribute>>> = LazyLock::new(|| {
        let document = serde_json::from_str(include_str!("../../../schemas/common.json"))
            .expect("the common attributes are part of the program and a test reads them");
        let (schema, _) = read_schema(&document, &mut Problems::of("common.json"));
        schema.attributes
    });
    &COMMON
}

impl ResourceType {
    /// Resolves a path, in any case, to a common, core or extension attribute, with or without a sub-attribute.
    ///
    /// A URN may stand before the attribute, with `:` or, as some clients write it, `.` between them. `None` if this type
    /// has no such attribute.
    pub fn resolve(&self, path: &str) -> Option<AttributeRef> {
        for extension in &self.extensions {
            if let Some(rest) = after_urn(path, &extension.schema.id) {
                return named(&extension.schema.attributes, rest, Some(&extension.schema.id));
            }
        }
        let rest = after_urn(path, &self.schema.id).unwrap_or(path);
        named(common_attributes(), rest, None).or_else(|| named(&self.schema.attributes, rest, None))
    }

    /// Resolves a path to an extension attribute although it lacks the URN, which RFC 7644 §3.10 requires. `None`
    /// unless exactly one extension has such an attribute.
    pub(crate) fn resolve_unqualified(&self, path: &str) -> Option<AttributeRef> {
        let mut found = self
            .extensions
            .iter()
            .filter_map(|extension| named(&extension.schema.attributes, path, Some(&extension.schema.id)));
        found.next().filter(|_| found.next().is_none())
    }

    /// Every attribute in the order of responses: the common ones, those of the core schema, those of each extension.
    pub fn attributes(&self) -> impl Iterator<Item = AttributeRef> + '_ {
        let core = common_attributes()
            .iter()
            .chain(&self.schema.attributes)
            .map(|attribute| (None, attribute));
        let extended = self.extensions.iter().flat_map(|extension| {
            extension
                .schema
                .attributes
                .iter()
                .map(|attribute| (Some(extension.schema.id.clone()), attribute))
        });
        core.chain(extended).map(|(extension, attribute)| AttributeRef {
            extension,
            attribute: Arc::clone(attribute),
            sub: None,
        })
    }
}

/// Returns the part of `path` after `urn` and its separator.
fn after_urn<'a>(path: &'a str, urn: &str) -> Option<&'a str> {
    let head = path.get(..urn.len())?;
    let rest = &path[urn.len()..];
    head.eq_ignore_ascii_case(urn)
        .then(|| rest.strip_prefix([':', '.']))
        .flatten()
}

/// Finds the attribute, and the sub-attribute if any, that `path` names.
fn named(attributes: &[Arc<Attribute>], path: &str, extension: Option<&String>) -> Option<AttributeRef> {
    let (name, sub) = path
        .split_once('.')
        .map_or((path, None), |(name, sub)| (name, Some(sub)));
    let attribute = attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))?;
    let sub = match sub {
        Some(sub) => Some(Arc::clone(attribute.sub(sub)?)),
        None => None,
    };
    Some(AttributeRef {
        extension: extension.cloned(),
        attribute: Arc::clone(attribute),
        sub,
    })
}

#[cfg(test)]
mod tests {
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    fn path(text: &str) -> Option<String> {
        Registry::builtin()
            .resource_type(&Kind::USER)
            .expect("built in")
            .resolve(text)
            .map(|found| found.path())
    }

    #[test]
    fn attributes_resolve_in_any_case_to_their_canonical_path() {
        for (text, canonical) in [
            ("USERNAME", "userName"),
            ("Name.FamilyName", "name.familyName"),
            ("meta.lastmodified", "meta.lastModified"),
            ("externalid", "externalId"),
            (
                "URN:ietf:params:scim:schemas:core:2.0:USER:emails.Value",
                "emails.value",
            ),
            ("groups.$REF", "groups.$ref"),
        ] {
            assert_eq!(path(text).as_deref(), Some(canonical), "{text}");
        }
    }

    #[test]
    fn a_colon_or_a_dot_may_follow_an_extension_urn() {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for text in [
            format!("{URN}:manager.value"),
            format!("{}.Manager.VALUE", URN.to_uppercase()),
        ] {
            assert_eq!(path(&text), Some(format!("{URN}:manager.value")), "{text}");
        }
    }

    #[test]
    fn unknown_attributes_do_not_resolve() {
        const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for text in [
            "",
            ".",
            "nonsense",
            "name.nonsense",
            "name.familyName.x",
            "manager",
            "userName.value",
            URN,
            "é:ü",
        ] {
            assert_eq!(path(text), None, "{text}");
        }
        assert_eq!(path(&format!("{URN}:")), None);
        assert_eq!(path(&format!("{URN}x:manager")), None);
        assert_eq!(path(&format!("{URN}:userName")), None);
    }

    #[test]
    fn every_attribute_comes_once_and_common_ones_come_first() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let paths: Vec<_> = user.attributes().map(|attribute| attribute.path()).collect();
        assert_eq!(paths[..5], ["schemas", "id", "externalId", "meta", "userName"]);
        assert!(paths.last().is_some_and(|last| last.ends_with(":User:manager")));
        assert!(
            paths
                .iter()
                .all(|path| user.resolve(path).is_some_and(|found| found.path() == *path))
        );
    }
}
