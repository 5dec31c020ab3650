//! Searching, by GET on an endpoint or by POST of a search request (RFC 7644 §3.4.2, §3.4.3), page by page by index or by
//! cursor (RFC 9865).

use std::collections::BTreeSet;

use super::cursor::{Cursor, Cursors};
use super::list::{self, Frame, Parameters};
use super::{Caller, Fault, Reply, Scim, ScimError, Terms, parse};
use crate::domain::filter::tolerance::UNKNOWN_ATTRIBUTE;
use crate::domain::projection::Projection;
use crate::domain::query::{Found, Page, Place, Query, Start};
use crate::domain::schema::ResourceType;
use crate::domain::{Kind, Resource};

/// A search over one resource type, as part of a search over one or all.
struct Part<'a> {
    resource_type: &'a ResourceType,
    projection: Projection,
    query: Query,
}

impl Scim {
    /// `GET /Users`, and `GET /` over every resource type: without a kind (RFC 7644 §3.4.2).
    pub fn list(&self, caller: &Caller, kind: Option<&Kind>, terms: &Terms) -> Result<Reply, ScimError> {
        self.search_for(caller, kind, &terms.parameters)
    }

    /// `POST /Users/.search`, and `POST /.search` over every resource type: without a kind (RFC 7644 §3.4.3). The body
    /// alone says what to find, so that nothing of it is in a URL.
    pub fn search(&self, caller: &Caller, kind: Option<&Kind>, body: &[u8]) -> Result<Reply, ScimError> {
        self.search_for(caller, kind, &Parameters::of_search_request(&parse(body)?)?)
    }

    fn search_for(&self, caller: &Caller, kind: Option<&Kind>, parameters: &Parameters) -> Result<Reply, ScimError> {
        let types = match kind {
            Some(kind) => std::slice::from_ref(self.resource_type(kind)?),
            None => self.directory.registry().types(),
        };
        let mut parts = Vec::with_capacity(types.len());
        let (mut rules, mut unknown_to_all) = (BTreeSet::new(), true);
        for resource_type in types {
            let (part, tolerated) = part(resource_type, parameters)?;
            unknown_to_all &= tolerated.contains(&UNKNOWN_ATTRIBUTE);
            rules.extend(tolerated);
            parts.push(part);
        }
        // What only some types have is no deviation in a search over all.
        if !unknown_to_all {
            rules.remove(UNKNOWN_ATTRIBUTE);
        }
        self.note(caller, rules)?;
        let (frame, resources) = match parameters.cursor() {
            Some(cursor) => self.by_cursor(caller, &mut parts, parameters, cursor)?,
            None => self.by_index(caller, &mut parts, parameters)?,
        };
        let body = list::render(&frame, &resources, |resource, out| {
            if let Some(part) = parts.iter().find(|part| part.query.kind == resource.kind) {
                part.projection
                    .render(resource, part.resource_type, &self.base_url, out);
            }
        });
        Ok(Reply {
            body: Some(body),
            ..Reply::of(200)
        })
    }

    /// One type after the other: order holds within a type.
    fn by_index(
        &self,
        caller: &Caller,
        parts: &mut [Part<'_>],
        parameters: &Parameters,
    ) -> Result<(Frame, Vec<Resource>), ScimError> {
        let (mut total, mut resources) = (0, Vec::new());
        for part in parts {
            part.query.page = Page {
                start: Start::Index((parameters.start_index() - 1).saturating_sub(total)),
                count: parameters.count() - resources.len(),
            };
            let found = self.directory.find(&caller.client.store, &part.query)?;
            total += found.total.unwrap_or_default();
            resources.extend(found.resources);
        }
        let frame = Frame {
            total: Some(total),
            start_index: Some(parameters.start_index()),
            ..Frame::default()
        };
        Ok((frame, resources))
    }

    /// The first page tells how many there are in all; the others spare the count.
    fn by_cursor(
        &self,
        caller: &Caller,
        parts: &mut [Part<'_>],
        parameters: &Parameters,
        cursor: &str,
    ) -> Result<(Frame, Vec<Resource>), ScimError> {
        let kinds: Vec<&str> = parts.iter().map(|part| part.query.kind.as_str()).collect();
        let whose = (&caller.actor.service_provider, &caller.client.store);
        let search = format!("{}/{}/{}/{}", whose.0, whose.1, kinds.join(","), parameters.search());
        let now = self.directory.clock().now();
        let cursors = Cursors::new(&self.secret_box, &search, now, self.cursor_lifetime);
        let first = Cursor {
            kind: parts.first().map_or(Kind::USER, |part| part.query.kind.clone()),
            start: Start::Index(0),
        };
        let from = if cursor.is_empty() {
            first
        } else {
            cursors.open(cursor)?
        };
        let at = parts.iter().position(|part| part.query.kind == from.kind);
        let at =
            at.ok_or_else(|| Fault::InvalidCursor.because("The resource type of this cursor is no longer there."))?;

        let alone = parts.len() == 1;
        let (mut total, mut more, mut resources) = (Some(0), false, Vec::new());
        for (part, start) in parts[at..]
            .iter_mut()
            .zip(std::iter::once(from.start.clone()).chain(std::iter::repeat(Start::Index(0))))
        {
            part.query.page = Page {
                start,
                count: parameters.count().saturating_sub(resources.len()),
            };
            // The place of the first and the last resource is told by what the search sorts by.
            part.query.relations = part.query.relations.and(part.query.looks_at());
            let Found {
                total: matching,
                resources: found,
                more: left,
            } = self.directory.find(&caller.client.store, &part.query)?;
            total = total.zip(matching).map(|(one, other)| one + other);
            more |= left;
            resources.extend(found);
            if more && total.is_none() {
                break;
            }
        }
        let place = |resource: &Resource| {
            let part = parts.iter().find(|part| part.query.kind == resource.kind);
            Place::of(resource, part.and_then(|part| part.query.sort.as_ref()))
        };
        let after = |resource: &Resource| cursors.after(&resource.kind, place(resource));
        let before = |resource: &Resource| cursors.before(&resource.kind, place(resource));
        let (first, last) = (resources.first(), resources.last());
        let (next, previous) = match from.start {
            Start::Index(_) => (last.filter(|_| more).map(after), None),
            Start::After(_) => (last.filter(|_| more).map(after), first.filter(|_| alone).map(before)),
            Start::Before(_) => (last.map(after), first.filter(|_| more).map(before)),
        };
        let frame = Frame {
            total,
            start_index: None,
            next,
            previous,
        };
        Ok((frame, resources))
    }
}

/// What to find of one type, and the names of the tolerances that reading the filter took. The page is still open.
fn part<'a>(
    resource_type: &'a ResourceType,
    parameters: &Parameters,
) -> Result<(Part<'a>, Vec<&'static str>), ScimError> {
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
    let part = Part {
        resource_type,
        projection,
        query,
    };
    Ok((part, tolerated))
}
