//! Formats claims as a readable list.

use chrono::DateTime;
use serde_json::{Map, Value};

/// Claims that protect the login and say nothing about the person.
const PLUMBING: &[&str] = &["nonce", "at_hash", "c_hash", "s_hash", "jti", "azp", "sid"];

const LABELS: &[(&str, &str)] = &[
    ("name", "Name"),
    ("given_name", "First name"),
    ("family_name", "Last name"),
    ("preferred_username", "Username"),
    ("email", "E-mail address"),
    ("email_verified", "E-mail address verified"),
    ("groups", "Groups"),
    ("sub", "Account"),
    ("iss", "Issuer"),
    ("aud", "Audience"),
    ("amr", "Sign-in methods"),
    ("acr", "Authentication level"),
    ("auth_time", "Signed in at"),
    ("iat", "Issued at"),
    ("exp", "Expires at"),
];

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClaimRow {
    /// The label that people see.
    pub(super) label: String,
    /// The name of the claim.
    pub(super) claim: String,
    /// The value as text.
    pub(super) value: String,
}

/// Lists the claims about the person: known ones first, in a fixed order, then the others.
pub(super) fn facts(claims: &Map<String, Value>) -> Vec<ClaimRow> {
    let known = LABELS
        .iter()
        .filter_map(|(claim, label)| Some(fact(claim, label, claims.get(*claim)?)));
    let others = claims
        .iter()
        .filter(|(claim, _)| !PLUMBING.contains(&claim.as_str()) && LABELS.iter().all(|(known, _)| known != claim))
        .map(|(claim, value)| fact(claim, claim, value));
    known.chain(others).filter(|fact| !fact.value.is_empty()).collect()
}

/// The display name of the person.
pub(super) fn display_name(claims: &Map<String, Value>) -> String {
    ["name", "preferred_username", "email", "sub"]
        .iter()
        .find_map(|claim| claims.get(*claim)?.as_str().filter(|name| !name.trim().is_empty()))
        .unwrap_or("somebody")
        .to_owned()
}

fn fact(claim: &str, label: &str, value: &Value) -> ClaimRow {
    let value = match (claim, value.as_i64()) {
        ("auth_time" | "iat" | "exp" | "updated_at", Some(seconds)) => time(seconds),
        _ => text(value),
    };
    ClaimRow {
        label: label.to_owned(),
        claim: claim.to_owned(),
        value,
    }
}

fn time(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map_or_else(
        || seconds.to_string(),
        |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(claims: Value) -> Vec<(String, String)> {
        facts(claims.as_object().unwrap())
            .into_iter()
            .map(|fact| (fact.label, fact.value))
            .collect()
    }

    #[test]
    fn known_claims_come_first_with_their_labels_and_others_follow() {
        let lines = lines(json!({ "department": "Sales", "sub": "42", "name": "Ada" }));
        let expected = [("Name", "Ada"), ("Account", "42"), ("department", "Sales")];
        assert_eq!(
            lines,
            expected.map(|(label, value)| (label.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn lists_times_and_yes_or_no_are_readable() {
        let lines = lines(json!({ "groups": ["a", "b"], "auth_time": 0, "email_verified": true }));
        let values: Vec<_> = lines.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["yes", "a, b", "1970-01-01 00:00:00 UTC"]);
    }

    #[test]
    fn plumbing_and_empty_values_are_left_out() {
        assert!(lines(json!({ "nonce": "n", "at_hash": "h", "name": null, "groups": [] })).is_empty());
    }

    #[test]
    fn a_person_without_a_name_gets_the_next_claim() {
        assert_eq!(
            display_name(json!({ "name": " ", "email": "a@b" }).as_object().unwrap()),
            "a@b"
        );
        assert_eq!(display_name(&Map::new()), "somebody");
    }
}
