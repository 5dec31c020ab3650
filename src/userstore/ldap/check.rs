//! Compares a directory with its configuration, for `vestibule check --connect`.

use ldap3::Scope;

use super::LdapUserstore;
use super::connection::LdapFailure;
use super::filter::LdapFilter;
use super::mapping::Mapping;
use super::session::{INSUFFICIENT_ACCESS, NO_SUCH_OBJECT};
use crate::domain::Kind;
use crate::userstore::StoreError;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, in words.
    pub what: String,
    /// The problem and how to solve it, if there is one.
    pub problem: Option<String>,
}

impl LdapUserstore {
    /// Connects, binds and checks the bases, the attributes and the access rights. Stops where later checks would be
    /// pointless. Changes nothing.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut note = |what: String, problem: Option<String>| {
            let is_good = problem.is_none();
            findings.push(Finding { what, problem });
            is_good
        };
        let address = self.settings.urls.join(", ");
        let opened = self
            .connections
            .unpooled(|session| super::server_info::root(session).map(|_| ()));
        let reached = !matches!(opened, Err(LdapFailure::Unreachable(_) | LdapFailure::NotTried(_)));
        if !note(
            format!("connects to {address}"),
            opened.err().filter(|_| !reached).map(|fault| fault.to_string()),
        ) {
            return findings;
        }
        let bound = self
            .connections
            .read(|session| super::server_info::root(session).map(|_| ()));
        let bound = bound.err().map(|fault| fault.to_string());
        if !note(format!("binds as {}", self.settings.bind_dn), bound) {
            return findings;
        }
        let server_info = match self.server_info() {
            Ok(server_info) => server_info,
            Err(error) => {
                note("describes its features".to_owned(), Some(words(&error)));
                return findings;
            }
        };
        for kind in [Kind::USER, Kind::GROUP] {
            let (base, mapping) = (self.base(&kind), server_info.mapping(&kind));
            let found = self
                .connections
                .read(|session| session.search_raw(base.as_str(), Scope::Base, &LdapFilter::All, &["1.1".to_owned()]));
            let problem = match found {
                Ok(found) if found.is_empty() => Some("the entry does not exist or cannot be read".to_owned()),
                Ok(_) => None,
                Err(fault) => Some(fault.to_string()),
            };
            note(format!("has {base}"), problem);
            note(
                format!("knows the attributes of {kind}"),
                unknown(mapping, &server_info.schema),
            );
            let readable = self
                .entry_versions(&kind, &server_info.filter(&kind))
                .map(|entries| entries.len());
            match readable {
                Ok(count) => note(format!("shows {count} resources of type {kind}"), None),
                Err(error) => note(format!("shows resources of type {kind}"), Some(words(&error))),
            };
        }
        if self.settings.writable {
            note("allows writing".to_owned(), self.may_write().err());
        }
        findings
    }

    /// Tries to delete an entry that does not exist: a server answers `noSuchObject` if deleting is allowed, and
    /// otherwise refuses.
    fn may_write(&self) -> Result<(), String> {
        for kind in [Kind::USER, Kind::GROUP] {
            let base = self.base(&kind);
            let nobody = base.child("cn", &format!("vestibule-check-{}", crate::storage::random::token()));
            match self.connections.write(|session| session.delete(&nobody)) {
                Ok(())
                | Err(LdapFailure::Refused {
                    code: NO_SUCH_OBJECT, ..
                }) => {}
                Err(LdapFailure::Refused {
                    code: INSUFFICIENT_ACCESS,
                    ..
                }) => {
                    return Err(format!(
                        "{} may not write below {base}; grant it write access, or set writable = false",
                        self.settings.bind_dn
                    ));
                }
                Err(fault) => return Err(fault.to_string()),
            }
        }
        Ok(())
    }
}

fn unknown(mapping: &Mapping, schema: &std::collections::HashSet<String>) -> Option<String> {
    if schema.is_empty() {
        return None;
    }
    let unknown: Vec<String> = mapping
        .attributes()
        .into_iter()
        .filter(|attribute| !schema.contains(&attribute.to_ascii_lowercase()))
        .collect();
    (!unknown.is_empty()).then(|| {
        format!(
            "the directory's schema lacks {}; map those paths to others, or to \"\"",
            unknown.join(", ")
        )
    })
}

fn words(error: &StoreError) -> String {
    match error {
        StoreError::Unavailable(cause) => cause.to_string(),
        other => other.to_string(),
    }
}
