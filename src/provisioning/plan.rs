//! Computes the smallest change from the last sent state to the wanted state, without I/O.

use serde_json::{Map, Value, json};

use crate::domain::path::{AttributePath, Location};
use crate::domain::{Attributes, Kind, Resource};

use super::settings::{Deprovision, Profile};

/// One operation at the target.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
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

impl Operation {
    /// Returns whether a user loses access by it.
    pub fn is_removal(&self) -> bool {
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
pub fn outgoing(resource: &Resource, profile: &Profile) -> Attributes {
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
pub fn doubted(sent: &Attributes, lost: &[String], profile: &Profile) -> Attributes {
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
pub fn plan(sent: Option<&Attributes>, current: Option<&Attributes>, kind: &Kind, profile: &Profile) -> Vec<Operation> {
    match (sent, current) {
        (None, None) => Vec::new(),
        (None, Some(current)) => vec![Operation::Create(current.clone())],
        (Some(sent), None) if profile.deprovision == Deprovision::Deactivate && *kind == Kind::USER => {
            if sent.get("active") == Some(&Value::Bool(false)) {
                return Vec::new();
            }
            vec![Operation::Deactivate]
        }
        (Some(_), None) => vec![Operation::Delete],
        (Some(sent), Some(current)) => {
            let changes = difference(sent, current);
            if changes.is_empty() {
                return Vec::new();
            }
            vec![Operation::Update(Update {
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
pub fn patch_operations(changes: &[AttributeChange]) -> Vec<Value> {
    changes
        .iter()
        .map(|change| match &change.value {
            Some(value) => json!({ "op": "replace", "path": change.path, "value": value }),
            None => json!({ "op": "remove", "path": change.path }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::provenance::{Provenance, Writers};
    use crate::domain::{Document, ResourceId, StoreName, Timestamp, Version};

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn attributes(value: Value) -> Attributes {
        value.as_object().unwrap().clone()
    }

    fn resource(value: Value) -> Resource {
        Resource {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            id: ResourceId::new("u1"),
            version: Version::FIRST,
            created: Timestamp(0),
            modified: Timestamp(0),
            document: Document::new(&attributes(value)),
            writers: Provenance::of(&Writers::new()),
            members: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn operations(sent: Value, current: Value) -> Vec<Value> {
        let planned = plan(
            Some(&attributes(sent)),
            Some(&attributes(current)),
            &Kind::USER,
            &Profile::default(),
        );
        match planned.as_slice() {
            [] => Vec::new(),
            [Operation::Update(update)] => patch_operations(&update.changes),
            other => panic!("an update was expected: {other:?}"),
        }
    }

    #[test]
    fn only_differences_are_sent() {
        for (sent, current, expected) in [
            (json!({"userName": "a"}), json!({"userName": "a"}), json!([])),
            (
                json!({"title": "x"}),
                json!({"title": "y"}),
                json!([{"op": "replace", "path": "title", "value": "y"}]),
            ),
            (
                json!({"title": "x"}),
                json!({}),
                json!([{"op": "remove", "path": "title"}]),
            ),
            (
                json!({}),
                json!({"active": false}),
                json!([{"op": "replace", "path": "active", "value": false}]),
            ),
            (
                json!({"name": {"givenName": "A", "familyName": "B", "middleName": "C"}}),
                json!({"name": {"givenName": "A", "familyName": "D"}}),
                json!([{"op": "remove", "path": "name.middleName"}, {"op": "replace", "path": "name.familyName", "value": "D"}]),
            ),
            (
                json!({"name": {"givenName": "A"}}),
                json!({}),
                json!([{"op": "remove", "path": "name"}]),
            ),
            (
                json!({"emails": [{"value": "a@example.com"}]}),
                json!({"emails": [{"value": "b@example.com"}]}),
                json!([{"op": "replace", "path": "emails", "value": [{"value": "b@example.com"}]}]),
            ),
            (
                json!({ENTERPRISE: {"department": "X", "costCenter": "1"}}),
                json!({ENTERPRISE: {"department": "Y"}}),
                json!([
                    {"op": "remove", "path": format!("{ENTERPRISE}:costCenter")},
                    {"op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "Y"},
                ]),
            ),
            (json!({"schemas": ["a"]}), json!({"schemas": ["a", "b"]}), json!([])),
        ] {
            assert_eq!(
                Value::Array(operations(sent.clone(), current.clone())),
                expected,
                "{sent} to {current}"
            );
        }
    }

    #[test]
    fn applying_the_difference_to_an_unknown_state_sends_everything() {
        let sent = operations(json!({}), json!({"userName": "a", "name": {"givenName": "A"}}));
        assert_eq!(sent.len(), 2);
    }

    #[test]
    fn missing_resources_are_created_and_deleted_ones_removed() {
        let profile = Profile::default();
        let current = attributes(json!({"userName": "a"}));
        assert_eq!(
            plan(None, Some(&current), &Kind::USER, &profile),
            [Operation::Create(current.clone())]
        );
        assert_eq!(plan(Some(&current), None, &Kind::USER, &profile), [Operation::Delete]);
        assert_eq!(plan(None, None, &Kind::USER, &profile), []);
    }

    #[test]
    fn a_target_that_keeps_accounts_gets_them_deactivated_once() {
        let profile = Profile {
            deprovision: Deprovision::Deactivate,
            ..Profile::default()
        };
        let active = attributes(json!({"userName": "a", "active": true}));
        let inactive = attributes(json!({"userName": "a", "active": false}));
        assert_eq!(
            plan(Some(&active), None, &Kind::USER, &profile),
            [Operation::Deactivate]
        );
        assert_eq!(plan(Some(&inactive), None, &Kind::USER, &profile), []);
        assert_eq!(plan(Some(&active), None, &Kind::GROUP, &profile), [Operation::Delete]);
    }

    #[test]
    fn own_secret_forbidden_and_empty_attributes_are_not_sent() {
        let profile = Profile {
            forbidden: vec!["nickname".to_owned(), "emails.display".to_owned()],
            ..Profile::default()
        };
        let sent = outgoing(
            &resource(json!({
                "id": "x", "meta": {}, "groups": [{"value": "g"}], "password": "p", "Password": "p", "nickName": "n", "title": "",
                "locale": null, "photos": [], "name": {"givenName": ""}, "active": false, "externalId": "theirs", "userName": "a",
                "emails": [{"value": "a@example.com", "display": "d", "type": ""}],
            })),
            &profile,
        );
        assert_eq!(
            Value::Object(sent),
            json!({"active": false, "userName": "a", "emails": [{"value": "a@example.com"}], "externalId": "u1"})
        );
    }

    #[test]
    fn attributes_of_every_extension_can_be_forbidden() {
        for urn in [ENTERPRISE, "urn:scim:wso2:schema", "urn:example:hr:1.0"] {
            let sent = |forbidden: &str| {
                let profile = Profile {
                    forbidden: vec![forbidden.to_owned()],
                    ..Profile::default()
                };
                let person =
                    json!({"userName": "a", urn: {"country": "FI", "manager": {"value": "1", "displayName": "B"}}});
                outgoing(&resource(person), &profile)[urn].clone()
            };
            let manager = json!({"value": "1", "displayName": "B"});
            assert_eq!(sent(&format!("{urn}:country")), json!({"manager": manager}), "{urn}");
            assert_eq!(
                sent(&format!("{urn}:manager.displayName")),
                json!({"country": "FI", "manager": {"value": "1"}}),
                "{urn}"
            );
            let profile = Profile {
                forbidden: vec![urn.to_owned()],
                ..Profile::default()
            };
            let whole = outgoing(&resource(json!({"userName": "a", urn: {"country": "FI"}})), &profile);
            assert!(!whole.contains_key(urn), "{urn}");
        }
    }

    #[test]
    fn attributes_of_every_extension_follow_its_urn_and_a_colon() {
        for urn in [ENTERPRISE, "urn:scim:wso2:schema", "urn:example:hr:1.0"] {
            let sent = operations(
                json!({urn: {"country": "FI", "title": "x"}}),
                json!({urn: {"country": "SE"}}),
            );
            assert_eq!(
                Value::Array(sent),
                json!([
                    {"op": "remove", "path": format!("{urn}:title")},
                    {"op": "replace", "path": format!("{urn}:country"), "value": "SE"},
                ])
            );
        }
    }

    #[test]
    fn unknown_state_resends_values_and_removes_lost_ones() {
        let sent = attributes(json!({
            "userName": "a", "active": true, "title": "t", "name": {"givenName": "A", "familyName": "B"},
            ENTERPRISE: {"department": "D"},
        }));
        let current = attributes(json!({
            "userName": "a", "active": true, "name": {"givenName": "A"}, ENTERPRISE: {"department": "D"},
        }));
        let lost = [
            "nickName",
            "name.middleName",
            "password",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
        ];
        let lost = lost.map(str::to_owned);
        let doubted = doubted(&sent, &lost, &Profile::default());
        let mut paths: Vec<(String, bool)> = difference(&doubted, &current)
            .into_iter()
            .map(|change| (change.path, change.value.is_some()))
            .collect();
        paths.sort();
        let mut expected = [
            ("active", true),
            ("name.familyName", false),
            ("name.givenName", true),
            ("name.middleName", false),
            ("nickName", false),
            ("title", false),
            ("userName", true),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
                true,
            ),
            (
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
                false,
            ),
        ]
        .map(|(path, stays)| (path.to_owned(), stays));
        expected.sort();
        assert_eq!(paths, expected);
    }

    #[test]
    fn losing_access_counts_as_a_removal() {
        let update = |value: Value| {
            plan(
                Some(&attributes(json!({"active": true}))),
                Some(&attributes(value)),
                &Kind::USER,
                &Profile::default(),
            )
        };
        assert!(update(json!({"active": false}))[0].is_removal());
        assert!(!update(json!({"active": true, "title": "x"}))[0].is_removal());
        assert!(Operation::Delete.is_removal());
    }
}
