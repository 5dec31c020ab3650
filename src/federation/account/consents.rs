//! What a person agreed to, and how they take it back.

use std::collections::BTreeSet;

use super::{Account, AccountError, Complaint, own_change};
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{Companion, Consent, Kind, Operation, Precondition, Timestamp};
use crate::federation::jit::attribute_path::Target;
use crate::federation::jit::purpose::{Purpose, Wording};
use crate::federation::login::visitor::Visitor;
use crate::storage::StorageError;
use crate::storage::consents::{self, ConsentRecord};

/// A purpose that a person has agreed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenConsent {
    /// Its name.
    pub purpose: String,
    /// What it is called; none for [`Purpose::ACCOUNT`].
    pub title: Option<Wording>,
    /// What it is.
    pub text: Option<Wording>,
    /// When the person agreed.
    pub at: Timestamp,
    /// When they took it back, if they did.
    pub withdrawn: Option<Timestamp>,
    /// The application that they were on the way to.
    pub application: String,
    /// The paths that are kept for it, and whether there is an account without each.
    pub kept: Vec<(String, bool)>,
}

impl Account {
    /// The newest receipt of each purpose.
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

    /// Takes back what was agreed to for a purpose: all of it, or one optional attribute. What nothing else is agreed for is
    /// removed, here and wherever it was passed on to.
    pub fn withdraw(&self, visitor: &Visitor, purpose: &str, path: Option<&str>) -> Result<(), AccountError> {
        let user = self.changeable(visitor)?;
        let records = self
            .login
            .database
            .read::<_, StorageError>(|connection| consents::of_user(connection, &user.id))?;
        let standing = latest(records).into_iter().filter(|record| record.withdrawn.is_none());
        let (these, others): (Vec<_>, Vec<_>) = standing
            .map(|record| record.consent)
            .partition(|consent| consent.purpose == purpose);
        let Some((gone, companion)) = these.into_iter().next().and_then(|consent| without(consent, path)) else {
            return Err(Complaint::Outdated.into());
        };
        let kept: BTreeSet<&String> = others.iter().flat_map(|consent| &consent.granted).collect();
        let attributes = user.document.attributes();
        let users = self.login.directory.registry().resource_type(&Kind::USER);
        let removal = |path: &String| {
            let target = Target::parse(path).filter(|target| target.value(&attributes).is_some())?;
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
            operations: gone
                .iter()
                .filter(|path| !kept.contains(path))
                .filter_map(removal)
                .collect(),
            precondition: Precondition::None,
        };
        self.login.directory.apply(own_change(operation, vec![companion]))?;
        log::info!("user {} took back what they had agreed to for {purpose}", user.id);
        Ok(())
    }

    fn purpose(&self, name: &str) -> Option<&Purpose> {
        self.login.config.purposes.iter().find(|purpose| purpose.name == name)
    }
}

fn latest(records: Vec<ConsentRecord>) -> Vec<ConsentRecord> {
    let mut latest: Vec<ConsentRecord> = Vec::new();
    for record in records {
        latest.retain(|known| known.consent.purpose != record.consent.purpose);
        latest.push(record);
    }
    latest
}

/// What may be kept no longer, and what is written down of that.
fn without(mut consent: Consent, path: Option<&str>) -> Option<(BTreeSet<String>, Companion)> {
    let Some(path) = path else {
        return Some((consent.granted, Companion::Withdrawal(consent.purpose)));
    };
    let gone = consent.granted.take(path)?;
    consent.refused.insert(gone.clone());
    Some((BTreeSet::from([gone]), Companion::Consent(consent)))
}
