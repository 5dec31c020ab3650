//! Sign-in with a local user name and password.

use super::Login;
use super::browser::Browser;
use super::step::LoginStep;
use super::transaction::LoginState;
use crate::audit;
use crate::domain::lockout::FailureCount;
use crate::domain::login::Authentication;
use crate::domain::{Kind, ResourceId, Secret, SecurityEvent, SecurityEventKind, ServiceProviderName, StoreName, name};
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::storage::known_browsers::{self, BrowserAttempt};
use crate::storage::{StorageError, credential_versions, random, sessions};
use crate::userstore::PasswordCheck;

/// Longest password that is compared, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// The account whose password somebody sends, and where from.
pub(crate) struct PasswordGuess<'a> {
    pub(crate) store: &'a StoreName,
    /// The account; `None` if there is none of the name.
    pub(crate) id: Option<&'a ResourceId>,
    pub(crate) service_provider: &'a ServiceProviderName,
    /// The cookie by which the browser is known, if it has one.
    pub(crate) known: Option<&'a str>,
}

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
        let guess = PasswordGuess {
            store,
            id,
            service_provider: &policy.name,
            known: browser.known,
        };
        if !self.is_password(&guess, password)? {
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
    pub(crate) fn is_password(&self, guess: &PasswordGuess<'_>, password: &Secret) -> Result<bool, FederationError> {
        let PasswordGuess {
            store,
            id,
            service_provider,
            known,
        } = *guess;
        if password.expose().len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let person = id.cloned();
        let (id, counted) = match known.map_or(Ok(BrowserAttempt::Unknown), |known| self.attempt_of(known, id))? {
            BrowserAttempt::Unknown => (id, FailureCount::Account),
            BrowserAttempt::Counted => (id, FailureCount::Caller),
            // Too many wrong passwords came from it: the same work, whatever the password.
            BrowserAttempt::Locked => (None, FailureCount::Account),
        };
        let verdict = self.directory.verify_password(store, id, password, counted)?;
        let is_right = verdict == PasswordCheck::Valid && id.is_some();
        if !is_right {
            self.record_wrong_password(person, service_provider, &verdict);
        }
        if let (true, FailureCount::Caller, Some(known), Some(id)) = (is_right, counted, known, id) {
            let (user, known) = (id.clone(), random::fingerprint(known));
            self.database
                .write::<_, StorageError>(move |connection| Ok(known_browsers::pass(connection, &user, &known)?))?;
        }
        Ok(is_right)
    }

    /// Records a password that did not count: one event for each, also for an unknown name, so that all take the same time.
    fn record_wrong_password(
        &self,
        user: Option<ResourceId>,
        service_provider: &ServiceProviderName,
        verdict: &PasswordCheck,
    ) {
        let (kind, reason) = match verdict {
            PasswordCheck::Locks { .. } => (SecurityEventKind::AccountLocked, "wrong_password"),
            PasswordCheck::Locked { .. } => (SecurityEventKind::PasswordRefused, "locked"),
            _ if user.is_none() => (SecurityEventKind::PasswordRefused, "unknown_name"),
            _ => (SecurityEventKind::PasswordRefused, "wrong_password"),
        };
        let event = SecurityEvent {
            user,
            service_provider: Some(service_provider.clone()),
            reason: Some(reason.to_owned()),
            ..self.event(kind)
        };
        audit::record(&self.database, event);
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

    /// Makes the browser of a session known for its account, after a login with the password. Returns the value of its
    /// cookie, which is new unless the browser is known for this account already; none if the session has ended or the
    /// account has changed meanwhile.
    pub fn remember_browser(
        &self,
        login: &Authentication,
        session: &str,
        known: Option<&str>,
    ) -> Result<Option<String>, StorageError> {
        let (login, session, now) = (
            login.clone(),
            random::fingerprint(session),
            self.directory.clock().now(),
        );
        let known = known.map(str::to_owned);
        self.database.write(move |connection| {
            let user = &login.user;
            if credential_versions::hold(connection, user)? != login.credentials
                || sessions::hold(connection, &session, now)?.as_ref() != Some(user)
            {
                return Ok(None);
            }
            let before = known.as_deref().map(random::fingerprint);
            let is_known = before.map_or(Ok(false), |before| {
                known_browsers::is_known(connection, user, &before, now)
            })?;
            let value = known.clone().filter(|_| is_known).unwrap_or_else(random::token);
            known_browsers::remember(connection, user, &random::fingerprint(&value), now)?;
            Ok(Some(value))
        })
    }
}
