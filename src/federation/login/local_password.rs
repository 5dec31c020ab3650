//! Sign-in with a local user name and password.

use super::Login;
use super::browser::Browser;
use super::step::LoginStep;
use super::transaction::LoginState;
use crate::domain::login::Authentication;
use crate::domain::{Kind, ResourceId, Secret, StoreName, name};
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::userstore::PasswordCheck;

/// Longest password that is compared, in bytes.
const LONGEST_PASSWORD: usize = 1024;

impl Login {
    /// Signs a person in with a local name and password. An unknown name answers like a wrong password, and takes as
    /// long.
    pub fn password<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
        username: &str,
        password: &Secret,
    ) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(browser)?;
        if !policy.local_login {
            return Err(Denial::NoLocalLogin.into());
        }
        // While an identity waits to be linked, there is another form for the password of that account.
        let is_linking = loaded.transaction.linking.is_some();
        let is_choosing = matches!(loaded.transaction.state, LoginState::Choosing | LoginState::Away { .. });
        if is_linking || !is_choosing || username.is_empty() {
            return Ok(self.show(&loaded, policy));
        }
        let all: Vec<StoreName> = self.directory.store_names().cloned().collect();
        let stores = policy.inbound_userstore.as_ref().map_or(&all[..], std::slice::from_ref);
        let user = match name::check(username) {
            Ok(()) => self.directory.named_over(stores, &Kind::USER, username)?,
            Err(_) => None,
        };
        let store = user.as_ref().map_or(&StoreName::PRIMARY, |user| &user.store);
        let id = user.as_ref().map(|user| &user.id);
        // Read before the password is compared: a change in between makes the proof one of earlier credentials.
        let credentials = id.map_or(Ok(0), |id| self.credentials(id))?;
        if !self.is_password(store, id, password)? {
            loaded.transaction.username = username.chars().take(name::LONGEST).collect();
            return self.count_failure(loaded, policy);
        }
        match user {
            Some(user) if user.is_active() => {
                let authentication = Authentication {
                    credentials,
                    ..self.authentication((user.store, user.id), None, &["pwd"])?
                };
                self.complete(loaded, policy, authentication)
            }
            _ => Err(Denial::AccountDisabled.into()),
        }
    }

    /// Returns whether it is the password of the account. For a locked account every password is wrong.
    pub(crate) fn is_password(
        &self,
        store: &StoreName,
        id: Option<&ResourceId>,
        password: &Secret,
    ) -> Result<bool, FederationError> {
        if password.expose().len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let verdict = self.directory.verify_password(store, id, password)?;
        Ok(verdict == PasswordCheck::Valid && id.is_some())
    }
}
