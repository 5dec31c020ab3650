//! Searches by GET on an endpoint or by POST of a search request (RFC 7644 §3.4.2, §3.4.3), with paging by index or by
//! cursor (RFC 9865).

use std::collections::BTreeSet;

use super::cursor::Cursors;
use super::list::{self, ListEnvelope, ListParameters};
use super::{Caller, Reply, RequestOptions, Scim, ScimError, ScimErrorKind, parse};
use crate::directory::{DirectoryError, MultiStoreResult};
use crate::domain::filter::tolerance::UNKNOWN_ATTRIBUTE;
use crate::domain::projection::Projection;
use crate::domain::query::{Page, Query, ResultPage, SortPosition, Start};
use crate::domain::schema::ResourceType;
use crate::domain::{Kind, Resource, ResourceId, StoreName};
use crate::userstore::StoreError;

/// The search over one resource type, as part of a search over one or all types. Unsorted parts go store by store, so
/// that a page deep inside costs no more than in one store; sorted ones are merged.
struct SearchPart<'a> {
    resource_type: &'a ResourceType,
    projection: Projection,
    query: Query,
    stores: Vec<StoreName>,
}

impl SearchPart<'_> {
    fn holds(&self, resource: &Resource) -> bool {
        self.query.kind == resource.kind && self.stores.contains(&resource.store)
    }

    /// The store, if it is one of several parts of its type.
    fn store(&self) -> Option<&StoreName> {
        self.query.sort.is_none().then(|| self.stores.first()).flatten()
    }
}

/// The page after or before a cursor.
#[derive(Default)]
struct CursorPage {
    total: Option<usize>,
    more: bool,
    resources: Vec<Resource>,
    unavailable: BTreeSet<StoreName>,
}

impl Scim {
    /// `GET /Users`, and `GET /` over every resource type: without a kind (RFC 7644 §3.4.2).
    pub fn list(&self, caller: &Caller, kind: Option<&Kind>, terms: &RequestOptions) -> Result<Reply, ScimError> {
        self.search_for(caller, kind, &terms.parameters)
    }

    /// `POST /Users/.search`, and `POST /.search` over every resource type: without a kind (RFC 7644 §3.4.3). The whole
    /// search is in the body, so that no part of it is in a URL.
    pub fn search(&self, caller: &Caller, kind: Option<&Kind>, body: &[u8]) -> Result<Reply, ScimError> {
        self.search_for(caller, kind, &ListParameters::of_search_request(&parse(body)?)?)
    }

    fn search_for(
        &self,
        caller: &Caller,
        kind: Option<&Kind>,
        parameters: &ListParameters,
    ) -> Result<Reply, ScimError> {
        let types = match kind {
            Some(kind) => std::slice::from_ref(self.resource_type(kind)?),
            None => self.directory.registry().types(),
        };
        let stores = self.directory.reach(&caller.actor);
        let mut parts = Vec::with_capacity(types.len());
        let (mut rules, mut unknown_to_all) = (BTreeSet::new(), true);
        for resource_type in types {
            let (part, tolerated) = part(resource_type, parameters)?;
            unknown_to_all &= tolerated.contains(&UNKNOWN_ATTRIBUTE);
            rules.extend(tolerated);
            if part.query.sort.is_some() {
                let stores = stores.clone();
                parts.push(SearchPart { stores, ..part });
            } else {
                let of = |store: &StoreName| SearchPart {
                    stores: vec![store.clone()],
                    projection: part.projection.clone(),
                    query: part.query.clone(),
                    ..part
                };
                parts.extend(stores.iter().map(of));
            }
        }
        // An attribute that only some types have is no deviation in a search over all.
        if !unknown_to_all {
            rules.remove(UNKNOWN_ATTRIBUTE);
        }
        self.note(caller, rules)?;
        let (frame, resources) = match parameters.cursor() {
            Some(cursor) => self.by_cursor(caller, &mut parts, parameters, cursor)?,
            None => self.by_index(caller, &mut parts, parameters)?,
        };
        if !stores.is_empty() && frame.unavailable.len() == stores.len() {
            return Err(ScimErrorKind::Unavailable.because("No userstore answers. Try again later."));
        }
        let body = list::render(&frame, &resources, |resource, out| {
            if let Some(part) = parts.iter().find(|part| part.holds(resource)) {
                part.projection
                    .render(resource, part.resource_type, &self.base_url, out);
            }
        });
        Ok(Reply {
            body: Some(body),
            ..Reply::of(200)
        })
    }

