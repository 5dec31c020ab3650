//! Queries for resources: in SQL where possible, completed in memory otherwise.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::checkpoints::{PageCheckpoints, ResourceCounts, counted};
use super::indexed::Searched;
use super::members;
use super::predicate::{Narrowed, Predicate, narrow};
use super::row::Row;
use crate::domain::filter::{Filter, matches};
use crate::domain::query::{Page, Query, ResultPage, Sort, SortKey, SortPosition, Start, compare, cut, sort_key};
use crate::domain::schema::AttributeRef;
use crate::domain::{Kind, Resource, StoreName};
use crate::storage::SqlConnection;
use crate::storage::connection::MultiBackend;
use crate::storage::tables::resources;

/// The number of documents held in memory at a time while a filter or sort is completed there.
const BATCH: i64 = 500;

/// Answers a query over one store.
pub(super) fn find(
    connection: &mut SqlConnection,
    (store, checkpoints): (&StoreName, &PageCheckpoints),
    unfinished: &BTreeSet<String>,
    query: &Query,
) -> QueryResult<ResultPage> {
    let searched = Searched {
        kind: &query.kind,
        unfinished,
    };
    // Clients send `userName eq "…"` before every write, so it gets a prepared statement of its own.
    let mut found = match query.filter.as_ref().and_then(Filter::name_wanted) {
        Some(key) if query.page.start == Start::Index(0) && searched.has_names() => {
            find_by_key(connection, store, query, key)?
        }
        _ => search(connection, (store, checkpoints), searched, query)?,
    };
    members::attach(connection, &mut found.resources, query.relations)?;
    Ok(found)
}

fn find_by_key(
    connection: &mut SqlConnection,
    store: &StoreName,
    query: &Query,
    name: &str,
) -> QueryResult<ResultPage> {
    let row = resources::table
        .filter(resources::store.eq(store.as_str()))
        .filter(resources::kind.eq(query.kind.as_str()))
        .filter(resources::key.eq(crate::domain::name::canonical(name)))
        .select(Row::as_select())
        .first::<Row>(connection)
        .optional()?;
    let total = usize::from(row.is_some());
    let on_page = row.filter(|_| query.page.count > 0).map(Row::into_resource);
    Ok(ResultPage::at_index(0, total, on_page.into_iter().collect()))
}

fn search(
    connection: &mut SqlConnection,
    (store, checkpoints): (&StoreName, &PageCheckpoints),
    searched: Searched<'_>,
    query: &Query,
) -> QueryResult<ResultPage> {
    let narrowed = match &query.filter {
        Some(filter) => narrow(searched, filter),
        None => Narrowed {
            predicate: Predicate::Constant(true),
            exact: true,
        },
    };
    let scope = QueryScope {
        store,
        kind: &query.kind,
        predicate: &narrowed.predicate,
        checkpoints,
    };
    match (narrowed.exact, IndexOrder::of(query.sort.as_ref())) {
        (true, Some(order)) => in_sql(connection, &scope, order, &query.page),
        _ => in_memory(connection, &scope, query),
    }
}

/// The rows that a query considers.
struct QueryScope<'a> {
    store: &'a StoreName,
    kind: &'a Kind,
    predicate: &'a Predicate,
    checkpoints: &'a PageCheckpoints,
}

type Rows<'a> = resources::BoxedQuery<'a, MultiBackend>;

