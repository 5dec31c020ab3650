//! Removes an identity provider: a durable job over all users that are linked to it.
//! Accounts that exist only through this provider are disabled or deleted. With deletion, all others lose their link.

use std::sync::Arc;
use std::time::Duration;

use crate::directory::{Directory, DirectoryError};
use crate::domain::change::Transfer;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{
    Actor, Change, IdentityProviderName, Kind, Operation, Precondition, Principal, Relations, Resource, ResourceId,
    ServiceProviderName, provenance,
};
use crate::federation::error::FederationError;
use crate::federation::jit::facts::{LEASE_JOB, account, has_expired_lease};
use crate::federation::unlink::UnlinkContext;
use crate::storage::links::LinkRecord;
use crate::storage::removals::{self, Removal};
use crate::storage::{Database, StorageError, grants, links, login_transactions, sessions};

/// Number of users per step.
const STEP: i64 = 50;
/// Number of sessions, and of grants, that one transaction ends.
const ENDED_AT_ONCE: i64 = 200;
/// Time for one user, after which another process may take over the job.
const LEASE: Duration = Duration::from_secs(10);

/// The reason why a linked account goes with the provider or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalEffect {
    /// The provider made the account and is its only way to sign in: it is disabled or deleted.
    Account,
    /// The account has an identity at another provider.
    OtherIdentity,
    /// The account has a local password.
    Password,
    /// The account belongs to an administrator.
    Administrator,
    /// The account was not made by this provider.
    OtherSource,
    /// The account no longer exists.
    Gone,
}

/// An account that a removal affects.
#[derive(Clone, Debug)]
pub struct Affected {
    /// The link.
    pub link: LinkRecord,
    /// The account's name.
    pub username: String,
    /// The effect on the account.
    pub fate: RemovalEffect,
}

/// Removes identity providers.
#[derive(Clone)]
pub struct ProviderRemover {
    directory: Arc<Directory>,
    database: Database,
}

impl ProviderRemover {
    /// Creates a remover for the users of this directory.
    pub fn new(directory: Arc<Directory>, database: Database) -> Self {
        Self { directory, database }
    }

    /// Passes each account that a removal would affect to `tell`. Changes nothing.
    pub fn preview(
        &self,
        provider: &IdentityProviderName,
        mut tell: impl FnMut(Affected),
    ) -> Result<(), FederationError> {
        let mut place = (String::new(), String::new());
        loop {
            let batch = self.batch(provider, &place)?;
            let Some(last) = batch.last() else { return Ok(()) };
            place = removals::place(&last.link);
            for link in batch {
                let user = self.user(&link.resource_id)?;
                let fate = self.fate(&link, user.as_ref())?;
                let username = user.map(|user| account(&user, &[]).username).unwrap_or_default();
                tell(Affected { link, username, fate });
            }
        }
    }

    /// Begins a removal, or continues the one that has begun. From now on, logins through the provider are refused.
    pub fn begin(&self, provider: &IdentityProviderName, deletes: bool) -> Result<(), FederationError> {
        let (provider, now) = (provider.clone(), self.directory.clock().now());
        self.database
            .write::<_, StorageError>(move |connection| Ok(removals::begin(connection, &provider, deletes, now)?))?;
        Ok(())
    }

    /// Processes the next batch of users, unless another process holds the lease. Returns the progress of the removal.
    pub fn step(&self, provider: &IdentityProviderName) -> Result<Option<Removal>, FederationError> {
        let (name, now) = (provider.clone(), self.directory.clock().now());
        let claimed = self.database.write::<_, StorageError>(move |connection| {
            Ok(removals::claim(connection, &name, now, now.plus(LEASE))?)
        })?;
        if let Some(mut removal) = claimed {
            while self.end_sessions(provider)? {
                if !self.advance(&removal, LEASE)? {
                    return self.find(provider);
                }
            }
            let batch = self.batch(provider, &removal.place)?;
            for link in &batch {
                match self.carry_out(&removal, link)? {
                    RemovalEffect::Account => removal.accounts += 1,
                    _ => removal.links += i64::from(removal.deletes),
                }
                removal.place = removals::place(&link.link);
                if !self.advance(&removal, LEASE)? {
                    break;
                }
            }
            if batch.is_empty() {
                removal.finished = Some(self.directory.clock().now());
            }
            self.advance(&removal, Duration::ZERO)?;
        }
        self.find(provider)
    }

