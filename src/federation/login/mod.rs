//! One login as a state machine: choose a provider, go there, come back, prove what must be proved, be admitted.

mod codes;
pub(crate) mod email_code;
mod home_realm;
mod linking;
mod pages;
mod prompts;
mod second_factor;
pub(crate) mod second_factor_steps;
pub mod step;
pub(crate) mod totp;
pub(crate) mod transaction;
pub mod visitor;

use std::sync::Arc;

use url::Url;

use super::config::{FederationConfig, Upstream};
use super::error::{FederationError, LoginError};
use super::idp::provider::{CallbackParameters, Identity, LoginHint, ProviderError};
use super::jit::approval::Approvals;
use super::jit::claim_mapping;
use super::jit::denial::Denial;
use super::jit::facts::verified_email_fingerprint;
use super::jit::policy::ServiceProviderPolicy;
use super::jit::unusable_claims::IgnoredClaims;
use crate::directory::Directory;
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{
    IdentityProviderName, Kind, Relations, Resource, ResourceId, Secret, ServiceProviderName, StoreName, name,
};
use crate::storage::{Database, SecretBox, StorageError, links, removals};
use crate::userstore::PasswordCheck;
use email_code::EmailCodes;
use second_factor::SecondFactors;
use step::{LoginContext, LoginStep};
use transaction::{AssertedIdentity, LoadedTransaction, LoginState, Transaction, Transactions};

/// The number of wrong passwords or codes that ends a login.
const FAILURES: u32 = 10;
/// Longest password that is compared, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// A login that has begun.
pub struct StartedLogin {
    /// The secret that the browser keeps.
    pub handle: String,
    /// The URL to redirect to at once, if there is nothing to choose; `None` shows the sign-in page.
    pub to: Option<Url>,
}

/// The logins. Methods block.
pub struct Login {
    pub(crate) directory: Arc<Directory>,
    pub(crate) database: Database,
    pub(crate) config: Arc<FederationConfig>,
    pub(crate) transactions: Transactions,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) second_factors: SecondFactors,
    pub(crate) email_codes: EmailCodes,
    pub(crate) ignored_claims: Arc<IgnoredClaims>,
}

impl Login {
    /// Serves logins to the applications of `config`.
    pub(crate) fn new(
        directory: Arc<Directory>,
        database: Database,
        secrets: Arc<SecretBox>,
        config: Arc<FederationConfig>,
        approvals: Arc<Approvals>,
    ) -> Self {
        let clock = directory.clock().clone();
        Self {
            second_factors: SecondFactors {
                database: database.clone(),
                secrets: Arc::clone(&secrets),
                clock: clock.clone(),
            },
            email_codes: EmailCodes {
                database: database.clone(),
                clock: clock.clone(),
            },
            transactions: Transactions {
                database: database.clone(),
                secrets,
                clock,
            },
            ignored_claims: Arc::default(),
            directory,
            database,
            config,
            approvals,
        }
    }

    /// The address under which browsers reach the server.
    pub fn public_url(&self) -> &Url {
        &self.config.public_url
    }

    /// The claims that were left out of logins.
    pub fn ignored_claims(&self) -> &Arc<IgnoredClaims> {
        &self.ignored_claims
    }

    /// The display name of an identity provider; none if it is not configured.
    pub fn display_name(&self, provider: &IdentityProviderName) -> Option<String> {
        self.config.upstream(provider).map(Upstream::display_name)
    }

    /// Begins a login for an application's request.
    pub fn start(
        &self,
        request: AuthorizationRequest,
        service_provider: &ServiceProviderName,
    ) -> Result<StartedLogin, FederationError> {
        let policy = self
            .config
            .policy(service_provider)
            .ok_or_else(|| FederationError::NoServiceProvider(service_provider.clone()))?;
        let allowed = |name: &IdentityProviderName| self.config.allowed(name, policy).is_ok();
        let only = match (&request.idp_hint, &policy.identity_providers[..]) {
            (Some(hint), _) if allowed(hint) => Some(hint.clone()),
            (_, [one]) if !policy.local_login && allowed(one) => Some(one.clone()),
            _ => request
                .login_hint
                .as_deref()
                .and_then(|hint| self.config.responsible(hint, policy)),
        };
        let username = request.login_hint.clone().unwrap_or_default();
        let transaction = Transaction {
            request,
            service_provider: service_provider.clone(),
            state: LoginState::Choosing,
            failures: 0,
            failed: false,
            wrong: None,
            username,
        };
        let handle = self.transactions.start(&transaction)?;
        // A provider that is down is reported once the person chooses it on the page.
        let to = only.and_then(|provider| self.choose(&handle, &provider).ok());
        Ok(StartedLogin { handle, to })
    }

