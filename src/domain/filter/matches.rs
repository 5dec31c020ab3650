//! The semantics of filters. Every userstore must agree with it.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparand, Filter, Operator};
use crate::domain::name::canonical;
use crate::domain::schema::AttributeRef;
use crate::domain::{Attributes, Timestamp};

/// Whether a whole resource, with `id`, `meta` and relations, matches.
pub fn matches(filter: &Filter, resource: &Attributes) -> bool {
    holds(filter, FilterInput::Resource(resource))
}

/// Whether one element of a complex attribute meets the inner filter of [`Filter::Element`] or of a PATCH path.
pub(crate) fn matches_element(filter: &Filter, element: &Value) -> bool {
    holds(filter, FilterInput::Element(element))
}

/// The value in which the attributes of a filter are looked up.
#[derive(Clone, Copy)]
enum FilterInput<'a> {
    Resource(&'a Attributes),
    Element(&'a Value),
}

fn holds(filter: &Filter, place: FilterInput<'_>) -> bool {
    match filter {
        Filter::Constant(answer) => *answer,
        Filter::And(all) => all.iter().all(|one| holds(one, place)),
        Filter::Or(any) => any.iter().any(|one| holds(one, place)),
        Filter::Not(inner) => !holds(inner, place),
        Filter::Present(attribute) => any_value(place, attribute, |value| !is_empty(value)),
        Filter::Compare {
            attribute,
            operator: Operator::Ne,
            value,
        } => !any_value(place, attribute, |stored| {
            compares(attribute, stored, Operator::Eq, value)
        }),
        Filter::Compare {
            attribute,
            operator,
            value,
        } => any_value(place, attribute, |stored| compares(attribute, stored, *operator, value)),
        Filter::Element { attribute, filter } => {
            let whole = AttributeRef {
                sub: None,
                ..attribute.clone()
            };
            any_value(place, &whole, |element| holds(filter, FilterInput::Element(element)))
        }
    }
}

/// Whether some value of the attribute passes the test. Null is no value.
fn any_value(place: FilterInput<'_>, attribute: &AttributeRef, test: impl Fn(&Value) -> bool) -> bool {
    let value = match place {
        FilterInput::Element(element) => Some(element),
        FilterInput::Resource(resource) => match &attribute.extension {
            None => resource.get(&attribute.attribute.name),
            Some(urn) => resource
                .get(urn)
                .and_then(|extension| extension.get(&attribute.attribute.name)),
        },
    };
    value.is_some_and(|value| match &attribute.sub {
        None => any_item(value, &test),
        Some(sub) => any_item(value, &|item| {
            item.get(&sub.name).is_some_and(|part| any_item(part, &test))
        }),
    })
}

fn any_item(value: &Value, test: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => items.iter().any(|item| !item.is_null() && test(item)),
        single => test(single),
    }
}

/// Whether a value counts as absent: null, empty text, and lists and objects that hold nothing else.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(parts) => parts.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn compares(attribute: &AttributeRef, stored: &Value, operator: Operator, wanted: &Comparand) -> bool {
    match wanted {
        Comparand::Boolean(wanted) => stored.as_bool() == Some(*wanted),
        Comparand::Number(wanted) => stored
            .as_f64()
            .and_then(|stored| stored.partial_cmp(wanted))
            .is_some_and(|order| fits(order, operator)),
        Comparand::Moment(wanted) => {
            let stored = stored.as_str().and_then(Timestamp::parse);
            stored.is_some_and(|stored| fits(stored.cmp(wanted), operator))
        }
        Comparand::Text(wanted) => {
            let Some(stored) = as_text(stored) else { return false };
            if attribute.leaf().case_exact {
                text_compares(&stored, operator, wanted)
            } else if operator == Operator::Eq && stored.is_ascii() && wanted.is_ascii() {
                stored.eq_ignore_ascii_case(wanted)
            } else {
                text_compares(&canonical(&stored), operator, &canonical(wanted))
            }
        }
    }
}

fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(answer) => Some(Cow::Borrowed(if *answer { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text_compares(stored: &str, operator: Operator, wanted: &str) -> bool {
    match operator {
        Operator::Co => stored.contains(wanted),
        Operator::Sw => stored.starts_with(wanted),
        Operator::Ew => stored.ends_with(wanted),
        ordered => fits(stored.cmp(wanted), ordered),
    }
}

/// Whether the ordering of the stored value relative to the wanted one satisfies the operator.
fn fits(order: Ordering, operator: Operator) -> bool {
    match operator {
        Operator::Eq => order == Ordering::Equal,
        Operator::Ne => order != Ordering::Equal,
        Operator::Gt => order == Ordering::Greater,
        Operator::Ge => order != Ordering::Less,
        Operator::Lt => order == Ordering::Less,
        Operator::Le => order != Ordering::Greater,
        Operator::Co | Operator::Sw | Operator::Ew => false,
    }
}
