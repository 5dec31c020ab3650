//! One login as a state machine: choose, go to the identity provider, come back, prove what must be proved, be let in.

use std::sync::Arc;

use url::Url;

use super::account;
use super::claims;
use super::denial::Denial;
use super::mailed;
use super::policy::ServiceProviderPolicy;
use super::provider::{Hint, Identity, ProviderError, Returned};
use super::step::{ByEmail, Choice, Details, Local, Page, Screen, Standing, Step, Wrong};
use super::transaction::{Arriving, Held, Stage, Transaction, Transactions};
use super::upstream::{FrontDoor, Upstream};
use crate::directory::{Directory, DirectoryError};
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{IdentityProviderName, Kind, Link, ResourceId, Secret, ServiceProviderName, StoreName, name};
use crate::storage::{Database, SecretBox, StorageError, links, random};
use crate::userstore::PasswordVerdict;

/// How many wrong passwords end a login.
const FAILURES: u32 = 10;
/// The longest password that is compared, in bytes.
const LONGEST_PASSWORD: usize = 1024;

/// Why a login cannot go on for no fault of the person's.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// The directory's failure.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Our own records' failure.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Others kept writing what this login was about to write.
    #[error("too many logins changed the same account at once")]
    Contended,
    /// The application is not configured here.
    #[error("the service provider {0} is not configured")]
    NoServiceProvider(ServiceProviderName),
}

/// A login that has begun.
pub struct Started {
    /// What the browser keeps, and nobody else.
    pub handle: String,
    /// Where the browser goes at once, if there is nothing to choose; else to the sign-in page.
    pub to: Option<Url>,
}

/// The front door for people. Methods block.
pub struct Federation {
    pub(super) directory: Arc<Directory>,
    pub(super) database: Database,
    pub(super) transactions: Transactions,
    pub(super) door: FrontDoor,
    pub(super) account: ServiceProviderPolicy,
}

impl Federation {
    /// Puts the front door together.
    pub fn new(directory: Arc<Directory>, database: Database, secrets: Arc<SecretBox>, door: FrontDoor) -> Self {
        let clock = directory.clock().clone();
        let transactions = Transactions {
            database: database.clone(),
            secrets,
            clock,
        };
        Self {
            directory,
            database,
            transactions,
            account: account::policy(&door),
            door,
        }
    }

    /// The address under which browsers reach us.
    pub fn public_url(&self) -> &Url {
        &self.door.public_url
    }

    /// What people call an identity provider.
    pub fn display_name(&self, provider: &IdentityProviderName) -> Option<String> {
        self.upstream(provider).map(Upstream::display_name)
    }

    /// Begins a login for an application's request.
    pub fn start(
        &self,
        request: AuthorizationRequest,
        service_provider: &ServiceProviderName,
    ) -> Result<Started, FederationError> {
        let policy = self
            .policy(service_provider)
            .ok_or_else(|| FederationError::NoServiceProvider(service_provider.clone()))?;
        let allowed =
            |name: &IdentityProviderName| policy.identity_providers.contains(name) && self.upstream(name).is_some();
        let only = match (&request.idp_hint, &policy.identity_providers[..]) {
            (Some(hint), _) if allowed(hint) => Some(hint.clone()),
            (_, [one]) if !policy.local_login && allowed(one) => Some(one.clone()),
            _ => request
                .login_hint
                .as_deref()
                .and_then(|hint| self.responsible(hint, policy)),
        };
        let username = request.login_hint.clone().unwrap_or_default();
        let transaction = Transaction {
            request,
            service_provider: service_provider.clone(),
            stage: Stage::Choosing,
            failures: 0,
            failed: false,
            wrong: None,
            username,
        };
        let handle = self.transactions.start(&transaction)?;
        // A provider that is down shows on the page when it is chosen there.
        let to = only.and_then(|provider| self.choose(&handle, &provider).ok()?.ok());
        Ok(Started { handle, to })
    }

    /// The page that the login stands at.
    pub fn view(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        Ok(Step::Show(self.screen(&held.transaction, policy)))
    }

    /// What pages need to know of a login, as long as it stands.
    pub fn under_way(&self, handle: &str) -> Result<Option<Standing>, FederationError> {
        Ok(self
            .held(handle)?
            .map(|(held, policy)| standing(&held.transaction, policy)))
    }

    /// Removes the logins that were not finished in time and the requests that nobody decided on; returns how many.
    pub fn sweep(&self) -> Result<usize, FederationError> {
        Ok(self.transactions.sweep()? + self.sweep_approvals()?)
    }

