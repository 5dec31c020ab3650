//! Values that nobody else may have: one row each, and the table's key decides between two who want the same at once.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::indexed::capped;
use crate::domain::unique::UniqueValue;
use crate::domain::{Kind, ResourceId, StoreName};
use crate::storage::tables::unique_values;
use crate::storage::{SqlConnection, StorageError, random};
use crate::userstore::StoreError;

/// Store and type within which a value is unique, both empty for everywhere; path and value.
type Place = (String, String, String, String);

/// Takes the values that a resource does not hold yet and frees those that it no longer wants.
pub(super) fn claim(
    connection: &mut SqlConnection,
    (store, kind, id): (&StoreName, &Kind, &ResourceId),
    wanted: &BTreeSet<UniqueValue>,
) -> Result<(), StoreError> {
    let place = |one: &UniqueValue| -> Place {
        let (store, kind) = if one.global {
            ("", "")
        } else {
            (store.as_str(), kind.as_str())
        };
        (store.to_owned(), kind.to_owned(), one.path.clone(), short(&one.value))
    };
    let held = unique_values::table
        .filter(unique_values::resource_id.eq(id.as_str()))
        .select((
            unique_values::store,
            unique_values::kind,
            unique_values::path,
            unique_values::value,
        ))
        .load::<Place>(connection)?;
    let places: BTreeSet<Place> = wanted.iter().map(place).collect();
    for gone in held.iter().filter(|held| !places.contains(held)) {
        diesel::delete(unique_values::table.find(gone.clone())).execute(connection)?;
    }
    // Always in the same order, so that two who want several values do not wait for each other.
    for one in wanted {
        let place = place(one);
        if held.contains(&place) {
            continue;
        }
        let (store, kind, path, value) = place;
        diesel::insert_into(unique_values::table)
            .values((
                unique_values::store.eq(store),
                unique_values::kind.eq(kind),
                unique_values::path.eq(path),
                unique_values::value.eq(value),
                unique_values::resource_id.eq(id.as_str()),
            ))
            .execute(connection)
            .map_err(|error| taken(one, error))?;
    }
    Ok(())
}

/// A value as it is kept: a long one by its fingerprint, for an index takes only so much.
fn short(value: &str) -> String {
    if capped(value).len() == value.len() {
        value.to_owned()
    } else {
        random::fingerprint(value)
    }
}

/// Tells which attribute is taken.
fn taken(wanted: &UniqueValue, error: diesel::result::Error) -> StoreError {
    match StorageError::from(error) {
        StorageError::Taken { .. } => StoreError::Taken {
            attribute: wanted.attribute.clone(),
        },
        other => other.into(),
    }
}
