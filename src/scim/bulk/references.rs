//! References of the form `bulkId:NAME` in the data of an operation.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::domain::ResourceId;

/// The prefix of a reference.
pub(super) const REFERENCE: &str = "bulkId:";

/// Collects the names that a value refers to. A PATCH path has them within quotes.
pub(super) fn collect(value: &Value, names: &mut HashSet<String>) {
    match value {
        Value::String(text) => match text.strip_prefix(REFERENCE) {
            Some(name) => {
                names.insert(name.to_owned());
            }
            None => names.extend(quoted(text).map(str::to_owned)),
        },
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, names)),
        Value::Object(members) => members.values().for_each(|member| collect(member, names)),
        _ => {}
    }
}

/// The names in `members[value eq "bulkId:NAME"]`.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split("\"bulkId:")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

/// Replaces references by the ids that are known.
pub(super) fn resolve(value: &mut Value, known: &HashMap<String, ResourceId>) {
    match value {
        Value::String(text) => {
            if let Some(id) = text.strip_prefix(REFERENCE).and_then(|name| known.get(name)) {
                *text = id.as_str().to_owned();
            } else if text.contains("\"bulkId:") {
                for name in quoted(&text.clone()) {
                    if let Some(id) = known.get(name) {
                        *text = text.replace(&format!("\"{REFERENCE}{name}\""), &format!("\"{id}\""));
                    }
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| resolve(element, known)),
        Value::Object(members) => members.values_mut().for_each(|member| resolve(member, known)),
        _ => {}
    }
}

/// Removes every value with an open reference from a resource, and returns the PATCH operations that add it later.
pub(super) fn defer_references(prefix: &str, attributes: &mut Map<String, Value>) -> Vec<Value> {
    let open = |value: &Value| {
        let mut names = HashSet::new();
        collect(value, &mut names);
        !names.is_empty()
    };
    let mut later = Vec::new();
    for (name, value) in attributes.iter_mut() {
        if !open(value) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let value = match value {
            Value::Array(elements) => {
                let (open, rest) = std::mem::take(elements).into_iter().partition(&open);
                *elements = rest;
                Value::Array(open)
            }
            Value::Object(extension) if name.contains(':') => {
                later.extend(defer_references(&format!("{path}:"), extension));
                continue;
            }
            other => other.take(),
        };
        later.push(json!({"op": "add", "path": path, "value": value}));
    }
    later
}
