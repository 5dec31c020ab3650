//! The e-mail addresses of an account that can be trusted to be its person's.

use diesel::prelude::*;
use serde_json::Value;

use super::connection::{PreparedDsl, SqlConnection};
use super::links::{self, LinkRecord};
use super::mail_codes::address_fingerprint;
use super::tables::former_addresses;
use crate::domain::email::Email;
use crate::domain::{Resource, ResourceId};

/// The facts that decide whether the addresses of an account are trusted.
#[derive(Clone, Debug, Default)]
pub struct AddressFacts {
    /// The identities of the account, with the addresses that their providers called verified.
    pub links: Vec<LinkRecord>,
    /// The fingerprints of the addresses that it had when it was another person's.
    pub former: Vec<String>,
}

impl AddressFacts {
    /// Reads them.
    pub fn read(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<Self> {
        let former = former_addresses::table
            .filter(former_addresses::resource_id.eq(user.as_str()))
            .select(former_addresses::fingerprint)
            .load(connection)?;
        Ok(Self {
            links: links::of_user(connection, user)?,
            former,
        })
    }
}

/// Records that the addresses of an account are of the person whose it was before.
pub(crate) fn distrust(connection: &mut SqlConnection, user: &ResourceId, addresses: &[String]) -> QueryResult<()> {
    for fingerprint in addresses.iter().filter_map(|address| former(user, address)) {
        diesel::delete(former_addresses::table.find((user.as_str(), &fingerprint))).execute(connection)?;
        diesel::insert_into(former_addresses::table)
            .values((
                former_addresses::resource_id.eq(user.as_str()),
                former_addresses::fingerprint.eq(&fingerprint),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// The fingerprint of an address that is distrusted: whatever its case, its mail goes to one mailbox.
fn former(user: &ResourceId, address: &str) -> Option<String> {
    let address = address.to_lowercase();
    Email::parse(&address).map(|email| address_fingerprint(user, &email))
}

/// Forgets the former addresses of an account that is deleted.
pub(crate) fn delete_of_user(connection: &mut SqlConnection, user: &ResourceId) -> QueryResult<()> {
    diesel::delete(former_addresses::table.filter(former_addresses::resource_id.eq(user.as_str())))
        .returning(former_addresses::fingerprint)
        .prepared()
        .load::<String>(connection)
        .map(|_| ())
}

/// The addresses of a user.
pub(crate) fn of(user: &Resource) -> Vec<String> {
    let attributes = user.document.attributes();
    let emails = attributes.get("emails").and_then(Value::as_array).into_iter().flatten();
    emails
        .filter_map(|email| email.get("value")?.as_str().map(str::to_owned))
        .collect()
}

/// Whether an address of a user was written by an administrator or a SCIM client, or by an identity provider that called
/// it verified at the last login. An address that the person typed in does not count, and one that the account had when it
/// was another person's only if a provider of the present one called it verified.
pub fn is_trusted(user: &Resource, facts: &AddressFacts, address: &str) -> bool {
    let Some(email) = Email::parse(address) else {
        return false;
    };
    let writers = user.writers.writers();
    let Some(writer) = writers.get(&format!("emails[{address}]")) else {
        return false;
    };
    let fingerprint = address_fingerprint(&user.id, &email);
    let is_verified = |known: &LinkRecord| known.verified_email.as_ref() == Some(&fingerprint);
    match writer.split_once(':') {
        _ if former(&user.id, address).is_some_and(|former| facts.former.contains(&former)) => {
            facts.links.iter().any(is_verified)
        }
        None => writer == "admin",
        Some(("idp", provider)) => {
            let mut of_provider = facts.links.iter();
            of_provider.any(|known| known.link.identity_provider.as_str() == provider && is_verified(known))
        }
        Some((kind, _)) => kind == "scim",
    }
}

/// Returns the address that codes of a user go to: the first one that can be trusted, the primary one before others.
pub fn trusted(user: &Resource, facts: &AddressFacts) -> Option<String> {
    let attributes = user.document.attributes();
    let mut emails: Vec<&Value> = attributes.get("emails")?.as_array()?.iter().collect();
    emails.sort_by_key(|email| email.get("primary") != Some(&Value::Bool(true)));
    let mut addresses = emails.into_iter().filter_map(|email| email.get("value")?.as_str());
    addresses
        .find(|address| is_trusted(user, facts, address))
        .map(str::to_owned)
}
