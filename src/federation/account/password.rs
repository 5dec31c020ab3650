//! The password and the second factor, as their person changes them.

use super::{Changed, Complaint, Visitor, own_change};
use crate::directory::DirectoryError;
use crate::domain::patch::{PatchOperation, Path};
use crate::domain::{Kind, Operation, Precondition, Secret};
use crate::federation::login::Federation;
use crate::federation::second_factor::{recovery_codes, username};
use crate::federation::totp;
use crate::federation::transaction::Stage;
use crate::storage::{StorageError, factors};
use crate::userstore::StoreError;

impl Federation {
    /// Sets the password, given the one before if there is one. Every session ends with it, this one too.
    pub fn set_password(&self, visitor: &Visitor, before: &Secret, password: &Secret, again: &Secret) -> Changed {
        let user = match self.changeable(visitor)? {
            Ok(user) => user,
            Err(complaint) => return Ok(Err(complaint)),
        };
        let has_one = self.directory.has_password(&user.store, &user.id)?;
        if has_one && !self.is_password(&user.store, Some(&user.id), before)? {
            return Ok(Err(Complaint::WrongPassword));
        }
        if let Err(defect) = self.door.passwords.check(password.expose(), &username(&user)) {
            return Ok(Err(Complaint::Password(defect)));
        }
        if password != again {
            return Ok(Err(Complaint::PasswordsDiffer));
        }
        let users = self.directory.registry().resource_type(&Kind::USER);
        let Some(path) = users.and_then(|users| Path::parse("password", users).ok()) else {
            return Ok(Err(Complaint::Impossible));
        };
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: user.id,
            operations: vec![PatchOperation::replace(path, password.expose().into())],
            precondition: Precondition::None,
        };
        match self.directory.apply(own_change(operation, Vec::new())) {
            Ok(_) => Ok(Ok(())),
            Err(DirectoryError::Store(StoreError::Unsupported(_))) => Ok(Err(Complaint::Impossible)),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins to set an authenticator up: gives the handle of a login of ours that stands there.
    pub fn begin_authenticator(&self, visitor: &Visitor) -> Changed<String> {
        let user = match self.changeable(visitor)? {
            Ok(user) => user,
            Err(complaint) => return Ok(Err(complaint)),
        };
        if self.has_authenticator(visitor)? {
            return Ok(Err(Complaint::Outdated));
        }
        let stage = Stage::Enrolling {
            authentication: visitor.authentication.clone(),
            username: username(&user),
            seed: totp::seed(),
            mail: None,
        };
        Ok(Ok(self.stand_for_account(visitor, stage)?))
    }

    /// Makes new recovery codes: gives the handle of a login of ours that shows them. The old ones open nothing any more.
    pub fn renew_codes(&self, visitor: &Visitor) -> Changed<String> {
        if let Err(complaint) = self.changeable(visitor)? {
            return Ok(Err(complaint));
        }
        if !self.has_authenticator(visitor)? {
            return Ok(Err(Complaint::Outdated));
        }
        let user = visitor.authentication.user.clone();
        let (codes, hashes) = recovery_codes(&user);
        self.database
            .write::<_, StorageError>(move |connection| Ok(factors::set_recovery_codes(connection, &user, &hashes)?))?;
        let stage = Stage::Enrolled {
            authentication: visitor.authentication.clone(),
            codes,
        };
        Ok(Ok(self.stand_for_account(visitor, stage)?))
    }

    /// Forgets the authenticator and its recovery codes. Where one is needed, the next login sets another up.
    pub fn drop_authenticator(&self, visitor: &Visitor) -> Changed {
        if let Err(complaint) = self.changeable(visitor)? {
            return Ok(Err(complaint));
        }
        let user = visitor.authentication.user.clone();
        self.database
            .write::<_, StorageError>(move |connection| Ok(factors::delete_of_user(connection, &user)?))?;
        Ok(Ok(()))
    }
}
