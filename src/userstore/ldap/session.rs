//! The LDAP operations that the store uses, each with a timeout.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::controls::{Assertion, RawControl};
use ldap3::exop::PasswordModify;
use ldap3::{LdapConn, LdapError, LdapResult, Mod, Scope, SearchEntry};

use super::connection::LdapFailure;
use super::entry::Entry;
use super::filter::LdapFilter;
use super::flavour::{CONTROL, Flavour, NORMAL_ACCOUNT, PASSWORD_NOT_REQUIRED};
use super::name::Dn;
use super::settings::LdapSettings;

/// Entries per page of a search (RFC 2696); below the default limits of servers.
const PAGE: i32 = 500;
/// A search that takes longer than this is given up, however much it has found.
const LONGEST_SEARCH: Duration = Duration::from_mins(5);

// Result codes (RFC 4511 appendix A; the last from RFC 4528, the one before it from ldap.h, for a server that is down).
pub(super) const NO_SUCH_ATTRIBUTE: u32 = 16;
pub(super) const UNDEFINED_TYPE: u32 = 17;
pub(super) const WRONG_MATCHING: u32 = 18;
pub(super) const CONSTRAINT_VIOLATION: u32 = 19;
pub(super) const VALUE_EXISTS: u32 = 20;
pub(super) const WRONG_SYNTAX: u32 = 21;
pub(super) const NO_SUCH_OBJECT: u32 = 32;
pub(super) const WRONG_DN_SYNTAX: u32 = 34;
pub(super) const INVALID_CREDENTIALS: u32 = 49;
pub(super) const INSUFFICIENT_ACCESS: u32 = 50;
pub(super) const BUSY: u32 = 51;
pub(super) const UNAVAILABLE: u32 = 52;
pub(super) const NAMING_VIOLATION: u32 = 64;
pub(super) const OBJECT_CLASS_VIOLATION: u32 = 65;
pub(super) const ENTRY_EXISTS: u32 = 68;
pub(super) const SERVER_DOWN: u32 = 81;
pub(super) const ASSERTION_FAILED: u32 = 122;

/// A change of one attribute: values to add, delete or replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delta {
    Add(String, Vec<Vec<u8>>),
    Delete(String, Vec<Vec<u8>>),
    Replace(String, Vec<Vec<u8>>),
}

/// A connection with the timeout and flavour of its store.
pub(super) struct LdapSession<'a> {
    connection: &'a mut LdapConn,
    timeout: Duration,
    flavour: Flavour,
}

impl<'a> LdapSession<'a> {
    pub(super) fn new(connection: &'a mut LdapConn, settings: &LdapSettings) -> Self {
        Self {
            connection,
            timeout: settings.timeout,
            flavour: settings.flavour,
        }
    }

    /// Returns the connection, with the timeout of the next operation set.
    pub(super) fn connection(&mut self) -> &mut LdapConn {
        self.connection.with_timeout(self.timeout)
    }

    /// Returns all matching entries below a base, read in pages; none if the base does not exist. Referrals are not
    /// followed.
    pub(super) fn search(
        &mut self,
        base: &Dn,
        scope: Scope,
        filter: &LdapFilter,
        attributes: &[String],
    ) -> Result<Vec<Entry>, LdapFailure> {
        let flavour = self.flavour;
        let raw = self.search_raw(base.as_str(), scope, filter, attributes)?;
        Ok(raw
            .into_iter()
            .filter_map(|found| Entry::read(flavour, found))
            .collect())
    }

    /// Like `search`, for entries outside our bases (root DSE, schema).
    pub(super) fn search_raw(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &LdapFilter,
        attributes: &[String],
    ) -> Result<Vec<SearchEntry>, LdapFailure> {
        let begun = Instant::now();
        let mut adapters: Vec<Box<dyn Adapter<_, _>>> = vec![Box::new(EntriesOnly::new())];
        if scope != Scope::Base {
            adapters.push(Box::new(PagedResults::new(PAGE)));
        }
        let attributes: Vec<&str> = attributes.iter().map(String::as_str).collect();
        let filter = filter.to_string();
        let mut stream = self
            .connection()
            .streaming_search_with(adapters, base, scope, &filter, attributes)?;
        let mut found = Vec::new();
        while let Some(entry) = stream.next()? {
            found.push(SearchEntry::construct(entry));
            let too_many = scope == Scope::Base && found.len() > 1;
            if too_many || begun.elapsed() > LONGEST_SEARCH {
                return Err(LdapFailure::Unreachable(
                    "the search returns too many entries or takes too long".to_owned(),
                ));
            }
        }
        match done(stream.result()) {
            Err(LdapFailure::Refused {
                code: NO_SUCH_OBJECT, ..
            }) => Ok(Vec::new()),
            settled => settled.map(|()| found),
        }
    }

