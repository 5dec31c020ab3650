//! Reads the facts about an account that the login decision needs.

use serde_json::Value;

use crate::domain::email::Email;
use crate::domain::{Attributes, Resource, name, provenance};
use crate::federation::jit::attribute_path::{ClaimTarget, WritablePath};
use crate::federation::jit::decide::LocalAccount;
use crate::federation::jit::purpose::Purpose;
use crate::storage::mail_addresses::{self, AddressFacts};
use crate::storage::{Database, StorageError, factors, mail_codes};

/// Name of the lease job in provenance and in the journal.
pub(crate) const LEASE_JOB: &str = "lease";

/// Returns the facts about a user that the account alone holds.
pub(crate) fn account(resource: &Resource, purposes: &[Purpose]) -> LocalAccount {
    let attributes = resource.document.attributes();
    LocalAccount {
        store: resource.store.clone(),
        id: resource.id.clone(),
        username: attributes
            .get("userName")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        active: attributes.get("active") != Some(&Value::Bool(false)),
        lease_expired: has_expired_lease(resource),
        administrator: governs(resource),
        present: purposes
            .iter()
            .flat_map(|purpose| &purpose.attributes)
            .map(|attribute| &attribute.path)
            .filter(|path| is_present(path, &attributes))
            .cloned()
            .collect(),
        verified_email: None,
    }
}

fn is_present(path: &WritablePath, attributes: &Attributes) -> bool {
    ClaimTarget::parse(path.as_str()).is_some_and(|target| target.value(attributes).is_some())
}

/// Whether an account is an administrator's, by its roles.
pub(crate) fn governs(resource: &Resource) -> bool {
    let attributes = resource.document.attributes();
    let roles = attributes
        .get("roles")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    roles.iter().any(|role| {
        let role = role.get("value").and_then(Value::as_str).map(name::canonical);
        role.is_some_and(|role| role == "admin" || role == "administrator")
    })
}

/// Whether an account is disabled only because its lease expired.
pub(crate) fn has_expired_lease(resource: &Resource) -> bool {
    !resource.is_active() && resource.writers.writers().get("active") == Some(&provenance::of_job(LEASE_JOB))
}

/// Returns the facts about an account that may belong to another person, with the address that its owner verified here,
/// if it can still be trusted to be theirs. Where the account has an authenticator, the address alone is no proof.
pub(crate) fn holder(
    database: &Database,
    resource: &Resource,
    purposes: &[Purpose],
) -> Result<LocalAccount, StorageError> {
    let id = &resource.id;
    let (proved, addresses, has_authenticator) = database.read::<_, StorageError>(|connection| {
        Ok((
            mail_codes::proved(connection, id)?,
            AddressFacts::read(connection, id)?,
            factors::has(connection, id, factors::TOTP)?,
        ))
    })?;
    let is_proved = |address: &&str| {
        let email = Email::parse(address);
        let is_theirs = email.map(|email| mail_codes::address_fingerprint(id, &email)) == proved;
        proved.is_some() && is_theirs && mail_addresses::is_trusted(resource, &addresses, address)
    };
    let attributes = resource.document.attributes();
    let emails = attributes.get("emails").and_then(Value::as_array);
    let mut addresses = emails
        .into_iter()
        .flatten()
        .filter_map(|email| email.get("value")?.as_str());
    Ok(LocalAccount {
        verified_email: addresses
            .find(is_proved)
            .map(str::to_owned)
            .filter(|_| !has_authenticator),
        ..account(resource, purposes)
    })
}
