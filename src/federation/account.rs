//! The account page: what people see of their own account, and what they change of it themselves.
//!
//! Seeing takes a session. Changing takes a login of the last minutes, with the second factor of whoever has one.

mod consents;
mod identities;
mod password;
mod profile;
mod sessions;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use consents::GivenConsent;
pub use identities::{Away, LinkedIdentity};
pub use profile::{Entry, Owner};
pub use sessions::{Ending, OpenSession};

use super::login::{Federation, FederationError, Started};
use super::policy::{JitMode, SecondFactor, ServiceProviderPolicy};
use super::step::Choice;
use super::transaction::{Stage, Transaction};
use super::upstream::FrontDoor;
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::password::PasswordDefect;
use crate::domain::{Actor, Change, Companion, Kind, Operation, Principal, Relations, Resource, ServiceProviderName};
use crate::storage::factors::{self, TOTP};
use crate::storage::{StorageError, consents as receipts, links, sessions as opened};

/// How long after a login its person may change what matters.
const FRESH: Duration = Duration::from_mins(10);

/// Whoever looks at their account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// The login that they came by.
    pub authentication: Authentication,
    /// The hash of their session's cookie.
    pub session: String,
}

/// An account as its person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
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

/// Why an account is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The last login is too long ago.
    NotFresh,
    /// The account has changed meanwhile, or is gone.
    Outdated,
    /// Nobody could enter any more.
    LastWayIn,
    /// That is not the password.
    WrongPassword,
    /// The new password will not do.
    Password(PasswordDefect),
    /// The two new ones differ.
    PasswordsDiffer,
    /// A value does not fit.
    Unfit,
    /// It cannot be changed here.
    Impossible,
}

/// What a change of an account came to.
pub type Changed<T = ()> = Result<Result<T, Complaint>, FederationError>;

/// The front door as the account page is behind it: every way in that there is, and no new accounts.
pub(super) fn policy(door: &FrontDoor) -> ServiceProviderPolicy {
    ServiceProviderPolicy {
        name: ServiceProviderName::RESIDENT,
        display_name: String::new(),
        identity_providers: door
            .upstreams
            .iter()
            .map(|upstream| upstream.settings.name.clone())
            .collect(),
        local_login: door.service_providers.iter().any(|policy| policy.local_login),
        inbound_userstore: None,
        jit_mode: Some(JitMode::Off),
        purposes: Vec::new(),
        mfa: SecondFactor::None,
    }
}

impl Federation {
    /// Begins a login to the account page: as anybody, or once more as whoever has come before.
    pub fn start_for_account(&self, visitor: Option<&Visitor>) -> Result<Started, FederationError> {
        let subject = visitor.map(|visitor| visitor.authentication.user.clone());
        let page = self.account_page();
        self.start(
            AuthorizationRequest::of_ourselves(page, subject),
            &ServiceProviderName::RESIDENT,
        )
    }

    /// What a person sees of their account. None if it is gone.
    pub fn account(&self, visitor: &Visitor) -> Result<Option<Account>, FederationError> {
        let Some(user) = self.owned(visitor)? else {
            return Ok(None);
        };
        let now = self.directory.clock().now();
        let (linked, codes, given, open) = self.database.read::<_, StorageError>(|connection| {
            Ok((
                links::of_user(connection, &user.id)?,
                factors::recovery_codes_left(connection, &user.id)?,
                receipts::of_user(connection, &user.id)?,
                opened::of_user(connection, &user.id, now)?,
            ))
        })?;
        let providers = self.door.upstreams.iter().map(|upstream| Choice {
            name: upstream.settings.name.clone(),
            display_name: upstream.display_name(),
        });
        Ok(Some(Account {
            username: user.document.attributes()["userName"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            is_fresh: self.is_fresh(visitor)?,
            profile: self.profile(&user),
            identities: linked.into_iter().map(|record| self.identity(record)).collect(),
            providers: providers.collect(),
            has_password: self.directory.has_password(&user.store, &user.id)?,
            has_authenticator: self.has_authenticator(visitor)?,
            recovery_codes: usize::try_from(codes).unwrap_or_default(),
            consents: self.given(given),
            sessions: open
                .into_iter()
                .map(|record| self.open_session(record, visitor))
                .collect(),
        }))
    }

    /// The account, if it is there and its person may enter.
    fn owned(&self, visitor: &Visitor) -> Result<Option<Resource>, FederationError> {
        let user = self
            .directory
            .get(&Kind::USER, &visitor.authentication.user, Relations::NONE)?;
        Ok(user.filter(Resource::is_active))
    }

    /// The account, if its person may change it now.
    fn changeable(&self, visitor: &Visitor) -> Changed<Resource> {
        if !self.is_fresh(visitor)? {
            return Ok(Err(Complaint::NotFresh));
        }
        Ok(self.owned(visitor)?.ok_or(Complaint::Outdated))
    }

    fn is_fresh(&self, visitor: &Visitor) -> Result<bool, FederationError> {
        let Authentication { at, amr, .. } = &visitor.authentication;
        let proved = amr.iter().any(|method| method == "mfa");
        let is_recent = at.plus(FRESH) >= self.directory.clock().now();
        Ok(is_recent && (proved || !self.has_authenticator(visitor)?))
    }

    fn has_authenticator(&self, visitor: &Visitor) -> Result<bool, FederationError> {
        let user = &visitor.authentication.user;
        Ok(self
            .database
            .read::<_, StorageError>(|connection| factors::has(connection, user, TOTP))?)
    }

    /// Begins a login of ours at a stage of its own.
    fn stand_for_account(&self, visitor: &Visitor, stage: Stage) -> Result<String, FederationError> {
        let subject = Some(visitor.authentication.user.clone());
        let transaction = Transaction {
            request: AuthorizationRequest::of_ourselves(self.account_page(), subject),
            service_provider: ServiceProviderName::RESIDENT,
            stage,
            failures: 0,
            failed: false,
            wrong: None,
            username: String::new(),
        };
        Ok(self.transactions.start(&transaction)?)
    }

    fn account_page(&self) -> String {
        format!("{}/account", self.public_url().as_str().trim_end_matches('/'))
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
