//! What to find, in which order, and which part of it (RFC 7644 §3.4.2).

use std::cmp::Ordering;

use serde_json::Value;

use super::Timestamp;
use super::filter::{AttributeRef, Filter};
use super::ids::Kind;
use super::name::canonical;
use super::resource::{Attributes, Relations, Resource};
use super::schema::{Attribute, DataType};

/// A search in one store over one resource type.
#[derive(Clone, Debug)]
pub struct Query {
    /// The resource type.
    pub kind: Kind,
    /// Which resources; all without one.
    pub filter: Option<Filter>,
    /// In which order; by age (`id`) without one.
    pub sort: Option<Sort>,
    /// Which part of the answer.
    pub page: Page,
    /// What to bring along.
    pub relations: Relations,
}

impl Query {
    /// The first `count` resources of a type, in order of age.
    pub fn all(kind: Kind, count: usize) -> Self {
        Self {
            kind,
            filter: None,
            sort: None,
            page: Page { start: 0, count },
            relations: Relations::NONE,
        }
    }

    /// The same with a filter.
    pub fn filtered(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// Sorting by one attribute; ties by `id`. Absent values come last when ascending (RFC 7644 §3.4.2.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Sort {
    /// The attribute; of a multi-valued one the primary value counts, else the first.
    pub by: AttributeRef,
    /// Largest first.
    pub descending: bool,
}

/// A part of an answer: `count` resources from the `start`-th on, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many to leave out.
    pub start: usize,
    /// How many to give at most.
    pub count: usize,
}

/// A page and the size of the whole.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many resources match in all.
    pub total: usize,
    /// Those of the page.
    pub resources: Vec<Resource>,
}

/// What a resource is sorted by.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum SortKey {
    /// A boolean; `false` first.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A moment.
    Moment(Timestamp),
    /// A text, folded unless case matters.
    Text(String),
}

/// The sort key of a resource's whole view; none if the attribute is absent. Of a multi-valued attribute the primary
/// value counts, else the first (RFC 7644 §3.4.2.3).
pub fn sort_key(by: &AttributeRef, view: &Attributes) -> Option<SortKey> {
    let holder = match &by.extension {
        Some(urn) => view.get(urn)?.as_object()?,
        None => view,
    };
    let value = match holder.get(&by.attribute.name)? {
        Value::Array(elements) => elements
            .iter()
            .find(|element| element["primary"] == Value::Bool(true))
            .or(elements.first())?,
        single => single,
    };
    let value = match (&by.sub, value) {
        (Some(sub), Value::Object(parts)) => parts.get(&sub.name)?,
        (None, Value::Object(parts)) => parts.get("value")?,
        (_, plain) => plain,
    };
    key_of(by.leaf(), value)
}

fn key_of(attribute: &Attribute, value: &Value) -> Option<SortKey> {
    match value {
        Value::Bool(flag) => Some(SortKey::Boolean(*flag)),
        Value::Number(number) => number.as_f64().map(SortKey::Number),
        Value::String(text) if text.is_empty() => None,
        Value::String(text) if attribute.data_type == DataType::DateTime => Timestamp::parse(text).map(SortKey::Moment),
        Value::String(text) if attribute.case_exact => Some(SortKey::Text(text.clone())),
        Value::String(text) => Some(SortKey::Text(canonical(text))),
        _ => None,
    }
}

/// Orders two (sort key, id) pairs: absent last when ascending, first when descending; ties always by ascending id.
pub fn compare(one: (&Option<SortKey>, &str), other: (&Option<SortKey>, &str), descending: bool) -> Ordering {
    let keys = match (one.0, other.0) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
    };
    if descending { keys.reverse() } else { keys }.then_with(|| one.1.cmp(other.1))
}
