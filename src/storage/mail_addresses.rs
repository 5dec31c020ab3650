//! The e-mail addresses of an account that can be trusted to be its person's.

use serde_json::Value;

use super::links::LinkRecord;
use super::mail_codes::address_fingerprint;
use crate::domain::Resource;
use crate::domain::email::Email;

/// Whether an address of a user was written by an administrator or a SCIM client, or by an identity provider that called
/// it verified at the last login. An address that the person typed in does not count.
pub fn is_trusted(user: &Resource, links: &[LinkRecord], address: &str) -> bool {
    let Some(email) = Email::parse(address) else {
        return false;
    };
    let writers = user.writers.writers();
    let Some(writer) = writers.get(&format!("emails[{address}]")) else {
        return false;
    };
    match writer.split_once(':') {
        None => writer == "admin",
        Some(("idp", provider)) => {
            let verified = address_fingerprint(&user.id, &email);
            links.iter().any(|known| {
                known.link.identity_provider.as_str() == provider && known.verified_email.as_ref() == Some(&verified)
            })
        }
        Some((kind, _)) => kind == "scim",
    }
}

/// Returns the address that codes of a user go to: the first one that can be trusted, the primary one before others.
pub fn trusted(user: &Resource, links: &[LinkRecord]) -> Option<String> {
    let attributes = user.document.attributes();
    let mut emails: Vec<&Value> = attributes.get("emails")?.as_array()?.iter().collect();
    emails.sort_by_key(|email| email.get("primary") != Some(&Value::Bool(true)));
    let mut addresses = emails.into_iter().filter_map(|email| email.get("value")?.as_str());
    addresses
        .find(|address| is_trusted(user, links, address))
        .map(str::to_owned)
}
