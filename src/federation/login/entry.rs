//! Whether a session may enter an application now, and the step that it needs otherwise.

use std::time::Duration;

use super::step::LoginStep;
use super::transaction::{LoginState, Transaction};
use super::visitor::SignedInUser;
use super::{Login, StartedLogin};
use crate::domain::login::{Authentication, AuthorizationRequest, Entry, EntryPurpose};
use crate::domain::{IdentityProviderName, Kind, Relations, Resource, ServiceProviderName, Timestamp};
use crate::federation::config::Upstream;
use crate::federation::error::{FederationError, LoginError};
use crate::federation::idp::tenant;
use crate::federation::jit::entry::{self, EntryAccount, EntryFacts, EntryWay};
use crate::federation::jit::policy::{SecondFactor, ServiceProviderPolicy};
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::questions::covers;
use crate::storage::consents::{self, ConsentRecord};
use crate::storage::links::LinkRecord;
use crate::storage::{StorageError, credential_versions, factors, identity_locks, links, removals};

/// Time after a login in which an authenticator may be set up without another one.
const FRESH: Duration = Duration::from_mins(10);

/// The beginning of a step-up.
pub enum StepUp {
    /// A login has begun.
    Begun(StartedLogin),
    /// Nothing is missing any more: the login completes at once.
    Needless(Box<AuthorizationRequest>, Authentication),
}

impl Login {
    /// Decides, from the facts of this moment, whether a login is enough to enter an application.
    pub fn entry(
        &self,
        service_provider: &ServiceProviderName,
        authentication: &Authentication,
        purpose: EntryPurpose,
    ) -> Result<Entry, FederationError> {
        let Some(policy) = self.config.policy(service_provider) else {
            return Ok(Entry::Login);
        };
        let facts = self.entry_facts(policy, authentication)?;
        Ok(entry::decide(policy, authentication, purpose, &facts))
    }

    /// Begins the step that a session lacks to enter an application: a second factor, or a consent. It goes on only in
    /// the browser of the session, and as long as the session is open.
    pub fn step_up(
        &self,
        request: AuthorizationRequest,
        service_provider: &ServiceProviderName,
        visitor: &SignedInUser,
    ) -> Result<StepUp, LoginError> {
        let policy = self
            .config
            .policy(service_provider)
            .ok_or_else(|| FederationError::NoServiceProvider(service_provider.clone()))?;
        let authentication = visitor.authentication.clone();
        let facts = self.entry_facts(policy, &authentication)?;
        let has_authenticator = facts.account.as_ref().is_some_and(|account| account.has_authenticator);
        let asked = entry::asked_factor(policy, request.asks_two_factors());
        let is_recent = authentication.at.plus(FRESH) >= self.directory.clock().now();
        if !has_authenticator && !is_recent && asked.and(mfa_of(facts.way)) != SecondFactor::None {
            // Setting up an authenticator needs a recent login: the holder of a stolen cookie could lock the owner out.
            let request = AuthorizationRequest {
                reauthenticate: true,
                ..request
            };
            return Ok(StepUp::Begun(self.start(request, service_provider)?));
        }
        let transaction = Transaction {
            session: Some(visitor.session.clone()),
            ..Transaction::new(request, service_provider.clone(), LoginState::Choosing)
        };
        let handle = self.transactions.start(&transaction)?;
        let loaded = self.transactions.find(&handle)?;
        let (Some(loaded), true) = (loaded, facts.consents_given) else {
            // The identity provider says again what the consent is about.
            let to = authentication.identity_provider;
            return Ok(StepUp::Begun(StartedLogin { handle, to }));
        };
        Ok(match self.complete(loaded, policy, authentication)? {
            LoginStep::Show(_) => StepUp::Begun(StartedLogin { handle, to: None }),
            // A step in another window was enough.
            LoginStep::Complete(request, authentication) => StepUp::Needless(request, authentication),
        })
    }

