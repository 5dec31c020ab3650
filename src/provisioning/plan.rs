//! Computes the smallest change from the last sent state to the wanted state, without I/O.

use serde_json::{Map, Value, json};

use crate::domain::path::{AttributePath, Location};
use crate::domain::{Attributes, Kind, Resource};

use super::settings::{Deprovision, Profile};

/// One operation at the target.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetOperation {
    /// Create the resource.
    Create(Attributes),
    /// Change it.
    Update(Update),
    /// Set `active` to false.
    Deactivate,
    /// Delete it.
    Delete,
}

/// A change of a resource, in both forms that targets accept.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The changes by path, for PATCH.
    pub changes: Vec<AttributeChange>,
    /// The complete wanted resource, for PUT.
    pub full: Attributes,
}

/// The new value of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeChange {
    /// A SCIM path (RFC 7644 §3.5.2), such as `name.givenName`.
    pub path: String,
    /// The new value; `None` removes the attribute.
    pub value: Option<Value>,
}

impl TargetOperation {
    /// Returns whether a user loses access by it.
    pub(crate) fn is_removal(&self) -> bool {
        match self {
            Self::Delete | Self::Deactivate => true,
            Self::Update(update) => update
                .changes
                .iter()
                .any(|change| change.path == "active" && change.value == Some(Value::Bool(false))),
            Self::Create(_) => false,
        }
    }
}

/// Attributes that each server manages itself, relations that are sent separately, and secrets.
const NEVER_SENT: [&str; 5] = ["id", "meta", "groups", "members", "password"];

/// Returns the attributes to send: without those that are never sent or empty, and with the resource id as
/// `externalId`, so that a resource whose creation was not confirmed can be found again.
pub(crate) fn outgoing(resource: &Resource, profile: &Profile) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in resource.document.attributes() {
        if is_forbidden(&Location::top(&name), profile) {
            continue;
        }
        if let Some(value) = without_empty(value, &Level::Top(&name), profile) {
            attributes.insert(name, value);
        }
    }
    if !is_forbidden(&Location::top("externalId"), profile) {
        attributes.insert("externalId".to_owned(), Value::String(resource.id.as_str().to_owned()));
    }
    attributes
}

fn is_forbidden(place: &Location, profile: &Profile) -> bool {
    let is_own = NEVER_SENT.iter().any(|name| name.eq_ignore_ascii_case(place.as_str()));
    is_own || is_configured_as_forbidden(place, profile)
}

fn is_configured_as_forbidden(place: &Location, profile: &Profile) -> bool {
    profile.forbidden.iter().any(|path| place.is_named_by(path))
}

/// How deep a value is: its parts follow a colon or a dot.
enum Level<'a> {
    Top(&'a str),
    Below(&'a Location),
}

impl Level<'_> {
    fn part(&self, name: &str) -> Location {
        match self {
            Self::Top(top) => Location::part(top, name),
            Self::Below(place) => place.below(name),
        }
    }
}

/// Returns the value without nulls, empty strings, empty arrays and forbidden parts; `None` if nothing is left.
fn without_empty(value: Value, level: &Level<'_>, profile: &Profile) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::Array(items) => {
            let items: Vec<Value> = items
                .into_iter()
                .filter_map(|item| without_empty(item, level, profile))
                .collect();
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::Object(parts) => {
            let parts: Map<String, Value> = parts
                .into_iter()
                .filter_map(|(name, part)| {
                    let place = level.part(&name);
                    (!is_configured_as_forbidden(&place, profile))
                        .then(|| without_empty(part, &Level::Below(&place), profile))
                        .flatten()
                        .map(|part| (name, part))
                })
                .collect();
            (!parts.is_empty()).then_some(Value::Object(parts))
        }
        other => Some(other),
    }
}

/// Returns what the target may have after a push with an unknown result. Attributes that were sent earlier or removed
/// here since are null, an unknown value, so that all of them are sent or removed again.
pub(crate) fn doubted(sent: &Attributes, lost: &[String], profile: &Profile) -> Attributes {
    let mut doubted: Attributes = sent
        .iter()
        .map(|(name, value)| (name.clone(), unknown(value)))
        .collect();
    for path in lost {
        let (name, part) = parts(path, sent);
        let place = part
            .as_ref()
            .map_or_else(|| Location::top(&name), |part| Location::part(&name, part));
        if is_forbidden(&Location::top(&name), profile) || is_forbidden(&place, profile) || is_named(path, profile) {
            continue;
        }
        match (doubted.get_mut(&name), part) {
            (None, None) => drop(doubted.insert(name, Value::Null)),
            (None, Some(part)) => drop(doubted.insert(name, json!({ part: null }))),
            (Some(Value::Object(known)), Some(part)) => drop(known.entry(part).or_insert(Value::Null)),
            (Some(_), _) => {}
        }
    }
    doubted
}

