//! What the index tables of the SQL userstore hold, and which of it may be used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl};
use super::tables::index_state;

/// The indexes that are being rebuilt and may not be used yet, by name. Shared by all stores of a database.
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

/// The name of the row that tells how far a rebuild is.
const PLACE: &str = "";

/// Returns the stored form of each index, and whether it is finished.
pub(crate) fn all(connection: &mut SqlConnection) -> QueryResult<BTreeMap<String, (String, bool)>> {
    let rows: Vec<(String, String, bool)> = index_state::table.load(connection)?;
    let named = rows.into_iter().filter(|(name, ..)| name != PLACE);
    Ok(named.map(|(name, form, finished)| (name, (form, finished))).collect())
}

/// Makes the table hold exactly these indexes with their forms. Those that are new or have another form are unfinished,
/// unless there is nothing to index, and a rebuild begins from the first resource. Returns the unfinished ones.
pub(crate) fn expect(
    connection: &mut SqlConnection,
    wanted: &BTreeMap<String, String>,
    is_empty: bool,
) -> QueryResult<BTreeSet<String>> {
    // Processes that start together do this one after the other.
    put(connection, PLACE, "", false, " ON CONFLICT DO NOTHING")?;
    place(connection)?;
    let known = all(connection)?;
    for name in known.keys().filter(|name| !wanted.contains_key(*name)) {
        diesel::delete(index_state::table.find(name)).execute(connection)?;
    }
    let (mut unfinished, mut begins) = (BTreeSet::new(), false);
    for (name, form) in wanted {
        match known.get(name) {
            Some((stored, true)) if stored == form => {}
            Some((stored, false)) if stored == form => drop(unfinished.insert(name.clone())),
            _ => {
                diesel::delete(index_state::table.find(name)).execute(connection)?;
                put(connection, name, form, is_empty, "")?;
                if !is_empty {
                    unfinished.insert(name.clone());
                    begins = true;
                }
            }
        }
    }
    if begins {
        move_place(connection, "")?;
    }
    Ok(unfinished)
}

fn put(connection: &mut SqlConnection, name: &str, form: &str, finished: bool, tail: &'static str) -> QueryResult<()> {
    diesel::insert_into(index_state::table)
        .values((
            index_state::name.eq(name),
            index_state::form.eq(form),
            index_state::finished.eq(finished),
        ))
        .suffix(tail)
        .execute(connection)
        .map(|_| ())
}

/// Returns the id of the resource up to which the indexes are rebuilt, and locks it until the transaction ends.
pub(crate) fn place(connection: &mut SqlConnection) -> QueryResult<Option<String>> {
    let rows: Vec<String> = index_state::table
        .filter(index_state::name.eq(PLACE))
        .select(index_state::form)
        .suffix_postgres(" FOR UPDATE")
        .load(connection)?;
    Ok(rows.into_iter().next())
}

/// Stores how far the rebuild is.
pub(crate) fn move_place(connection: &mut SqlConnection, id: &str) -> QueryResult<()> {
    diesel::update(index_state::table.find(PLACE))
        .set(index_state::form.eq(id))
        .execute(connection)
        .map(|_| ())
}

/// Marks every index as finished.
pub(crate) fn finish(connection: &mut SqlConnection) -> QueryResult<()> {
    diesel::update(index_state::table.filter(index_state::name.ne(PLACE)))
        .set(index_state::finished.eq(true))
        .execute(connection)
        .map(|_| ())
}
