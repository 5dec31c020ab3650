//! The account page: people see their own account and change parts of it.
//!
//! Viewing needs a session. Changes need a login of the last minutes, with the second factor if the person has one.

mod consents;
mod error;
mod identities;
mod password;
mod profile;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use consents::GivenConsent;
pub(crate) use identities::{LinkedIdentity, LinkingRedirect};
pub use password::PasswordForm;
pub use profile::Owner;
pub(crate) use profile::ProfileValue;
pub use sessions::{OpenSession, SessionSelection};

use super::error::FederationError;
use super::login::step::ProviderOption;
use super::login::transaction::{LoginState, Transaction};
use super::login::visitor::SignedInUser;
use super::login::{Login, StartedLogin};
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{Actor, Change, Operation, Principal, Resource, ServiceProviderName, SideRecord};
use crate::storage::{StorageError, consents as receipts, factors, links, sessions as opened};
pub use error::{AccountError, AccountProblem};

/// Time after a login in which the person may change the account.
const FRESH: Duration = Duration::from_mins(10);

/// An account as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its user name.
    pub username: String,
    /// Whether the login is recent enough for changes.
    pub is_fresh: bool,
    /// The profile of the person.
    pub profile: Vec<ProfileValue>,
    /// The linked identities.
    pub identities: Vec<LinkedIdentity>,
    /// The identity providers where another identity can be linked.
    pub providers: Vec<ProviderOption>,
    /// Whether there is a password; `None` if people may not set one.
    pub has_password: Option<bool>,
    /// The least number of characters of a password.
    pub shortest_password: usize,
    /// Whether there is an authenticator.
    pub has_authenticator: bool,
    /// Number of unused recovery codes.
    pub recovery_codes: usize,
    /// The consents of the person.
    pub consents: Vec<GivenConsent>,
    /// The open sessions.
    pub sessions: Vec<OpenSession>,
}

/// The operations of people on their own account. Methods block.
pub struct Account {
    login: Arc<Login>,
}

impl Account {
    pub(crate) fn new(login: Arc<Login>) -> Self {
        Self { login }
    }

    /// Begins a login to the account page, for anyone or again for a known visitor.
    pub fn start(&self, visitor: Option<&SignedInUser>) -> Result<StartedLogin, FederationError> {
        let subject = visitor.map(|visitor| visitor.authentication.user.clone());
        let page = self.account_page();
        self.login.start(
            AuthorizationRequest::of_ourselves(page, subject),
            &ServiceProviderName::RESIDENT,
        )
    }

    /// Returns an account as its person sees it. `None` if it does not exist, is disabled, or the session came by an identity
    /// that counts no more.
    pub fn view(&self, visitor: &SignedInUser) -> Result<Option<AccountView>, FederationError> {
        let is_open = self.login.is_way_open(&visitor.authentication)?;
        let user = self.login.active_user(&visitor.authentication)?;
        let Some(user) = user.filter(|_| is_open) else {
            return Ok(None);
        };
        let now = self.login.directory.clock().now();
        let (linked, codes, given, open) = self.login.database.read::<_, StorageError>(|connection| {
            Ok((
                links::of_user(connection, &user.id)?,
                factors::recovery_codes_left(connection, &user.id)?,
                receipts::of_user(connection, &user.id)?,
                opened::of_user(connection, &user.id, now)?,
            ))
        })?;
        let may_link = self.login.config.account.linking;
        let mut providers = Vec::new();
        for upstream in self.login.config.upstreams.iter().filter(|_| may_link) {
            if !self.login.is_removed(&upstream.settings.name)? {
                providers.push(ProviderOption {
                    name: upstream.settings.name.clone(),
                    display_name: upstream.display_name(),
                });
            }
        }
        Ok(Some(AccountView {
            username: user.document.attributes()["userName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            is_fresh: self.is_fresh(visitor)?,
            profile: self.profile(&user),
            identities: linked.into_iter().map(|record| self.identity(record)).collect(),
            providers,
            has_password: self.has_password(&user)?,
            shortest_password: self.login.config.passwords.min_length,
            has_authenticator: self.has_authenticator(visitor)?,
            recovery_codes: usize::try_from(codes).unwrap_or_default(),
            consents: self.given(given),
            sessions: open
                .into_iter()
                .map(|record| self.open_session(record, visitor))
                .collect(),
        }))
    }

    fn has_password(&self, user: &Resource) -> Result<Option<bool>, FederationError> {
        if !self.login.config.account.passwords {
            return Ok(None);
        }
        Ok(Some(self.login.directory.has_password(&user.store, &user.id)?))
    }

    /// The user, if the person may change the account now.
    fn changeable(&self, visitor: &SignedInUser) -> Result<Resource, AccountError> {
        let user = self.login.active_user(&visitor.authentication)?;
        let user = user.ok_or(AccountProblem::Outdated)?;
        if !self.is_fresh(visitor)? || !self.login.is_way_open(&visitor.authentication)? {
            return Err(AccountProblem::NotFresh.into());
        }
        Ok(user)
    }

    fn is_fresh(&self, visitor: &SignedInUser) -> Result<bool, FederationError> {
        let Authentication {
            at,
            amr,
            user,
            credentials,
            ..
        } = &visitor.authentication;
        let proved = amr.iter().any(|method| method == "mfa");
        let is_recent = at.plus(FRESH) >= self.login.directory.clock().now();
        let is_current = self.login.credentials(user)? == *credentials;
        Ok(is_recent && is_current && (proved || !self.has_authenticator(visitor)?))
    }

    fn has_authenticator(&self, visitor: &SignedInUser) -> Result<bool, FederationError> {
        Ok(self
            .login
            .second_factors
            .has_authenticator(&visitor.authentication.user)?)
    }

    /// Begins a login to the account page at a given stage.
    fn begin_login(&self, visitor: &SignedInUser, state: LoginState) -> Result<String, FederationError> {
        let subject = Some(visitor.authentication.user.clone());
        let request = AuthorizationRequest::of_ourselves(self.account_page(), subject);
        let transaction = Transaction {
            session: Some(visitor.session.clone()),
            ..Transaction::new(request, ServiceProviderName::RESIDENT, state)
        };
        Ok(self.login.transactions.start(&transaction)?)
    }

    fn account_page(&self) -> String {
        format!("{}/account", self.login.public_url().as_str().trim_end_matches('/'))
    }
}

fn own_actor() -> Actor {
    Actor {
        principal: Principal::Person,
        service_provider: ServiceProviderName::RESIDENT,
    }
}

/// Returns a change that a person makes to their own account.
fn own_change(operation: Operation, side_records: Vec<SideRecord>) -> Change {
    Change {
        actor: own_actor(),
        operation,
        side_records,
    }
}
