//! The account that a trusted SCIM client keeps for the subject of a login.

use super::{ExpectedAccount, ProvisioningContext};
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::query::Query;
use crate::domain::{Kind, Link, Relations, Resource, ResourceId, SideRecord, StoreName, provenance};
use crate::federation::error::FederationError;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::facts::account;
use crate::federation::jit::policy::Returning;
use crate::federation::jit::settings::TrustedScimSource;
use crate::storage::approvals::Verdict;
use crate::storage::{StorageError, approvals, links};

/// The most accounts under one `externalId` that are looked at. Clients choose it freely, so that others may have it too.
const MOST: usize = 1000;

impl ProvisioningContext<'_> {
    /// Returns the account that a trusted SCIM client of the provider keeps under this subject (`externalId`), if it is
    /// not linked to it. An `externalId` of any other writer does not count. The error is the denial of a login whose
    /// account is not clear.
    pub(super) fn expected(&self) -> Result<Result<Option<ExpectedAccount>, Denial>, FederationError> {
        let user = self.directory.registry().resource_type(&Kind::USER);
        let Some(attribute) = user.and_then(|user| user.resolve("externalId")) else {
            return Ok(Ok(None));
        };
        let mut found: Vec<Resource> = Vec::new();
        for source in self.sources() {
            let filter = Filter::Compare {
                attribute: attribute.clone(),
                operator: Operator::Eq,
                value: Comparand::Text(self.identity.subject.clone()),
            };
            let writer = source.writer();
            for store in self.stores_of(source) {
                let query = Query::all(Kind::USER, MOST).filtered(filter.clone());
                let kept = self.directory.find(&store, &query)?.resources.into_iter();
                found.extend(kept.filter(|kept| kept.writers.writers().get("externalId") == Some(&writer)));
            }
        }
        let resource = match found.as_slice() {
            [] => return Ok(Ok(None)),
            [one] => one,
            _ => return Ok(Err(Denial::SeveralAccounts)),
        };
        let identity = self.link_record();
        let (links, unlinked_from) = self.database.read::<_, StorageError>(|connection| {
            Ok((
                links::of_user(connection, &resource.id)?,
                links::unlinked_from(connection, &identity)?,
            ))
        })?;
        let has_another = links
            .iter()
            .any(|known| known.link.identity_provider == self.settings.name);
        Ok(Ok(Some(ExpectedAccount {
            needs_proof: has_another || unlinked_from.as_ref() == Some(&resource.id),
            account: account(resource, self.purposes),
        })))
    }

    /// The SCIM clients that are trusted to know the subjects of the provider.
    fn sources(&self) -> impl Iterator<Item = &TrustedScimSource> {
        let sources = self.trusted_sources.iter();
        sources.filter(|source| source.identity_provider == self.settings.name)
    }

    /// The stores in which a client keeps accounts.
    fn stores_of(&self, source: &TrustedScimSource) -> Vec<StoreName> {
        let all = self.directory.store_names();
        let reached = all.filter(|name| source.store.as_ref().is_none_or(|store| store == *name));
        reached.cloned().collect()
    }

    /// The condition under which a first login makes an account: no client has made one for the subject meanwhile.
    pub(super) fn new_subject(&self) -> SideRecord {
        let mut stores: Vec<StoreName> = Vec::new();
        for source in self.sources() {
            for store in self.stores_of(source) {
                if !stores.contains(&store) {
                    stores.push(store);
                }
            }
        }
        SideRecord::NewSubject {
            link: self.link_record(),
            trusted: self.sources().map(TrustedScimSource::writer).collect(),
            stores,
        }
    }

    /// Returns why a person may not link this identity to their account, if there is a reason: it is another account's by
    /// the word of a client, its account was deleted and it may not return, or it needs an approval. An account that a
    /// client or an administrator made needs none, unless the identity asked for one.
    pub(crate) fn denial_of_linking(&self, user: &ResourceId) -> Result<Option<Denial>, FederationError> {
        match self.expected()? {
            Err(denial) => return Ok(Some(denial)),
            Ok(Some(expected)) if expected.account.id != *user => return Ok(Some(Denial::IdentityTaken)),
            Ok(_) => {}
        }
        let (identity, now) = (self.link_record(), self.directory.clock().now());
        let Link { issuer, subject, .. } = &identity;
        let (was_deleted, asked) = self.database.read::<_, StorageError>(|connection| {
            Ok((
                links::was_unlinked(connection, &self.settings.name, issuer, subject)?,
                approvals::of_identity(connection, &identity, now)?,
            ))
        })?;
        if was_deleted && self.settings.jit.returning == Returning::Refuse {
            return Ok(Some(Denial::AccountRemoved));
        }
        let denied = Denial::NotApproved { reason: String::new() };
        match asked.map(|asked| asked.ruling.verdict) {
            Some(Verdict::Approved) => return Ok(None),
            Some(Verdict::Waiting | Verdict::Refused) => return Ok(Some(denied)),
            None if !self.settings.jit.approval.applies(&self.identity.claims) => return Ok(None),
            None => {}
        }
        let account = self.directory.get(&Kind::USER, user, Relations::NONE)?;
        let maker = account.and_then(|account| account.writers.writers().remove("userName"));
        let is_known = maker.is_some_and(|maker| maker == provenance::ADMINISTRATOR || maker.starts_with("scim:"));
        Ok((!is_known).then_some(denied))
    }
}
