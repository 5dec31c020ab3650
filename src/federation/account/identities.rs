//! The identities that a person enters with: another one is linked, one is given up.

use url::Url;

use super::{Changed, Complaint, Visitor, own_actor, own_change};
use crate::directory::DirectoryError;
use crate::domain::{Companion, IdentityProviderName, Kind, Link, Operation, Precondition, Timestamp};
use crate::federation::denial::Denial;
use crate::federation::login::{Federation, FederationError, refusal};
use crate::federation::provider::{Hint, Identity};
use crate::federation::step::Step;
use crate::federation::transaction::{Held, Stage};
use crate::federation::unlink::Unlinking;
use crate::storage::links::LinkRecord;
use crate::storage::{StorageError, identity_locks, links, removals, sessions};
use crate::userstore::StoreError;

/// An identity that opens the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Which.
    pub link: Link,
    /// What people call its provider.
    pub provider: String,
    /// When it was linked.
    pub since: Timestamp,
    /// The last login with it.
    pub last_login: Timestamp,
}

/// A person on the way to an identity provider, for another identity.
pub struct Away {
    /// What the browser keeps.
    pub handle: String,
    /// Where it goes.
    pub to: Url,
}

impl Federation {
    pub(super) fn identity(&self, record: LinkRecord) -> LinkedIdentity {
        LinkedIdentity {
            provider: self.called(&record.link.identity_provider),
            link: record.link,
            since: record.created,
            last_login: record.last_login,
        }
    }

    /// Sends a person to an identity provider, to link whoever they are there.
    pub fn begin_linking(&self, visitor: &Visitor, provider: &IdentityProviderName) -> Changed<Result<Away, Denial>> {
        if let Err(complaint) = self.changeable(visitor)? {
            return Ok(Err(complaint));
        }
        let upstream = match self.allowed(provider, &self.account) {
            Ok(upstream) => upstream,
            Err(denial) => return Ok(Ok(Err(denial))),
        };
        let (to, pending) = match upstream.provider.begin(&self.callback_url(provider), &Hint::default()) {
            Ok(begun) => begun,
            Err(error) => return Ok(Ok(Err(refusal(provider, &error)))),
        };
        let stage = Stage::Linking {
            provider: provider.clone(),
            pending,
            visitor: visitor.clone(),
        };
        let handle = self.stand_for_account(visitor, stage)?;
        Ok(Ok(Ok(Away { handle, to })))
    }

    /// Links the identity that a person came back with, as long as the session that they left from stands.
    pub(in crate::federation) fn link_identity(
        &self,
        held: &Held,
        provider: &IdentityProviderName,
        identity: &Identity,
        visitor: Visitor,
    ) -> Result<Step, FederationError> {
        let link = Link {
            identity_provider: provider.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
        };
        let user = &visitor.authentication.user;
        let now = self.directory.clock().now();
        let (session, locked, known, removal) = self.database.read::<_, StorageError>(|connection| {
            Ok((
                sessions::find(connection, &visitor.session, now)?,
                identity_locks::of_identity(connection, &link)?,
                links::find(connection, provider, &link.issuer, &link.subject)?,
                removals::find(connection, provider)?,
            ))
        })?;
        if session.is_none_or(|session| session.user != *user) || self.owned(&visitor)?.is_none() {
            return Ok(Step::Refused(Denial::NotUnderWay));
        }
        if let Some(reason) = locked {
            return Ok(Step::Refused(Denial::IdentityLocked { reason }));
        }
        if removal.is_some() {
            return Ok(Step::Refused(Denial::UnknownProvider));
        }
        match known {
            Some(known) if known.resource_id == *user => {}
            Some(_) => return Ok(Step::Refused(Denial::IdentityTaken)),
            None => {
                let operation = Operation::Patch {
                    kind: Kind::USER,
                    id: user.clone(),
                    operations: Vec::new(),
                    precondition: Precondition::None,
                };
                match self.directory.apply(own_change(operation, vec![Companion::Link(link)])) {
                    Ok(_) => log::info!("user {user} linked an identity of {provider}"),
                    Err(DirectoryError::Store(StoreError::Taken { .. })) => {
                        return Ok(Step::Refused(Denial::IdentityTaken));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.finish(held, visitor.authentication)
    }

    /// Gives an identity up: what its provider granted goes, what it wrote becomes the person's own, and whoever is signed
    /// in with it elsewhere is so no more. The last way in stays.
    pub fn unlink(&self, visitor: &Visitor, link: &Link) -> Changed {
        let user = match self.changeable(visitor)? {
            Ok(user) => user,
            Err(complaint) => return Ok(Err(complaint)),
        };
        let provider = &link.identity_provider;
        let linked = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &user.id))?;
        let (these, others): (Vec<_>, Vec<_>) = linked.into_iter().partition(|known| known.link == *link);
        if these.is_empty() {
            return Ok(Err(Complaint::Outdated));
        }
        let by_password = self.account.local_login && self.directory.has_password(&user.store, &user.id)?;
        let by_identity = |other: &LinkRecord| self.upstream(&other.link.identity_provider).is_some();
        if !by_password && !others.iter().any(by_identity) {
            return Ok(Err(Complaint::LastWayIn));
        }
        let unlinking = Unlinking {
            directory: &self.directory,
            database: &self.database,
            actor: &own_actor(),
            spared: Some(&visitor.session),
        };
        unlinking.unlink(&user.id, link)?;
        log::info!("user {} gave up an identity of {provider}", user.id);
        Ok(Ok(()))
    }
}
