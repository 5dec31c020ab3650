//! One login as a state machine: choose a provider, go there, come back, prove what must be proved, be admitted.

mod account_proof;
pub mod browser;
mod codes;
pub(crate) mod email_code;
pub mod entry;
mod freshness;
mod home_realm;
mod linking;
pub(crate) mod local_password;
mod logout;
mod pages;
mod prompts;
mod refusals;
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
use super::idp::provider::{CallbackParameters, Identity, ProviderError};
use super::jit::approval::Approvals;
use super::jit::claim_mapping;
use super::jit::denial::Denial;
use super::jit::entry::accepts_store;
use super::jit::policy::ServiceProviderPolicy;
use super::jit::unusable_claims::IgnoredClaims;
use crate::directory::Directory;
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{IdentityProviderName, Kind, Relations, Resource, ResourceId, ServiceProviderName, StoreName};
use crate::storage::{
    Database, SecretBox, SqlConnection, StorageError, credential_versions, known_browsers, links, mail_codes, random,
    removals, sessions, sweep,
};
use browser::Browser;
use email_code::EmailCodes;
use linking::Arrived;
use second_factor::SecondFactors;
use step::LoginStep;
use transaction::{AssertedIdentity, LoadedTransaction, LoginState, Transaction, Transactions};

/// The number of wrong passwords or codes that ends a login.
const FAILURES: u32 = 10;

