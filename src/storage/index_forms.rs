//! In which form the index rows of each resource are, and which indexes may be used.
//!
//! The schemas of a process define indexes, each with the form of its values: together an index form, with a number. Every
//! resource carries the number of the form in which its index rows were last written (`resources.indexed_as`), so that
//! processes with other schemas on the same database do each other no harm.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::{index_forms, resources};

/// The indexes that may not be used now, by name. Shared by all stores of a database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unfinished(Arc<RwLock<Arc<BTreeSet<String>>>>);

impl Unfinished {
    /// Returns them.
    pub(crate) fn get(&self) -> Arc<BTreeSet<String>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces them.
    pub(crate) fn set(&self, names: BTreeSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }
}

/// Stores the description of a form, unless it is known.
pub(crate) fn describe(connection: &mut SqlConnection, form: i64, description: &str) -> QueryResult<()> {
    diesel::insert_into(index_forms::table)
        .values((
            index_forms::form.eq(form),
            index_forms::description.eq(description),
            index_forms::turn.eq(0),
        ))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)
        .map(|_| ())
}

/// Returns the description of a form.
pub(crate) fn description(connection: &mut SqlConnection, form: i64) -> QueryResult<Option<String>> {
    index_forms::table
        .find(form)
        .select(index_forms::description)
        .first(connection)
        .optional()
}

/// Makes a form the one into which all others are rebuilt.
pub(crate) fn take_turn(connection: &mut SqlConnection, form: i64) -> QueryResult<()> {
    let last: Option<i64> = index_forms::table
        .select(diesel::dsl::max(index_forms::turn))
        .first(connection)?;
    diesel::update(index_forms::table.find(form))
        .set(index_forms::turn.eq(last.unwrap_or(0) + 1))
        .execute(connection)
        .map(|_| ())
}

/// Whether a form is the one that took its turn last.
pub(crate) fn is_last(connection: &mut SqlConnection, form: i64) -> QueryResult<bool> {
    let last: Option<i64> = index_forms::table
        .order((index_forms::turn.desc(), index_forms::form.desc()))
        .select(index_forms::form)
        .first(connection)
        .optional()?;
    Ok(last == Some(form))
}

/// Returns the forms, other than one's own, that resources are in. It looks at one resource of each, whatever their number.
pub(crate) fn others(connection: &mut SqlConnection, own: i64) -> QueryResult<Vec<i64>> {
    let (mut found, mut after) = (Vec::new(), i64::MIN);
    loop {
        let end = if after < own { own } else { i64::MAX };
        let next: Option<i64> = resources::table
            .filter(resources::indexed_as.gt(after))
            .filter(resources::indexed_as.lt(end))
            .order(resources::indexed_as)
            .select(resources::indexed_as)
            .limit(1)
            .first(connection)
            .optional()?;
        match next {
            Some(form) => {
                found.push(form);
                after = form;
            }
            None if after < own => after = own,
            None => return Ok(found),
        }
    }
}

/// Returns the ids of resources in a form, at most `limit`.
pub(crate) fn resources_in(connection: &mut SqlConnection, form: i64, limit: i64) -> QueryResult<Vec<String>> {
    resources::table
        .filter(resources::indexed_as.eq(form))
        .select(resources::id)
        .limit(limit)
        .load(connection)
}
