//! Searching, by GET on an endpoint or by POST of a search request (RFC 7644 §3.4.2, §3.4.3).

use super::list::{self, Parameters};
use super::{Caller, Reply, Scim, ScimError, Terms, parse};
use crate::domain::Kind;
use crate::domain::projection::Projection;
use crate::domain::query::{Found, Page, Query};
use crate::domain::schema::ResourceType;

impl Scim {
    /// `GET /Users` (RFC 7644 §3.4.2).
    pub fn list(&self, caller: &Caller, kind: &Kind, terms: &Terms) -> Result<Reply, ScimError> {
        self.list_one(caller, kind, &terms.parameters)
    }

    /// `POST /Users/.search`, and `POST /.search` over every resource type: without a kind (RFC 7644 §3.4.3). The body
    /// alone says what to find, so that nothing of it is in a URL.
    pub fn search(&self, caller: &Caller, kind: Option<&Kind>, body: &[u8]) -> Result<Reply, ScimError> {
        let parameters = Parameters::of_search_request(&parse(body)?)?;
        match kind {
            Some(kind) => self.list_one(caller, kind, &parameters),
            None => self.list_all(caller, &parameters),
        }
    }

    fn list_one(&self, caller: &Caller, kind: &Kind, parameters: &Parameters) -> Result<Reply, ScimError> {
        let resource_type = self.resource_type(kind)?;
        let projection = parameters.projection(resource_type);
        let (query, tolerated) = query(resource_type, &projection, parameters, parameters.page())?;
        self.report.count_all(&caller.actor, tolerated);
        let found = self.directory.find(&caller.store, &query)?;
        Ok(answer(list::render(
            &found,
            parameters.start_index(),
            |resource, out| {
                projection.render(resource, resource_type, &self.base_url, out);
            },
        )))
    }

    /// One type after the other: order holds within a type. An attribute that only some types have meets nothing in the
    /// others, which is no deviation here.
    fn list_all(&self, caller: &Caller, parameters: &Parameters) -> Result<Reply, ScimError> {
        let types = self.directory.registry().types();
        let shown: Vec<(&ResourceType, Projection)> =
            types.iter().map(|one| (one, parameters.projection(one))).collect();
        let mut queries = Vec::with_capacity(shown.len());
        for (resource_type, projection) in &shown {
            queries.push(query(resource_type, projection, parameters, parameters.page())?.0);
        }
        let page = parameters.page();
        let mut all = Found {
            total: 0,
            resources: Vec::new(),
        };
        for query in &mut queries {
            query.page = Page {
                start: page.start.saturating_sub(all.total),
                count: page.count - all.resources.len(),
            };
            let found = self.directory.find(&caller.store, query)?;
            all.total += found.total;
            all.resources.extend(found.resources);
        }
        Ok(answer(list::render(&all, parameters.start_index(), |resource, out| {
            if let Some((resource_type, projection)) = shown.iter().find(|(one, _)| one.kind == resource.kind) {
                projection.render(resource, resource_type, &self.base_url, out);
            }
        })))
    }
}

/// What to find of one type, and the names of the tolerances that reading the filter took.
fn query(
    resource_type: &ResourceType,
    projection: &Projection,
    parameters: &Parameters,
    page: Page,
) -> Result<(Query, Vec<&'static str>), ScimError> {
    let (filter, tolerated) = parameters.filter(resource_type)?;
    let query = Query {
        kind: resource_type.kind.clone(),
        filter,
        sort: parameters.sort(resource_type)?,
        page,
        relations: projection.relations(),
    };
    Ok((query, tolerated))
}

fn answer(body: String) -> Reply {
    Reply {
        status: 200,
        location: None,
        etag: None,
        body: Some(body),
    }
}
