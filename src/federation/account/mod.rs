//! The account page: what people see of their own account, and what they change of it themselves.
//!
//! Seeing takes a session. Changing takes a login of the last minutes, with the second factor of whoever has one.

mod consents;
mod error;
mod identities;
mod password;
mod profile;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

pub use consents::GivenConsent;
pub use identities::{Away, LinkedIdentity};
pub use profile::{Entry, Owner};
pub use sessions::{Ending, OpenSession};

use super::error::FederationError;
use super::login::step::Choice;
use super::login::transaction::{LoginState, Transaction};
use super::login::visitor::Visitor;
use super::login::{Login, Started};
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{Actor, Change, Companion, Operation, Principal, Resource, ServiceProviderName};
use crate::storage::{StorageError, consents as receipts, factors, links, sessions as opened};
pub use error::{AccountError, Complaint};

/// How long after a login its person may change what matters.
const FRESH: Duration = Duration::from_mins(10);

/// An account as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Its name.
    pub username: String,
    /// Whether the login is of the last minutes: only then anything can be changed.
    pub is_fresh: bool,
    /// What is known of the person.
    pub profile: Vec<Entry>,
    /// The identities that they enter with.
    pub identities: Vec<LinkedIdentity>,
    /// Where they could have another.
    pub providers: Vec<Choice>,
    /// Whether there is a password.
    pub has_password: bool,
    /// Whether there is an authenticator.
    pub has_authenticator: bool,
    /// How many recovery codes are left.
    pub recovery_codes: usize,
    /// What they agreed to.
    pub consents: Vec<GivenConsent>,
    /// Where they are signed in.
    pub sessions: Vec<OpenSession>,
}

/// What people do with their own account. Methods block.
pub struct Account {
    login: Arc<Login>,
}

impl Account {
    pub(crate) fn new(login: Arc<Login>) -> Self {
        Self { login }
    }

    /// Begins a login to the account page: as anybody, or once more as whoever has come before.
    pub fn start(&self, visitor: Option<&Visitor>) -> Result<Started, FederationError> {
        let subject = visitor.map(|visitor| visitor.authentication.user.clone());
        let page = self.account_page();
        self.login.start(
            AuthorizationRequest::of_ourselves(page, subject),
            &ServiceProviderName::RESIDENT,
        )
    }

    /// What a person sees of their account. None if it is gone.
    pub fn view(&self, visitor: &Visitor) -> Result<Option<AccountView>, FederationError> {
        let Some(user) = self.login.active_user(&visitor.authentication)? else {
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
        let providers = self.login.config.upstreams.iter().map(|upstream| Choice {
            name: upstream.settings.name.clone(),
            display_name: upstream.display_name(),
        });
        Ok(Some(AccountView {
            username: user.document.attributes()["userName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            is_fresh: self.is_fresh(visitor)?,
            profile: self.profile(&user),
            identities: linked.into_iter().map(|record| self.identity(record)).collect(),
            providers: providers.collect(),
            has_password: self.login.directory.has_password(&user.store, &user.id)?,
            has_authenticator: self.has_authenticator(visitor)?,
            recovery_codes: usize::try_from(codes).unwrap_or_default(),
            consents: self.given(given),
            sessions: open
                .into_iter()
                .map(|record| self.open_session(record, visitor))
                .collect(),
        }))
    }

    /// The user, if the person may change the account now.
    fn changeable(&self, visitor: &Visitor) -> Result<Resource, AccountError> {
        if !self.is_fresh(visitor)? {
            return Err(Complaint::NotFresh.into());
        }
        let user = self.login.active_user(&visitor.authentication)?;
        Ok(user.ok_or(Complaint::Outdated)?)
    }

    fn is_fresh(&self, visitor: &Visitor) -> Result<bool, FederationError> {
        let Authentication { at, amr, .. } = &visitor.authentication;
        let proved = amr.iter().any(|method| method == "mfa");
        let is_recent = at.plus(FRESH) >= self.login.directory.clock().now();
        Ok(is_recent && (proved || !self.has_authenticator(visitor)?))
    }

    fn has_authenticator(&self, visitor: &Visitor) -> Result<bool, FederationError> {
        Ok(self
            .login
            .second_factors
            .has_authenticator(&visitor.authentication.user)?)
    }

    /// Begins a login of ours at a stage of its own.
    fn begin_login(&self, visitor: &Visitor, state: LoginState) -> Result<String, FederationError> {
        let subject = Some(visitor.authentication.user.clone());
        let transaction = Transaction {
            request: AuthorizationRequest::of_ourselves(self.account_page(), subject),
            service_provider: ServiceProviderName::RESIDENT,
            state,
            failures: 0,
            failed: false,
            wrong: None,
            username: String::new(),
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

/// A change that a person makes of their own account.
fn own_change(operation: Operation, companions: Vec<Companion>) -> Change {
    Change {
        actor: own_actor(),
        operation,
        companions,
    }
}
