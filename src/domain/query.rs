//! A query: the filter, the order and the page (RFC 7644 §3.4.2).

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
    /// The filter; all resources without one.
    pub filter: Option<Filter>,
    /// The order; by age (`id`) without one.
    pub sort: Option<Sort>,
    /// The page of the result.
    pub page: Page,
    /// The relations to read.
    pub relations: Relations,
}

impl Query {
    /// Returns the relations that the filter and the order use.
    pub(crate) fn relations_used(&self) -> Relations {
        let by_filter = self.filter.as_ref().map_or(Relations::NONE, Filter::relations_used);
        let by_sort = self
            .sort
            .as_ref()
            .map_or(Relations::NONE, |sort| sort.by.relations_used());
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

    /// Adds a filter to the query.
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

/// A part of a result: at most `count` resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Where it begins.
    pub start: Start,
    /// The maximum number of resources.
    pub count: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// After so many resources.
    Index(usize),
    /// Right after a position in the order.
    After(SortPosition),
    /// So that it ends right before a position in the order.
    Before(SortPosition),
}

/// A position in an order. It stays valid when resources are added or removed, even the one that it was taken from,
/// because it is compared by value.
#[derive(Clone, Debug, PartialEq)]
pub struct SortPosition {
    /// The sort key; none without a sort, or if the attribute is absent.
    pub key: Option<SortKey>,
    /// Decides between equal keys.
    pub id: ResourceId,
}

impl SortPosition {
    /// Returns the position of a resource. Relations that are sorted by must have been read.
    pub fn of(resource: &Resource, sort: Option<&Sort>) -> Self {
        Self {
            key: sort.and_then(|sort| sort_key(&sort.by, &resource.view())),
            id: resource.id.clone(),
        }
    }
}

/// A page and the size of the whole result.
#[derive(Clone, Debug)]
pub struct ResultPage {
    /// The number of all matching resources. Known only for a page that begins at an index.
    pub total: Option<usize>,
    /// The resources of the page.
    pub resources: Vec<Resource>,
    /// Whether more resources follow the page, or precede it for [`Start::Before`].
    pub more: bool,
}

impl ResultPage {
    /// A page that begins at an index of a result of known size.
    pub(crate) fn at_index(start: usize, total: usize, resources: Vec<Resource>) -> Self {
        Self {
            total: Some(total),
            more: start.saturating_add(resources.len()) < total,
            resources,
        }
    }
}

/// The value that a resource is sorted by.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum SortKey {
    /// A boolean; `false` first.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A moment.
    Moment(Timestamp),
    /// A string, in canonical form unless it is case-exact.
    Text(String),
}

/// The sort key of a resource's whole view; none if the attribute is absent. Of a multi-valued attribute the primary
/// value counts, else the first (RFC 7644 §3.4.2.3).
pub(crate) fn sort_key(by: &AttributeRef, view: &Attributes) -> Option<SortKey> {
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

/// Orders two positions: absent keys last when ascending, first when descending; ties always by ascending id.
pub(crate) fn compare(one: &SortPosition, other: &SortPosition, descending: bool) -> Ordering {
    let keys = match (&one.key, &other.key) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => one.partial_cmp(other).unwrap_or(Ordering::Equal),
    };
    if descending { keys.reverse() } else { keys }.then_with(|| one.id.cmp(&other.id))
}

/// Cuts a page out of all matches, which are sorted. `place` returns the position of one. The flag says whether there
/// are more.
pub(crate) fn cut<T>(
    matching: Vec<T>,
    page: &Page,
    descending: bool,
    place: impl Fn(&T) -> &SortPosition,
) -> (Vec<T>, bool) {
    let before = |mark: &SortPosition| matching.partition_point(|one| compare(place(one), mark, descending).is_lt());
    let upto = |mark: &SortPosition| matching.partition_point(|one| compare(place(one), mark, descending).is_le());
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
