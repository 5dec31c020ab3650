//! Consents of a person, and their withdrawal.

use std::collections::BTreeSet;

use super::{Account, AccountError, AccountProblem, own_change};
use crate::directory::DirectoryError;
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{Consent, Kind, Operation, Precondition, Resource, SideRecord, Timestamp};
use crate::federation::jit::attribute_path::ClaimTarget;
use crate::federation::jit::purpose::{Purpose, Wording};
use crate::federation::login::visitor::SignedInUser;
use crate::storage::StorageError;
use crate::storage::consents::{self, ConsentRecord};
use crate::userstore::StoreError;

/// A purpose that a person has agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenConsent {
    /// Its name.
    pub purpose: String,
    /// Its title; `None` for [`Purpose::ACCOUNT`].
    pub title: Option<Wording>,
    /// Its description.
    pub text: Option<Wording>,
    /// Time of the consent.
    pub at: Timestamp,
    /// Time of the withdrawal, if it was withdrawn.
    pub withdrawn: Option<Timestamp>,
    /// The application that the person was signing in to.
    pub application: String,
    /// The paths that are stored for it, and whether each is optional.
    pub kept: Vec<(String, bool)>,
}

impl Account {
    /// Returns the newest consent of each purpose.
    pub(crate) fn given(&self, records: Vec<ConsentRecord>) -> Vec<GivenConsent> {
        let latest = latest(records).into_iter().map(|record| {
            let purpose = self.purpose(&record.consent.purpose);
            let is_optional = |path: &str| {
                let attributes = purpose.iter().flat_map(|purpose| &purpose.attributes);
                attributes
                    .filter(|attribute| attribute.path.as_str() == path)
                    .any(|attribute| attribute.optional)
            };
            let kept = record.consent.granted.iter();
            GivenConsent {
                kept: kept.map(|path| (path.clone(), is_optional(path))).collect(),
                title: purpose.and_then(|purpose| purpose.title.clone()),
                text: purpose.and_then(|purpose| purpose.text.clone()),
                at: record.at,
                withdrawn: record.withdrawn,
                application: self.login.config.application(&record.consent.service_provider),
                purpose: record.consent.purpose,
            }
        });
        latest.collect()
    }

    /// Withdraws the consent to a purpose, or to one optional attribute of it. Attributes that no other consent covers
    /// are removed, here and at every target.
    pub fn withdraw(&self, visitor: &SignedInUser, purpose: &str, path: Option<&str>) -> Result<(), AccountError> {
        let user = self.changeable(visitor)?;
        let records = self
            .login
            .database
            .read::<_, StorageError>(|connection| consents::of_user(connection, &user.id))?;
        let earlier: BTreeSet<String> = records
            .iter()
            .filter(|record| record.consent.purpose == purpose && record.withdrawn.is_none())
            .flat_map(|record| record.consent.granted.iter().cloned())
            .collect();
        let standing = latest(records).into_iter().filter(|record| record.withdrawn.is_none());
        let (these, others): (Vec<_>, Vec<_>) = standing
            .map(|record| record.consent)
            .partition(|consent| consent.purpose == purpose);
        let Some((mut gone, side_record)) = these.into_iter().next().and_then(|consent| without(consent, path)) else {
            return Err(AccountProblem::Outdated.into());
        };
        if path.is_none() && purpose == Purpose::ACCOUNT {
            // Consents to the account grow with what logins bring; a withdrawal ends all of them.
            gone.extend(earlier);
        }
        let kept: BTreeSet<&String> = others.iter().flat_map(|consent| &consent.granted).collect();
        let gone: Vec<&String> = gone.iter().filter(|path| !kept.contains(path)).collect();
        self.remove_values(&user, &gone, side_record.clone())?;
        // A login may have stored a value since the account was read; none does after the withdrawal.
        if let Some(user) = self.login.active_user(&visitor.authentication)?
            && has_any(&user, &gone)
        {
            self.remove_values(&user, &gone, side_record)?;
        }
        log::info!("user {} withdrew consent to {purpose}", user.id);
        Ok(())
    }

    /// Removes the values at some paths, and writes the receipt of the withdrawal.
    fn remove_values(&self, user: &Resource, paths: &[&String], receipt: SideRecord) -> Result<(), AccountError> {
        let attributes = user.document.attributes();
        let users = self.login.directory.registry().resource_type(&Kind::USER);
        let removal = |path: &&String| {
            let target = ClaimTarget::parse(path).filter(|target| target.value(&attributes).is_some())?;
            let edit = target.clear_operation();
            Some(PatchOperation {
                op: edit.op,
                path: Some(Path::parse(&edit.path, users?).ok()?),
                value: edit.value,
            })
        };
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: user.id.clone(),
            operations: paths.iter().filter_map(removal).collect(),
            precondition: Precondition::None,
        };
        match self.login.directory.apply(own_change(operation, vec![receipt])) {
            Err(DirectoryError::Store(StoreError::Unsupported(_))) => Err(AccountProblem::Impossible.into()),
            outcome => {
                drop(outcome?);
                Ok(())
            }
        }
    }

    fn purpose(&self, name: &str) -> Option<&Purpose> {
        self.login.config.purposes.iter().find(|purpose| purpose.name == name)
    }
}

/// Whether a user has a value at one of some paths.
fn has_any(user: &Resource, paths: &[&String]) -> bool {
    let attributes = user.document.attributes();
    let mut targets = paths.iter().filter_map(|path| ClaimTarget::parse(path));
    targets.any(|target| target.value(&attributes).is_some())
}

fn latest(records: Vec<ConsentRecord>) -> Vec<ConsentRecord> {
    let mut latest: Vec<ConsentRecord> = Vec::new();
    for record in records {
        latest.retain(|known| known.consent.purpose != record.consent.purpose);
        latest.push(record);
    }
    latest
}

/// Returns the paths that may no longer be stored, and the side record of the withdrawal.
fn without(mut consent: Consent, path: Option<&str>) -> Option<(BTreeSet<String>, SideRecord)> {
    let Some(path) = path else {
        return Some((consent.granted, SideRecord::Withdrawal(consent.purpose)));
    };
    let gone = consent.granted.take(path)?;
    consent.refused.insert(gone.clone());
    Some((BTreeSet::from([gone]), SideRecord::Consent(consent)))
}