    /// Returns the entry with this DN, if it exists.
    pub(super) fn at(&mut self, dn: &Dn, attributes: &[String]) -> Result<Option<Entry>, LdapFailure> {
        Ok(self.search(dn, Scope::Base, &LdapFilter::All, attributes)?.pop())
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, dn: &Dn, attributes: Vec<(String, Vec<Vec<u8>>)>) -> Result<(), LdapFailure> {
        let attributes: Vec<(Vec<u8>, HashSet<Vec<u8>>)> = attributes
            .into_iter()
            .map(|(name, values)| (name.into_bytes(), values.into_iter().collect()))
            .collect();
        done(self.connection().add(dn.as_str(), attributes)?)
    }

    /// Modifies an entry atomically. With `while_at`, only while the filter matches, if the server supports that.
    pub(super) fn modify(
        &mut self,
        dn: &Dn,
        deltas: &[Delta],
        while_at: Option<&LdapFilter>,
    ) -> Result<(), LdapFailure> {
        if deltas.is_empty() {
            return Ok(());
        }
        let set = |values: &[Vec<u8>]| values.iter().cloned().collect::<HashSet<_>>();
        let changes: Vec<Mod<Vec<u8>>> = deltas
            .iter()
            .map(|delta| match delta {
                Delta::Add(name, values) => Mod::Add(name.clone().into_bytes(), set(values)),
                Delta::Delete(name, values) => Mod::Delete(name.clone().into_bytes(), set(values)),
                Delta::Replace(name, values) => Mod::Replace(name.clone().into_bytes(), set(values)),
            })
            .collect();
        let line = self.connection();
        if let Some(filter) = while_at {
            let control = RawControl {
                crit: true,
                ..Assertion::new(filter.to_string())
            };
            line.with_controls(vec![control]);
        }
        done(line.modify(dn.as_str(), changes)?)
    }

    /// Renames an entry below the same parent.
    pub(super) fn rename(&mut self, dn: &Dn, rdn: &str) -> Result<(), LdapFailure> {
        done(self.connection().modifydn(dn.as_str(), rdn, true, None)?)
    }

    /// Removes an entry.
    pub(super) fn delete(&mut self, dn: &Dn) -> Result<(), LdapFailure> {
        done(self.connection().delete(dn.as_str())?)
    }

    /// Sets a password with the extended operation (RFC 3062), so that the server hashes it and applies its password
    /// policy; Active Directory uses an attribute instead.
    pub(super) fn set_password(&mut self, dn: &Dn, password: &str) -> Result<(), LdapFailure> {
        if self.flavour == Flavour::ActiveDirectory {
            return self.set_unicode_password(dn, password, false);
        }
        let request = PasswordModify {
            user_id: Some(dn.as_str()),
            old_pass: None,
            new_pass: Some(password),
        };
        done(self.connection().extended(request)?.1)
    }

    /// Removes a password. Active Directory allows none only on disabled accounts, so a random one takes its place.
    pub(super) fn clear_password(&mut self, dn: &Dn) -> Result<(), LdapFailure> {
        if self.flavour == Flavour::ActiveDirectory {
            let random = format!("{}aA1!", crate::storage::random::token());
            return self.set_unicode_password(dn, &random, true);
        }
        match self.modify(dn, &[Delta::Delete("userPassword".to_owned(), Vec::new())], None) {
            Err(LdapFailure::Refused {
                code: NO_SUCH_ATTRIBUTE,
                ..
            }) => Ok(()),
            done => done,
        }
    }

    /// Sets a password, and the flag that the account needs none.
    fn set_unicode_password(&mut self, dn: &Dn, password: &str, is_none: bool) -> Result<(), LdapFailure> {
        let wanted = ["objectGUID", "uSNChanged", CONTROL].map(str::to_owned);
        let control = self
            .at(dn, &wanted)?
            .map_or(NORMAL_ACCOUNT, |entry| entry.number(CONTROL));
        let control = if is_none {
            control | PASSWORD_NOT_REQUIRED
        } else {
            control & !PASSWORD_NOT_REQUIRED
        };
        let control = Delta::Replace(CONTROL.to_owned(), vec![control.to_string().into_bytes()]);
        self.modify(dn, &[unicode_password(password), control], None)
    }

    /// Binds with a DN and a password. An empty password is refused here, since the server would treat it as an
    /// unauthenticated bind and succeed (RFC 4513 §5.1.2).
    pub(super) fn bind(&mut self, dn: &Dn, password: &str) -> Result<(), LdapFailure> {
        if password.is_empty() || dn.as_str().is_empty() {
            return Err(LdapFailure::Refused {
                code: INVALID_CREDENTIALS,
                text: "the DN or the password is empty".to_owned(),
            });
        }
        done(self.connection().simple_bind(dn.as_str(), password)?)
    }
}

/// Encodes a password for Active Directory: in quotes, in UTF-16.
pub(super) fn unicode_password(password: &str) -> Delta {
    let quoted = format!("\"{password}\"");
    let bytes = quoted.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Delta::Replace("unicodePwd".to_owned(), vec![bytes])
}

fn done(result: LdapResult) -> Result<(), LdapFailure> {
    if result.rc == 0 {
        Ok(())
    } else {
        Err(LdapError::from(result).into())
    }
}