    /// The page that a login is at.
    pub fn view(&self, handle: &str) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(handle)?;
        Ok(self.show(&loaded, policy))
    }

    /// The context of a login, as long as it is under way.
    pub fn context(&self, handle: &str) -> Result<Option<LoginContext>, FederationError> {
        match self.load(handle) {
            Ok((loaded, policy)) => Ok(Some(pages::context(&loaded.transaction, policy))),
            Err(LoginError::Denied(_)) => Ok(None),
            Err(LoginError::Failed(error)) => Err(error),
        }
    }

    /// Removes the logins that were not finished in time; returns how many.
    pub fn sweep(&self) -> Result<usize, StorageError> {
        self.transactions.sweep()
    }

    /// The identity provider, if an application lets users sign in through it and it is not removed.
    pub(crate) fn allowed(
        &self,
        provider: &IdentityProviderName,
        policy: &ServiceProviderPolicy,
    ) -> Result<&Upstream, LoginError> {
        let upstream = self.config.allowed(provider, policy)?;
        if self.is_removed(provider)? {
            return Err(Denial::UnknownProvider.into());
        }
        Ok(upstream)
    }

    /// Whether an administrator removed an identity provider that the configuration still has.
    pub(crate) fn is_removed(&self, provider: &IdentityProviderName) -> Result<bool, StorageError> {
        let removal = self
            .database
            .read::<_, StorageError>(|connection| removals::find(connection, provider))?;
        Ok(removal.is_some())
    }

    /// Sends the person to an identity provider. A second choice replaces the first.
    pub fn choose(&self, handle: &str, provider: &IdentityProviderName) -> Result<Url, LoginError> {
        let (mut loaded, policy) = self.load(handle)?;
        let upstream = self.allowed(provider, policy)?;
        let hint = LoginHint {
            login: loaded.transaction.request.login_hint.clone(),
            reauthenticate: loaded.transaction.request.reauthenticate,
        };
        let begun = upstream
            .begin(&self.config.callback_url(provider), &hint)
            .map_err(|error| denial(provider, &error))?;
        loaded.transaction.state = LoginState::Away {
            provider: provider.clone(),
            pending: begun.state,
        };
        self.transactions.advance(&mut loaded)?;
        Ok(begun.redirect)
    }

    /// Takes the answer of an identity provider. Each answer counts once, and only in the browser that asked.
    pub fn callback(
        &self,
        handle: &str,
        provider: &IdentityProviderName,
        parameters: &CallbackParameters,
    ) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(handle)?;
        let upstream = self.allowed(provider, policy)?;
        let (pending, visitor) = match &loaded.transaction.state {
            LoginState::Away {
                provider: asked,
                pending,
            } if asked == provider => (pending.clone(), None),
            LoginState::Linking {
                provider: asked,
                pending,
                visitor,
            } if asked == provider => (pending.clone(), Some(visitor.clone())),
            _ => return Err(Denial::NotUnderWay.into()),
        };
        if !upstream.provider.answers(parameters, &pending) {
            return Err(Denial::NotUnderWay.into());
        }
        // Stored before the answer is verified: of two copies of this request one goes on.
        loaded.transaction.state = LoginState::Choosing;
        loaded.transaction.failed = false;
        self.transactions.advance(&mut loaded)?;
        let identity = upstream
            .finish(parameters, &pending)
            .map_err(|error| denial(provider, &error))?;
        if let Some(visitor) = visitor {
            return self.link_identity(&loaded, provider, &identity, visitor);
        }
        let left_out = self.unusable_claims(upstream, &identity)?;
        let asserted = AssertedIdentity::new(provider, identity, left_out);
        self.admit(loaded, upstream, asserted, None)
    }

    /// Signs a person in with a local name and password. An unknown name answers like a wrong password, and takes as
    /// long.
    pub fn password(&self, handle: &str, username: &str, password: &Secret) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(handle)?;
        if !policy.local_login {
            return Err(Denial::NoLocalLogin.into());
        }
        let is_choosing = matches!(loaded.transaction.state, LoginState::Choosing | LoginState::Away { .. });
        if !is_choosing || username.is_empty() {
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
        if !self.is_password(store, id, password)? {
            loaded.transaction.username = username.chars().take(name::LONGEST).collect();
            return self.count_failure(loaded, policy);
        }
        match user {
            Some(user) if user.is_active() => {
                let authentication = self.authentication((user.store, user.id), None, &["pwd"]);
                self.complete(loaded, policy, authentication)
            }
            _ => Err(Denial::AccountDisabled.into()),
        }
    }

    /// Ends a login that the person cancelled, and returns the request that must be answered.
    pub fn cancel(&self, handle: &str) -> Result<Option<AuthorizationRequest>, FederationError> {
        let ended = self.load(handle).and_then(|(loaded, _)| {
            self.transactions.finish(&loaded)?;
            Ok(loaded.transaction.request)
        });
        match ended {
            Ok(request) => Ok(Some(request)),
            Err(LoginError::Denied(_)) => Ok(None),
            Err(LoginError::Failed(error)) => Err(error),
        }
    }

    /// Ends a login with success.
    pub(crate) fn finish(
        &self,
        loaded: &LoadedTransaction,
        authentication: Authentication,
    ) -> Result<LoginStep, LoginError> {
        let request = &loaded.transaction.request;
        let expected = request.subject.as_ref().filter(|_| request.is_of_ourselves());
        if expected.is_some_and(|expected| *expected != authentication.user) {
            return Err(Denial::AnotherPerson.into());
        }
        self.transactions.finish(loaded)?;
        Ok(LoginStep::Complete(Box::new(request.clone()), authentication))
    }

    pub(crate) fn authentication(
        &self,
        (store, user): (StoreName, ResourceId),
        provider: Option<&IdentityProviderName>,
        amr: &[&str],
    ) -> Authentication {
        Authentication {
            store,
            user,
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            identity_provider: provider.cloned(),
            at: self.directory.clock().now(),
        }
    }

    /// Counts a wrong password or code; too many end the login.
    pub(crate) fn count_failure(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
    ) -> Result<LoginStep, LoginError> {
        loaded.transaction.failures += 1;
        loaded.transaction.failed = true;
        if loaded.transaction.failures >= FAILURES {
            return Err(match self.transactions.finish(&loaded) {
                Err(LoginError::Failed(error)) => error.into(),
                _ => Denial::TooManyAttempts.into(),
            });
        }
        self.transactions.advance(&mut loaded)?;
        Ok(self.show(&loaded, policy))
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

    /// The user of an authentication, if the account exists and is active.
    pub(crate) fn active_user(&self, authentication: &Authentication) -> Result<Option<Resource>, FederationError> {
        let user = self.directory.get(&Kind::USER, &authentication.user, Relations::NONE)?;
        Ok(user.filter(Resource::is_active))
    }

    /// Records the time of a login, and the address that the provider vouched for.
    pub(crate) fn record_login(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        user: &ResourceId,
    ) -> Result<(), FederationError> {
        let link = identity.link(&upstream.settings.name);
        let now = self.directory.clock().now();
        let verified =
            claim_mapping::verified_email(&identity.claims).map(|email| verified_email_fingerprint(user, &email));
        self.database.write(move |connection| {
            links::touch(connection, &link, verified.as_deref(), now).map_err(StorageError::from)
        })?;
        Ok(())
    }

    /// Stores the login in a state, and shows its page.
    pub(crate) fn enter(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        state: LoginState,
    ) -> Result<LoginStep, LoginError> {
        loaded.transaction.failed = false;
        loaded.transaction.wrong = None;
        loaded.transaction.state = state;
        self.transactions.advance(&mut loaded)?;
        Ok(self.show(&loaded, policy))
    }

    /// The page of a login as it is stored.
    pub(crate) fn show(&self, loaded: &LoadedTransaction, policy: &ServiceProviderPolicy) -> LoginStep {
        LoginStep::Show(pages::screen(&self.config, &loaded.transaction, policy))
    }

    /// The login of a handle, and the policy of its application.
    pub(crate) fn load(&self, handle: &str) -> Result<(LoadedTransaction, &ServiceProviderPolicy), LoginError> {
        let loaded = self.transactions.find(handle)?.ok_or(Denial::NotUnderWay)?;
        let policy = self.config.policy(&loaded.transaction.service_provider);
        Ok((loaded, policy.ok_or(Denial::NotUnderWay)?))
    }
}

/// The denial that an identity provider's error leads to.
pub(crate) fn denial(provider: &IdentityProviderName, error: &ProviderError) -> Denial {
    log::warn!("a login through {provider} failed: {}: {error}", error.reason());
    match error {
        ProviderError::Declined => Denial::Declined,
        ProviderError::Unavailable(_) => Denial::ProviderUnavailable,
        error => Denial::BadAnswer { reason: error.reason() },
    }
}