/// A login that has begun.
pub struct StartedLogin {
    /// The secret that the browser keeps.
    pub handle: String,
    /// The identity provider to go to at once ([`Login::send_to`]), if there is nothing to choose; `None` shows the page of
    /// the login.
    pub to: Option<IdentityProviderName>,
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
            username,
            ..Transaction::new(request, service_provider.clone(), LoginState::Choosing)
        };
        let handle = self.transactions.start(&transaction)?;
        Ok(StartedLogin { handle, to: only })
    }

    /// The page that a login is at.
    pub fn view<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        Ok(self.show(&loaded, policy))
    }

    /// Removes the logins that were not finished in time, and browsers that were not used for long; returns how many.
    pub fn sweep(&self) -> Result<usize, StorageError> {
        let now = self.directory.clock().now();
        let forget =
            move |connection: &mut SqlConnection, limit| known_browsers::delete_expired(connection, now, limit);
        Ok(self.transactions.sweep()? + sweep::in_steps(&self.database, forget)?)
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
    pub fn choose<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
        provider: &IdentityProviderName,
    ) -> Result<Url, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        self.begin_at(loaded, policy, provider)
    }

    /// Like [`Login::choose`], for a login that has just been started here. A provider that is down is reported once the
    /// person chooses it on the page.
    pub fn send_to(&self, handle: &str, provider: &IdentityProviderName) -> Result<Url, LoginError> {
        let loaded = self.transactions.find(handle)?.ok_or(Denial::NotUnderWay)?;
        let policy = self.config.policy(&loaded.transaction.service_provider);
        self.begin_at(loaded, policy.ok_or(Denial::NotUnderWay)?, provider)
    }

    fn begin_at(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        provider: &IdentityProviderName,
    ) -> Result<Url, LoginError> {
        let upstream = self.allowed(provider, policy)?;
        let linking = loaded.transaction.linking.take();
        loaded.transaction.linking = linking.filter(|linking| linking.proofs.providers.contains(provider));
        let mut hint = self.hint(&loaded.transaction.request);
        // A proof of the account: the person may have to sign in there as somebody else than a moment ago.
        hint.reauthenticate |= loaded.transaction.linking.is_some();
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

    /// Finds the login of a browser that an answer of an identity provider belongs to.
    pub fn answered(
        &self,
        handles: &[String],
        provider: &IdentityProviderName,
        parameters: &CallbackParameters,
    ) -> Result<Option<String>, LoginError> {
        let Some(upstream) = self.config.upstream(provider) else {
            return Ok(None);
        };
        for handle in handles {
            let loaded = self.transactions.find(handle)?;
            let pending = loaded.as_ref().and_then(|loaded| loaded.transaction.pending(provider));
            if pending.is_some_and(|(pending, _)| upstream.provider.answers(parameters, pending)) {
                return Ok(Some(handle.clone()));
            }
        }
        Ok(None)
    }

    /// Takes the answer of an identity provider. Each answer counts once, and only in the browser that asked.
    pub fn callback<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
        provider: &IdentityProviderName,
        parameters: &CallbackParameters,
    ) -> Result<LoginStep, LoginError> {
        let (mut loaded, policy) = self.load(browser)?;
        let upstream = self.allowed(provider, policy)?;
        let (pending, visitor) = loaded.transaction.pending(provider).ok_or(Denial::NotUnderWay)?;
        let (pending, visitor) = (pending.clone(), visitor.cloned());
        if !upstream.provider.answers(parameters, &pending) {
            return Err(Denial::NotUnderWay.into());
        }
        // Stored before the answer is verified: of two copies of this request one goes on.
        loaded.transaction.state = match loaded.transaction.linking {
            // Until the account is proved, the page tells of the identity that waits to be linked.
            Some(_) => LoginState::Proving,
            None => LoginState::Choosing,
        };
        loaded.transaction.failed = false;
        self.transactions.advance(&mut loaded)?;
        let identity = upstream
            .finish(parameters, &pending)
            .map_err(|error| denial(provider, &error))?;
        if let Some(visitor) = visitor {
            let identity = &identity;
            return self.link_identity(loaded, policy, &Arrived { upstream, identity }, visitor);
        }
        if loaded.transaction.linking.is_some() {
            return self.prove_by_identity(loaded, policy, provider, &identity);
        }
        let left_out = self.unusable_claims(upstream, &identity)?;
        let asserted = AssertedIdentity {
            authenticated_at: self.authenticated_at(upstream, &identity, &loaded.transaction.request),
            ..AssertedIdentity::new(provider, identity, left_out)
        };
        self.admit(loaded, upstream, asserted, None)
    }

    /// Ends a login that the person cancelled, and returns the request that must be answered.
    pub fn cancel<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<Option<AuthorizationRequest>, FederationError> {
        let ended = self.load(browser).and_then(|(loaded, _)| {
            self.transactions.finish(&loaded)?;
            Ok(loaded.transaction.request)
        });
        match ended {
            Ok(request) => Ok(Some(request)),
            Err(LoginError::Denied(..)) => Ok(None),
            Err(LoginError::Failed(error)) => Err(error),
        }
    }

    /// Ends a login with success, if the person may enter at this moment. Where an identity is to be linked to the
    /// account, that comes first.
    pub(crate) fn finish(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
    ) -> Result<LoginStep, LoginError> {
        let user = self.active_user(&authentication)?.ok_or(Denial::AccountDisabled)?;
        if !accepts_store(policy, &user.store) {
            return Err(Denial::OtherStore.into());
        }
        if let Some(provider) = &authentication.identity_provider
            && self.is_removed(provider)?
        {
            return Err(Denial::UnknownProvider.into());
        }
        if let Some(linking) = loaded.transaction.linking.clone() {
            return self.link_proved(loaded, policy, linking, authentication);
        }
        let request = &loaded.transaction.request;
        let expected = request.subject.as_ref().filter(|_| request.is_of_ourselves());
        if expected.is_some_and(|expected| *expected != authentication.user) {
            return Err(Denial::AnotherPerson.into());
        }
        self.transactions.finish(&loaded)?;
        Ok(LoginStep::Complete(Box::new(request.clone()), authentication))
    }

    /// Returns the login of a person who has just proved who they are.
    pub(crate) fn authentication(
        &self,
        (store, user): (StoreName, ResourceId),
        provider: Option<&IdentityProviderName>,
        amr: &[&str],
    ) -> Result<Authentication, FederationError> {
        let now = self.directory.clock().now();
        Ok(Authentication {
            credentials: self.credentials(&user)?,
            store,
            user,
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            identity_provider: provider.cloned(),
            at: now,
            authenticated_at: Some(now),
            provider_token: None,
        })
    }

    /// The version of a user's credentials.
    pub(crate) fn credentials(&self, user: &ResourceId) -> Result<i64, StorageError> {
        self.database
            .read::<_, StorageError>(|connection| credential_versions::current(connection, user))
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

    /// The user of an authentication, if the account exists and is active and the identity provider is still configured.
    pub(crate) fn active_user(&self, authentication: &Authentication) -> Result<Option<Resource>, FederationError> {
        let provider = authentication.identity_provider.as_ref();
        if provider.is_some_and(|provider| self.config.upstream(provider).is_none()) {
            return Ok(None);
        }
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
            claim_mapping::verified_email(&identity.claims).map(|email| mail_codes::address_fingerprint(user, &email));
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
        let mut screen = pages::screen(&self.config, &loaded.transaction, policy);
        // A removed provider is refused anyway, so that one too many here does no harm.
        screen
            .page
            .leave_out(|provider| self.is_removed(provider).unwrap_or(false));
        LoginStep::Show(screen)
    }

    /// The login of a browser, and the policy of its application. A login that continues a session goes on only in the
    /// browser of that session while it is open, and none goes on after the account's credentials have changed.
    pub(crate) fn load<'a>(
        &self,
        browser: impl Into<Browser<'a>>,
    ) -> Result<(LoadedTransaction, &ServiceProviderPolicy), LoginError> {
        let browser = browser.into();
        let loaded = self.transactions.find(browser.handle)?.ok_or(Denial::NotUnderWay)?;
        self.check_session(&loaded.transaction, browser)?;
        if let Some((user, proved)) = loaded.transaction.proved_account() {
            let found = self.directory.get(&Kind::USER, user, Relations::NONE)?;
            if !found.is_some_and(|user| user.is_active()) {
                return Err(Denial::AccountDisabled.into());
            }
            if self.credentials(user)? != proved {
                return Err(Denial::NotUnderWay.into());
            }
        }
        // Proofs that were given earlier in the login: by a code to an address, and through an identity provider.
        if let Some((user, address)) = &loaded.transaction.mailed
            && !self.is_mailed_to(user, address)?
        {
            return Err(Denial::NotUnderWay.into());
        }
        if let Some(provider) = loaded.transaction.proved_through()
            && (self.config.upstream(provider).is_none() || self.is_removed(provider)?)
        {
            return Err(Denial::UnknownProvider.into());
        }
        let policy = self.config.policy(&loaded.transaction.service_provider);
        Ok((loaded, policy.ok_or(Denial::NotUnderWay)?))
    }
}

impl Login {
    /// Refuses a step in another browser than that of the session that the login continues, or after its end.
    fn check_session(&self, transaction: &Transaction, browser: Browser<'_>) -> Result<(), LoginError> {
        let Some(bound) = &transaction.session else {
            return Ok(());
        };
        let session = browser.session.map(random::fingerprint);
        if session.as_ref().is_none_or(|session| !random::equal(session, bound)) {
            return Err(Denial::NotUnderWay.into());
        }
        let now = self.directory.clock().now();
        let open = self
            .database
            .read::<_, StorageError>(|connection| sessions::find(connection, bound, now))?;
        open.map(|_| ()).ok_or_else(|| Denial::NotUnderWay.into())
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
