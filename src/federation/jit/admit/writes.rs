//! The changes that an admitted login makes: a new account, a link, synchronised attributes.

use super::{CreatedAccount, LocalAccount, ProvisioningContext};
use crate::directory::DirectoryError;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{
    Actor, Change, Consent, Kind, Link, Operation, Precondition, Principal, Relations, Resource, SideRecord, StoreName,
};
use crate::federation::jit::attribute_path::{ClaimTarget, Edit, WritablePath};
use crate::federation::jit::claim_mapping::{self, ClaimMapping, StoredUser};
use crate::federation::jit::lease;
use crate::federation::jit::questions::{self, Agreement};
use crate::userstore::StoreError;

impl ProvisioningContext<'_> {
    pub(super) fn create(
        &self,
        store: &StoreName,
        username: &str,
        agreement: &Agreement,
    ) -> Result<CreatedAccount, DirectoryError> {
        let mappings = self.kept(&agreement.consents);
        let mut attributes = claim_mapping::attributes(&mappings, username, &self.identity.claims);
        let agreed = |(path, _): &&(WritablePath, String)| self.is_agreed(path, &agreement.consents);
        for (path, text) in agreement.changed.iter().filter(agreed) {
            if let Some(target) = ClaimTarget::parse(path.as_str()) {
                target.put(&mut attributes, text.as_str().into());
            }
        }
        if let Some(password) = &agreement.password {
            attributes.insert("password".to_owned(), password.expose().into());
        }
        let operation = Operation::Create {
            store: store.clone(),
            kind: Kind::USER,
            attributes,
            typed: self.typed(agreement),
        };
        let mut side_records = self.side_records(true, agreement);
        side_records.push(self.new_subject());
        let outcome = self.directory.apply(self.change(operation, side_records))?;
        let resource = outcome.resource();
        self.fill(resource, agreement)?;
        Ok(Some((resource.store.clone(), resource.id.clone())))
    }

    /// The paths of the values that the person typed or changed.
    fn typed(&self, agreement: &Agreement) -> Vec<String> {
        let is_chosen = self.answers.is_some_and(|answers| answers.username.is_some());
        let username = (is_chosen && self.mode().asks_username()).then(|| "userName".to_owned());
        let changed = agreement.changed.iter().filter(|(path, text)| {
            let suggested = claim_mapping::suggestions(self.claims, &self.identity.claims);
            !suggested.iter().any(|(known, value)| known == path && value == text)
        });
        let changed = changed.map(|(path, _)| path.as_str().to_owned());
        username.into_iter().chain(changed).collect()
    }

    /// Enables an account again that was disabled when its lease expired. The person is not signed in yet: the caller
    /// decides again.
    pub(super) fn renew(&self, resource: Option<&Resource>) -> Result<CreatedAccount, DirectoryError> {
        let Some(resource) = resource else { return Ok(None) };
        log::info!(
            "user {} signed in through {} after the lease expired and is enabled again",
            resource.id,
            self.settings.name
        );
        lease::switch(self.directory, resource, true)?;
        Ok(None)
    }

    /// Links the identity to an existing account. The link is written even if no attribute changes. One that rests on the
    /// statement of a client is made only as long as the client says so.
    pub(super) fn link(
        &self,
        (account, by_statement): (&LocalAccount, bool),
        given: &[Consent],
        agreement: &Agreement,
    ) -> Result<CreatedAccount, DirectoryError> {
        let Some(resource) = self.directory.get(&Kind::USER, &account.id, Relations::NONE)? else {
            return Err(DirectoryError::NotFound(Kind::USER));
        };
        // The link is written only if the account is still the one that is read here.
        let attributes = resource.document.attributes();
        let is_stated = attributes
            .get("externalId")
            .is_some_and(|id| *id == *self.identity.subject);
        if (by_statement && !is_stated) || self.is_mailed_elsewhere(&resource).unwrap_or(true) {
            return Err(StoreError::Superseded.into());
        }
        let given: Vec<Consent> = given.iter().chain(&agreement.consents).cloned().collect();
        let operation = self.patch(&resource, &given)?;
        let proof = self.proof.filter(|proof| proof.user == account.id);
        let proof = proof.map(|proof| SideRecord::Proof(proof.credentials));
        let side_records: Vec<SideRecord> = proof.into_iter().chain(self.side_records(true, agreement)).collect();
        match self.directory.apply(self.change(operation, side_records.clone())) {
            Err(DirectoryError::Store(StoreError::Unsupported(what))) => {
                log::warn!(
                    "attributes from {} were not stored: the userstore cannot {what}",
                    self.settings.name
                );
                self.directory.apply(self.change(unchanged(&resource), side_records))?;
            }
            outcome => drop(outcome?),
        }
        self.fill(&resource, agreement)?;
        Ok(None)
    }

    /// Updates a linked user from the claims. A value that does not fit never refuses the login.
    pub(super) fn synchronise(
        &self,
        resource: Option<&Resource>,
        given: &[Consent],
        agreement: &Agreement,
    ) -> Result<CreatedAccount, DirectoryError> {
        let Some(resource) = resource else { return Ok(None) };
        let given: Vec<Consent> = given.iter().chain(&agreement.consents).cloned().collect();
        let side_records = self.side_records(false, agreement);
        let outcome = match self.patch(resource, &given) {
            Ok(Operation::Patch { operations, .. }) if operations.is_empty() && side_records.is_empty() => Ok(()),
            Ok(operation) => self
                .directory
                .apply(self.change(operation, side_records.clone()))
                .map(|_| ()),
            Err(error) => Err(error),
        };
        match outcome {
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!(
                    "attributes from {} were not synchronised: {}",
                    self.settings.name,
                    invalid.detail
                );
                self.directory.apply(self.change(unchanged(resource), side_records))?;
            }
            Err(DirectoryError::Store(StoreError::Unsupported(what))) => {
                log::warn!(
                    "attributes from {} were not synchronised: the userstore cannot {what}",
                    self.settings.name
                );
                // The consents are kept all the same.
                self.directory.apply(self.change(unchanged(resource), side_records))?;
            }
            outcome => outcome?,
        }
        self.fill(resource, agreement)?;
        Ok(None)
    }

    /// Writes the attributes that the person filled in, with the person as writer, so that the provider does not clear
    /// them.
    fn fill(&self, resource: &Resource, agreement: &Agreement) -> Result<(), DirectoryError> {
        if agreement.filled.is_empty() {
            return Ok(());
        }
        let attributes = resource.document.attributes();
        let edits = agreement.filled.iter().filter_map(|(path, text)| {
            let target = ClaimTarget::parse(path.as_str())?;
            Some(self.strict(target.set_operation(&attributes, &text.as_str().into())))
        });
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: resource.id.clone(),
            operations: edits.collect::<Result<_, _>>()?,
            precondition: Precondition::None,
        };
        let actor = Actor {
            principal: Principal::Person,
            ..self.actor()
        };
        let change = Change {
            actor,
            operation,
            side_records: Vec::new(),
        };
        match self.directory.apply(change) {
            Err(DirectoryError::Invalid(invalid)) => {
                log::warn!("attributes that a person filled in were not stored: {}", invalid.detail);
                Ok(())
            }
            outcome => outcome.map(|_| ()),
        }
    }

    /// Returns the claim mapping with what the person agreed to have stored. Where people are asked for consent, an
    /// attribute in no purpose is not stored.
    fn kept(&self, given: &[Consent]) -> Vec<ClaimMapping> {
        let kept = |mapping: &&ClaimMapping| mapping.path().is_none_or(|path| self.is_agreed(&path, given));
        self.claims.iter().filter(kept).cloned().collect()
    }

    fn is_agreed(&self, path: &WritablePath, given: &[Consent]) -> bool {
        // Also where the application asks for none: the identity provider's people are asked elsewhere.
        if self.mode().asks_consent() || self.settings.jit.mode.asks_consent() {
            questions::granted(given).contains(path.as_str())
        } else {
            !questions::refused(given).contains(path.as_str())
        }
    }

    fn patch(&self, resource: &Resource, given: &[Consent]) -> Result<Operation, DirectoryError> {
        let attributes = resource.document.attributes();
        let stored = StoredUser {
            attributes: &attributes,
            writers: &resource.writers.writers(),
        };
        let edits = claim_mapping::changes(
            &self.kept(given),
            self.settings.jit.sync,
            &self.identity.claims,
            &stored,
            &self.actor().writer(),
        );
        Ok(Operation::Patch {
            kind: Kind::USER,
            id: resource.id.clone(),
            operations: edits
                .into_iter()
                .map(|edit| self.strict(edit))
                .collect::<Result<_, _>>()?,
            precondition: Precondition::Versions(vec![resource.version]),
        })
    }

    fn change(&self, operation: Operation, side_records: Vec<SideRecord>) -> Change {
        Change {
            actor: self.actor(),
            operation,
            side_records,
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor {
            principal: Principal::Login {
                identity_provider: self.settings.name.clone(),
            },
            service_provider: self.service_provider.name.clone(),
        }
    }

    pub(super) fn link_record(&self) -> Link {
        self.identity.link(&self.settings.name)
    }

    /// Returns the side records to write with the account: the link, if it is new, and the consents.
    fn side_records(&self, linked: bool, agreement: &Agreement) -> Vec<SideRecord> {
        let link = linked.then(|| SideRecord::Link(self.link_record()));
        let consents = agreement.consents.iter().cloned().map(SideRecord::Consent);
        link.into_iter().chain(consents).collect()
    }

    /// Converts an edit to an operation of the change pipeline.
    fn strict(&self, edit: Edit) -> Result<PatchOperation, DirectoryError> {
        let user = self.directory.registry().resource_type(&Kind::USER);
        let user = user.ok_or(DirectoryError::NotFound(Kind::USER))?;
        Ok(PatchOperation {
            op: edit.op,
            path: Some(Path::parse(&edit.path, user)?),
            value: edit.value,
        })
    }
}

/// A change of nothing, which side records go with.
fn unchanged(resource: &Resource) -> Operation {
    Operation::Patch {
        kind: Kind::USER,
        id: resource.id.clone(),
        operations: Vec::new(),
        precondition: Precondition::None,
    }
}
