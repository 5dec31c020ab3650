//! Unlinks an identity from an account, with the provider's grants and sessions.

use crate::directory::Directory;
use crate::domain::change::Transfer;
use crate::domain::{
    Actor, Change, Kind, Link, Operation, Precondition, Principal, ResourceId, SideRecord, provenance,
};
use crate::federation::error::FederationError;
use crate::storage::{Database, StorageError, links};

/// The actor that unlinks an identity, and the stores that hold it.
pub(crate) struct UnlinkContext<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) database: &'a Database,
    pub(crate) actor: &'a Actor,
    /// The session that stays open.
    pub(crate) spared: Option<&'a str>,
    /// The version of the account's credentials that the actor proved; `None` if the actor is not the person.
    pub(crate) proof: Option<i64>,
}

impl UnlinkContext<'_> {
    /// Deletes the link and ends the sessions that began through its provider. Unless the account has another identity at
    /// the provider, also withdraws the provider's grants, and makes the actor the writer of its values.
    pub(crate) fn unlink(&self, user: &ResourceId, link: &Link) -> Result<(), FederationError> {
        let provider = &link.identity_provider;
        let others = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, user))?;
        let is_twin = |other: &links::LinkRecord| other.link.identity_provider == *provider && other.link != *link;
        let operation = if others.iter().any(is_twin) {
            Operation::Patch {
                kind: Kind::USER,
                id: user.clone(),
                operations: Vec::new(),
                precondition: Precondition::None,
            }
        } else {
            Operation::Transfer {
                kind: Kind::USER,
                id: user.clone(),
                transfer: Transfer {
                    from: provenance::of_provider(provider),
                    paths: Vec::new(),
                    to: self.actor.writer(),
                },
            }
        };
        let unlink = SideRecord::Unlink {
            link: link.clone(),
            spared: self.spared.map(str::to_owned),
            for_good: matches!(
                self.actor.principal,
                Principal::Person | Principal::Administrator { .. }
            ),
        };
        let proof = self.proof.map(SideRecord::Proof);
        let change = Change {
            actor: self.actor.clone(),
            operation,
            side_records: proof.into_iter().chain([unlink]).collect(),
        };
        self.directory.apply(change)?;
        // The memberships go last: no login grants any more. A run that is interrupted leaves them to the server.
        self.directory
            .withdraw_outdated(self.database, &self.actor.in_every_store(), Some(user))?;
        Ok(())
    }
}
