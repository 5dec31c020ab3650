//! The steps of the second factor: every login ends through [`Login::complete`].

use super::Login;
use super::second_factor::CodeCheck;
use super::step::{CodeError, LoginStep};
use super::totp;
use super::transaction::{LoadedTransaction, LoginState, MailedCode};
use crate::domain::login::Authentication;
use crate::domain::{Resource, Secret};
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
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
        // A person with an authenticator is asked for it after a password, and wherever it can be removed, whatever the
        // application asks for.
        let asked = authentication.identity_provider.is_none() || loaded.transaction.request.is_of_ourselves();
        match self.required_factor(policy, &authentication) {
            SecondFactor::None | SecondFactor::EmailOtp if enrolled && asked => {
                self.ask_authenticator(loaded, policy, authentication, None)
            }
            SecondFactor::None => self.finish(&loaded, authentication),
            SecondFactor::Totp => self.ask_authenticator(loaded, policy, authentication, None),
            SecondFactor::EmailOtp => match self.mailed_code(&authentication, false)? {
                Some(mail) => self.send_code(loaded, policy, authentication, mail),
                None => Err(Denial::NoMailAddress.into()),
            },
            SecondFactor::Any => match self.mailed_code(&authentication, true)? {
                Some(mail) if !enrolled => self.send_code(loaded, policy, authentication, mail),
                mail => self.ask_authenticator(loaded, policy, authentication, mail),
            },
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
    pub fn code(&self, handle: &str, code: &Secret) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(handle)?;
        match loaded.transaction.state.clone() {
            LoginState::Challenging { authentication, .. } => self.challenged(loaded, policy, authentication, code),
            LoginState::Mailed { .. } => self.check_mailed_code(loaded, policy, code),
            LoginState::Enrolling { .. } => self.enrol(loaded, policy, code),
            _ => Ok(self.show(&loaded, policy)),
        }
    }

    /// Goes on after the person has read the recovery codes.
    pub fn read_codes(&self, handle: &str) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(handle)?;
        match loaded.transaction.state.clone() {
            LoginState::Enrolled { authentication, .. } => self.finish_proved(&loaded, authentication),
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
                authentication.amr.extend(["otp", "mfa"].map(str::to_owned));
                self.finish_proved(&loaded, authentication)
            }
            CodeCheck::Recovery => {
                log::info!("a recovery code was used as a second factor");
                authentication.amr.push("mfa".to_owned());
                self.finish_proved(&loaded, authentication)
            }
            CodeCheck::Wrong(wrong) => self.refuse_code(loaded, policy, wrong),
            CodeCheck::Gone => self.complete(loaded, policy, authentication),
        }
    }

    /// Sets up an authenticator once a code has shown that it has the seed.
    fn enrol(
        &self,
        loaded: LoadedTransaction,
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
        let Some(codes) = self.second_factors.enrol(&authentication.user, &seed, last_step)? else {
            // Another window was faster: its authenticator is the one that counts.
            return self.ask_authenticator(loaded, policy, authentication, None);
        };
        authentication.amr.extend(["otp", "mfa"].map(str::to_owned));
        self.enter(loaded, policy, LoginState::Enrolled { authentication, codes })
    }

    /// Ends a login whose second factor is proved, if the person may still enter.
    pub(super) fn finish_proved(
        &self,
        loaded: &LoadedTransaction,
        authentication: Authentication,
    ) -> Result<LoginStep, LoginError> {
        self.refuse_locked_identity(&authentication)?;
        self.active_user(&authentication)?.ok_or(Denial::AccountDisabled)?;
        self.finish(loaded, authentication)
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

    fn required_factor(&self, policy: &ServiceProviderPolicy, authentication: &Authentication) -> SecondFactor {
        let provider = authentication.identity_provider.as_ref();
        let of_provider = provider
            .and_then(|name| self.config.upstream(name))
            .map(|upstream| upstream.settings.mfa);
        policy.mfa.and(of_provider.unwrap_or_default())
    }
}

/// The `userName` of a user; empty if there is none.
pub(crate) fn username(user: &Resource) -> String {
    let attributes = user.document.attributes();
    let name = attributes.get("userName").and_then(serde_json::Value::as_str);
    name.unwrap_or_default().to_owned()
}
