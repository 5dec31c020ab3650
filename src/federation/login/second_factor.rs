//! Authenticators and recovery codes in the database, and the check of codes.

use std::sync::Arc;

use data_encoding::BASE32_NOPAD;

use super::codes::{normalised, typed};
use super::step::CodeError;
use super::totp;
use super::visitor::SignedInUser;
use crate::audit;
use crate::domain::{Clock, ResourceId, Secret, SecurityEvent, SecurityEventKind, Timestamp};
use crate::storage::factors::{self, Factor, FactorAttempt, TOTP};
use crate::storage::{Database, SecretBox, StorageError, credential_versions, grants, random, sessions};

/// Number of recovery codes of a user.
const RECOVERY_CODES: usize = 10;

/// The result of checking a code.
pub(crate) enum CodeCheck {
    /// The code of the authenticator.
    Code,
    /// A recovery code, which is now used up.
    Recovery,
    /// A code that does not count.
    Wrong(CodeError),
    /// The user has no second factor any more.
    Gone,
}

/// The result of setting up an authenticator.
pub(crate) enum Enrolment {
    /// It is set up.
    Done {
        /// The recovery codes.
        codes: Vec<String>,
        /// The version of the account's credentials from now on.
        credentials: i64,
    },
    /// The credentials of the account have changed since the person proved it.
    Outdated,
}

/// The second factors of users. Methods block.
pub(crate) struct SecondFactors {
    pub(crate) database: Database,
    pub(crate) secrets: Arc<SecretBox>,
    pub(crate) clock: Clock,
}

impl SecondFactors {
    /// Whether a user has an authenticator.
    pub(crate) fn has_authenticator(&self, user: &ResourceId) -> Result<bool, StorageError> {
        self.database
            .read::<_, StorageError>(|connection| factors::has(connection, user, TOTP))
    }

    /// Checks a code in one transaction with the count of wrong ones, so that parallel guesses are counted.
    pub(crate) fn check(&self, user: &ResourceId, code: &Secret) -> Result<CodeCheck, StorageError> {
        let (user, now) = (user.clone(), self.clock.now());
        let code = typed(code);
        let secrets = Arc::clone(&self.secrets);
        let person = user.clone();
        let (check, locks) = self.database.write::<_, StorageError>(move |connection| {
            let (factor, locks) = match factors::attempt(connection, &user, TOTP, now)? {
                FactorAttempt::Absent => return Ok((CodeCheck::Gone, false)),
                FactorAttempt::Locked => return Ok((CodeCheck::Wrong(CodeError::Locked), false)),
                FactorAttempt::Compare(factor, locks) => (factor, locks),
            };
            if let Some(step) = step(&secrets, &user, &factor, &code, now) {
                factors::pass(connection, &user, TOTP, step)?;
                return Ok((CodeCheck::Code, false));
            }
            if factors::use_recovery_code(connection, &user, &recovery_hash(&user, &code))? {
                factors::pass(connection, &user, TOTP, factor.last_step)?;
                return Ok((CodeCheck::Recovery, false));
            }
            Ok((CodeCheck::Wrong(CodeError::Code), locks))
        })?;
        match &check {
            CodeCheck::Recovery => {
                self.record(&person, SecurityEventKind::AuthenticatorChanged, "recovery_code_used");
            }
            CodeCheck::Wrong(_) if locks => self.record(&person, SecurityEventKind::AccountLocked, "wrong_code"),
            CodeCheck::Wrong(CodeError::Locked) => self.record(&person, SecurityEventKind::CodeRefused, "locked"),
            CodeCheck::Wrong(_) => self.record(&person, SecurityEventKind::CodeRefused, "wrong_code"),
            CodeCheck::Code | CodeCheck::Gone => {}
        }
        Ok(check)
    }

    /// Records a security event of a person's second factor.
    fn record(&self, user: &ResourceId, kind: SecurityEventKind, reason: &str) {
        let event = SecurityEvent {
            user: Some(user.clone()),
            reason: Some(reason.to_owned()),
            ..SecurityEvent::new(kind, self.clock.now())
        };
        audit::record(&self.database, event);
    }

    /// The time step of a code that shows that an authenticator has the seed; none if the code is wrong.
    pub(crate) fn confirmed_step(&self, seed: &[u8], code: &Secret) -> Option<i64> {
        totp::step_of(seed, &typed(code), self.clock.now(), 0)
    }

