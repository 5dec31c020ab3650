//! Directory entries as a server sends them.

use std::collections::HashMap;

use ldap3::SearchEntry;

use super::flavour::Flavour;
use super::name::Dn;

/// An entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) dn: Dn,
    /// The server's permanent id of the entry, which survives renames.
    pub(super) id: String,
    /// The entry version, which differs after each change.
    pub(super) version: String,
    attributes: HashMap<String, Vec<String>>,
}

impl Entry {
    /// Parses an entry; `None` if it has no permanent id.
    pub(super) fn read(flavour: Flavour, found: SearchEntry) -> Option<Self> {
        let SearchEntry { dn, attrs, bin_attrs } = found;
        let binary = |name: &str| -> Option<Vec<u8>> {
            let raw = bin_attrs
                .iter()
                .find(|(attribute, _)| attribute.eq_ignore_ascii_case(name));
            let text = attrs.iter().find(|(attribute, _)| attribute.eq_ignore_ascii_case(name));
            raw.and_then(|(_, values)| values.first().cloned())
                .or_else(|| text.and_then(|(_, values)| values.first().map(|value| value.clone().into_bytes())))
        };
        let id = binary(flavour.entry_id())?;
        let id = match flavour {
            Flavour::ActiveDirectory => uuid::Uuid::from_slice_le(&id).ok()?.to_string(),
            Flavour::OpenLdap | Flavour::Ds389 => String::from_utf8(id).ok()?.to_ascii_lowercase(),
        };
        let attributes: HashMap<String, Vec<String>> = attrs
            .into_iter()
            .map(|(name, values)| (name.to_ascii_lowercase(), values))
            .collect();
        let versions = flavour.version_attributes().iter().map(|name| {
            let values = attributes.get(&name.to_ascii_lowercase());
            values.and_then(|values| values.first()).map_or("", String::as_str)
        });
        Some(Self {
            dn: Dn::new(dn),
            id,
            version: versions.collect::<Vec<_>>().join("/"),
            attributes,
        })
    }

    /// Returns the entry with an empty version, which matches no state in the directory.
    pub(super) fn of_no_state(&self) -> Self {
        Self {
            version: String::new(),
            ..self.clone()
        }
    }

    /// The values of an attribute; empty if it is absent.
    pub(super) fn values(&self, attribute: &str) -> &[String] {
        self.attributes
            .get(&attribute.to_ascii_lowercase())
            .map_or(&[], Vec::as_slice)
    }

    /// The value of a numeric attribute; 0 if it is absent.
    pub(super) fn number(&self, attribute: &str) -> u32 {
        self.values(attribute)
            .first()
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    }

    /// The part of a long value list that the server sent (`member;range=0-1499`), and the start of the next part, if
    /// any.
    pub(super) fn range(&self, attribute: &str) -> Option<(&[String], Option<usize>)> {
        let prefix = format!("{};range=", attribute.to_ascii_lowercase());
        let (name, values) = self.attributes.iter().find(|(name, _)| name.starts_with(&prefix))?;
        let end = name.rsplit('-').next()?;
        Some((values, end.parse::<usize>().ok().map(|end| end + 1)))
    }
}
