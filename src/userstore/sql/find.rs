//! Finding resources: in SQL where it reaches, finished in memory where it does not.

use diesel::prelude::*;

use super::members;
use super::predicate::{Narrowed, Predicate, narrow};
use super::row::Row;
use crate::domain::filter::{AttributeRef, Filter, matches};
use crate::domain::query::{Found, Page, Query, Sort, SortKey, compare, sort_key};
use crate::domain::{Relations, Resource, StoreName};
use crate::storage::SqlConnection;
use crate::storage::connection::MultiBackend;
use crate::storage::tables::resources;

/// Documents that are in memory at a time while a filter or a sort is finished there.
const BATCH: i64 = 500;

/// Answers a query over one store.
pub(super) fn find(connection: &mut SqlConnection, store: &StoreName, query: &Query) -> QueryResult<Found> {
    // `userName eq "…"` is what every client asks before every write: it gets a prepared statement of its own.
    let mut found = match query.filter.as_ref().and_then(Filter::name_wanted) {
        Some(key) => find_by_key(connection, store, query, key)?,
        None => search(connection, store, query)?,
    };
    members::attach(connection, &mut found.resources, query.relations)?;
    Ok(found)
}

fn find_by_key(connection: &mut SqlConnection, store: &StoreName, query: &Query, name: &str) -> QueryResult<Found> {
    let row = resources::table
        .filter(resources::store.eq(store.as_str()))
        .filter(resources::kind.eq(query.kind.as_str()))
        .filter(resources::key.eq(crate::domain::name::canonical(name)))
        .select(Row::as_select())
        .first::<Row>(connection)
        .optional()?;
    let on_page = query.page.start == 0 && query.page.count > 0;
    let total = usize::from(row.is_some());
    Ok(Found {
        total,
        resources: row.filter(|_| on_page).map(Row::into_resource).into_iter().collect(),
    })
}

fn search(connection: &mut SqlConnection, store: &StoreName, query: &Query) -> QueryResult<Found> {
    let narrowed = match &query.filter {
        Some(filter) => narrow(&query.kind, filter),
        None => Narrowed {
            predicate: Predicate::Constant(true),
            exact: true,
        },
    };
    let scope = Scope {
        store: store.as_str(),
        kind: query.kind.as_str(),
        predicate: &narrowed.predicate,
    };
    match (narrowed.exact, Order::of(query.sort.as_ref())) {
        (true, Some(order)) => in_sql(connection, &scope, order, query.page),
        _ => in_memory(connection, &scope, query),
    }
}

/// Which rows.
struct Scope<'a> {
    store: &'a str,
    kind: &'a str,
    predicate: &'a Predicate,
}

type Rows<'a> = resources::BoxedQuery<'a, MultiBackend>;

impl Scope<'_> {
    fn rows(&self) -> Rows<'_> {
        let rows = resources::table
            .filter(resources::store.eq(self.store))
            .filter(resources::kind.eq(self.kind))
            .into_boxed::<MultiBackend>();
        // A constant would only cost the planner its partial knowledge.
        if *self.predicate == Predicate::Constant(true) {
            rows
        } else {
            rows.filter(self.predicate.clone())
        }
    }
}

/// An order that an index gives.
#[derive(Clone, Copy)]
struct Order {
    column: Column,
    descending: bool,
}

#[derive(Clone, Copy)]
enum Column {
    Id,
    Key,
    Created,
    Modified,
}

impl Order {
    fn of(sort: Option<&Sort>) -> Option<Self> {
        let Some(sort) = sort else {
            return Some(Self {
                column: Column::Id,
                descending: false,
            });
        };
        let AttributeRef {
            extension: None,
            attribute,
            sub,
        } = &sort.by
        else {
            return None;
        };
        let column = match (attribute.name.as_str(), sub.as_ref().map(|sub| sub.name.as_str())) {
            ("id", None) => Column::Id,
            ("meta", Some("created")) => Column::Created,
            ("meta", Some("lastModified")) => Column::Modified,
            (_, None) if attribute.uniqueness == crate::domain::schema::Uniqueness::Server => Column::Key,
            _ => return None,
        };
        Some(Self {
            column,
            descending: sort.descending,
        })
    }

