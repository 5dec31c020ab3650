//! Consent receipts: the consents that a person gave, with time and purpose.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::connection::SqlConnection;
use super::tables::consents;
use crate::domain::{Consent, IdentityProviderName, ResourceId, ServiceProviderName, StoreName, Timestamp};

/// A stored receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsentRecord {
    /// The id of the receipt.
    pub id: String,
    /// The consent that was given.
    pub consent: Consent,
    /// The time of the consent.
    pub at: Timestamp,
    /// The time of the withdrawal, if any.
    pub withdrawn: Option<Timestamp>,
}

impl ConsentRecord {
    /// Returns the consent as it is in force: after a withdrawal, nothing is granted.
    pub(crate) fn effective(self) -> Consent {
        if self.withdrawn.is_none() {
            return self.consent;
        }
        let mut refused = self.consent.refused;
        refused.extend(self.consent.granted);
        Consent {
            version: 0,
            granted: BTreeSet::new(),
            refused,
            ..self.consent
        }
    }
}

type Row = (
    String,
    String,
    i64,
    String,
    String,
    IdentityProviderName,
    ServiceProviderName,
    Timestamp,
    Option<i64>,
);

fn record(row: Row) -> ConsentRecord {
    let (id, purpose, version, granted, refused, identity_provider, service_provider, at, withdrawn) = row;
    let paths = |text: &str| serde_json::from_str::<BTreeSet<String>>(text).unwrap_or_default();
    ConsentRecord {
        id,
        consent: Consent {
            purpose,
            version: u32::try_from(version).unwrap_or_default(),
            granted: paths(&granted),
            refused: paths(&refused),
            identity_provider,
            service_provider,
        },
        at,
        withdrawn: withdrawn.map(Timestamp),
    }
}

fn text(paths: &BTreeSet<String>) -> String {
    serde_json::to_string(paths).expect("a set of texts always serialises")
}

/// Stores a receipt.
pub fn insert(
    connection: &mut SqlConnection,
    consent: &Consent,
    store: &StoreName,
    resource_id: &ResourceId,
    at: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(consents::table)
        .values((
            consents::id.eq(uuid::Uuid::now_v7().to_string()),
            consents::store.eq(store.as_str()),
            consents::resource_id.eq(resource_id.as_str()),
            consents::purpose.eq(&consent.purpose),
            consents::version.eq(i64::from(consent.version)),
            consents::granted.eq(text(&consent.granted)),
            consents::refused.eq(text(&consent.refused)),
            consents::identity_provider.eq(consent.identity_provider.as_str()),
            consents::service_provider.eq(consent.service_provider.as_str()),
            consents::at.eq(at.0),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Withdraws a user's consent to a purpose. The receipts are kept.
pub fn withdraw(
    connection: &mut SqlConnection,
    purpose: &str,
    resource_id: &ResourceId,
    at: Timestamp,
) -> QueryResult<()> {
    let effective = consents::table
        .filter(consents::resource_id.eq(resource_id.as_str()))
        .filter(consents::purpose.eq(purpose).and(consents::withdrawn.is_null()));
    diesel::update(effective)
        .set(consents::withdrawn.eq(Some(at.0)))
        .execute(connection)
        .map(|_| ())
}

/// Records that no consent of a user counts any more.
pub(crate) fn withdraw_all(connection: &mut SqlConnection, resource_id: &ResourceId, at: Timestamp) -> QueryResult<()> {
    let effective = consents::table
        .filter(consents::resource_id.eq(resource_id.as_str()))
        .filter(consents::withdrawn.is_null());
    diesel::update(effective)
        .set(consents::withdrawn.eq(Some(at.0)))
        .execute(connection)
        .map(|_| ())
}

/// Returns all receipts of a user, oldest first.
pub fn of_user(connection: &mut SqlConnection, resource_id: &ResourceId) -> QueryResult<Vec<ConsentRecord>> {
    let rows: Vec<Row> = consents::table
        .filter(consents::resource_id.eq(resource_id.as_str()))
        .order((consents::at, consents::id))
        .select((
            consents::id,
            consents::purpose,
            consents::version,
            consents::granted,
            consents::refused,
            consents::identity_provider,
            consents::service_provider,
            consents::at,
            consents::withdrawn,
        ))
        .load(connection)?;
    Ok(rows.into_iter().map(record).collect())
}

/// Deletes every receipt of a user, as deleting the user does.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, resource_id: &ResourceId) -> QueryResult<()> {
    diesel::delete(consents::table.filter(consents::resource_id.eq(resource_id.as_str())))
        .execute(connection)
        .map(|_| ())
}
