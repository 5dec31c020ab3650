//! Maps claims of an identity provider to user attributes, at the first and every later login.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::Attributes;
use crate::domain::email::Email;
use crate::domain::provenance::{HELD, Writers};
use crate::federation::idp::claim::{lookup, top_level};
use crate::federation::jit::attribute_path::{ClaimTarget, Edit, WritablePath};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::SyncMode;
use crate::federation::jit::purpose::{Purpose, PurposeAttribute};
use crate::federation::jit::template::{Rendered, Template};

/// Longest text that is stored from a claim, in bytes.
const LONGEST: usize = 4096;

/// One line of the claim mapping.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "MappingText")]
pub struct ClaimMapping {
    from: ClaimSource,
    to: ClaimTarget,
    mode: ClaimMode,
}

/// The effect of a claim on a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimMode {
    /// It is stored at every login.
    #[default]
    Force,
    /// It is stored at the first login.
    Suggest,
    /// As `force`, and the login is refused without it.
    Require,
    /// It is not stored.
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingText {
    from: String,
    to: String,
    #[serde(default)]
    mode: ClaimMode,
}

/// The source of the value of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClaimSource {
    /// A claim's name, or a JSON Pointer (RFC 6901).
    Claim(String),
    /// A template over all claims, with its text.
    Template(String, Template),
}

impl ClaimSource {
    fn text(&self) -> &str {
        match self {
            Self::Claim(text) | Self::Template(text, _) => text,
        }
    }
}

/// Reason why a line of the mapping is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMapping {
    /// The template has a syntax error.
    #[error("from is not a valid template: {0}")]
    Template(String),
    /// The target is not an attribute that a claim may write.
    #[error(transparent)]
    Target(#[from] BadAttributePath),
}

/// The target of a mapping is not an attribute that a claim may write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a claim cannot go to \"{0}\": use attribute, attribute.sub or attribute[type eq \"work\"].sub, but none that decides \
     who may enter (userName, active, password, groups, roles, entitlements) or that the server keeps"
)]
pub struct BadAttributePath(String);

impl TryFrom<MappingText> for ClaimMapping {
    type Error = BadMapping;

    fn try_from(text: MappingText) -> Result<Self, BadMapping> {
        Self::new(&text.from, &text.to, text.mode)
    }
}

impl ClaimMapping {
    /// Maps `from`, a claim name, a JSON Pointer (RFC 6901) or a template, to the attribute `to`, a SCIM path.
    pub fn new(from: &str, to: &str, mode: ClaimMode) -> Result<Self, BadMapping> {
        let target = ClaimTarget::parse(to).ok_or_else(|| BadAttributePath(to.to_owned()))?;
        let from = if Template::is_one(from) {
            ClaimSource::Template(from.to_owned(), Template::parse(from).map_err(BadMapping::Template)?)
        } else {
            ClaimSource::Claim(from.to_owned())
        };
        Ok(Self { from, to: target, mode })
    }

    /// Returns the attribute that this line writes; `None` if it is ignored.
    pub fn path(&self) -> Option<WritablePath> {
        (self.mode != ClaimMode::Ignore).then(|| WritablePath::of(&self.to))
    }

    /// Whether later logins update the attribute from the claims.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.mode, ClaimMode::Force | ClaimMode::Require)
    }

    /// Whether a login is refused without the claim.
    pub(crate) fn is_required(&self) -> bool {
        self.mode == ClaimMode::Require
    }

    /// Returns the claim's name, JSON Pointer or template.
    pub(crate) fn from(&self) -> &str {
        self.from.text()
    }

    /// Returns the path of the attribute, without a selector of elements.
    pub(crate) fn attribute(&self) -> String {
        self.to.attribute()
    }

    /// Returns the value of the claim.
    pub(crate) fn value<'a>(&self, claims: &'a Map<String, Value>) -> ClaimValue<'a> {
        said(claims, &self.from)
    }

    /// Returns the text that tells this line from the others of a mapping.
    pub(crate) fn key(&self) -> String {
        format!("{} to {}", self.from.text(), self.to.path())
    }

    /// Returns the top-level claims that this line reads.
    pub fn claims(&self) -> Vec<String> {
        match &self.from {
            ClaimSource::Template(_, template) => template.claims(),
            ClaimSource::Claim(from) => vec![top_level(from)],
        }
    }
}

