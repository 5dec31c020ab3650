//! Unique attribute values: one row each, so that the primary key decides between concurrent claims.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::indexed::capped;
use crate::domain::unique::UniqueValue;
use crate::domain::{Kind, ResourceId, StoreName};
use crate::storage::tables::unique_values;
use crate::storage::{SqlConnection, StorageError, random};
use crate::userstore::StoreError;

/// The store and type within which a value is unique (both empty if globally), the path and the value.
type UniqueRow = (String, String, String, String);

/// Claims the values that a resource does not hold yet and releases those that it no longer wants.
pub(super) fn claim(
    connection: &mut SqlConnection,
    (store, kind, id): (&StoreName, &Kind, &ResourceId),
    wanted: &BTreeSet<UniqueValue>,
) -> Result<(), StoreError> {
    let place = |one: &UniqueValue| -> UniqueRow {
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
        .load::<UniqueRow>(connection)?;
    let places: BTreeSet<UniqueRow> = wanted.iter().map(place).collect();
    for gone in held.iter().filter(|held| !places.contains(held)) {
        diesel::delete(unique_values::table.find(gone.clone())).execute(connection)?;
    }
    // Always in the same order, so that two claims of several values cannot deadlock.
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

/// Returns a value as it is stored: a long one by its fingerprint, since index entries are limited in size.
fn short(value: &str) -> String {
    if capped(value).len() == value.len() {
        value.to_owned()
    } else {
        random::fingerprint(value)
    }
}

/// Names the attribute whose value is taken.
fn taken(wanted: &UniqueValue, error: diesel::result::Error) -> StoreError {
    match StorageError::from(error) {
        StorageError::Taken { .. } => StoreError::Taken {
            attribute: wanted.attribute.clone(),
        },
        other => other.into(),
    }
}
