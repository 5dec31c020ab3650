//! Sign-in with a local user name and password.

use super::Login;
use super::browser::Browser;
use super::step::LoginStep;
use super::transaction::LoginState;
use crate::domain::lockout::FailureCount;
use crate::domain::login::Authentication;
use crate::domain::{Kind, ResourceId, Secret, StoreName, name};
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::storage::known_browsers::{self, BrowserAttempt};
use crate::storage::{StorageError, random};
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
        let browser = browser.into();
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
        if !self.is_password((store, id), password, browser.known)? {
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

    /// Returns whether it is the password of the account. For a locked account every password is wrong, but in a browser
    /// that is known for it: there the wrong passwords of this browser alone count (OWASP, Authentication Cheat Sheet,
    /// device cookies).
    pub(crate) fn is_password(
        &self,
        (store, id): (&StoreName, Option<&ResourceId>),
        password: &Secret,
        known: Option<&str>,
    ) -> Result<bool, FederationError> {
        if password.expose().len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let (id, counted) = match known.map_or(Ok(BrowserAttempt::Unknown), |known| self.attempt_of(known, id))? {
            BrowserAttempt::Unknown => (id, FailureCount::Account),
            BrowserAttempt::Counted => (id, FailureCount::Caller),
            // Too many wrong passwords came from it: the same work, whatever the password.
            BrowserAttempt::Locked => (None, FailureCount::Account),
        };
        let verdict = self.directory.verify_password(store, id, password, counted)?;
        let is_right = verdict == PasswordCheck::Valid && id.is_some();
        if let (true, FailureCount::Caller, Some(known), Some(id)) = (is_right, counted, known, id) {
            self.remember_browser(id, known)?;
        }
        Ok(is_right)
    }

    /// Counts a password that a known browser sends. An account that does not exist is looked for like any other.
    fn attempt_of(&self, known: &str, id: Option<&ResourceId>) -> Result<BrowserAttempt, StorageError> {
        let nobody = || ResourceId::new(random::token());
        let (id, known, now) = (
            id.cloned().unwrap_or_else(nobody),
            random::fingerprint(known),
            self.directory.clock().now(),
        );
        self.database
            .write(move |connection| Ok(known_browsers::attempt(connection, &id, &known, now)?))
    }

    /// Makes a browser known for an account, by its cookie. The person must have signed in with the password.
    pub fn remember_browser(&self, user: &ResourceId, known: &str) -> Result<(), StorageError> {
        let (user, known, now) = (user.clone(), random::fingerprint(known), self.directory.clock().now());
        self.database
            .write(move |connection| Ok(known_browsers::remember(connection, &user, &known, now)?))
    }
}
