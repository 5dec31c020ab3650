//! Replays vectors for filters and PATCH against the pure core: `tests/vectors`.

use serde_json::Value;
use vestibule::domain::filter::{matches, parse};
use vestibule::domain::patch::apply;
use vestibule::domain::schema::{Registry, ResourceType};
use vestibule::domain::validate::{Invalid, InvalidKind, check, ordered};
use vestibule::domain::{Attributes, Kind};
use vestibule::scim::normalise::{Deviations, patch};

/// The lines of a file of vectors; the first describes the others.
fn vectors(text: &str) -> (Value, Vec<Value>) {
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("vectors are JSON"));
    (lines.next().expect("a first line"), lines.collect())
}

fn resource_type(kind: &Kind) -> ResourceType {
    Registry::builtin().resource_type(kind).expect("built in").clone()
}

fn object(value: &Value) -> Attributes {
    value.as_object().expect("an object").clone()
}

fn scim_type(error: &Invalid) -> &'static str {
    match error.kind {
        InvalidKind::Filter => "invalidFilter",
        InvalidKind::Syntax => "invalidSyntax",
        InvalidKind::Path => "invalidPath",
        InvalidKind::Value => "invalidValue",
        InvalidKind::NoTarget => "noTarget",
        InvalidKind::Mutability => "mutability",
        InvalidKind::TooMany => "tooMany",
    }
}

#[test]
fn every_filter_vector_has_its_answer() {
    let (first, vectors) = vectors(include_str!("../vectors/filters.jsonl"));
    let resource = object(&first["resource"]);
    let user = resource_type(&Kind::USER);
    let mut wrong = Vec::new();
    for vector in &vectors {
        let answer = match parse(vector["filter"].as_str().expect("a filter"), &user) {
            Ok(filter) => Value::Bool(matches(&filter, &resource)),
            Err(error) if error.kind == InvalidKind::Filter => Value::from("error"),
            Err(error) => Value::from(scim_type(&error)),
        };
        if answer != vector["match"] {
            wrong.push(format!("{} {}: {answer}", vector["id"], vector["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(vectors.len() > 90);
}

#[test]
fn every_patch_vector_has_its_outcome() {
    let (first, vectors) = vectors(include_str!("../vectors/patches.jsonl"));
    let mut wrong = Vec::new();
    for vector in &vectors {
        let (kind, name) = if vector["on"] == "group" {
            (Kind::GROUP, "group")
        } else {
            (Kind::USER, "user")
        };
        let outcome = patched(&resource_type(&kind), &object(&first[name]), vector);
        let right = match (&outcome, vector["error"].as_str()) {
            (Err(error), Some(expected)) => expected.split('|').any(|expected| expected == scim_type(error)),
            (Ok(resource), None) => object(&vector["expect"])
                .iter()
                .all(|(name, value)| resource.get(name).unwrap_or(&Value::Null) == value),
            _ => false,
        };
        if !right {
            wrong.push(format!("{} {}: {outcome:?}", vector["id"], vector["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(vectors.len() > 70);
}

fn patched(resource_type: &ResourceType, resource: &Attributes, vector: &Value) -> Result<Attributes, Invalid> {
    let body = serde_json::json!({"Operations": vector["ops"]});
    let operations = patch(resource_type, body, &mut Deviations::default())?;
    let after = ordered(resource_type, apply(resource_type, resource, &operations)?);
    check(resource_type, &after)?;
    Ok(after)
}
