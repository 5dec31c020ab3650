//! The deviations of each SCIM client from the standard, counted across all processes and restarts.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::connection::{SqlConnection, each};
use super::tables::dialects;
use crate::domain::{ServiceProviderName, Timestamp};

/// The number of times a client needed a tolerance rule.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = dialects)]
pub struct Dialect {
    /// The client's service provider.
    pub service_provider: ServiceProviderName,
    /// The name of the rule.
    pub rule: String,
    /// The number of requests that needed it.
    pub requests: i64,
    /// When the count last grew.
    pub last_seen: Timestamp,
}

/// Increases the count of a rule.
pub fn add(
    connection: &mut SqlConnection,
    service_provider: &ServiceProviderName,
    rule: &str,
    requests: i64,
    at: Timestamp,
) -> QueryResult<()> {
    const SQL: &str = "INSERT INTO dialects (service_provider, rule, requests, last_seen) VALUES ($1, $2, $3, $4) \
        ON CONFLICT (service_provider, rule) DO UPDATE SET \
        requests = dialects.requests + excluded.requests, last_seen = excluded.last_seen";
    each!(connection, c => diesel::sql_query(SQL)
        .bind::<Text, _>(service_provider.as_str())
        .bind::<Text, _>(rule)
        .bind::<BigInt, _>(requests)
        .bind::<BigInt, _>(at.0)
        .execute(c))
    .map(|_| ())
}

/// Returns all counts, ordered by service provider and rule.
pub fn all(connection: &mut SqlConnection) -> QueryResult<Vec<Dialect>> {
    dialects::table
        .order((dialects::service_provider, dialects::rule))
        .select(Dialect::as_select())
        .load(connection)
}

/// Resets the counts of a service provider, so that only new deviations show.
pub fn forget(connection: &mut SqlConnection, service_provider: &ServiceProviderName) -> QueryResult<usize> {
    diesel::delete(dialects::table.filter(dialects::service_provider.eq(service_provider.as_str()))).execute(connection)
}