/// Returns the mapping of the standard claims (OpenID Connect Core §5.1).
pub fn standard() -> Vec<ClaimMapping> {
    [
        ("given_name", "name.givenName"),
        ("family_name", "name.familyName"),
        ("middle_name", "name.middleName"),
        ("name", "displayName"),
        ("name", "name.formatted"),
        ("nickname", "nickName"),
        ("email", "emails[type eq \"work\"].value"),
        ("phone_number", "phoneNumbers[type eq \"work\"].value"),
        ("picture", "photos[type eq \"photo\"].value"),
        ("locale", "locale"),
        ("zoneinfo", "timezone"),
    ]
    .into_iter()
    .filter_map(|(from, to)| ClaimMapping::new(from, to, ClaimMode::Force).ok())
    .collect()
}

/// Returns the e-mail address if `email_verified` is exactly `true`.
pub fn verified_email(claims: &Map<String, Value>) -> Option<Email<'_>> {
    (claims.get("email_verified") == Some(&Value::Bool(true)))
        .then(|| email(claims))
        .flatten()
}

/// Returns the e-mail address that the issuer asserts, verified or not, if it is well-formed.
pub fn email(claims: &Map<String, Value>) -> Option<Email<'_>> {
    Email::parse(claims.get("email")?.as_str()?)
}

/// The value of a claim. An absent claim and an empty one are different.
pub(crate) enum ClaimValue<'a> {
    Nothing,
    Empty,
    Value(Cow<'a, Value>),
    /// A template failed, so nothing is known of the value.
    Failed,
}

fn said<'a>(claims: &'a Map<String, Value>, from: &ClaimSource) -> ClaimValue<'a> {
    let from = match from {
        ClaimSource::Claim(from) => from,
        ClaimSource::Template(text, template) => return rendered(claims, text, template),
    };
    match lookup(claims, from) {
        None => ClaimValue::Nothing,
        Some(Value::Null) => ClaimValue::Empty,
        Some(Value::String(text)) if text.is_empty() => ClaimValue::Empty,
        Some(Value::Array(list)) if list.is_empty() => ClaimValue::Empty,
        Some(value) => ClaimValue::Value(Cow::Borrowed(value)),
    }
}

fn rendered<'a>(claims: &Map<String, Value>, text: &str, template: &Template) -> ClaimValue<'a> {
    match template.render(claims) {
        Rendered::Absent => ClaimValue::Nothing,
        Rendered::Text(text) if text.is_empty() => ClaimValue::Empty,
        Rendered::Text(text) => ClaimValue::Value(Cow::Owned(text.into())),
        Rendered::Failed(why) => {
            log::warn!("the template {text} gives no value: {why}");
            ClaimValue::Failed
        }
    }
}

/// Checks that the required claims are present.
pub(crate) fn check(mappings: &[ClaimMapping], claims: &Map<String, Value>) -> Result<(), Denial> {
    for mapping in mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore) {
        let is_there = matches!(mapping.value(claims), ClaimValue::Value(_));
        if mapping.is_required() && !is_there {
            let claim = mapping.from.text().to_owned();
            return Err(Denial::MissingClaim { claim });
        }
    }
    Ok(())
}

/// Whether no text is too long or holds characters that databases refuse.
pub(crate) fn is_storable(value: &Value) -> bool {
    match value {
        // A postal address has line breaks (OpenID Connect Core §5.1.1); other control characters are refused.
        Value::String(text) => {
            text.len() <= LONGEST && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        }
        Value::Array(list) => list.iter().all(is_storable),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| !name.contains('\0') && is_storable(value)),
        _ => true,
    }
}

