//! The end of linking: a person with a session came back from an identity provider with another identity.

use super::Login;
use super::step::LoginStep;
use super::transaction::LoadedTransaction;
use super::visitor::SignedInUser;
use crate::directory::DirectoryError;
use crate::domain::login::Authentication;
use crate::domain::{
    Actor, Change, Kind, Link, Operation, Precondition, Principal, ResourceId, ServiceProviderName, SideRecord,
};
use crate::federation::config::Upstream;
use crate::federation::error::{FederationError, LoginError};
use crate::federation::idp::provider::Identity;
use crate::federation::jit::admit::ProvisioningContext;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::federation::jit::questions::LoginPreferences;
use crate::storage::{StorageError, identity_locks, links, removals, sessions};
use crate::userstore::StoreError;

/// An identity with which a person came back from its provider.
pub(super) struct Arrived<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) identity: &'a Identity,
}

impl Login {
    /// Links the identity that a person came back with, if the session that they left from is still open.
    pub(super) fn link_identity(
        &self,
        loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        arrived: &Arrived<'_>,
        mut visitor: SignedInUser,
    ) -> Result<LoginStep, LoginError> {
        let provider = &arrived.upstream.settings.name;
        let link = arrived.identity.link(provider);
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
        let is_signed_in = session.is_some_and(|session| session.user == *user);
        if !is_signed_in || self.active_user(&visitor.authentication)?.is_none() {
            return Err(Denial::NotUnderWay.into());
        }
        if let Some(reason) = locked {
            return Err(Denial::IdentityLocked { reason }.into());
        }
        if removal.is_some() {
            return Err(Denial::UnknownProvider.into());
        }
        // The setting may have changed while the person was away.
        if !self.config.account.linking {
            return Err(Denial::NotUnderWay.into());
        }
        match known {
            Some(known) if known.resource_id == *user => {}
            Some(_) => return Err(Denial::IdentityTaken.into()),
            None => {
                if let Some(denial) = self.denial_of_linking(policy, arrived, user)? {
                    return Err(denial.into());
                }
                self.write_link(&visitor.authentication, link)?;
                // The link itself advanced the version under which the session was proved.
                visitor.authentication.credentials += 1;
            }
        }
        self.finish(loaded, policy, visitor.authentication)
    }

    fn denial_of_linking(
        &self,
        policy: &ServiceProviderPolicy,
        arrived: &Arrived<'_>,
        user: &ResourceId,
    ) -> Result<Option<Denial>, LoginError> {
        let wishes = LoginPreferences::default();
        let context = ProvisioningContext {
            directory: &self.directory,
            database: &self.database,
            settings: &arrived.upstream.settings,
            claims: &arrived.upstream.claims,
            approvals: &self.approvals,
            ignored_claims: &self.ignored_claims,
            service_provider: policy,
            identity: arrived.identity,
            purposes: &[],
            trusted_sources: &self.config.trusted_sources,
            passwords: self.config.passwords,
            proof: None,
            mailed: None,
            wishes: &wishes,
            answers: None,
        };
        Ok(context.denial_of_linking(user)?)
    }

    fn write_link(&self, proof: &Authentication, link: Link) -> Result<(), LoginError> {
        let user = &proof.user;
        let provider = link.identity_provider.clone();
        let change = Change {
            actor: Actor {
                principal: Principal::Person,
                service_provider: ServiceProviderName::RESIDENT,
            },
            operation: Operation::Patch {
                kind: Kind::USER,
                id: user.clone(),
                operations: Vec::new(),
                precondition: Precondition::None,
            },
            side_records: vec![SideRecord::Proof(proof.credentials), SideRecord::Link(link)],
        };
        match self.directory.apply(change) {
            Ok(_) => {
                log::info!("user {user} linked an identity of {provider}");
                Ok(())
            }
            Err(DirectoryError::Store(StoreError::Taken { .. })) => Err(Denial::IdentityTaken.into()),
            Err(DirectoryError::Store(StoreError::Superseded)) => Err(Denial::NotUnderWay.into()),
            Err(error) => Err(FederationError::from(error).into()),
        }
    }
}
