//! Purposes for which attributes are stored, as shown to people before they agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attribute_path::WritablePath;

/// A purpose for which attributes are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Its name in consents.
    pub name: String,
    /// Version. A higher one means that its meaning changed, and people are asked again.
    #[serde(default = "first")]
    pub version: u32,
    /// Its title; a built-in text for [`Purpose::ACCOUNT`].
    #[serde(default)]
    pub title: Option<Wording>,
    /// Its description.
    #[serde(default)]
    pub text: Option<Wording>,
    /// The attributes that are stored for it.
    pub attributes: Vec<PurposeAttribute>,
    /// Jurisdiction.
    #[serde(default)]
    pub jurisdiction: Option<Wording>,
    /// Retention period.
    #[serde(default)]
    pub retention: Option<Wording>,
    /// URL of the full privacy policy.
    #[serde(default)]
    pub policy_url: Option<url::Url>,
}

fn first() -> u32 {
    1
}

/// An attribute of a purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurposeAttribute {
    /// Its SCIM path, as in the claim mapping.
    pub path: WritablePath,
    /// Whether an account can be made without it.
    #[serde(default)]
    pub optional: bool,
}

/// A text for all languages, or one for each language tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wording {
    /// One text for all languages.
    Same(String),
    /// Texts by language tag; `en` is the fallback.
    By(BTreeMap<String, String>),
}

impl Wording {
    /// Returns the text in a language, else in English, else in any language.
    pub(crate) fn in_language(&self, tag: &str) -> &str {
        match self {
            Self::Same(text) => text,
            Self::By(texts) => texts
                .get(tag)
                .or_else(|| texts.get("en"))
                .or_else(|| texts.values().next())
                .map_or("", String::as_str),
        }
    }
}

impl Purpose {
    /// Name of the purpose that applies if none is configured.
    pub(crate) const ACCOUNT: &str = "account";
}
