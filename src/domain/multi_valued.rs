//! Rules for every multi-valued attribute (RFC 7643 §2.4): no element twice, at most one primary.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::name::canonical;
use super::schema::Attribute;

/// Up to this many new elements are compared one by one, without copies.
pub const FEW: usize = 8;

/// Appends the elements that the list does not have yet, and returns their number. Elements are the same if they are
/// equal, or if their `value` is equal where it identifies them.
pub fn append(attribute: &Attribute, list: &mut Vec<Value>, new: Vec<Value>) -> usize {
    let before = list.len();
    if new.len() <= FEW {
        let by_value = attribute.is_identified_by_value();
        for element in new {
            let value = element.get("value").filter(|_| by_value);
            let is_known = match value {
                Some(value) => list.iter().any(|known| known.get("value") == Some(value)),
                None => list.contains(&element),
            };
            if !is_known {
                list.push(element);
            }
        }
    } else {
        let mut known: HashSet<String> = list.iter().map(|element| identity(attribute, element)).collect();
        list.extend(
            new.into_iter()
                .filter(|element| known.insert(identity(attribute, element))),
        );
    }
    list.len() - before
}

/// Removes repeated elements. Does nothing where their `value` identifies them: it is immutable, so there are none.
pub(crate) fn drop_repeated(attribute: &Attribute, list: &mut Vec<Value>) {
    if list.len() > 1 && !attribute.is_identified_by_value() {
        let mut known = HashSet::new();
        list.retain(|element| known.insert(identity(attribute, element)));
    }
}

/// Removes the listed elements: by `value`, else by all the parts that are given. Returns their number.
pub(crate) fn remove_listed(attribute: &Attribute, list: &mut Vec<Value>, listed: &[Value]) -> usize {
    let exact = attribute.sub("value").is_none_or(|value| value.case_exact);
    let folded = |text: &str| if exact { text.to_owned() } else { canonical(text) };
    let value_of = |element: &Value| element.get("value").and_then(Value::as_str).map(folded);
    let values: HashSet<String> = listed.iter().filter_map(value_of).collect();
    let others: Vec<_> = listed.iter().filter(|element| value_of(element).is_none()).collect();
    let before = list.len();
    list.retain(|element| {
        let by_value = value_of(element).is_some_and(|value| values.contains(&value));
        !by_value && !others.iter().any(|wanted| has_parts(element, wanted))
    });
    before - list.len()
}

/// Leaves `primary` true on one element at most: the last of the preferred ones that has it, else the last one. Returns
/// whether another one lost it.
pub(crate) fn keep_one_primary(list: &mut [Value], preferred: &[usize]) -> bool {
    let is_primary = |element: &Value| element.get("primary") == Some(&Value::Bool(true));
    let chosen = preferred
        .iter()
        .rev()
        .copied()
        .find(|index| list.get(*index).is_some_and(is_primary));
    let Some(winner) = chosen.or_else(|| list.iter().rposition(is_primary)) else {
        return false;
    };
    let mut taken = false;
    for (index, element) in list.iter_mut().enumerate() {
        if index != winner && is_primary(element) {
            element["primary"] = Value::Bool(false);
            taken = true;
        }
    }
    taken
}

/// Whether the element equals the wanted value, or has every part of the wanted object, which has at least one.
fn has_parts(element: &Value, wanted: &Value) -> bool {
    match wanted.as_object() {
        Some(parts) => !parts.is_empty() && parts.iter().all(|(name, part)| element.get(name) == Some(part)),
        None => element == wanted,
    }
}

/// Returns a text that is equal for equal elements; the order of parts does not count.
fn identity(attribute: &Attribute, element: &Value) -> String {
    let value = element.get("value").and_then(Value::as_str);
    match (value, element) {
        (Some(value), _) if attribute.is_identified_by_value() => value.to_owned(),
        (_, Value::Object(parts)) => {
            let sorted: BTreeMap<&String, &Value> = parts.iter().collect();
            serde_json::json!(sorted).to_string()
        }
        _ => element.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Kind;
    use crate::domain::schema::Registry;

    fn definition(kind: &Kind, name: &str) -> Attribute {
        let registry = Registry::builtin();
        registry
            .resource_type(kind)
            .and_then(|found| found.resolve(name))
            .expect("built in")
            .leaf()
            .clone()
    }

    fn list(value: Value) -> Vec<Value> {
        value.as_array().expect("a list").clone()
    }

    #[test]
    fn few_and_many_new_elements_are_appended_alike() {
        for count in [2, 20] {
            let members = definition(&Kind::GROUP, "members");
            let mut known = list(json!([{"value": "0"}, {"value": "1", "display": "One"}]));
            let new = (0..count).map(|index| json!({"value": index.to_string()})).collect();
            assert_eq!(append(&members, &mut known, new), count - 2);
            assert_eq!(known[1], json!({"value": "1", "display": "One"}));
            let emails = definition(&Kind::USER, "emails");
            let mut known = list(json!([{"type": "work", "value": "0"}]));
            let new = (0..count)
                .map(|index| json!({"value": index.to_string(), "type": "work"}))
                .collect();
            assert_eq!(append(&emails, &mut known, new), count - 1);
        }
    }

    #[test]
    fn elements_that_became_equal_are_kept_once() {
        let emails = definition(&Kind::USER, "emails");
        let mut known = list(json!([{"value": "a", "type": "work"}, {"value": "b"}, {"type": "work", "value": "a"}]));
        drop_repeated(&emails, &mut known);
        assert_eq!(known, list(json!([{"value": "a", "type": "work"}, {"value": "b"}])));
    }

    #[test]
    fn elements_are_equal_by_value_only_if_it_identifies_them() {
        let emails = definition(&Kind::USER, "emails");
        let mut known = list(json!([{"value": "a", "type": "work"}]));
        append(
            &emails,
            &mut known,
            list(json!([{"type": "work", "value": "a"}, {"value": "a", "type": "home"}])),
        );
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn listed_elements_are_removed_by_value_or_by_given_parts() {
        let emails = definition(&Kind::USER, "emails");
        let mut known = list(json!([{"value": "A@x", "type": "work"}, {"value": "b@x", "type": "home"}]));
        assert_eq!(
            remove_listed(
                &emails,
                &mut known,
                &list(json!([{"value": "a@X", "type": "other"}, {}]))
            ),
            1
        );
        assert_eq!(known, list(json!([{"value": "b@x", "type": "home"}])));
        let addresses = definition(&Kind::USER, "addresses");
        let mut known = list(json!([{"type": "work", "country": "DE"}, {"type": "work", "country": "FR"}]));
        remove_listed(
            &addresses,
            &mut known,
            &list(json!([{"country": "FR", "type": "work"}])),
        );
        assert_eq!(known, list(json!([{"type": "work", "country": "DE"}])));
    }

    #[test]
    fn the_last_primary_wins_unless_another_is_preferred() {
        let both = json!([{"primary": true}, {"primary": true}, {}]);
        let mut last = list(both.clone());
        assert!(keep_one_primary(&mut last, &[]));
        assert_eq!(last, list(json!([{"primary": false}, {"primary": true}, {}])));
        let mut first = list(both);
        keep_one_primary(&mut first, &[0, 2]);
        assert_eq!(first, list(json!([{"primary": true}, {"primary": false}, {}])));
        assert!(!keep_one_primary(&mut first, &[]));
    }
}
