//! The equivalent forms in which clients write one operation.

use serde_json::{Map, Value, json};
use vestibule::domain::filter::{Comparand, Filter, Operator};
use vestibule::domain::path::Path;
use vestibule::domain::schema::AttributeRef;
use vestibule::domain::schema::{DataType, Mutability, ResourceType};

/// Requests that are equivalent to this operation in the form of the RFC.
pub(crate) fn of(resource_type: &ResourceType, operation: &Value) -> Vec<Value> {
    let (op, path) = (operation["op"].as_str().unwrap(), operation["path"].as_str().unwrap());
    let parsed = Path::parse(path, resource_type).unwrap();
    let mut requests = envelopes(operation);
    let mut paths = vec![path.to_owned(), in_capitals(path)];
    match &parsed.attribute.extension {
        Some(urn) => {
            paths.push(path.replacen(&format!("{urn}:"), &format!("{urn}."), 1));
            paths.push(path.replacen(urn, &urn.to_uppercase(), 1));
        }
        None => paths.push(format!("{}:{path}", resource_type.schema.id)),
    }
    if let Some(open) = path.strip_suffix(']') {
        paths.push(open.to_owned());
    }
    for path in &paths {
        let mut other = operation.clone();
        other["path"] = json!(path);
        requests.push(request(other));
    }
    match operation.get("value") {
        None => requests.extend(removals(path, &parsed)),
        Some(value) => {
            let shown: Vec<Value> = std::iter::once(value.clone()).chain(values(&parsed, value)).collect();
            // Without a path, read-only attributes are ignored; with one they are refused.
            let is_open = parsed.attribute.leaf().mutability != Mutability::ReadOnly;
            for value in shown {
                requests.push(request(json!({"op": op, "path": path, "value": value})));
                if !is_open {
                    continue;
                }
                for key in &paths {
                    requests.push(request(json!({"op": op, "value": {key: value}})));
                }
                requests.extend(
                    nested(&parsed.attribute, &parsed, &value).map(|value| request(json!({"op": op, "value": value}))),
                );
            }
        }
    }
    requests
}

fn request(operation: Value) -> Value {
    json!({"Operations": [operation]})
}

/// The operation with other spellings of its keywords.
fn envelopes(operation: &Value) -> Vec<Value> {
    let op = operation["op"].as_str().unwrap();
    let capital = format!("{}{}", op[..1].to_uppercase(), &op[1..]);
    let mut spelt = Map::new();
    for (name, value) in operation.as_object().unwrap() {
        let value = if name == "op" { json!(capital) } else { value.clone() };
        spelt.insert(name.to_uppercase(), value);
    }
    vec![
        request(Value::Object(spelt.clone())),
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "operations": [spelt]}),
        json!([operation]),
    ]
}

/// The path with the attribute's name in another case; what is in brackets stays.
fn in_capitals(path: &str) -> String {
    let name = path.find('[').unwrap_or(path.len());
    format!("{}{}", path[..name].to_uppercase(), &path[name..])
}

/// Other spellings of the same value.
fn values(path: &Path, value: &Value) -> Vec<Value> {
    let leaf = path.attribute.leaf();
    let mut all = Vec::new();
    match value {
        // An empty text instead of a list is not a list; within one it is an element.
        Value::Array(elements) if elements.len() == 1 && elements[0] != "" => all.push(elements[0].clone()),
        Value::Array(elements) if leaf.data_type == DataType::Complex && !elements.is_empty() => {
            all.push(elements.iter().map(names_in_capitals).collect());
        }
        Value::Object(_) => {
            all.push(names_in_capitals(value));
            all.push(json!([value]));
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            all.push(json!([value]));
            all.push(json!({"value": value}));
            all.push(json!([{"value": value}]));
        }
        Value::Array(_) | Value::Null => {}
    }
    match value {
        Value::Bool(flag) => all.extend([json!(flag.to_string()), json!(if *flag { "True" } else { "FALSE" })]),
        Value::Number(number) => all.push(json!(number.to_string())),
        _ => {}
    }
    all
}

fn names_in_capitals(value: &Value) -> Value {
    match value {
        Value::Object(parts) => parts
            .iter()
            .map(|(name, part)| (name.to_uppercase(), part.clone()))
            .collect(),
        other => other.clone(),
    }
}

/// The value without a path: as an object with the attribute's name, its extension's URN and its sub-attribute as keys.
fn nested(attribute: &AttributeRef, path: &Path, value: &Value) -> Option<Value> {
    let is_part = attribute.sub.is_some();
    // A reference with an empty `value` counts as absent.
    let is_empty = value.to_string().contains("\"\"");
    if path.filter.is_some() || (is_part && (attribute.attribute.multi_valued || is_empty)) {
        return None;
    }
    let part = match &attribute.sub {
        Some(sub) => json!({ sub.name.as_str(): value }),
        None => value.clone(),
    };
    let whole = json!({ attribute.attribute.name.as_str(): part });
    Some(match &attribute.extension {
        Some(urn) => json!({ urn.as_str(): whole }),
        None => whole,
    })
}

/// Other ways to remove everything at a path.
fn removals(path: &str, parsed: &Path) -> Vec<Value> {
    let mut all = vec![request(json!({"op": "remove", "path": path, "value": null}))];
    let nothing = if parsed.attribute.leaf().multi_valued && parsed.filter.is_none() {
        json!([])
    } else {
        Value::Null
    };
    all.push(request(json!({"op": "replace", "path": path, "value": nothing})));
    if let Some(Filter::Compare {
        attribute,
        operator: Operator::Eq,
        value: Comparand::Text(text),
    }) = &parsed.filter
        && attribute.sub.as_ref().is_some_and(|sub| sub.name == "value")
    {
        let list = parsed.attribute.path();
        for value in [
            json!([{"value": text}]),
            json!({"value": text}),
            json!([{"value": text, "$ref": null}]),
            json!([text]),
        ] {
            all.push(request(json!({"op": "remove", "path": list, "value": value})));
        }
    }
    all
}
