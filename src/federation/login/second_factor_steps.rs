//! The steps of the second factor: every login ends through [`Login::complete`].

use super::Login;
use super::browser::Browser;
use super::second_factor::{CodeCheck, Enrolment};
use super::step::{CodeError, LoginStep};
use super::totp;
use super::transaction::{LoadedTransaction, LoginState, MailedCode};
use crate::domain::login::Authentication;
use crate::domain::{Resource, Secret};
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::entry::{self, EntryWay};
use crate::federation::jit::policy::{SecondFactor, ServiceProviderPolicy};
use crate::storage::{StorageError, identity_locks};

impl Login {
    /// Completes a login, after asking for the second factor that it still needs.
    pub(super) fn complete(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
    ) -> Result<LoginStep, LoginError> {
        self.refuse_locked_identity(&authentication)?;
        let enrolled = self.second_factors.has_authenticator(&authentication.user)?;
        let needed = self.required_factor(&loaded, policy, &authentication, enrolled);
        if !entry::is_proved(needed, &authentication.amr) {
            return self.ask_factor(loaded, policy, authentication, needed);
        }
        let request = &loaded.transaction.request;
        if request.is_of_ourselves() || entry::is_fresh(authentication.authenticated_at, request.fresh_since) {
            return self.finish(loaded, policy, authentication);
        }
        // The identity provider did not say that the person proved who they are again: a proof of our own does, but not
        // by what was set up a moment ago.
        if enrolled && !loaded.transaction.enrolled {
            return self.ask_authenticator(loaded, policy, authentication, None);
        }
        match self.mailed_code(&authentication, false)? {
            Some(mail) if self.config.mail.is_some() => self.send_code(loaded, policy, authentication, mail),
            _ => Err(Denial::NotReauthenticated.into()),
        }
    }

    fn ask_factor(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
        needed: SecondFactor,
    ) -> Result<LoginStep, LoginError> {
        match needed {
            SecondFactor::None => self.finish(loaded, policy, authentication),
            SecondFactor::Totp => self.ask_authenticator(loaded, policy, authentication, None),
            SecondFactor::EmailOtp => match self.mailed_code(&authentication, false)? {
                Some(mail) => self.send_code(loaded, policy, authentication, mail),
                None => Err(Denial::NoMailAddress.into()),
            },
            SecondFactor::Any => {
                let enrolled = self.second_factors.has_authenticator(&authentication.user)?;
                match self.mailed_code(&authentication, true)? {
                    Some(mail) if !enrolled => self.send_code(loaded, policy, authentication, mail),
                    mail => self.ask_authenticator(loaded, policy, authentication, mail),
                }
            }
        }
    }

    /// Asks for a code of the person's authenticator. Enrols one first if there is none.
    pub(super) fn ask_authenticator(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
        mail: Option<MailedCode>,
    ) -> Result<LoginStep, LoginError> {
        if self.second_factors.has_authenticator(&authentication.user)? {
            return self.enter(loaded, policy, LoginState::Challenging { authentication, mail });
        }
        let user = self.active_user(&authentication)?.ok_or(Denial::AccountDisabled)?;
        let state = LoginState::Enrolling {
            authentication,
            username: username(&user),
            seed: totp::seed(),
            mail,
        };
        self.enter(loaded, policy, state)
    }