impl QueryScope<'_> {
    fn rows(&self) -> Rows<'_> {
        let rows = resources::table
            .filter(resources::store.eq(self.store.as_str()))
            .filter(resources::kind.eq(self.kind.as_str()))
            .into_boxed::<MultiBackend>();
        // A constant predicate would only make the planner's estimates worse.
        if self.is_everything() {
            rows
        } else {
            rows.filter(self.predicate.clone())
        }
    }

    /// Returns the number of rows. For all rows of a type, the database maintains the count (`resource_counts`).
    fn total(&self, connection: &mut SqlConnection) -> QueryResult<usize> {
        if !self.is_everything() {
            return self.rows().count().get_result(connection).map(counted);
        }
        Ok(ResourceCounts::read(connection, self.store.as_str(), self.kind.as_str())?.total)
    }

    /// Returns the rows from a position on, ordered by id, and how many of them still precede the position.
    fn rows_from(&self, connection: &mut SqlConnection, place: usize) -> QueryResult<(Rows<'_>, usize)> {
        let checkpoint = if self.is_everything() {
            self.checkpoints.before(connection, (self.store, self.kind), place)?
        } else {
            None
        };
        Ok(match checkpoint {
            Some((id, between)) => (self.rows().filter(resources::id.gt(id)), between),
            None => (self.rows(), place),
        })
    }

    fn is_everything(&self) -> bool {
        *self.predicate == Predicate::Constant(true)
    }
}

/// Restricts the rows to one side of a sort key. Ids break ties and always ascend.
macro_rules! beyond {
    ($rows:ident, $column:ident, $key:expr, $id:ident, $larger:ident, $side:ident) => {{
        let bound = $key;
        match ($larger, $side) {
            (true, Side::After) => $rows
                .filter($column.ge(bound.clone()))
                .filter($column.gt(bound).or(id.gt($id))),
            (true, Side::Before) => $rows
                .filter($column.ge(bound.clone()))
                .filter($column.gt(bound).or(id.lt($id))),
            (false, Side::After) => $rows
                .filter($column.le(bound.clone()))
                .filter($column.lt(bound).or(id.gt($id))),
            (false, Side::Before) => $rows
                .filter($column.le(bound.clone()))
                .filter($column.lt(bound).or(id.lt($id))),
        }
    }};
}

/// Orders the rows; ids ascend, except when reading from the end.
macro_rules! ordered {
    ($rows:ident, $column:ident, $down:ident, $backwards:ident) => {
        match ($down, $backwards) {
            (false, false) => $rows.order(($column.asc(), id.asc())),
            (true, false) => $rows.order(($column.desc(), id.asc())),
            (false, true) => $rows.order(($column.asc(), id.desc())),
            (true, true) => $rows.order(($column.desc(), id.desc())),
        }
    };
}

