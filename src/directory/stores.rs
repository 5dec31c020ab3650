//! Several stores as one: the stores that an actor reaches, and queries over all of them.

use super::{Directory, DirectoryError};
use crate::domain::query::{Page, Query, ResultPage, SortPosition, Start, compare};
use crate::domain::{Actor, Kind, Relations, Resource, ResourceId, StoreName};
use crate::userstore::StoreError;

/// The result of a query over several stores.
#[derive(Clone, Debug)]
pub(crate) struct MultiStoreResult {
    /// The matches of the stores that answered.
    pub found: ResultPage,
    /// The stores that were unavailable; their matches are missing.
    pub unavailable: Vec<StoreName>,
}

impl Directory {
    /// The names of all stores, in the order of the configuration.
    pub(crate) fn store_names(&self) -> impl Iterator<Item = &StoreName> {
        self.stores().iter().map(|store| store.name())
    }

    /// The stores that an actor reaches, in the order of the configuration.
    pub fn reach(&self, actor: &Actor) -> Vec<StoreName> {
        self.store_names().filter(|name| actor.reaches(name)).cloned().collect()
    }

    /// Returns a resource if the actor reaches it. Other stores are not queried.
    pub(crate) fn get_for(
        &self,
        actor: &Actor,
        kind: &Kind,
        id: &ResourceId,
        relations: Relations,
    ) -> Result<Option<Resource>, DirectoryError> {
        let reached = self.stores().iter().filter(|store| actor.reaches(store.name()));
        first(reached.map(|store| store.get(kind, id, relations)))
    }

    /// Returns the resource of a type with this name from the first of the stores that has one.
    pub(crate) fn named_over(
        &self,
        stores: &[StoreName],
        kind: &Kind,
        name: &str,
    ) -> Result<Option<Resource>, DirectoryError> {
        first(stores.iter().map(|store| self.named(store, kind, name)))
    }

    /// Returns the matches in any of the stores, in the order that the query asks for. A page at an index costs as much
    /// as all pages before it.
    pub(crate) fn find_over(&self, stores: &[StoreName], query: &Query) -> Result<MultiStoreResult, DirectoryError> {
        if let [store] = stores {
            let (found, unavailable) = (self.find(store, query)?, Vec::new());
            return Ok(MultiStoreResult { found, unavailable });
        }
        let mut asked = query.clone();
        asked.relations = asked.relations.and(asked.relations_used());
        if let Start::Index(start) = query.page.start {
            asked.page = Page {
                start: Start::Index(0),
                count: start.saturating_add(query.page.count),
            };
        }
        let (mut answers, mut unavailable, mut failure) = (Vec::new(), Vec::new(), None);
        for store in stores {
            match self.find(store, &asked) {
                Ok(found) => answers.push(found),
                Err(DirectoryError::Store(error @ StoreError::Unavailable(_))) => {
                    unavailable.push(store.clone());
                    failure = Some(error);
                }
                Err(other) => return Err(other),
            }
        }
        match failure {
            Some(error) if answers.is_empty() => Err(error.into()),
            _ => Ok(MultiStoreResult {
                found: merge(query, answers),
                unavailable,
            }),
        }
    }
}

/// Returns the first match. "Not found" needs an answer from every store.
pub(super) fn first<E: Into<DirectoryError>>(
    answers: impl Iterator<Item = Result<Option<Resource>, E>>,
) -> Result<Option<Resource>, DirectoryError> {
    let mut failure = None;
    for answer in answers {
        match answer {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), |error| Err(error.into()))
}

/// Merges the pages of several stores into one page.
fn merge(query: &Query, answers: Vec<ResultPage>) -> ResultPage {
    let total = answers.iter().map(|found| found.total).sum();
    let mut more = answers.iter().any(|found| found.more);
    let mut all: Vec<(SortPosition, Resource)> = answers
        .into_iter()
        .flat_map(|found| found.resources)
        .map(|resource| (SortPosition::of(&resource, query.sort.as_ref()), resource))
        .collect();
    let descending = query.sort.as_ref().is_some_and(|sort| sort.descending);
    all.sort_by(|one, other| compare(&one.0, &other.0, descending));
    let (skipped, count) = match query.page.start {
        Start::Index(start) => (start, query.page.count),
        Start::After(_) => (0, query.page.count),
        Start::Before(_) => (all.len().saturating_sub(query.page.count), query.page.count),
    };
    more |= match query.page.start {
        Start::Before(_) => skipped > 0,
        _ => all.len() > skipped.saturating_add(count),
    };
    let resources = all.into_iter().skip(skipped).take(count).map(|(_, resource)| resource);
    ResultPage {
        total,
        resources: resources.collect(),
        more,
    }
}