    fn find(&self, provider: &IdentityProviderName) -> Result<Option<Removal>, FederationError> {
        Ok(self
            .database
            .read::<_, StorageError>(|connection| removals::find(connection, provider))?)
    }

    /// Ends some of the sessions and grants of logins through the provider, also of people who keep their account.
    /// Returns whether there were any.
    fn end_sessions(&self, provider: &IdentityProviderName) -> Result<bool, FederationError> {
        let (provider, now) = (provider.clone(), self.directory.clock().now());
        Ok(self.database.write::<_, StorageError>(move |connection| {
            let open = sessions::through(connection, &provider, ENDED_AT_ONCE)?;
            for session in &open {
                sessions::delete(connection, session, now)?;
            }
            let grants = grants::revoke_of_provider(connection, &provider, now, ENDED_AT_ONCE)?;
            Ok(!open.is_empty() || grants > 0)
        })?)
    }

    fn advance(&self, removal: &Removal, lease: Duration) -> Result<bool, FederationError> {
        let (removal, until) = (removal.clone(), self.directory.clock().now().plus(lease));
        let write = move |connection: &mut _| Ok(removals::advance(connection, &removal, until)?);
        Ok(self.database.write::<_, StorageError>(write)?)
    }

    /// Runs every unfinished removal to its end.
    pub fn carry_on(&self) -> Result<(), FederationError> {
        for removal in self.all()?.into_iter().filter(|removal| removal.finished.is_none()) {
            let mut before = removal;
            while let Some(now) = self.step(&before.identity_provider)? {
                if now.finished.is_some() || now == before {
                    break;
                }
                before = now;
            }
        }
        Ok(())
    }

    /// Withdraws memberships that identity providers granted to people who are not linked to them any more: what was
    /// interrupted when their identities ended.
    pub fn withdraw_memberships(&self) -> Result<(), FederationError> {
        let actor = Actor {
            principal: Principal::Job("memberships".to_owned()),
            service_provider: ServiceProviderName::RESIDENT,
        };
        while self.directory.withdraw_outdated(&self.database, &actor, None)? > 0 {}
        Ok(())
    }

    /// Returns all removals.
    pub fn all(&self) -> Result<Vec<Removal>, FederationError> {
        Ok(self.database.read::<_, StorageError>(removals::all)?)
    }

    /// Allows the remaining users to sign in through the provider again. Returns `false` if there was no removal. Logins that
    /// are under way begin again: what the provider said in them was said before the removal.
    pub fn restore(&self, provider: &IdentityProviderName) -> Result<bool, FederationError> {
        let provider = provider.clone();
        Ok(self.database.write::<_, StorageError>(move |connection| {
            let was_removed = removals::lift(connection, &provider)?;
            if was_removed {
                login_transactions::delete_all(connection)?;
            }
            Ok(was_removed)
        })?)
    }