    /// Stores an authenticator that was confirmed at a time step, for a person whose login was proved under a version of
    /// the account's credentials.
    pub(crate) fn enrol(
        &self,
        user: &ResourceId,
        seed: &[u8],
        last_step: i64,
        proved: i64,
    ) -> Result<Enrolment, StorageError> {
        let (user, now) = (user.clone(), self.clock.now());
        let person = user.clone();
        let (codes, hashes) = recovery_codes(&user);
        let factor = Factor {
            sealed: self.secrets.seal(&context(&user), seed),
            last_step,
        };
        let credentials = self.database.write::<_, StorageError>(move |connection| {
            let is_current = credential_versions::hold(connection, &user)? == proved;
            if !is_current || !factors::insert(connection, &user, TOTP, &factor, now)? {
                return Ok(None);
            }
            factors::set_recovery_codes(connection, &user, &hashes)?;
            Ok(Some(credential_versions::current(connection, &user)?))
        })?;
        if credentials.is_some() {
            self.record(&person, SecurityEventKind::AuthenticatorChanged, "set_up");
        }
        Ok(match credentials {
            Some(credentials) => Enrolment::Done { codes, credentials },
            None => Enrolment::Outdated,
        })
    }

    /// Replaces the recovery codes of a user, and returns the new ones.
    pub(crate) fn renew_recovery_codes(&self, user: &ResourceId) -> Result<Vec<String>, StorageError> {
        let (user, person) = (user.clone(), user);
        let (codes, hashes) = recovery_codes(&user);
        self.database
            .write::<_, StorageError>(move |connection| Ok(factors::set_recovery_codes(connection, &user, &hashes)?))?;
        self.record(
            person,
            SecurityEventKind::AuthenticatorChanged,
            "recovery_codes_renewed",
        );
        Ok(codes)
    }

    /// Removes the authenticator of a user and its recovery codes, in a session that goes on without the proofs by it. The
    /// tokens that it proved end.
    /// `false` if the credentials of the account have changed since the session was proved.
    pub(crate) fn remove(&self, visitor: &SignedInUser) -> Result<bool, StorageError> {
        let (user, session) = (visitor.authentication.user.clone(), visitor.session.clone());
        let (proved, now) = (visitor.authentication.credentials, self.clock.now());
        let methods = visitor.authentication.amr.iter();
        let kept: Vec<String> = methods
            .filter(|method| !["otp", "mfa"].contains(&method.as_str()))
            .cloned()
            .collect();
        let is_removed = self.database.write::<_, StorageError>(move |connection| {
            if credential_versions::hold(connection, &user)? != proved {
                return Ok(false);
            }
            factors::delete_of_user(connection, &user)?;
            grants::revoke_of_second_factor(connection, &user, now)?;
            let credentials = credential_versions::current(connection, &user)?;
            sessions::renew(connection, &session, credentials)?;
            sessions::set_methods(connection, &session, &kept)?;
            Ok(true)
        })?;
        if is_removed {
            let user = &visitor.authentication.user;
            self.record(user, SecurityEventKind::AuthenticatorChanged, "removed");
        }
        Ok(is_removed)
    }
}

fn step(secrets: &SecretBox, user: &ResourceId, factor: &Factor, code: &str, now: Timestamp) -> Option<i64> {
    let Ok(seed) = secrets.open(&context(user), &factor.sealed) else {
        log::error!("a second factor cannot be opened: is this the master key that sealed it?");
        return None;
    };
    totp::step_of(&seed, code, now, factor.last_step)
}

/// A seed is sealed for its user: in another user's row it does not open.
fn context(user: &ResourceId) -> String {
    format!("factors/{user}/{TOTP}")
}

/// New recovery codes, and the hashes that are stored of them.
fn recovery_codes(user: &ResourceId) -> (Vec<String>, Vec<String>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes = codes
        .iter()
        .map(|code| recovery_hash(user, &normalised(code)))
        .collect();
    (codes, hashes)
}

/// Returns 80 random bits in four groups.
fn recovery_code() -> String {
    let text = BASE32_NOPAD.encode(&random::bytes::<10>());
    let groups: Vec<&str> = (0..4).map(|at| &text[4 * at..4 * at + 4]).collect();
    groups.join("-")
}

fn recovery_hash(user: &ResourceId, code: &str) -> String {
    random::fingerprint(&format!("recovery/{user}/{code}"))
}