    fn entry_facts(
        &self,
        policy: &ServiceProviderPolicy,
        authentication: &Authentication,
    ) -> Result<EntryFacts, FederationError> {
        let user = self.directory.get(&Kind::USER, &authentication.user, Relations::NONE)?;
        let provider = authentication.identity_provider.as_ref();
        let id = &authentication.user;
        let (credentials, locked, has_authenticator, given, linked) =
            self.database.read::<_, StorageError>(|connection| {
                Ok((
                    credential_versions::current(connection, id)?,
                    identity_locks::of_user(connection, id)?.is_some(),
                    factors::has(connection, id, factors::TOTP)?,
                    consents::of_user(connection, id)?,
                    match provider {
                        Some(name) if removals::find(connection, name)?.is_none() => links::of_user(connection, id)?,
                        _ => Vec::new(),
                    },
                ))
            })?;
        let upstream = provider.and_then(|name| self.config.upstream(name));
        let upstream = upstream.filter(|upstream| is_linked_to(upstream, &linked));
        let account = |user: Resource| EntryAccount {
            active: user.is_active(),
            store: user.store,
            locked,
            has_authenticator,
            credentials,
        };
        Ok(EntryFacts {
            account: user.map(account),
            way: way(provider, upstream),
            consent_withdrawn: upstream
                .is_some_and(|upstream| self.is_withdrawn(policy, upstream, (&given, authentication.at))),
            consents_given: upstream.is_none_or(|upstream| self.are_given(policy, upstream, given)),
        })
    }

    /// Whether the way of a login still leads to the account: a login through an identity provider needs an identity there.
    pub(crate) fn is_way_open(&self, authentication: &Authentication) -> Result<bool, FederationError> {
        let Some(name) = &authentication.identity_provider else {
            return Ok(true);
        };
        let linked = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &authentication.user))?;
        let upstream = self.config.upstream(name);
        Ok(upstream.is_some_and(|upstream| is_linked_to(upstream, &linked)))
    }

    /// Whether a person took back a consent that logins to an application through an identity provider ask for, and has
    /// not given it again, or took it back after a login: what that login got does not come back with a new consent.
    fn is_withdrawn(
        &self,
        policy: &ServiceProviderPolicy,
        upstream: &Upstream,
        (given, login): (&[ConsentRecord], Timestamp),
    ) -> bool {
        if !policy.mode(&upstream.settings.jit).asks_consent() {
            return false;
        }
        let is_back = |purpose: &str| {
            let mut of_purpose = given
                .iter()
                .rev()
                .filter(|record| record.consent.purpose == purpose)
                .peekable();
            let is_withdrawn = of_purpose.peek().is_some_and(|latest| latest.withdrawn.is_some());
            is_withdrawn || of_purpose.any(|record| record.withdrawn.is_some_and(|at| at > login))
        };
        let purposes = self.config.named_purposes(upstream, policy);
        if purposes.is_empty() {
            is_back(Purpose::ACCOUNT)
        } else {
            purposes.iter().any(|purpose| is_back(&purpose.name))
        }
    }

    /// Whether a person gave the consents that logins to an application through an identity provider ask for.
    fn are_given(&self, policy: &ServiceProviderPolicy, upstream: &Upstream, given: Vec<ConsentRecord>) -> bool {
        if !policy.mode(&upstream.settings.jit).asks_consent() {
            return true;
        }
        let given: Vec<_> = given.into_iter().map(ConsentRecord::effective).collect();
        let purposes = self.config.named_purposes(upstream, policy);
        if purposes.is_empty() {
            // The purpose of the account itself has the attributes of the claims, which are not known here.
            return given.iter().rev().any(|consent| {
                let is_of_provider = consent.identity_provider == upstream.settings.name;
                consent.purpose == Purpose::ACCOUNT && consent.version > 0 && is_of_provider
            });
        }
        purposes.iter().all(|purpose| covers(&given, purpose))
    }
}

/// Whether one of these identities is of the provider and its present issuer: one of an issuer that the provider had before
/// counts no more.
fn is_linked_to(upstream: &Upstream, linked: &[LinkRecord]) -> bool {
    let settings = &upstream.settings;
    linked.iter().any(|known| {
        known.link.identity_provider == settings.name && tenant::is_of(&settings.issuer, &known.link.issuer)
    })
}

fn mfa_of(way: EntryWay) -> SecondFactor {
    match way {
        EntryWay::Provider(mfa) => mfa,
        EntryWay::Password | EntryWay::Gone => SecondFactor::None,
    }
}

fn way(provider: Option<&IdentityProviderName>, upstream: Option<&Upstream>) -> EntryWay {
    match (provider, upstream) {
        (None, _) => EntryWay::Password,
        (Some(_), Some(upstream)) => EntryWay::Provider(upstream.settings.mfa),
        (Some(_), None) => EntryWay::Gone,
    }
}