    /// Applies the removal to one account. Idempotent.
    fn carry_out(&self, removal: &Removal, link: &LinkRecord) -> Result<RemovalEffect, FederationError> {
        let user = self.user(&link.resource_id)?;
        let fate = self.fate(link, user.as_ref())?;
        let actor = actor();
        let operation = match (fate, removal.deletes) {
            (RemovalEffect::Account, true) => Operation::Delete {
                kind: Kind::USER,
                id: link.resource_id.clone(),
                precondition: Precondition::None,
            },
            // An account that an expired lease disabled would be enabled by the next login after a restoration.
            (RemovalEffect::Account, false) if user.as_ref().is_some_and(has_expired_lease) => Operation::Transfer {
                kind: Kind::USER,
                id: link.resource_id.clone(),
                transfer: Transfer {
                    from: provenance::of_job(LEASE_JOB),
                    paths: vec!["active".to_owned()],
                    to: actor.writer(),
                },
            },
            (RemovalEffect::Account, false) => self.disabling(&link.resource_id)?,
            (_, true) => {
                let unlinking = UnlinkContext {
                    directory: &self.directory,
                    database: &self.database,
                    actor: &actor,
                    spared: None,
                    proof: None,
                };
                match unlinking.unlink(&link.resource_id, &link.link) {
                    Err(FederationError::Directory(DirectoryError::NotFound(_))) => self.forget(link)?,
                    outcome => outcome?,
                }
                return Ok(fate);
            }
            (_, false) => return Ok(fate),
        };
        let change = Change {
            actor,
            operation,
            side_records: Vec::new(),
        };
        match self.directory.apply(change) {
            Ok(_) => Ok(fate),
            Err(DirectoryError::NotFound(_)) => Ok(RemovalEffect::Gone),
            Err(error) => Err(error.into()),
        }
    }

    fn disabling(&self, id: &ResourceId) -> Result<Operation, DirectoryError> {
        let users = self.directory.registry().resource_type(&Kind::USER);
        let path = Path::parse("active", users.ok_or(DirectoryError::NotFound(Kind::USER))?)?;
        Ok(Operation::Patch {
            kind: Kind::USER,
            id: id.clone(),
            operations: vec![PatchOperation::replace(path, false.into())],
            precondition: Precondition::None,
        })
    }

    /// Deletes a link whose user no longer exists.
    fn forget(&self, link: &LinkRecord) -> Result<(), FederationError> {
        let (link, user) = (link.link.clone(), link.resource_id.clone());
        self.database
            .write::<_, StorageError>(move |connection| Ok(links::delete(connection, &link, &user)?))?;
        Ok(())
    }

    fn fate(&self, link: &LinkRecord, user: Option<&Resource>) -> Result<RemovalEffect, FederationError> {
        let Some(user) = user else {
            return Ok(RemovalEffect::Gone);
        };
        let provider = &link.link.identity_provider;
        let linked = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &user.id))?;
        let has_other = linked.iter().any(|other| other.link.identity_provider != *provider);
        let has_password = self.directory.has_password(&user.store, &user.id)?;
        Ok(fate(user, provider, has_other, has_password))
    }

    fn user(&self, id: &ResourceId) -> Result<Option<Resource>, FederationError> {
        Ok(self.directory.get(&Kind::USER, id, Relations::NONE)?)
    }

    fn batch(
        &self,
        provider: &IdentityProviderName,
        (issuer, subject): &(String, String),
    ) -> Result<Vec<LinkRecord>, FederationError> {
        Ok(self
            .database
            .read::<_, StorageError>(|connection| links::of_provider(connection, provider, (issuer, subject), STEP))?)
    }
}

fn fate(user: &Resource, provider: &IdentityProviderName, has_other: bool, has_password: bool) -> RemovalEffect {
    let maker = user.writers.writers().remove("userName");
    if has_other {
        RemovalEffect::OtherIdentity
    } else if account(user, &[]).administrator {
        RemovalEffect::Administrator
    } else if maker.is_none_or(|maker| maker != provenance::of_provider(provider) && maker != provenance::PERSON) {
        RemovalEffect::OtherSource
    } else if has_password {
        RemovalEffect::Password
    } else {
        RemovalEffect::Account
    }
}

fn actor() -> Actor {
    Actor {
        principal: Principal::Job("removal".to_owned()),
        service_provider: ServiceProviderName::RESIDENT,
    }
}
