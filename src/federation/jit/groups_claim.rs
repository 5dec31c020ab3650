//! Reads the groups claim. A claim that is absent, incomplete or of an unknown form withdraws no membership.

use serde_json::{Map, Value};

use super::policy::{AbsentGroups, GroupPolicy};
use crate::federation::idp::claim::{is_left_out, lookup, top_level};

/// Most group names of one login.
const MOST: usize = 5000;

/// The group names of a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupNames {
    /// The names, as the provider sends them.
    pub(crate) names: Vec<String>,
    /// Why the list may not be complete. Then nothing is withdrawn.
    pub(crate) incomplete: Option<Incomplete>,
}

/// Why a groups claim does not name all groups of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incomplete {
    /// The claim is absent.
    #[error("the claim is absent")]
    Absent,
    /// The provider left the claim out because it is too long, and says so.
    #[error("the provider left the claim out because there are too many groups")]
    Overage,
    /// The claim, or an element of it, has another form than the configured one.
    #[error("the claim has a form that the configuration does not describe")]
    Form,
    /// The claim has more names than are read.
    #[error("the claim has more than 5000 names")]
    TooMany,
}

impl Incomplete {
    /// Returns a stable code for logs and metrics.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Overage => "overage",
            Self::Form => "form",
            Self::TooMany => "too_many",
        }
    }
}

/// Reads the groups claim as the policy describes it.
pub(crate) fn read(policy: &GroupPolicy, claims: &Map<String, Value>) -> GroupNames {
    let mut read = GroupNames::default();
    match lookup(claims, &policy.claim) {
        None if is_left_out(claims, &top_level(&policy.claim)) => read.incomplete = Some(Incomplete::Overage),
        None if policy.absent == AbsentGroups::Keep => read.incomplete = Some(Incomplete::Absent),
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => read.names = split(policy, text),
        Some(Value::Array(elements)) => {
            for element in elements {
                match name(policy, element) {
                    Some(name) => read.names.push(name.to_owned()),
                    None => read.incomplete = Some(Incomplete::Form),
                }
            }
        }
        Some(_) => read.incomplete = Some(Incomplete::Form),
    }
    read.names.retain(|name| !name.is_empty());
    if read.names.len() > MOST {
        read = GroupNames {
            names: Vec::new(),
            incomplete: Some(Incomplete::TooMany),
        };
    }
    read
}

/// Splits one text at the separator. A distinguished name (RFC 4514) keeps its commas.
fn split(policy: &GroupPolicy, text: &str) -> Vec<String> {
    let separator = policy.separator.as_deref();
    let is_name = separator.is_none() && text.split(',').any(|part| part.contains('='));
    match separator.unwrap_or(",") {
        "" => vec![text.to_owned()],
        _ if is_name => vec![text.to_owned()],
        separator => text.split(separator).map(|part| part.trim().to_owned()).collect(),
    }
}

/// Returns the name of one element: a text, or the configured member of an object.
fn name<'a>(policy: &GroupPolicy, element: &'a Value) -> Option<&'a str> {
    match element {
        Value::String(name) => Some(name),
        Value::Object(members) => lookup(members, policy.name.as_deref()?)?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(settings: Value) -> GroupPolicy {
        let Value::Object(mut all) = settings else { panic!() };
        all.insert("claim".to_owned(), "groups".into());
        serde_json::from_value(all.into()).unwrap()
    }

    fn of(settings: Value, claims: Value) -> (Vec<String>, Option<Incomplete>) {
        let GroupNames { names, incomplete } = read(&policy(settings), claims.as_object().unwrap());
        (names, incomplete)
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn claim_that_the_provider_left_out_is_incomplete() {
        let overage = json!({"_claim_names": {"groups": "src1"}});
        assert_eq!(of(json!({}), overage), (vec![], Some(Incomplete::Overage)));
        for flag in [json!(true), json!("true")] {
            let overage = json!({"hasgroups": flag});
            assert_eq!(
                of(json!({"absent": "none"}), overage),
                (vec![], Some(Incomplete::Overage))
            );
        }
    }

    #[test]
    fn absent_claim_says_nothing_unless_configured() {
        assert_eq!(of(json!({}), json!({})), (vec![], Some(Incomplete::Absent)));
        assert_eq!(of(json!({"absent": "none"}), json!({})), (vec![], None));
        assert_eq!(of(json!({}), json!({"groups": []})), (vec![], None));
        assert_eq!(of(json!({}), json!({"groups": null})), (vec![], None));
    }

    #[test]
    fn one_text_is_split_at_the_separator() {
        assert_eq!(of(json!({}), json!({"groups": "Eng, Ops"})).0, names(&["Eng", "Ops"]));
        let spaced = json!({"groups": "Eng Ops"});
        assert_eq!(of(json!({"separator": " "}), spaced).0, names(&["Eng", "Ops"]));
        let whole = json!({"groups": "Sales, EMEA"});
        assert_eq!(of(json!({"separator": ""}), whole).0, names(&["Sales, EMEA"]));
    }

    #[test]
    fn distinguished_name_keeps_its_commas() {
        let dn = json!({"groups": "CN=Eng,OU=Groups,DC=example"});
        assert_eq!(of(json!({}), dn).0, names(&["CN=Eng,OU=Groups,DC=example"]));
    }

    #[test]
    fn objects_need_the_configured_member() {
        let objects = json!({"groups": [{"id": "1", "profile": {"name": "Eng"}}]});
        assert_eq!(of(json!({}), objects.clone()), (vec![], Some(Incomplete::Form)));
        let read = of(json!({"name": "/profile/name"}), objects);
        assert_eq!(read, (names(&["Eng"]), None));
    }

    #[test]
    fn elements_of_another_form_make_the_list_incomplete() {
        let mixed = json!({"groups": ["Eng", 7, ""]});
        assert_eq!(of(json!({}), mixed), (names(&["Eng"]), Some(Incomplete::Form)));
        assert_eq!(
            of(json!({}), json!({"groups": {"a": 1}})),
            (vec![], Some(Incomplete::Form))
        );
    }

    #[test]
    fn too_many_names_are_not_read_in_part() {
        let list: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
        assert_eq!(
            of(json!({}), json!({"groups": list})),
            (vec![], Some(Incomplete::TooMany))
        );
    }
}
