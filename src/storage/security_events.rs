//! Security events: who got in, who was refused, and what administrators did.

use diesel::prelude::*;

use super::connection::{PreparedDsl, SqlConnection};
use super::tables::security_events;
use crate::domain::{
    IdentityProviderName, RequestOrigin, ResourceId, SecurityEvent, SecurityEventKind, ServiceProviderName, Timestamp,
};

/// The events that are looked for: those that fit every part that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// The kind.
    pub kind: Option<SecurityEventKind>,
    /// The account.
    pub user: Option<ResourceId>,
    /// The identity provider.
    pub identity_provider: Option<IdentityProviderName>,
    /// The application or SCIM client.
    pub service_provider: Option<ServiceProviderName>,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The network address.
    pub address: Option<String>,
}

type Row = (
    i64,
    i64,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// Appends one event.
pub fn append(connection: &mut SqlConnection, event: &SecurityEvent) -> QueryResult<()> {
    diesel::insert_into(security_events::table)
        .values((
            security_events::at.eq(event.at.0),
            security_events::kind.eq(event.kind.code()),
            security_events::resource_id.eq(event.user.as_ref().map(ResourceId::as_str)),
            security_events::actor.eq(event.actor.as_deref()),
            security_events::identity_provider.eq(event.identity_provider.as_ref().map(IdentityProviderName::as_str)),
            security_events::service_provider.eq(event.service_provider.as_ref().map(ServiceProviderName::as_str)),
            security_events::reason.eq(event.reason.as_deref()),
            security_events::object.eq(event.object.as_deref()),
            security_events::address.eq(event.origin.address.as_deref()),
            security_events::request_id.eq(event.origin.request_id.as_deref()),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Returns at most `limit` events, the newest first.
pub fn newest(connection: &mut SqlConnection, filter: &EventFilter, limit: i64) -> QueryResult<Vec<SecurityEvent>> {
    let mut query = security_events::table.into_boxed();
    if let Some(kind) = filter.kind {
        query = query.filter(security_events::kind.eq(kind.code()));
    }
    if let Some(user) = &filter.user {
        query = query.filter(security_events::resource_id.eq(user.as_str()));
    }
    if let Some(provider) = &filter.identity_provider {
        query = query.filter(security_events::identity_provider.eq(provider.as_str()));
    }
    if let Some(application) = &filter.service_provider {
        query = query.filter(security_events::service_provider.eq(application.as_str()));
    }
    if let Some(since) = filter.since {
        query = query.filter(security_events::at.ge(since.0));
    }
    if let Some(address) = &filter.address {
        query = query.filter(security_events::address.eq(address.as_str()));
    }
    let rows: Vec<Row> = query.order(security_events::seq.desc()).limit(limit).load(connection)?;
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Deletes at most `limit` events from before a time. Returns their number.
pub fn delete_before(connection: &mut SqlConnection, before: Timestamp, limit: i64) -> QueryResult<usize> {
    let next: Vec<i64> = security_events::table
        .filter(security_events::at.lt(before.0))
        .order(security_events::at)
        .limit(limit)
        .select(security_events::seq)
        .load(connection)?;
    let Some(last) = next.iter().max() else { return Ok(0) };
    let gone: Vec<i64> = diesel::delete(
        security_events::table
            .filter(security_events::at.lt(before.0))
            .filter(security_events::seq.le(last)),
    )
    .returning(security_events::seq)
    .prepared()
    .load(connection)?;
    Ok(gone.len())
}

/// Reads a row. `None` for a kind that only a newer version knows.
fn read(row: Row) -> Option<SecurityEvent> {
    let (_, at, kind, user, actor, identity_provider, service_provider, reason, object, address, request_id) = row;
    Some(SecurityEvent {
        at: Timestamp(at),
        kind: SecurityEventKind::from_code(&kind)?,
        user: user.map(ResourceId::from),
        actor,
        identity_provider: identity_provider.map(IdentityProviderName::from),
        service_provider: service_provider.map(ServiceProviderName::from),
        reason,
        object,
        origin: RequestOrigin { request_id, address },
    })
}
