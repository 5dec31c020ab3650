//! Versions as entity tags: `If-Match` and `If-None-Match` (RFC 7644 §3.14, RFC 9110 §13.1).

use super::error::{ScimError, ScimErrorKind};
use crate::domain::{Precondition, Version};

/// The conditional headers of a request.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<String>,
    /// `If-None-Match`.
    pub if_none_match: Option<String>,
}

impl Conditions {
    /// The precondition on the stored version for a change. Tags compare weakly, as SCIM's own examples do.
    pub fn precondition(&self) -> Result<Precondition, ScimError> {
        if self.if_none_match.as_deref().is_some_and(|tags| tags.trim() == "*") {
            return Err(ScimErrorKind::Stale
                .because("If-None-Match: * requires that the resource does not exist, but this changes one."));
        }
        Ok(match self.if_match.as_deref().map(str::trim) {
            // The change itself needs the resource to exist.
            None | Some("*") => Precondition::None,
            Some(tags) => Precondition::Versions(versions(tags)),
        })
    }

    /// Whether the client has this version already.
    pub fn already_has(&self, version: Version) -> bool {
        match self.if_none_match.as_deref().map(str::trim) {
            None => false,
            Some("*") => true,
            Some(tags) => versions(tags).contains(&version),
        }
    }
}

/// The versions in a list of entity tags. A tag that this server did not issue is skipped, and so matches nothing.
fn versions(tags: &str) -> Vec<Version> {
    tags.split(',')
        .filter_map(|tag| {
            let tag = tag.trim();
            let opaque = tag.strip_prefix("W/").or_else(|| tag.strip_prefix("w/")).unwrap_or(tag);
            opaque.trim_matches('"').parse().ok().map(Version)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(tags: &str) -> Precondition {
        Conditions {
            if_match: Some(tags.to_owned()),
            if_none_match: None,
        }
        .precondition()
        .unwrap()
    }

    #[test]
    fn tags_are_read_weak_strong_bare_and_in_lists() {
        for tags in ["W/\"3\"", "\"3\"", "3", "W/\"1\", W/\"3\""] {
            assert!(if_match(tags).allows(Version(3)), "{tags}");
            assert!(!if_match(tags).allows(Version(2)), "{tags}");
        }
    }

    #[test]
    fn a_star_matches_any_version_and_a_foreign_tag_none() {
        assert!(if_match("*").allows(Version(9)));
        assert!(!if_match("\"abc\"").allows(Version(9)));
        assert!(!if_match("").allows(Version(9)));
    }

    #[test]
    fn if_none_match_recognises_the_current_version() {
        let conditions = Conditions {
            if_match: None,
            if_none_match: Some("W/\"3\"".to_owned()),
        };
        assert!(conditions.already_has(Version(3)));
        assert!(!conditions.already_has(Version(4)));
        assert!(!Conditions::default().already_has(Version(3)));
    }
}
