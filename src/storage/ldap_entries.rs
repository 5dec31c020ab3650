//! The LDAP entries of resources, and the entry version that each local copy is based on.

use std::collections::HashMap;

use diesel::prelude::*;

use super::connection::{SqlConnection, SuffixDsl, any_of};
use super::tables::{ldap_baselines, ldap_entries, resources};
use crate::domain::{Kind, ResourceId, StoreName, Timestamp};

/// The number of entries per statement; both databases limit the number of bound values.
const CHUNK: usize = 500;

/// An entry and its resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEntry {
    /// The resource.
    pub resource: ResourceId,
    /// The directory's permanent id of the entry, which survives renames.
    pub entry: String,
    /// The distinguished name of the entry when last read.
    pub dn: String,
    /// The distinguished name, normalized for comparisons.
    pub dn_key: String,
    /// The entry version of the copy; empty if the copy must be read again.
    pub entry_version: String,
}

/// The stored data of an entry for a comparison with the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The resource.
    pub resource: ResourceId,
    /// The entry version of the copy.
    pub entry_version: String,
    /// The distinguished name when last read.
    pub dn: String,
}

/// Stores the entry of a resource and its version.
pub fn put(connection: &mut SqlConnection, store: &StoreName, known: &KnownEntry) -> QueryResult<()> {
    diesel::insert_into(ldap_entries::table)
        .values((
            ldap_entries::resource_id.eq(known.resource.as_str()),
            ldap_entries::store.eq(store.as_str()),
            ldap_entries::entry.eq(&known.entry),
            ldap_entries::dn.eq(&known.dn),
            ldap_entries::dn_key.eq(&known.dn_key),
            ldap_entries::stamp.eq(&known.entry_version),
        ))
        .suffix(
            " ON CONFLICT (resource_id) DO UPDATE SET store = excluded.store, entry = excluded.entry, \
             dn = excluded.dn, dn_key = excluded.dn_key, stamp = excluded.stamp",
        )
        .execute(connection)
        .map(|_| ())
}

/// Stores a new version of an entry. `false` if the stored version is no longer `before`.
pub fn advance(connection: &mut SqlConnection, known: &KnownEntry, before: &str) -> QueryResult<bool> {
    diesel::update(ldap_entries::table.find(known.resource.as_str()))
        .filter(ldap_entries::stamp.eq(before))
        .set((
            ldap_entries::dn.eq(&known.dn),
            ldap_entries::dn_key.eq(&known.dn_key),
            ldap_entries::stamp.eq(&known.entry_version),
        ))
        .execute(connection)
        .map(|rows| rows == 1)
}

type Row = (String, String, String, String, String);

const COLUMNS: (
    ldap_entries::resource_id,
    ldap_entries::entry,
    ldap_entries::dn,
    ldap_entries::dn_key,
    ldap_entries::stamp,
) = (
    ldap_entries::resource_id,
    ldap_entries::entry,
    ldap_entries::dn,
    ldap_entries::dn_key,
    ldap_entries::stamp,
);

fn known((resource, entry, dn, dn_key, entry_version): Row) -> KnownEntry {
    KnownEntry {
        resource: resource.into(),
        entry,
        dn,
        dn_key,
        entry_version,
    }
}

/// Returns the entry of a resource.
pub fn of_resource(
    connection: &mut SqlConnection,
    store: &StoreName,
    resource: &ResourceId,
) -> QueryResult<Option<KnownEntry>> {
    let found: Option<Row> = ldap_entries::table
        .find(resource.as_str())
        .filter(ldap_entries::store.eq(store.as_str()))
        .select(COLUMNS)
        .first(connection)
        .optional()?;
    Ok(found.map(known))
}

