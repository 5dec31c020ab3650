//! Password checks in the directory, by a bind as the user.

use ldap3::Scope;

use super::connection::LdapFailure;
use super::filter::LdapFilter;
use super::flavour::{CONTROL, Flavour, PASSWORD_NOT_REQUIRED};
use super::session::{Delta, INVALID_CREDENTIALS, NO_SUCH_ATTRIBUTE};
use super::{Dn, LdapUserstore};
use crate::domain::lockout::FailureCount;
use crate::domain::{Kind, ResourceId, Secret};
use crate::userstore::{PasswordCheck, StoreError, Userstore};

impl LdapUserstore {
    /// Binds as a user on a separate connection. Wrong passwords count here too, so that this server cannot be used to
    /// guess passwords of the directory's accounts or to lock them there.
    pub(super) fn bind_as(
        &self,
        id: &ResourceId,
        password: &Secret,
        counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError> {
        // The directory would treat an empty password as an unauthenticated bind and succeed (RFC 4513 §5.1.2).
        if password.expose().trim().is_empty() || password.expose().contains('\0') {
            return Ok(PasswordCheck::Invalid);
        }
        let Some((known, _)) = self.present(&Kind::USER, id)? else {
            // A bind as an entry that does not exist takes the time of one with a wrong password.
            let nobody = Dn::new(format!("cn={},{}", uuid::Uuid::now_v7(), self.settings.user_base));
            let refused = self
                .connections
                .unpooled(|session| session.bind(&nobody, password.expose()));
            return match refused {
                Ok(()) | Err(LdapFailure::Refused { .. }) => Ok(PasswordCheck::Invalid),
                Err(fault) => Err(fault.into()),
            };
        };
        let dn = Dn::new(known.dn);
        match counted {
            FailureCount::Account => self.copy.attempt_elsewhere(id, || self.binds(&dn, password)),
            FailureCount::Caller => Ok(PasswordCheck::of(self.binds(&dn, password)?)),
        }
    }

    /// Whether the directory accepts a password.
    fn binds(&self, dn: &Dn, password: &Secret) -> Result<bool, StoreError> {
        match self.connections.unpooled(|session| session.bind(dn, password.expose())) {
            Ok(()) => Ok(true),
            // The password is wrong, the account is locked or disabled, or a new password is required first: servers
            // report these with this result or with others (RFC 4511 §4.1.9).
            Err(LdapFailure::Refused { code, text }) => {
                if code != INVALID_CREDENTIALS {
                    log::info!(
                        "userstore {}: the directory refused a login: {text}",
                        self.settings.name
                    );
                }
                Ok(false)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Whether the directory has a password for a user. If it does not tell, one is assumed.
    pub(super) fn shows_password(&self, id: &ResourceId) -> Result<bool, StoreError> {
        let Some((known, _)) = self.present(&Kind::USER, id)? else {
            return Ok(false);
        };
        let (dn, wanted) = (Dn::new(known.dn), self.id_and_version_attributes());
        if self.settings.flavour == Flavour::ActiveDirectory {
            let wanted = self.version_attributes_and(CONTROL);
            let entry = self.connections.read(|session| session.at(&dn, &wanted))?;
            return Ok(entry.is_some_and(|entry| entry.number(CONTROL) & PASSWORD_NOT_REQUIRED == 0));
        }
        let has = LdapFilter::Present("userPassword".to_owned());
        let found = self
            .connections
            .read(|session| session.search(&dn, Scope::Base, &has, &wanted))?;
        Ok(!found.is_empty())
    }

    /// Lifts the lock in our database, and the directory's if it is a temporary one.
    pub(super) fn clear_lock(&self, id: &ResourceId) -> Result<(), StoreError> {
        if let Some((known, _)) = self.present(&Kind::USER, id)?
            && self.settings.writable
        {
            let dn = Dn::new(known.dn);
            let lock = self.settings.flavour.lock();
            let wanted = self.version_attributes_and(lock);
            let entry = self.connections.read(|session| session.at(&dn, &wanted))?;
            let server_info = self.server_info()?;
            let is_off = |entry: &super::entry::Entry| {
                server_info
                    .mapping(&Kind::USER)
                    .switch
                    .is_some_and(|switch| super::mapping::is_off(switch, entry))
            };
            if let Some(entry) = entry
                && !entry.values(lock).is_empty()
                && !is_off(&entry)
            {
                // Active Directory accepts no value but 0.
                let none = (self.settings.flavour == Flavour::ActiveDirectory).then(|| b"0".to_vec());
                let lifted = Delta::Replace(lock.to_owned(), none.into_iter().collect());
                match self
                    .connections
                    .write(|session| session.modify(&dn, std::slice::from_ref(&lifted), None))
                {
                    Err(LdapFailure::Refused {
                        code: NO_SUCH_ATTRIBUTE,
                        ..
                    }) => {}
                    done => done?,
                }
            }
        }
        self.copy.unlock(id)
    }

    fn version_attributes_and(&self, attribute: &str) -> Vec<String> {
        let mut wanted = self.id_and_version_attributes();
        wanted.push(attribute.to_owned());
        wanted
    }
}
