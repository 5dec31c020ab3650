//! Leases: accounts that only logins maintain are disabled, and later deleted, after long absence.
//! A lease ends a while after the last login; the deletion follows a grace period later.

use std::sync::Arc;

use super::facts::{self, LEASE_JOB};
use super::policy::AccountLease;
use crate::directory::{Directory, DirectoryError};
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::path::Path;
use crate::domain::{
    Actor, Change, IdentityProviderName, Kind, Operation, Precondition, Principal, Relations, Resource,
    ServiceProviderName, Timestamp,
};
use crate::federation::error::FederationError;
use crate::storage::links::{self, LinkRecord};
use crate::storage::{Database, StorageError};
use crate::userstore::StoreError;

/// Number of links per database query.
const PAGE: i64 = 200;

/// Result of one sweep of the leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseSweep {
    /// Number of disabled accounts.
    pub suspended: usize,
    /// Number of deleted accounts.
    pub removed: usize,
}

/// The effect of a sweep on one account.
enum LeaseResult {
    Stays,
    Suspended,
    Removed,
}

/// The leases of the accounts that logins made. Methods block.
pub struct Leases {
    directory: Arc<Directory>,
    database: Database,
    providers: Vec<(IdentityProviderName, AccountLease)>,
}

impl Leases {
    /// Creates the leases for the accounts of these identity providers.
    pub fn new(
        directory: Arc<Directory>,
        database: Database,
        providers: Vec<(IdentityProviderName, AccountLease)>,
    ) -> Self {
        Self {
            directory,
            database,
            providers,
        }
    }

    /// Whether no identity provider has leases.
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// Disables and deletes accounts whose leases have expired. Any number of processes may do it at once: each change
    /// requires the entry version that it was decided on, so it is made only once.
    pub fn sweep(&self) -> Result<LeaseSweep, FederationError> {
        let mut swept = LeaseSweep::default();
        for (provider, lease) in &self.providers {
            let mut from = None;
            while let Some(last) = self.sweep_page(provider, lease, from.as_ref(), &mut swept)? {
                from = Some(last);
            }
        }
        Ok(swept)
    }

    /// Checks the page of links after the given one. Returns the last link if there may be more.
    fn sweep_page(
        &self,
        provider: &IdentityProviderName,
        lease: &AccountLease,
        after: Option<&LinkRecord>,
        swept: &mut LeaseSweep,
    ) -> Result<Option<LinkRecord>, FederationError> {
        let until = self.directory.clock().now().minus(lease.span);
        let page = self
            .database
            .read::<_, StorageError>(|connection| links::idle(connection, provider, until, after, PAGE))?;
        for link in &page {
            match self.judge(lease, link, until) {
                Ok(LeaseResult::Stays) => {}
                Ok(LeaseResult::Suspended) => swept.suspended += 1,
                Ok(LeaseResult::Removed) => swept.removed += 1,
                Err(error) => log::warn!(
                    "the lease of {} cannot be checked now and is checked again later: {error}",
                    link.resource_id
                ),
            }
        }
        let is_last = i64::try_from(page.len()).is_ok_and(|count| count < PAGE);
        Ok(page.into_iter().next_back().filter(|_| !is_last))
    }

    fn judge(&self, lease: &AccountLease, link: &LinkRecord, until: Timestamp) -> Result<LeaseResult, FederationError> {
        let user = self.directory.get(&Kind::USER, &link.resource_id, Relations::NONE)?;
        let Some(user) = user.filter(|user| is_leased(user, link)) else {
            return Ok(LeaseResult::Stays);
        };
        let known = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &user.id))?;
        // An identity at another provider keeps the account; and the person may have signed in since the page was read.
        let provider = &link.link.identity_provider;
        let is_idle = known
            .iter()
            .all(|known| known.link.identity_provider == *provider && known.last_login <= until);
        if !is_idle {
            return Ok(LeaseResult::Stays);
        }
        let name = &link.link.identity_provider;
        if user.is_active() {
            let done = once(switch(&self.directory, &user, false))?;
            if done {
                log::info!(
                    "user {} is disabled: the lease expired without a login through {name}",
                    user.id
                );
            }
            return Ok(if done {
                LeaseResult::Suspended
            } else {
                LeaseResult::Stays
            });
        }
        let is_over = user.modified.plus(lease.grace) <= self.directory.clock().now();
        if !facts::has_expired_lease(&user) || !is_over {
            return Ok(LeaseResult::Stays);
        }
        let done = once(self.directory.apply(change(remove(&user))).map(|_| ()))?;
        if done {
            log::info!(
                "user {} is deleted: no login through {name} within the grace period",
                user.id
            );
        }
        Ok(if done { LeaseResult::Removed } else { LeaseResult::Stays })
    }
}

/// Whether an account depends on the provider of this link alone: only the identity provider, the person and the lease job
/// have written to it.
fn is_leased(user: &Resource, link: &LinkRecord) -> bool {
    let provider = format!("idp:{}", link.link.identity_provider);
    let writers = user.writers.writers();
    let job = job().writer();
    let is_ours = |writer: &String| *writer == provider || *writer == job || writer == "self";
    writers.get("userName").is_some_and(is_ours) && writers.values().all(is_ours) && !facts::governs(user)
}

/// Enables or disables an account as the lease job; every target that has the account is updated.
pub(crate) fn switch(directory: &Directory, user: &Resource, on: bool) -> Result<(), DirectoryError> {
    let users = directory.registry().resource_type(&Kind::USER);
    let users = users.ok_or(DirectoryError::NotFound(Kind::USER))?;
    let operation = Operation::Patch {
        kind: Kind::USER,
        id: user.id.clone(),
        operations: vec![PatchOperation {
            op: PatchOp::Replace,
            path: Some(Path::parse("active", users)?),
            value: Some(on.into()),
        }],
        precondition: Precondition::Versions(vec![user.version]),
    };
    directory.apply(change(operation)).map(|_| ())
}

fn remove(user: &Resource) -> Operation {
    Operation::Delete {
        kind: Kind::USER,
        id: user.id.clone(),
        precondition: Precondition::Versions(vec![user.version]),
    }
}

fn change(operation: Operation) -> Change {
    Change {
        actor: job(),
        operation,
        side_records: Vec::new(),
    }
}

/// Returns the actor of changes by leases.
pub(crate) fn job() -> Actor {
    Actor {
        principal: Principal::Job(LEASE_JOB.to_owned()),
        service_provider: ServiceProviderName::RESIDENT,
    }
}

/// Returns whether a change was made. If the account has changed or is gone meanwhile, none is needed.
fn once(outcome: Result<(), DirectoryError>) -> Result<bool, DirectoryError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(DirectoryError::Store(StoreError::Stale) | DirectoryError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
