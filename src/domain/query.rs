//! What to find, in which order, and which part of it (RFC 7644 §3.4.2).

use super::filter::{AttributeRef, Filter};
use super::ids::Kind;
use super::resource::{Relations, Resource};

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
        Self { kind, filter: None, sort: None, page: Page { start: 0, count }, relations: Relations::NONE }
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
