//! Changes of the password and the second factor on the account page.

use super::{Account, AccountError, AccountProblem, own_change};
use crate::directory::DirectoryError;
use crate::domain::login::Authentication;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{Kind, Operation, Precondition, Secret, ServiceProviderName, SideRecord};
use crate::federation::login::local_password::PasswordGuess;
use crate::federation::login::second_factor_steps::username;
use crate::federation::login::totp;
use crate::federation::login::transaction::LoginState;
use crate::federation::login::visitor::SignedInUser;
use crate::userstore::StoreError;

/// The form by which a person sets a password.
pub struct PasswordForm<'a> {
    /// The present password; empty if there is none.
    pub before: Secret,
    /// The new password.
    pub password: Secret,
    /// The new password, repeated.
    pub again: Secret,
    /// The cookie by which the browser is known, if it has one: strangers who guess passwords do not keep it out.
    pub known: Option<&'a str>,
}

impl Account {
    /// Sets the password, given the old one if there is one. All sessions end, this one too. Returns the login that a new
    /// session may be opened for.
    pub fn set_password(
        &self,
        visitor: &SignedInUser,
        form: &PasswordForm<'_>,
    ) -> Result<Authentication, AccountError> {
        let PasswordForm {
            before,
            password,
            again,
            known,
        } = form;
        let user = self.changeable(visitor)?;
        if !self.login.config.account.passwords {
            return Err(AccountProblem::NotAllowed.into());
        }
        let has_one = self.login.directory.has_password(&user.store, &user.id)?;
        let guess = PasswordGuess {
            store: &user.store,
            id: Some(&user.id),
            service_provider: &ServiceProviderName::RESIDENT,
            known: *known,
        };
        if has_one && !self.login.is_password(&guess, before)? {
            return Err(AccountProblem::WrongPassword.into());
        }
        if let Err(defect) = self.login.config.passwords.check(password.expose(), &username(&user)) {
            return Err(AccountProblem::Password(defect).into());
        }
        if password != again {
            return Err(AccountProblem::PasswordsDiffer.into());
        }
        let users = self.login.directory.registry().resource_type(&Kind::USER);
        let Some(path) = users.and_then(|users| Path::parse("password", users).ok()) else {
            return Err(AccountProblem::Impossible.into());
        };
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: user.id,
            operations: vec![PatchOperation::replace(path, password.expose().into())],
            precondition: Precondition::None,
        };
        let proof = visitor.authentication.credentials;
        match self
            .login
            .directory
            .apply(own_change(operation, vec![SideRecord::Proof(proof)]))
        {
            Ok(_) => {}
            Err(DirectoryError::Store(StoreError::Unsupported(_))) => return Err(AccountProblem::Impossible.into()),
            Err(DirectoryError::Store(StoreError::Superseded)) => return Err(AccountProblem::NotFresh.into()),
            Err(error) => return Err(error.into()),
        }
        let credentials = self.login.credentials(&visitor.authentication.user)?;
        if credentials > proof + 1 {
            return Err(AccountProblem::NotFresh.into());
        }
        Ok(Authentication {
            credentials,
            ..visitor.authentication.clone()
        })
    }

    /// Begins to set up an authenticator. Returns the handle of a login of the account page at that stage.
    pub fn begin_authenticator(&self, visitor: &SignedInUser) -> Result<String, AccountError> {
        let user = self.changeable(visitor)?;
        if self.has_authenticator(visitor)? {
            return Err(AccountProblem::Outdated.into());
        }
        let state = LoginState::Enrolling {
            authentication: visitor.authentication.clone(),
            username: username(&user),
            seed: totp::seed(),
            mail: None,
        };
        Ok(self.begin_login(visitor, state)?)
    }

    /// Makes new recovery codes. Returns the handle of a login of the account page that shows them. The old codes stop
    /// working.
    pub fn renew_codes(&self, visitor: &SignedInUser) -> Result<String, AccountError> {
        self.changeable(visitor)?;
        if !self.has_authenticator(visitor)? {
            return Err(AccountProblem::Outdated.into());
        }
        let user = &visitor.authentication.user;
        let codes = self.login.second_factors.renew_recovery_codes(user)?;
        let state = LoginState::Enrolled {
            authentication: visitor.authentication.clone(),
            codes,
        };
        Ok(self.begin_login(visitor, state)?)
    }

    /// Deletes the authenticator and its recovery codes. Where one is required, the next login sets up another.
    pub fn drop_authenticator(&self, visitor: &SignedInUser) -> Result<(), AccountError> {
        self.changeable(visitor)?;
        if self.login.second_factors.remove(visitor)? {
            Ok(())
        } else {
            Err(AccountProblem::NotFresh.into())
        }
    }
}