    /// Takes a code: the authenticator's, a recovery code or one that was sent by e-mail.
    pub fn code<'a>(&self, browser: impl Into<Browser<'a>>, code: &Secret) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        match loaded.transaction.state.clone() {
            LoginState::Challenging { authentication, .. } => self.challenged(loaded, policy, authentication, code),
            LoginState::Mailed { .. } => self.check_mailed_code(loaded, policy, code),
            LoginState::Enrolling { .. } => self.enrol(loaded, policy, code),
            _ => Ok(self.show(&loaded, policy)),
        }
    }

    /// Goes on after the person has read the recovery codes.
    pub fn read_codes<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        match loaded.transaction.state.clone() {
            LoginState::Enrolled { authentication, .. } => self.complete(loaded, policy, authentication),
            _ => Ok(self.show(&loaded, policy)),
        }
    }

    fn challenged(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        mut authentication: Authentication,
        code: &Secret,
    ) -> Result<LoginStep, LoginError> {
        match self.second_factors.check(&authentication.user, code)? {
            CodeCheck::Code => {
                self.add_proof(&mut authentication, &["otp", "mfa"]);
                self.complete(loaded, policy, authentication)
            }
            CodeCheck::Recovery => {
                self.add_proof(&mut authentication, &["mfa"]);
                self.complete(loaded, policy, authentication)
            }
            CodeCheck::Wrong(wrong) => self.refuse_code(loaded, policy, wrong),
            CodeCheck::Gone => self.complete(loaded, policy, authentication),
        }
    }

    /// Sets up an authenticator once a code has shown that it has the seed.
    fn enrol(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        code: &Secret,
    ) -> Result<LoginStep, LoginError> {
        let LoginState::Enrolling {
            mut authentication,
            seed,
            ..
        } = loaded.transaction.state.clone()
        else {
            return Ok(self.show(&loaded, policy));
        };
        let Some(last_step) = self.second_factors.confirmed_step(&seed, code) else {
            return self.refuse_code(loaded, policy, CodeError::Code);
        };
        self.active_user(&authentication)?.ok_or(Denial::AccountDisabled)?;
        let user = &authentication.user;
        let enrolled = self
            .second_factors
            .enrol(user, &seed, last_step, authentication.credentials)?;
        let (codes, credentials) = match enrolled {
            Enrolment::Done { codes, credentials } => (codes, credentials),
            // Another window was faster: its authenticator is the one that counts. The login begins again.
            Enrolment::Outdated => return Err(Denial::NotUnderWay.into()),
        };
        authentication.credentials = credentials;
        // A seed that was just shown proves nothing about who the person is: the time of the proof stays.
        loaded.transaction.enrolled = true;
        authentication.amr.extend(["otp", "mfa"].map(str::to_owned));
        self.enter(loaded, policy, LoginState::Enrolled { authentication, codes })
    }

    /// Adds the methods of a proof that the person has just given here.
    pub(super) fn add_proof(&self, authentication: &mut Authentication, methods: &[&str]) {
        authentication.authenticated_at = Some(self.directory.clock().now());
        for method in methods {
            if !authentication.amr.iter().any(|known| known == method) {
                authentication.amr.push((*method).to_owned());
            }
        }
    }

    /// Shows why a code does not count.
    pub(super) fn refuse_code(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        wrong: CodeError,
    ) -> Result<LoginStep, LoginError> {
        loaded.transaction.wrong = Some(wrong);
        self.count_failure(loaded, policy)
    }

    fn refuse_locked_identity(&self, authentication: &Authentication) -> Result<(), LoginError> {
        let locked = self
            .database
            .read::<_, StorageError>(|connection| identity_locks::of_user(connection, &authentication.user))
            .map_err(FederationError::from)?;
        locked.map_or(Ok(()), |reason| Err(Denial::IdentityLocked { reason }.into()))
    }

    fn required_factor(
        &self,
        loaded: &LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: &Authentication,
        enrolled: bool,
    ) -> SecondFactor {
        let provider = authentication.identity_provider.as_ref();
        let way = match provider.and_then(|name| self.config.upstream(name)) {
            Some(upstream) => EntryWay::Provider(upstream.settings.mfa),
            None => EntryWay::Password,
        };
        let transaction = &loaded.transaction;
        let asked = entry::asked_factor(policy, transaction.request.asks_two_factors());
        let needed = entry::needed_factor(asked, way, enrolled);
        // Where an authenticator can be removed, or an identity linked for good, it is asked for whatever else is.
        match needed {
            _ if enrolled && transaction.linking.is_some() => SecondFactor::Totp,
            SecondFactor::None | SecondFactor::EmailOtp if enrolled && transaction.request.is_of_ourselves() => {
                SecondFactor::Totp
            }
            needed => needed,
        }
    }
}

/// The `userName` of a user; empty if there is none.
pub(crate) fn username(user: &Resource) -> String {
    let attributes = user.document.attributes();
    let name = attributes.get("userName").and_then(serde_json::Value::as_str);
    name.unwrap_or_default().to_owned()
}
