//! Selects the attributes of a response (RFC 7644 §3.9) and renders its text.

mod render;

use std::sync::Arc;

use super::resource::Relations;
use super::schema::AttributeRef;
use super::schema::{Attribute, ResourceType, Returned};

pub use render::{location, view};

/// The attributes of one resource type that a response shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    wanted: AttributeSelection,
    relations: Relations,
    /// Whether the document is shown as it is.
    whole_document: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum AttributeSelection {
    /// The attributes that are returned by default.
    Default,
    /// `attributes`: these, and the attributes that are always returned.
    Only(Vec<AttributeRef>),
    /// `excludedAttributes`: the default without these.
    Except(Vec<AttributeRef>),
}

impl Projection {
    /// Reads the two parameters, comma-separated lists of names. Names may be in any case, with or without a URN, and
    /// name a sub-attribute or a whole extension; unknown names are ignored. If both are given, `attributes` wins.
    pub fn parse(resource_type: &ResourceType, attributes: Option<&str>, excluded: Option<&str>) -> Self {
        let given = |text: &&str| !text.trim().is_empty();
        let wanted = if let Some(names) = attributes.filter(given) {
            AttributeSelection::Only(listed(resource_type, names))
        } else if let Some(names) = excluded.filter(given) {
            AttributeSelection::Except(listed(resource_type, names))
        } else {
            AttributeSelection::Default
        };
        let mut projection = Self {
            wanted,
            relations: Relations::NONE,
            whole_document: false,
        };
        projection.relations.members = projection.shows_core(resource_type, "members");
        projection.relations.groups = projection.shows_core(resource_type, "groups");
        projection.whole_document = projection.leaves_documents_whole(resource_type);
        projection
    }

    /// The relations that the response shows, so that no other is read.
    pub fn relations(&self) -> Relations {
        self.relations
    }

    fn shows_core(&self, resource_type: &ResourceType, name: &str) -> bool {
        let found = resource_type
            .schema
            .attributes
            .iter()
            .find(|attribute| attribute.name == name);
        found.is_some_and(|attribute| {
            self.shows(&AttributeRef {
                extension: None,
                attribute: Arc::clone(attribute),
                sub: None,
            })
        })
    }

    /// Whether an attribute is shown, at least in part.
    fn shows(&self, attribute: &AttributeRef) -> bool {
        let listed = |list: &[AttributeRef]| list.iter().any(|other| is_same(other, attribute));
        let left_out = |list: &[AttributeRef]| {
            list.iter()
                .any(|other| other.sub.is_none() && is_same(other, attribute))
        };
        match (attribute.attribute.returned, &self.wanted) {
            (Returned::Never, _) => false,
            (Returned::Always, _) => true,
            (_, AttributeSelection::Only(list)) => listed(list),
            (returned, AttributeSelection::Default) => returned == Returned::Default,
            (returned, AttributeSelection::Except(list)) => returned == Returned::Default && !left_out(list),
        }
    }

    /// Whether a sub-attribute of a shown attribute is shown.
    fn shows_part(&self, attribute: &AttributeRef, sub: &Attribute) -> bool {
        let names = |list: &[AttributeRef]| {
            let of_it = |other: &&AttributeRef| is_same(other, attribute);
            list.iter()
                .filter(of_it)
                .any(|other| other.sub.as_ref().is_some_and(|named| named.name == sub.name))
        };
        let names_whole = |list: &[AttributeRef]| {
            let mut of_it = list.iter().filter(|other| is_same(other, attribute)).peekable();
            of_it.peek().is_none() || of_it.any(|other| other.sub.is_none())
        };
        let by_default = sub.returned == Returned::Default;
        match (sub.returned, &self.wanted) {
            (Returned::Never, _) => false,
            (Returned::Always, _) => true,
            (_, AttributeSelection::Default) => by_default,
            (_, AttributeSelection::Except(list)) => by_default && !names(list),
            (_, AttributeSelection::Only(list)) => names(list) || by_default && names_whole(list),
        }
    }

    /// Whether nothing that a document can hold is hidden. Documents hold no password and no relations.
    fn leaves_documents_whole(&self, resource_type: &ResourceType) -> bool {
        let stored_elsewhere = |found: &AttributeRef| {
            found.extension.is_none()
                && ["id", "meta", "password", "members", "groups"].contains(&found.attribute.name.as_str())
        };
        let is_shown = |found: &AttributeRef| {
            self.shows(found)
                && found
                    .attribute
                    .sub_attributes
                    .iter()
                    .all(|sub| self.shows_part(found, sub))
        };
        let meta = resource_type
            .attributes()
            .filter(|found| found.extension.is_none() && found.attribute.name == "meta");
        let relations = resource_type.attributes().filter(|found| {
            found.extension.is_none()
                && ["members", "groups"].contains(&found.attribute.name.as_str())
                && self.shows(found)
        });
        resource_type
            .attributes()
            .filter(|found| !stored_elsewhere(found))
            .all(|found| is_shown(&found))
            && meta.chain(relations).all(|found| is_shown(&found))
    }
}

fn is_same(one: &AttributeRef, other: &AttributeRef) -> bool {
    one.extension == other.extension && one.attribute.name == other.attribute.name
}

/// Resolves the names without duplicates, so that the result is never longer than the schema.
fn listed(resource_type: &ResourceType, names: &str) -> Vec<AttributeRef> {
    let mut found: Vec<AttributeRef> = Vec::new();
    let mut keep = |one: AttributeRef| {
        if !found.iter().any(|other| is_same(other, &one) && other.sub == one.sub) {
            found.push(one);
        }
    };
    for name in names.split(',').map(str::trim) {
        if let Some(extension) = resource_type.extension(name) {
            let urn = Some(&extension.schema.id);
            resource_type
                .attributes()
                .filter(|attribute| attribute.extension.as_ref() == urn)
                .for_each(&mut keep);
        } else if let Some(one) = resource_type
            .resolve(name)
            .or_else(|| resource_type.resolve_unqualified(name))
        {
            keep(one);
        }
    }
    found
}

#[cfg(test)]
mod tests;