/// A sort order that an index provides.
#[derive(Clone, Copy)]
struct IndexOrder {
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

impl IndexOrder {
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
            (_, None) if attribute.is_name => Column::Key,
            _ => return None,
        };
        Some(Self {
            column,
            descending: sort.descending,
        })
    }

    /// Sorts the rows in this order, or in reverse to read from the end.
    fn apply(self, rows: Rows<'_>, backwards: bool) -> Rows<'_> {
        use resources::{created, id, key, modified};
        match (self.column, self.descending != backwards) {
            (Column::Id, false) => rows.order(id.asc()),
            (Column::Id, true) => rows.order(id.desc()),
            // Keys are unique, so no tie-break is needed.
            (Column::Key, false) => rows.order(key.asc()),
            (Column::Key, true) => rows.order(key.desc()),
            (Column::Created, down) => ordered!(rows, created, down, backwards),
            (Column::Modified, down) => ordered!(rows, modified, down, backwards),
        }
    }

    /// Restricts the rows to one side of a place. The bound on the column alone is implied, but lets the database use
    /// an index.
    fn beyond<'a>(self, rows: Rows<'a>, place: &SortPosition, side: Side) -> Rows<'a> {
        use resources::{created, id, key, modified};
        let at = place.id.as_str().to_owned();
        let larger = (side == Side::After) != self.descending;
        match (self.column, &place.key) {
            (Column::Id, _) if larger => rows.filter(id.gt(at)),
            (Column::Id, _) => rows.filter(id.lt(at)),
            (Column::Key, Some(SortKey::Text(text))) => beyond!(rows, key, text.clone(), at, larger, side),
            (Column::Created, Some(SortKey::Moment(moment))) => beyond!(rows, created, moment.0, at, larger, side),
            (Column::Modified, Some(SortKey::Moment(moment))) => beyond!(rows, modified, moment.0, at, larger, side),
            // Unreachable: these columns always hold a value of this type.
            _ => rows.filter(id.lt("")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Answers a query that SQL can answer completely.
fn in_sql(
    connection: &mut SqlConnection,
    scope: &QueryScope<'_>,
    order: IndexOrder,
    page: &Page,
) -> QueryResult<ResultPage> {
    match &page.start {
        Start::Index(start) => by_index(connection, scope, order, *start, page.count),
        Start::After(place) => {
            let rows = order.apply(order.beyond(scope.rows(), place, Side::After), false);
            let (resources, more) = fetch_page(connection, rows, page.count)?;
            Ok(ResultPage {
                total: None,
                resources,
                more,
            })
        }
        Start::Before(place) => {
            let rows = order.apply(order.beyond(scope.rows(), place, Side::Before), true);
            let (mut resources, more) = fetch_page(connection, rows, page.count)?;
            resources.reverse();
            Ok(ResultPage {
                total: None,
                resources,
                more,
            })
        }
    }
}

/// Returns the first `count` resources and whether there are more, by selecting one more than wanted.
fn fetch_page(connection: &mut SqlConnection, rows: Rows<'_>, count: usize) -> QueryResult<(Vec<Resource>, bool)> {
    let rows: Vec<Row> = rows
        .limit(clamped(count.saturating_add(1)))
        .select(Row::as_select())
        .load(connection)?;
    let more = rows.len() > count;
    Ok((rows.into_iter().take(count).map(Row::into_resource).collect(), more))
}

fn by_index(
    connection: &mut SqlConnection,
    scope: &QueryScope<'_>,
    order: IndexOrder,
    start: usize,
    count: usize,
) -> QueryResult<ResultPage> {
    let resources: Vec<Resource> = if count == 0 {
        Vec::new()
    } else if start == 0 {
        let rows = order
            .apply(scope.rows(), false)
            .limit(clamped(count))
            .select(Row::as_select())
            .load::<Row>(connection)?;
        rows.into_iter().map(Row::into_resource).collect()
    } else {
        let (rows, before) = match order.column {
            Column::Id if !order.descending => scope.rows_from(connection, start)?,
            _ => (scope.rows(), start),
        };
        // Select keys first: skipping thousands of rows then costs index entries, not documents.
        let ids = order
            .apply(rows, false)
            .limit(clamped(count))
            .offset(clamped(before))
            .select(resources::id)
            .load::<String>(connection)?;
        super::by_ids(connection, &ids)?
    };
    let whole = start == 0 && count > 0 && resources.len() < count;
    let total = if whole {
        resources.len()
    } else {
        scope.total(connection)?
    };
    Ok(ResultPage::at_index(start, total, resources))
}

/// Matches, and if needed sorts, the candidates from SQL in memory. At most one batch of documents is held at a time,
/// and only the id and sort key of each match.
fn in_memory(connection: &mut SqlConnection, scope: &QueryScope<'_>, query: &Query) -> QueryResult<ResultPage> {
    let relations = query.relations_used();
    let mut matching: Vec<SortPosition> = Vec::new();
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
                matching.push(SortPosition {
                    key,
                    id: candidate.id.clone(),
                });
            }
        }
        match candidates.pop() {
            Some(candidate) if full => candidate.id.as_str().clone_into(&mut last),
            _ => break,
        }
    }
    let descending = query.sort.as_ref().is_some_and(|sort| sort.descending);
    matching.sort_by(|one, other| compare(one, other, descending));
    let total = matches!(query.page.start, Start::Index(_)).then_some(matching.len());
    let (kept, more) = cut(matching, &query.page, descending, |place| place);
    let ids: Vec<String> = kept.iter().map(|place| place.id.as_str().to_owned()).collect();
    Ok(ResultPage {
        total,
        resources: super::by_ids(connection, &ids)?,
        more,
    })
}

fn clamped(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