/// Returns the attributes of an account that a first login makes.
pub fn attributes(mappings: &[ClaimMapping], username: &str, claims: &Map<String, Value>) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert("userName".to_owned(), username.into());
    for mapping in mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore) {
        if let ClaimValue::Value(value) = said(claims, &mapping.from) {
            mapping.to.put(&mut attributes, value.into_owned());
        }
    }
    attributes
}

/// Returns the values that the provider suggests and the person may change; only strings.
pub(crate) fn suggestions(mappings: &[ClaimMapping], claims: &Map<String, Value>) -> Vec<(WritablePath, String)> {
    let suggested = mappings.iter().filter(|mapping| mapping.mode == ClaimMode::Suggest);
    let text = |mapping: &ClaimMapping| match said(claims, &mapping.from) {
        ClaimValue::Value(value) => Some((WritablePath::of(&mapping.to), value.as_str()?.to_owned())),
        _ => None,
    };
    suggested.filter_map(text).collect()
}

/// Whether the claims have a value for an attribute.
pub fn says(mappings: &[ClaimMapping], claims: &Map<String, Value>, path: &WritablePath) -> bool {
    let written = mappings.iter().filter(|mapping| mapping.mode != ClaimMode::Ignore);
    written
        .filter(|mapping| mapping.to.path() == path.as_str())
        .any(|mapping| matches!(said(claims, &mapping.from), ClaimValue::Value(_)))
}

/// Returns the purpose that applies if none is configured: the account, with all attributes that the claims and the
/// mapping give. None of them is optional.
pub(crate) fn account_purpose(mappings: &[ClaimMapping], claims: &Map<String, Value>) -> Purpose {
    let written = mappings.iter().filter_map(ClaimMapping::path);
    let said = written.filter(|path| says(mappings, claims, path));
    let attributes = said.map(|path| PurposeAttribute { path, optional: false });
    Purpose {
        name: Purpose::ACCOUNT.to_owned(),
        version: 1,
        title: None,
        text: None,
        attributes: attributes.collect(),
        jurisdiction: None,
        retention: None,
        policy_url: None,
    }
}

/// The stored attributes of a user, and their writers.
pub struct StoredUser<'a> {
    /// The attributes.
    pub attributes: &'a Attributes,
    /// The writer of each.
    pub writers: &'a Writers,
}

/// Returns the PATCH operations that update a linked user from the claims; none if nothing changed. `writer` is the
/// identity provider as provenance names it: only values that it wrote itself are cleared.
pub fn changes(
    mappings: &[ClaimMapping],
    sync: SyncMode,
    claims: &Map<String, Value>,
    stored: &StoredUser<'_>,
    writer: &str,
) -> Vec<Edit> {
    let synced = mappings.iter().filter(|mapping| mapping.is_kept());
    let change = |mapping: &ClaimMapping| {
        let present = mapping.to.value(stored.attributes);
        let known = mapping
            .to
            .writer_key(stored.attributes)
            .and_then(|key| stored.writers.get(&key));
        let is_ours = || known.is_some_and(|found| found == writer);
        if known.is_some_and(|found| found == HELD) {
            return None;
        }
        match (said(claims, &mapping.from), sync) {
            (_, SyncMode::None) | (ClaimValue::Nothing, SyncMode::PreserveLocal) | (ClaimValue::Failed, _) => None,
            (ClaimValue::Value(value), _) => {
                (present != Some(&*value)).then(|| mapping.to.set_operation(stored.attributes, &value))
            }
            (ClaimValue::Empty, _) | (ClaimValue::Nothing, SyncMode::Override) => {
                (present.is_some() && is_ours()).then(|| mapping.to.clear_operation())
            }
        }
    };
    synced.filter_map(change).collect()
}

#[cfg(test)]
mod tests;