    /// Sends the person to an identity provider. A second choice takes the place of the first.
    pub fn choose(
        &self,
        handle: &str,
        provider: &IdentityProviderName,
    ) -> Result<Result<Url, Denial>, FederationError> {
        let Some((mut held, policy)) = self.held(handle)? else {
            return Ok(Err(Denial::NotUnderWay));
        };
        let upstream = match self.allowed(provider, policy) {
            Ok(upstream) => upstream,
            Err(denial) => return Ok(Err(denial)),
        };
        let hint = Hint {
            login: held.transaction.request.login_hint.clone(),
            reauthenticate: held.transaction.request.reauthenticate,
        };
        let (url, pending) = match upstream.provider.begin(&self.callback_url(provider), &hint) {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(refusal(provider, &error))),
        };
        held.transaction.stage = Stage::Away {
            provider: provider.clone(),
            pending,
        };
        Ok(if self.transactions.advance(&mut held)? {
            Ok(url)
        } else {
            Err(Denial::NotUnderWay)
        })
    }

    /// The browser comes back from an identity provider. Each answer counts once, and only in the browser that asked.
    pub fn callback(
        &self,
        handle: &str,
        provider: &IdentityProviderName,
        returned: &Returned,
    ) -> Result<Step, FederationError> {
        let Some((mut held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        let upstream = match self.allowed(provider, policy) {
            Ok(upstream) => upstream,
            Err(denial) => return Ok(Step::Refused(denial)),
        };
        let (pending, visitor) = match &held.transaction.stage {
            Stage::Away {
                provider: asked,
                pending,
            } if asked == provider => (pending.clone(), None),
            Stage::Linking {
                provider: asked,
                pending,
                visitor,
            } if asked == provider => (pending.clone(), Some(visitor.clone())),
            _ => return Ok(Step::Refused(Denial::NotUnderWay)),
        };
        if !returned
            .state
            .as_deref()
            .is_some_and(|state| random::equal(state, &pending.state))
        {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        // Used up before it is acted upon: of two copies of this request one goes on.
        held.transaction.stage = Stage::Choosing;
        held.transaction.failed = false;
        if !self.transactions.advance(&mut held)? {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        match (upstream.provider.finish(returned, &pending), visitor) {
            (Ok(identity), Some(visitor)) => self.link_identity(&held, provider, &identity, visitor),
            (Ok(identity), None) => self.admit(held, upstream, Arriving::new(provider, identity), None),
            (Err(error), _) => Ok(Step::Refused(refusal(provider, &error))),
        }
    }

    /// Signs a person in with a local name and password. What was wrong is not told, and takes as long.
    pub fn password(&self, handle: &str, username: &str, password: &Secret) -> Result<Step, FederationError> {
        let Some((mut held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        if !policy.local_login {
            return Ok(Step::Refused(Denial::NoLocalLogin));
        }
        if !matches!(held.transaction.stage, Stage::Choosing | Stage::Away { .. }) || username.is_empty() {
            return Ok(Step::Show(self.screen(&held.transaction, policy)));
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
            held.transaction.username = username.chars().take(name::LONGEST).collect();
            return self.failed(held, policy);
        }
        match user {
            Some(user) if user.is_active() => {
                let authentication = self.authentication((user.store, user.id), None, &["pwd"]);
                self.complete(held, policy, authentication)
            }
            _ => Ok(Step::Refused(Denial::AccountDisabled)),
        }
    }

    /// Ends a login that the person gave up, and gives the request that must be answered.
    pub fn cancel(&self, handle: &str) -> Result<Option<AuthorizationRequest>, FederationError> {
        let Some((held, _)) = self.held(handle)? else {
            return Ok(None);
        };
        Ok(self.transactions.finish(&held)?.then_some(held.transaction.request))
    }

    /// Ends a login; `false` if another step came first.
    pub(super) fn finish(&self, held: &Held, authentication: Authentication) -> Result<Step, FederationError> {
        let request = &held.transaction.request;
        let expected = request.subject.as_ref().filter(|_| request.is_of_ourselves());
        if expected.is_some_and(|expected| *expected != authentication.user) {
            return Ok(Step::Refused(Denial::AnotherPerson));
        }
        if !self.transactions.finish(held)? {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        Ok(Step::Complete(Box::new(request.clone()), authentication))
    }

    pub(super) fn authentication(
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

    /// Notes a wrong password; too many end the login.
    pub(super) fn failed(&self, mut held: Held, policy: &ServiceProviderPolicy) -> Result<Step, FederationError> {
        held.transaction.failures += 1;
        held.transaction.failed = true;
        if held.transaction.failures >= FAILURES {
            self.transactions.finish(&held)?;
            return Ok(Step::Refused(Denial::TooManyAttempts));
        }
        if !self.transactions.advance(&mut held)? {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        Ok(Step::Show(self.screen(&held.transaction, policy)))
    }

    /// Whether it is the password. A locked account answers as with a wrong one.
    pub(super) fn is_password(
        &self,
        store: &StoreName,
        id: Option<&ResourceId>,
        password: &Secret,
    ) -> Result<bool, FederationError> {
        if password.expose().len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let verdict = self.directory.verify_password(store, id, password)?;
        Ok(verdict == PasswordVerdict::Right && id.is_some())
    }

    pub(super) fn note_login(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        user: &ResourceId,
    ) -> Result<(), FederationError> {
        let link = Link {
            identity_provider: upstream.settings.name.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
        };
        let now = self.directory.clock().now();
        let verified = claims::verified_email(&identity.claims).map(|email| mailed::fingerprint(user, &email));
        self.database.write(move |connection| {
            links::touch(connection, &link, verified.as_deref(), now).map_err(StorageError::from)
        })?;
        Ok(())
    }

    pub(super) fn screen(&self, transaction: &Transaction, policy: &ServiceProviderPolicy) -> Screen {
        Screen {
            standing: standing(transaction, policy),
            page: self.page(transaction, policy),
        }
    }

    fn page(&self, transaction: &Transaction, policy: &ServiceProviderPolicy) -> Page {
        if let Some(page) = self.factor_page(transaction) {
            return Page::SecondFactor(page);
        }
        let failed = transaction.failed;
        match &transaction.stage {
            Stage::Proving { arriving, username, .. } => {
                return Page::LinkProof {
                    provider: self.called(&arriving.provider),
                    username: username.clone(),
                    may_rename: self.mode(&arriving.provider, policy).asks_username(),
                    failed,
                };
            }
            Stage::Asking { arriving, questions } => {
                return Page::Details(Box::new(Details {
                    provider: self.called(&arriving.provider),
                    known: self.known(arriving),
                    questions: questions.clone(),
                }));
            }
            Stage::Waiting { provider, reference } => {
                return Page::Waiting {
                    provider: self.called(provider),
                    reference: reference.clone(),
                };
            }
            _ => {}
        }
        let choice = |name: &IdentityProviderName| {
            Some(Choice {
                name: name.clone(),
                display_name: self.display_name(name)?,
            })
        };
        let local = policy.local_login.then(|| Local {
            username: transaction.username.clone(),
            failed,
        });
        let providers: Vec<Choice> = policy.identity_providers.iter().filter_map(choice).collect();
        let has_domains = |name: &IdentityProviderName| {
            self.upstream(name)
                .is_some_and(|upstream| !upstream.settings.trusted_email_domains.is_empty())
        };
        let asks_address = providers.len() > 1 && policy.identity_providers.iter().any(has_domains);
        Page::SignIn {
            providers,
            by_email: asks_address.then(|| ByEmail {
                address: Some(&transaction.username)
                    .filter(|name| name.contains('@'))
                    .cloned()
                    .unwrap_or_default(),
                is_unknown: transaction.wrong == Some(Wrong::Address),
            }),
            local,
        }
    }

    pub(super) fn held(&self, handle: &str) -> Result<Option<(Held, &ServiceProviderPolicy)>, FederationError> {
        let held = self.transactions.find(handle)?;
        Ok(held.and_then(|held| {
            let policy = self.policy(&held.transaction.service_provider)?;
            Some((held, policy))
        }))
    }

    pub(super) fn policy(&self, name: &ServiceProviderName) -> Option<&ServiceProviderPolicy> {
        if *name == ServiceProviderName::RESIDENT {
            return Some(&self.account);
        }
        self.door.service_providers.iter().find(|policy| policy.name == *name)
    }

    /// What people call an application; its name if it is configured no more.
    pub(super) fn application(&self, name: &ServiceProviderName) -> String {
        let policy = self.policy(name);
        policy.map_or_else(|| name.to_string(), |policy| policy.display_name.clone())
    }

    pub(super) fn upstream(&self, name: &IdentityProviderName) -> Option<&Upstream> {
        self.door
            .upstreams
            .iter()
            .find(|upstream| upstream.settings.name == *name)
    }

    pub(super) fn allowed(
        &self,
        name: &IdentityProviderName,
        policy: &ServiceProviderPolicy,
    ) -> Result<&Upstream, Denial> {
        let upstream = self.upstream(name).ok_or(Denial::UnknownProvider)?;
        if policy.identity_providers.contains(name) {
            Ok(upstream)
        } else {
            Err(Denial::ProviderNotAllowed)
        }
    }

    /// One path per provider, so that the answer of one cannot pass for another's.
    pub(super) fn callback_url(&self, provider: &IdentityProviderName) -> Url {
        let mut url = self.door.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["federation", provider.as_str(), "callback"]);
        }
        url
    }
}

fn standing(transaction: &Transaction, policy: &ServiceProviderPolicy) -> Standing {
    Standing {
        application: policy.display_name.clone(),
        ui_locales: transaction.request.ui_locales.clone(),
    }
}

pub(super) fn refusal(provider: &IdentityProviderName, error: &ProviderError) -> Denial {
    log::warn!("a login through {provider} failed: {}: {error}", error.reason());
    match error {
        ProviderError::Declined => Denial::Declined,
        ProviderError::Unavailable(_) => Denial::ProviderUnavailable,
        error => Denial::BadAnswer { reason: error.reason() },
    }
}