    fn apply(self, rows: Rows<'_>) -> Rows<'_> {
        use resources::{created, id, key, modified};
        match (self.column, self.descending) {
            (Column::Id, false) => rows.order(id.asc()),
            (Column::Id, true) => rows.order(id.desc()),
            (Column::Key, false) => rows.order((key.asc(), id.asc())),
            (Column::Key, true) => rows.order((key.desc(), id.asc())),
            (Column::Created, false) => rows.order((created.asc(), id.asc())),
            (Column::Created, true) => rows.order((created.desc(), id.asc())),
            (Column::Modified, false) => rows.order((modified.asc(), id.asc())),
            (Column::Modified, true) => rows.order((modified.desc(), id.asc())),
        }
    }
}

/// SQL knows the whole answer.
fn in_sql(connection: &mut SqlConnection, scope: &Scope<'_>, order: Order, page: Page) -> QueryResult<Found> {
    let (start, count) = (clamped(page.start), clamped(page.count));
    let resources: Vec<Resource> = if count == 0 {
        Vec::new()
    } else if start == 0 {
        let rows = order
            .apply(scope.rows())
            .limit(count)
            .select(Row::as_select())
            .load::<Row>(connection)?;
        rows.into_iter().map(Row::into_resource).collect()
    } else {
        // Keys first: leaving out thousands of rows costs index entries, not documents.
        let ids = order
            .apply(scope.rows())
            .limit(count)
            .offset(start)
            .select(resources::id)
            .load::<String>(connection)?;
        super::by_ids(connection, &ids)?
    };
    let whole = page.start == 0 && count > 0 && resources.len() < page.count;
    let total = if whole {
        resources.len()
    } else {
        counted(scope.rows().count().get_result::<i64>(connection)?)
    };
    Ok(Found { total, resources })
}

/// SQL gives candidates; each is matched, and sorted if need be, in memory. At most a batch of documents is held at a
/// time, and of a match only its id and sort key.
fn in_memory(connection: &mut SqlConnection, scope: &Scope<'_>, query: &Query) -> QueryResult<Found> {
    let relations = looked_at(query);
    let mut matching: Vec<(Option<SortKey>, String)> = Vec::new();
    let mut last = String::new();
    loop {
        let rows: Vec<Row> = scope
            .rows()
            .filter(resources::id.gt(&last))
            .order(resources::id.asc())
            .limit(BATCH)
            .select(Row::as_select())
            .load(connection)?;
        let full = clamped(rows.len()) == BATCH;
        let mut candidates: Vec<Resource> = rows.into_iter().map(Row::into_resource).collect();
        members::attach(connection, &mut candidates, relations)?;
        for candidate in &candidates {
            let view = candidate.view();
            if query.filter.as_ref().is_none_or(|filter| matches(filter, &view)) {
                let key = query.sort.as_ref().and_then(|sort| sort_key(&sort.by, &view));
                matching.push((key, candidate.id.as_str().to_owned()));
            }
        }
        match candidates.pop() {
            Some(candidate) if full => candidate.id.as_str().clone_into(&mut last),
            _ => break,
        }
    }
    if let Some(sort) = &query.sort {
        matching.sort_by(|one, other| compare((&one.0, &one.1), (&other.0, &other.1), sort.descending));
    }
    let ids: Vec<String> = matching
        .iter()
        .skip(query.page.start)
        .take(query.page.count)
        .map(|(_, id)| id.clone())
        .collect();
    Ok(Found {
        total: matching.len(),
        resources: super::by_ids(connection, &ids)?,
    })
}

/// Which relations a filter and an order look at.
fn looked_at(query: &Query) -> Relations {
    let by_filter = query.filter.as_ref().map_or(Relations::NONE, relations_of);
    let by_sort = query.sort.as_ref().map_or(Relations::NONE, |sort| relation(&sort.by));
    either(by_filter, by_sort)
}

fn relations_of(filter: &Filter) -> Relations {
    match filter {
        Filter::Constant(_) => Relations::NONE,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().map(relations_of).fold(Relations::NONE, either),
        Filter::Not(inner) => relations_of(inner),
        Filter::Present(attribute) | Filter::Compare { attribute, .. } | Filter::Element { attribute, .. } => {
            relation(attribute)
        }
    }
}

fn relation(attribute: &AttributeRef) -> Relations {
    Relations {
        members: attribute.attribute.name == "members",
        groups: attribute.attribute.name == "groups",
    }
}

fn either(one: Relations, other: Relations) -> Relations {
    Relations {
        members: one.members || other.members,
        groups: one.groups || other.groups,
    }
}

fn clamped(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn counted(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}