fn unknown(value: &Value) -> Value {
    match value {
        Value::Object(parts) => parts
            .iter()
            .map(|(name, part)| (name.clone(), unknown(part)))
            .collect::<Map<_, _>>()
            .into(),
        _ => Value::Null,
    }
}

/// Whether a path as provenance has it is forbidden as it stands.
fn is_named(path: &str, profile: &Profile) -> bool {
    profile
        .forbidden
        .iter()
        .any(|forbidden| forbidden.eq_ignore_ascii_case(path))
}

/// The name at the top level that a path begins with, and the name below it. `sent` tells the URN of a whole extension
/// from an attribute of a shorter one.
fn parts(path: &str, sent: &Attributes) -> (String, Option<String>) {
    match AttributePath::parse(path).filter(|_| !sent.contains_key(path)) {
        None => (path.to_owned(), None),
        Some(path) => {
            let mut names = path.names();
            let top = names.next().unwrap_or_default().to_owned();
            (top, names.next().map(str::to_owned))
        }
    }
}

/// Returns the operations that bring the target from `sent` to `current`. `sent` is `None` if the target does not have
/// the resource, and empty if its state is unknown; `current` is `None` if the resource is to be removed.
pub fn plan(
    sent: Option<&Attributes>,
    current: Option<&Attributes>,
    kind: &Kind,
    profile: &Profile,
) -> Vec<TargetOperation> {
    match (sent, current) {
        (None, None) => Vec::new(),
        (None, Some(current)) => vec![TargetOperation::Create(current.clone())],
        (Some(sent), None) if profile.deprovision == Deprovision::Deactivate && *kind == Kind::USER => {
            if sent.get("active") == Some(&Value::Bool(false)) {
                return Vec::new();
            }
            vec![TargetOperation::Deactivate]
        }
        (Some(_), None) => vec![TargetOperation::Delete],
        (Some(sent), Some(current)) => {
            let changes = difference(sent, current);
            if changes.is_empty() {
                return Vec::new();
            }
            vec![TargetOperation::Update(Update {
                changes,
                full: current.clone(),
            })]
        }
    }
}

fn difference(sent: &Attributes, current: &Attributes) -> Vec<AttributeChange> {
    let mut changes = Vec::new();
    // Removals come first, because a target may allow only one value of a type.
    for (name, old) in sent {
        match (old, current.get(name)) {
            (_, _) if name == "schemas" => {}
            (_, None) => changes.push(AttributeChange {
                path: name.clone(),
                value: None,
            }),
            (Value::Object(old), Some(Value::Object(new))) => {
                let lost = old.keys().filter(|part| !new.contains_key(*part));
                changes.extend(lost.map(|part| AttributeChange {
                    path: Location::part(name, part).to_string(),
                    value: None,
                }));
            }
            _ => {}
        }
    }
    for (name, new) in current {
        match (sent.get(name), new) {
            (_, _) if name == "schemas" => {}
            (old, Value::Object(new)) if Location::is_extension(name) || old.is_some_and(Value::is_object) => {
                let old = old.and_then(Value::as_object);
                let differing = new
                    .iter()
                    .filter(|(part, value)| old.and_then(|old| old.get(*part)) != Some(*value));
                changes.extend(differing.map(|(part, value)| AttributeChange {
                    path: Location::part(name, part).to_string(),
                    value: Some(value.clone()),
                }));
            }
            (old, new) if old != Some(new) => changes.push(AttributeChange {
                path: name.clone(),
                value: Some(new.clone()),
            }),
            _ => {}
        }
    }
    changes
}

/// Returns the PATCH operations of changes (RFC 7644 §3.5.2).
pub(crate) fn patch_operations(changes: &[AttributeChange]) -> Vec<Value> {
    changes
        .iter()
        .map(|change| match &change.value {
            Some(value) => json!({ "op": "replace", "path": change.path, "value": value }),
            None => json!({ "op": "remove", "path": change.path }),
        })
        .collect()
}

#[cfg(test)]
mod tests;
