//! What attributes are kept for, as people are told before they agree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attribute_path::AttributePath;

/// A purpose for which attributes are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Its name in receipts.
    pub name: String,
    /// Counts up when its meaning changes: people are asked anew.
    #[serde(default = "first")]
    pub version: u32,
    /// What it is called; a text of ours for [`Purpose::ACCOUNT`].
    #[serde(default)]
    pub title: Option<Wording>,
    /// What it is.
    #[serde(default)]
    pub text: Option<Wording>,
    /// The attributes that are kept for it.
    pub attributes: Vec<PurposeAttribute>,
    /// Whose law applies.
    #[serde(default)]
    pub jurisdiction: Option<Wording>,
    /// How long they are kept.
    #[serde(default)]
    pub retention: Option<Wording>,
    /// Where the whole policy can be read.
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
    /// Its SCIM path, as the claim mapping has it.
    pub path: AttributePath,
    /// Whether there is an account without it.
    #[serde(default)]
    pub optional: bool,
}

/// A text in one language for all, or in several by their tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Wording {
    /// The same for everybody.
    Same(String),
    /// By language tag; `en` stands in for those that are missing.
    By(BTreeMap<String, String>),
}

impl Wording {
    /// The text in a language, else in English, else in whichever there is.
    pub fn in_language(&self, tag: &str) -> &str {
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
    /// The name of the purpose that stands where none is configured.
    pub const ACCOUNT: &str = "account";
}
