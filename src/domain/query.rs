//! What to find, in which order, and which part of it (RFC 7644 §3.4.2).

use std::cmp::Ordering;

use serde_json::Value;

use super::Timestamp;
use super::filter::Filter;
use super::ids::{Kind, ResourceId};
use super::name::canonical;
use super::resource::{Attributes, Relations, Resource};
use super::schema::AttributeRef;
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
    /// Which relations the filter and the order look at.
    pub fn looks_at(&self) -> Relations {
        let by_filter = self.filter.as_ref().map_or(Relations::NONE, Filter::looks_at);
        let by_sort = self.sort.as_ref().map_or(Relations::NONE, |sort| sort.by.looks_at());
        by_filter.and(by_sort)
    }

    /// The first `count` resources of a type, in order of age.
    pub fn all(kind: Kind, count: usize) -> Self {
        Self {
            kind,
            filter: None,
            sort: None,
            page: Page {
                start: Start::Index(0),
                count,
            },
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

/// A part of an answer: at most `count` resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Where it begins.
    pub start: Start,
    /// How many resources to give at most.
    pub count: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// After so many resources.
    Index(usize),
    /// Right after a place in the order.
    After(Place),
    /// So that it ends right before a place in the order.
    Before(Place),
}

/// A place in an order. It stays where it is, whoever comes or goes: what is sorted by it compares with it, also when
/// the resource that it was taken from is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The sort key; none without a sort, or if the attribute is absent.
    pub key: Option<SortKey>,
    /// What decides among equal keys.
    pub id: ResourceId,
}

impl Place {
    /// Where a resource stands. Relations that are sorted by must be there.
    pub fn of(resource: &Resource, sort: Option<&Sort>) -> Self {
        Self {
            key: sort.and_then(|sort| sort_key(&sort.by, &resource.view())),
            id: resource.id.clone(),
        }
    }
}

/// A page and the size of the whole.
#[derive(Clone, Debug)]
pub struct Found {
    /// How many resources match in all. Only a page that begins at an index tells.
    pub total: Option<usize>,
    /// Those of the page.
    pub resources: Vec<Resource>,
    /// Whether the page leaves some out: behind it, or for [`Start::Before`] in front of it.
    pub more: bool,
}

impl Found {
    /// A page that begins at an index, of a whole whose size is known.
    pub fn at_index(start: usize, total: usize, resources: Vec<Resource>) -> Self {
        Self {
            total: Some(total),
            more: start.saturating_add(resources.len()) < total,
            resources,
        }
    }
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

/// Orders two places: absent keys last when ascending, first when descending; ties always by ascending id.
pub fn compare(one: &Place, other: &Place, descending: bool) -> Ordering {
    let keys = match (&one.key, &other.key) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
    };
    if descending { keys.reverse() } else { keys }.then_with(|| one.id.cmp(&other.id))
}

/// Cuts a page out of everything that matches, which stands in order. `place` tells where one stands.
pub fn cut<T>(matching: Vec<T>, page: &Page, descending: bool, place: impl Fn(&T) -> &Place) -> (Vec<T>, bool) {
    let before = |mark: &Place| matching.partition_point(|one| compare(place(one), mark, descending).is_lt());
    let upto = |mark: &Place| matching.partition_point(|one| compare(place(one), mark, descending).is_le());
    let (first, end) = match &page.start {
        Start::Index(start) => (*start, start.saturating_add(page.count)),
        Start::After(mark) => (upto(mark), upto(mark).saturating_add(page.count)),
        Start::Before(mark) => (before(mark).saturating_sub(page.count), before(mark)),
    };
    let more = match &page.start {
        Start::Before(_) => first > 0,
        _ => end < matching.len(),
    };
    let kept = matching.into_iter().take(end).skip(first).collect();
    (kept, more)
}
