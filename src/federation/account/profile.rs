//! Profile of a person: the values, their writers, and the ones that the person may edit.

use std::collections::BTreeMap;

use serde_json::Value;

use url::Url;

use super::{Account, AccountError, AccountProblem, own_change};
use crate::directory::DirectoryError;
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::path::Path;
use crate::domain::provenance::Writers;
use crate::domain::{Attributes, Kind, Operation, Precondition, Resource};
use crate::federation::login::visitor::SignedInUser;
use crate::userstore::StoreError;

/// Attributes that people may edit themselves, unless another source wrote them.
const OWN: [&str; 9] = [
    "displayName",
    "name.givenName",
    "name.familyName",
    "name.middleName",
    "nickName",
    "preferredLanguage",
    "locale",
    "timezone",
    "profileUrl",
];
/// Attributes that a profile does not show.
const HIDDEN: [&str; 5] = ["schemas", "externalId", "active", "userName", "password"];
/// Longest text that is accepted, in characters.
const LONGEST: usize = 256;

/// A value of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileValue {
    /// Its path, as in provenance.
    pub path: String,
    /// The value; empty if there is none.
    pub value: String,
    /// Its writer, if known.
    pub owner: Option<Owner>,
    /// Whether the person may edit it.
    pub is_own: bool,
}

/// The writer of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The person.
    Person,
    /// An administrator.
    Administrator,
    /// An identity provider or a SCIM client, by its display name.
    Named(String),
}

impl Account {
    pub(crate) fn profile(&self, user: &Resource) -> Vec<ProfileValue> {
        let (attributes, writers) = (user.document.attributes(), user.writers.writers());
        let values = values(&attributes);
        let entry = |path: &str, value: String| ProfileValue {
            owner: writers.get(path).map(|writer| self.owner(writer)),
            is_own: is_own(path, &writers),
            path: path.to_owned(),
            value,
        };
        let of = |path: &str| {
            let found = values.iter().find(|(known, _)| known == path);
            found.map_or_else(String::new, |(_, value)| value.clone())
        };
        let first = OWN.iter().map(|path| entry(path, of(path)));
        let others = values.iter().filter(|(path, _)| !OWN.contains(&path.as_str()));
        let others = others.map(|(path, value)| entry(path, value.clone()));
        first
            .chain(others)
            .filter(|entry| entry.is_own || !entry.value.is_empty())
            .collect()
    }

    /// Edits the profile by path; an empty text removes a value. Paths that the person may not edit are ignored.
    pub fn edit_profile(&self, visitor: &SignedInUser, texts: &BTreeMap<String, String>) -> Result<(), AccountError> {
        let user = self.changeable(visitor)?;
        let Some(users) = self.login.directory.registry().resource_type(&Kind::USER) else {
            return Err(AccountProblem::Impossible.into());
        };
        let mut operations = Vec::new();
        for ProfileValue { path, value, .. } in self.profile(&user).into_iter().filter(|entry| entry.is_own) {
            let Some(text) = texts.get(&path).map(|text| text.trim()).filter(|text| *text != value) else {
                continue;
            };
            let is_short = text.chars().count() <= LONGEST && !text.chars().any(char::is_control);
            if !is_short || (!text.is_empty() && !fits(&path, text)) {
                return Err(AccountProblem::Unfit.into());
            }
            let Ok(path) = Path::parse(&path, users) else { continue };
            operations.push(if text.is_empty() {
                PatchOperation {
                    op: PatchOp::Remove,
                    path: Some(path),
                    value: None,
                }
            } else {
                PatchOperation::replace(path, text.into())
            });
        }
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: user.id,
            operations,
            precondition: Precondition::None,
        };
        match self.login.directory.apply(own_change(operation, Vec::new())) {
            Ok(_) => Ok(()),
            Err(DirectoryError::Invalid(invalid)) => {
                log::info!("an edit of a profile was refused: {}", invalid.detail);
                Err(AccountProblem::Unfit.into())
            }
            Err(DirectoryError::Store(StoreError::Unsupported(_))) => Err(AccountProblem::Impossible.into()),
            Err(DirectoryError::NotFound(_)) => Err(AccountProblem::Outdated.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn owner(&self, writer: &str) -> Owner {
        match writer.split_once(':') {
            Some(("idp", name)) => Owner::Named(self.login.config.display_name(&name.to_owned().into())),
            Some(("scim", name)) => Owner::Named(self.login.config.application(&name.to_owned().into())),
            None if writer == "self" => Owner::Person,
            _ => Owner::Administrator,
        }
    }
}

/// Whether a text is what an attribute holds (RFC 7643 §4.1.1): others show it as a link, and format dates by it.
fn fits(path: &str, text: &str) -> bool {
    let is_word = |word: &str, also: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    match path {
        "profileUrl" => Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()),
        "locale" => text.len() >= 2 && text.split(['-', '_']).all(|word| is_word(word, "")),
        "preferredLanguage" => text.split(',').all(|range| is_word(range.trim(), "-_;=.* ")),
        "timezone" => text.split('/').all(|word| is_word(word, "_+-")),
        _ => true,
    }
}

fn is_own(path: &str, writers: &Writers) -> bool {
    OWN.contains(&path) && writers.get(path).is_none_or(|writer| writer == "self")
}

/// Returns every value as text, by its path.
fn values(attributes: &Attributes) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in attributes.iter().filter(|(name, _)| !HIDDEN.contains(&name.as_str())) {
        match value.as_object().filter(|_| name.contains(':')) {
            Some(extension) => {
                for (inner, value) in extension {
                    collect(format!("{name}:{inner}"), value, &mut found);
                }
            }
            None => collect(name.clone(), value, &mut found),
        }
    }
    found
}

fn collect(path: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(parts) => {
            let texts = parts.iter().filter_map(|(name, part)| Some((name, plain(part)?)));
            found.extend(texts.map(|(name, text)| (format!("{path}.{name}"), text)));
        }
        Value::Array(elements) => {
            for element in elements {
                let shown = ["value", "formatted", "display"]
                    .iter()
                    .find_map(|name| element.get(name));
                if let Some(text) = plain(shown.unwrap_or(element)) {
                    found.push((format!("{path}[{text}]"), text));
                }
            }
        }
        value => found.extend(plain(value).map(|text| (path, text))),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn texts_that_others_would_act_on_must_have_their_form() {
        for (path, text) in [
            ("profileUrl", "https://ann.example/me"),
            ("locale", "en-GB"),
            ("locale", "de"),
            ("preferredLanguage", "de, en;q=0.8"),
            ("timezone", "America/Argentina/Buenos_Aires"),
            ("nickName", "Ann & Bob"),
        ] {
            assert!(fits(path, text), "{path} {text}");
        }
        for (path, text) in [
            ("profileUrl", "javascript:alert(1)"),
            ("profileUrl", "ann.example"),
            ("locale", "English (UK)"),
            ("preferredLanguage", "English!"),
            ("timezone", "my zone"),
        ] {
            assert!(!fits(path, text), "{path} {text}");
        }
    }
}
