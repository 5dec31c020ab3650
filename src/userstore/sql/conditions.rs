//! Conditions of a change, checked in its transaction: facts that it was decided on, and that hold no more.

use diesel::prelude::*;

use super::indexed;
use crate::domain::provenance::Provenance;
use crate::domain::{Kind, ResourceId, SideRecord, StoreName};
use crate::storage::tables::resources;
use crate::storage::{SqlConnection, credential_versions, links};
use crate::userstore::StoreError;

/// Refuses a change that rests on a proof under credentials that have changed since. Checked before anything here changes
/// them.
pub(super) fn check_proof(
    connection: &mut SqlConnection,
    id: &ResourceId,
    side_records: &[SideRecord],
) -> Result<(), StoreError> {
    for side_record in side_records {
        if let SideRecord::Proof(version) = side_record
            && credential_versions::hold(connection, id)? != *version
        {
            return Err(StoreError::Superseded);
        }
    }
    Ok(())
}

/// Refuses to create a second account for a subject that has got one since the change was decided on.
pub(super) fn check_new_subject(
    connection: &mut SqlConnection,
    kind: &Kind,
    side_records: &[SideRecord],
) -> Result<(), StoreError> {
    for side_record in side_records {
        let SideRecord::NewSubject { link, trusted, stores } = side_record else {
            continue;
        };
        links::lock_subject(connection, &link.subject)?;
        if links::find(connection, &link.identity_provider, &link.issuer, &link.subject)?.is_some() {
            return Err(StoreError::Superseded);
        }
        for store in stores {
            if is_kept(connection, kind, (store, &link.subject), trusted)? {
                return Err(StoreError::Superseded);
            }
        }
    }
    Ok(())
}

/// Refuses to give an account a subject that has another account.
pub(super) fn check_subject_change(
    connection: &mut SqlConnection,
    id: &ResourceId,
    side_records: &[SideRecord],
) -> Result<(), StoreError> {
    for side_record in side_records {
        let SideRecord::SubjectChange {
            identity_provider,
            issuer,
            new: Some(new),
            ..
        } = side_record
        else {
            continue;
        };
        links::lock_subject(connection, new)?;
        let known = links::find(connection, identity_provider, issuer, new)?;
        if known.is_some_and(|known| known.resource_id != *id) {
            return Err(StoreError::Taken {
                attribute: "externalId".to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether one of these writers keeps an account under an `externalId`.
fn is_kept(
    connection: &mut SqlConnection,
    kind: &Kind,
    (store, external_id): (&StoreName, &str),
    trusted: &[String],
) -> Result<bool, StoreError> {
    let kept: Vec<String> = resources::table
        .filter(resources::store.eq(store.as_str()))
        .filter(resources::kind.eq(kind.as_str()))
        .filter(resources::external_id.eq(indexed::capped(external_id).as_ref()))
        .select(resources::writers)
        .load(connection)?;
    Ok(kept.iter().any(|writers| {
        let writers = Provenance::from_text(writers.clone()).writers();
        writers.get("externalId").is_some_and(|writer| trusted.contains(writer))
    }))
}