    /// Returns the matches of a part. An unavailable store does not fail the search for a client that reaches others.
    fn find(&self, part: &SearchPart<'_>, caller: &Caller) -> Result<MultiStoreResult, ScimError> {
        match self.directory.find_over(&part.stores, &part.query) {
            Err(DirectoryError::Store(StoreError::Unavailable(cause))) if caller.client.store.is_none() => {
                log::debug!(
                    "a list leaves out the unavailable userstores {:?}: {cause}",
                    part.stores
                );
                let none = ResultPage {
                    total: Some(0),
                    resources: Vec::new(),
                    more: false,
                };
                Ok(MultiStoreResult {
                    found: none,
                    unavailable: part.stores.clone(),
                })
            }
            found => Ok(found?),
        }
    }

    /// Pages by index through one type after the other: the order applies within a type.
    fn by_index(
        &self,
        caller: &Caller,
        parts: &mut [SearchPart<'_>],
        parameters: &ListParameters,
    ) -> Result<(ListEnvelope, Vec<Resource>), ScimError> {
        let (mut total, mut resources, mut unavailable) = (0, Vec::new(), BTreeSet::new());
        for part in parts {
            part.query.page = Page {
                start: Start::Index((parameters.start_index() - 1).saturating_sub(total)),
                count: parameters.count() - resources.len(),
            };
            let over = self.find(part, caller)?;
            total += over.found.total.unwrap_or_default();
            resources.extend(over.found.resources);
            unavailable.extend(over.unavailable);
        }
        let frame = ListEnvelope {
            total: Some(total),
            start_index: Some(parameters.start_index()),
            unavailable,
            ..ListEnvelope::default()
        };
        Ok((frame, resources))
    }

    /// Pages by cursor. Only the first page counts all matches.
    fn by_cursor(
        &self,
        caller: &Caller,
        parts: &mut [SearchPart<'_>],
        parameters: &ListParameters,
        cursor: &str,
    ) -> Result<(ListEnvelope, Vec<Resource>), ScimError> {
        let mut kinds: Vec<&str> = parts.iter().map(|part| part.query.kind.as_str()).collect();
        kinds.dedup();
        let alone = kinds.len() == 1;
        let client = &caller.actor.service_provider;
        let bound = caller.client.store.as_ref().map_or("", StoreName::as_str);
        let search = format!("{client}/{bound}/{}/{}", kinds.join(","), parameters.search());
        let now = self.directory.clock().now();
        let cursors = Cursors::new(&self.secret_box, &search, now, self.cursor_lifetime);
        let (at, start) = if cursor.is_empty() {
            (0, Start::Index(0))
        } else {
            let from = cursors.open(cursor)?;
            let is_there = |part: &SearchPart<'_>| part.query.kind == from.kind && part.store() == from.store.as_ref();
            let at = parts.iter().position(is_there).ok_or_else(|| {
                ScimErrorKind::InvalidCursor.because("The resource type or userstore of this cursor no longer exists.")
            })?;
            (at, from.start)
        };
        for part in &mut *parts {
            // The positions of the first and the last resource need the relations that the search sorts by.
            part.query.relations = part.query.relations.and(part.query.relations_used());
        }
        let stretch = if matches!(start, Start::Before(_)) && alone {
            self.page_before(caller, &mut parts[..=at], &start, parameters.count())?
        } else {
            self.page_after(caller, &mut parts[at..], &start, parameters.count())?
        };
        let marked = |resource: &Resource, forward: bool| {
            let part = parts.iter().find(|part| part.holds(resource));
            let place = SortPosition::of(resource, part.and_then(|part| part.query.sort.as_ref()));
            let whose = (&resource.kind, part.and_then(SearchPart::store));
            if forward {
                cursors.after(whose, place)
            } else {
                cursors.before(whose, place)
            }
        };
        let after = |resource: &Resource| marked(resource, true);
        let before = |resource: &Resource| marked(resource, false);
        let (first, last, more) = (stretch.resources.first(), stretch.resources.last(), stretch.more);
        let (next, previous) = match start {
            Start::Index(_) => (last.filter(|_| more).map(after), None),
            Start::After(_) => (last.filter(|_| more).map(after), first.filter(|_| alone).map(before)),
            Start::Before(_) => (last.map(after), first.filter(|_| more).map(before)),
        };
        let frame = ListEnvelope {
            total: stretch.total,
            start_index: None,
            next,
            previous,
            unavailable: stretch.unavailable,
        };
        Ok((frame, stretch.resources))
    }

    /// Continues from a position in the first of these parts through the others.
    fn page_after(
        &self,
        caller: &Caller,
        parts: &mut [SearchPart<'_>],
        start: &Start,
        count: usize,
    ) -> Result<CursorPage, ScimError> {
        let mut stretch = CursorPage {
            total: Some(0),
            ..CursorPage::default()
        };
        let starts = std::iter::once(start.clone()).chain(std::iter::repeat(Start::Index(0)));
        for (part, start) in parts.iter_mut().zip(starts) {
            part.query.page = Page {
                start,
                count: count.saturating_sub(stretch.resources.len()),
            };
            let MultiStoreResult { found, unavailable } = self.find(part, caller)?;
            stretch.total = stretch.total.zip(found.total).map(|(one, other)| one + other);
            stretch.more |= found.more;
            stretch.resources.extend(found.resources);
            stretch.unavailable.extend(unavailable);
            if stretch.more && stretch.total.is_none() {
                break;
            }
        }
        Ok(stretch)
    }

    /// Goes back from a position in the last of these parts through those before it.
    fn page_before(
        &self,
        caller: &Caller,
        parts: &mut [SearchPart<'_>],
        start: &Start,
        count: usize,
    ) -> Result<CursorPage, ScimError> {
        let mut stretch = CursorPage::default();
        let starts = std::iter::once(start.clone()).chain(std::iter::repeat(Start::Before(end())));
        for (part, start) in parts.iter_mut().rev().zip(starts) {
            part.query.page = Page {
                start,
                count: count.saturating_sub(stretch.resources.len()),
            };
            let MultiStoreResult { mut found, unavailable } = self.find(part, caller)?;
            stretch.more |= found.more;
            found.resources.append(&mut stretch.resources);
            stretch.resources = found.resources;
            stretch.unavailable.extend(unavailable);
            if stretch.more {
                break;
            }
        }
        Ok(stretch)
    }
}

/// The position after all unsorted resources: every id is less than `~`.
fn end() -> SortPosition {
    SortPosition {
        key: None,
        id: ResourceId::new("~"),
    }
}

/// The search over one type, and the tolerances that reading the filter needed. The page is set later.
fn part<'a>(
    resource_type: &'a ResourceType,
    parameters: &ListParameters,
) -> Result<(SearchPart<'a>, Vec<&'static str>), ScimError> {
    let projection = parameters.projection(resource_type);
    let (filter, tolerated) = parameters.filter(resource_type)?;
    let query = Query {
        kind: resource_type.kind.clone(),
        filter,
        sort: parameters.sort(resource_type)?,
        page: Page {
            start: Start::Index(0),
            count: 0,
        },
        relations: projection.relations(),
    };
    let part = SearchPart {
        resource_type,
        projection,
        query,
        stores: Vec::new(),
    };
    Ok((part, tolerated))
}