/// Returns the entries of resources; resources without one are left out.
pub fn of_resources(
    connection: &mut SqlConnection,
    store: &StoreName,
    wanted: &[&ResourceId],
) -> QueryResult<Vec<KnownEntry>> {
    let mut found = Vec::new();
    for chunk in wanted.chunks(CHUNK) {
        // Filter by store here: with the condition in SQL, SQLite would read all rows of the store by another index.
        let rows: Vec<(Row, String)> = ldap_entries::table
            .filter(any_of(ldap_entries::resource_id, chunk.iter().map(|id| id.as_str())))
            .select((COLUMNS, ldap_entries::store))
            .load(connection)?;
        let here = rows.into_iter().filter(|(_, of)| of == store.as_str());
        found.extend(here.map(|(row, _)| known(row)));
    }
    Ok(found)
}

/// Returns the resources with these normalized distinguished names, keyed by them.
pub fn by_names(
    connection: &mut SqlConnection,
    store: &StoreName,
    wanted: &[String],
) -> QueryResult<HashMap<String, ResourceId>> {
    let mut found = HashMap::new();
    for chunk in wanted.chunks(CHUNK) {
        let rows: Vec<(String, String)> = ldap_entries::table
            .filter(ldap_entries::store.eq(store.as_str()))
            .filter(any_of(ldap_entries::dn_key, chunk.iter().map(String::as_str)))
            .select((ldap_entries::dn_key, ldap_entries::resource_id))
            .load(connection)?;
        found.extend(rows.into_iter().map(|(name, id)| (name, ResourceId::from(id))));
    }
    Ok(found)
}

/// Returns the stored data of entries, keyed by the directory's permanent ids.
pub fn summaries(
    connection: &mut SqlConnection,
    store: &StoreName,
    wanted: &[&str],
) -> QueryResult<HashMap<String, EntrySummary>> {
    let mut found = HashMap::new();
    for chunk in wanted.chunks(CHUNK) {
        let rows: Vec<Row> = ldap_entries::table
            .filter(ldap_entries::store.eq(store.as_str()))
            .filter(any_of(ldap_entries::entry, chunk.iter().copied()))
            .select(COLUMNS)
            .load(connection)?;
        found.extend(rows.into_iter().map(|row| {
            let known = known(row);
            (
                known.entry,
                EntrySummary {
                    resource: known.resource,
                    entry_version: known.entry_version,
                    dn: known.dn,
                },
            )
        }));
    }
    Ok(found)
}

/// Returns the stored data of all entries of a type, keyed by the directory's permanent ids.
pub(crate) fn all_summaries(
    connection: &mut SqlConnection,
    store: &StoreName,
    kind: &Kind,
) -> QueryResult<HashMap<String, EntrySummary>> {
    let rows: Vec<(String, String, String, String)> = ldap_entries::table
        .inner_join(resources::table.on(resources::id.eq(ldap_entries::resource_id)))
        .filter(ldap_entries::store.eq(store.as_str()))
        .filter(resources::kind.eq(kind.as_str()))
        .select((
            ldap_entries::entry,
            ldap_entries::resource_id,
            ldap_entries::stamp,
            ldap_entries::dn,
        ))
        .load(connection)?;
    let held = |(entry, resource, entry_version, dn): (String, String, String, String)| {
        (
            entry,
            EntrySummary {
                resource: resource.into(),
                entry_version,
                dn,
            },
        )
    };
    Ok(rows.into_iter().map(held).collect())
}

/// Whether a directory was read completely once.
pub(crate) fn has_baseline(connection: &mut SqlConnection, store: &StoreName) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(ldap_baselines::table.find(store.as_str()))).get_result(connection)
}

/// Records that a directory was read completely.
pub(crate) fn set_baseline(connection: &mut SqlConnection, store: &StoreName, at: Timestamp) -> QueryResult<()> {
    diesel::insert_into(ldap_baselines::table)
        .values((ldap_baselines::store.eq(store.as_str()), ldap_baselines::at.eq(at.0)))
        .suffix(" ON CONFLICT DO NOTHING")
        .execute(connection)
        .map(|_| ())
}
