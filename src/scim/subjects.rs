//! Changes of users by clients that know the subjects of an identity provider: their `externalId` says whose account it is.

use std::time::Duration;

use serde_json::Value;

use super::converge::{Adoption, taken};
use super::{Caller, Scim, ScimError, ScimErrorKind};
use crate::directory::Outcome;
use crate::domain::backoff::Backoff;
use crate::domain::change::SubjectSource;
use crate::domain::patch::PatchOp;
use crate::domain::{Kind, Operation, Precondition, Relations, Resource, ResourceId, SideRecord, Version, provenance};
use crate::storage::{StorageError, links, mail_addresses};
use crate::userstore::StoreError;

/// Most attempts of one change of a subject. It is tried again if the account changed meanwhile.
pub(super) const ATTEMPTS: u32 = 40;
/// The waits between them, about three seconds in all.
pub(super) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(100));
/// The detail of the error when all attempts met another change.
pub(super) const BUSY: &str = "Others change this user at the moment. Repeat the request.";

impl Scim {
    /// Changes a user, and says so if a client that knows the subjects of a provider names another subject.
    pub(super) fn apply_to_user(&self, caller: &Caller, operation: Operation) -> Result<Outcome, ScimError> {
        if matches!(&operation, Operation::Delete { kind, .. } if *kind == Kind::USER) {
            return self.apply_with(
                caller,
                operation,
                vec![SideRecord::KeptSubjects(self.subject_sources())],
            );
        }
        let adoption = caller.client.adoption.as_ref();
        let adoption = adoption.filter(|adoption| adoption.attribute.is_none());
        let (Some(adoption), Some((id, named))) = (adoption, named_external_id(&operation)) else {
            return self.apply_with(caller, operation, Vec::new());
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let account = self
                .directory
                .get_for(&caller.actor, &Kind::USER, &id, Relations::NONE)?;
            let Some(account) = account else {
                return self.apply_with(caller, operation, Vec::new());
            };
            let old = external_id(&account);
            let new = named.after(old.as_deref());
            let mut asked = operation.clone();
            if named == NamedExternalId::Unsaid {
                // A replacement that does not name it keeps it: it says whose account it is.
                keep_external_id(&mut asked, old.as_deref());
            }
            // The decision holds only for the account as it was read.
            let is_conditional = require_version(&mut asked, account.version);
            let takes_over = old == new && self.may_take_over(caller, &account, &named);
            let change = (old != new || takes_over).then(|| {
                let stated = old.clone().filter(|_| old != new && self.is_stated(adoption, &account));
                adoption.subject_change((stated, new.clone()), &account)
            });
            let has_changed = change.is_some();
            match self.apply_with(caller, asked, change.into_iter().collect()) {
                Err(error) if is_stale(&error) && is_conditional => {
                    if attempt == ATTEMPTS {
                        return Err(ScimErrorKind::Unavailable.because(BUSY));
                    }
                    std::thread::sleep(BACKOFF.wait(attempt));
                }
                Err(error) if taken(&error).is_some_and(|attribute| attribute == "externalId") => {
                    return Err(self.subject_taken(adoption, new.as_deref()).unwrap_or(error));
                }
                Ok(outcome) if has_changed => {
                    self.withdraw_outdated(caller, &id);
                    return Ok(outcome);
                }
                done => return done,
            }
        }
    }

    /// Whether a client that is trusted to know these subjects wrote the `externalId` of an account.
    fn is_stated(&self, adoption: &Adoption, account: &Resource) -> bool {
        let writers = account.writers.writers();
        let mut sources = self.subject_sources().into_iter();
        sources.any(|source| {
            writers.get("externalId") == Some(&source.writer)
                && source.identity_provider == adoption.identity_provider
                && source.issuer == adoption.issuer
        })
    }

    /// Takes the user out of the groups that an identity provider added somebody else to. What fails is done later: the
    /// server repeats it.
    fn withdraw_outdated(&self, caller: &Caller, id: &ResourceId) {
        let actor = caller.actor.in_every_store();
        if let Err(error) = self.directory.withdraw_outdated(&self.database, &actor, Some(id)) {
            log::warn!("memberships that an identity provider granted could not be withdrawn yet: {error}");
        }
    }

    /// The clients that are trusted to know the subjects of an identity provider.
    fn subject_sources(&self) -> Vec<SubjectSource> {
        let sources = self.clients.iter().filter_map(|(name, client)| {
            let adoption = client.adoption.as_ref()?;
            adoption.attribute.is_none().then(|| SubjectSource {
                writer: provenance::of_client(name),
                identity_provider: adoption.identity_provider.clone(),
                issuer: adoption.issuer.clone(),
            })
        });
        sources.collect()
    }

    /// Whether the client says the same `externalId` as another writer, and makes it its own statement: not if it is the
    /// statement of another client that is trusted to know subjects, of whatever provider.
    fn may_take_over(&self, caller: &Caller, account: &Resource, named: &NamedExternalId) -> bool {
        let is_said = matches!(named, NamedExternalId::Set(_));
        let writer = account.writers.writers().remove("externalId").filter(|_| is_said);
        let mut sources = self.subject_sources().into_iter();
        writer.is_some_and(|writer| writer != caller.actor.writer() && !sources.any(|source| source.writer == writer))
    }

    /// The conflict of a subject that has another account. `None` if it has none any more.
    fn subject_taken(&self, adoption: &Adoption, subject: Option<&str>) -> Option<ScimError> {
        let link = adoption.identity(subject?);
        let known = self.database.read::<_, StorageError>(|connection| {
            links::find(connection, &link.identity_provider, &link.issuer, &link.subject)
        });
        let id = known.ok()??.resource_id;
        Some(ScimErrorKind::Uniqueness.because(format!(
            "This externalId is the subject of Users/{id}, which a login made. Change or delete that one first."
        )))
    }
}

/// The statement of an operation about the `externalId` of a user.
#[derive(PartialEq, Eq)]
enum NamedExternalId {
    Unsaid,
    Removed,
    Set(String),
}

impl NamedExternalId {
    /// The `externalId` after the operation.
    fn after(&self, old: Option<&str>) -> Option<String> {
        match self {
            Self::Unsaid => old.map(str::to_owned),
            Self::Removed => None,
            Self::Set(new) => Some(new.clone()),
        }
    }
}

impl Adoption {
    /// The statement that an account is another subject's.
    fn subject_change(&self, (old, new): (Option<String>, Option<String>), account: &Resource) -> SideRecord {
        SideRecord::SubjectChange {
            addresses: mail_addresses::of(account),
            identity_provider: self.identity_provider.clone(),
            issuer: self.issuer.clone(),
            old,
            new,
        }
    }
}

/// Adds the `externalId` that an account has to a replacement.
fn keep_external_id(operation: &mut Operation, old: Option<&str>) {
    if let (Operation::Replace { attributes, .. }, Some(old)) = (operation, old) {
        attributes.insert("externalId".to_owned(), old.into());
    }
}

/// Returns the user that an operation changes, and its statement about the `externalId`.
fn named_external_id(operation: &Operation) -> Option<(ResourceId, NamedExternalId)> {
    let said = |value: &Value| match value.as_str().filter(|text| !text.is_empty()) {
        Some(text) => NamedExternalId::Set(text.to_owned()),
        None => NamedExternalId::Removed,
    };
    match operation {
        Operation::Replace {
            kind, id, attributes, ..
        } if *kind == Kind::USER => {
            let named = attributes.get("externalId").map_or(NamedExternalId::Unsaid, said);
            Some((id.clone(), named))
        }
        Operation::Patch {
            kind, id, operations, ..
        } if *kind == Kind::USER => {
            let mut named = operations.iter().rev().filter_map(|operation| match &operation.path {
                Some(path) if path.attribute.path() != "externalId" => None,
                Some(_) if operation.op == PatchOp::Remove => Some(NamedExternalId::Removed),
                Some(_) => operation.value.as_ref().map(said),
                None => operation.value.as_ref()?.get("externalId").map(said),
            });
            named.next().map(|named| (id.clone(), named))
        }
        _ => None,
    }
}

/// Makes an operation depend on a version. `false` if its own condition does not allow that one: it is refused then.
fn require_version(operation: &mut Operation, version: Version) -> bool {
    match operation {
        Operation::Replace { precondition, .. } | Operation::Patch { precondition, .. }
            if precondition.allows(version) =>
        {
            *precondition = Precondition::Versions(vec![version]);
            true
        }
        _ => false,
    }
}

/// Whether the resource is at another version than a change depends on.
pub(super) fn is_stale(error: &ScimError) -> bool {
    let cause = error
        .cause
        .as_deref()
        .and_then(|cause| cause.downcast_ref::<StoreError>());
    matches!(cause, Some(StoreError::Stale))
}

/// Returns the `externalId` of a user.
fn external_id(account: &Resource) -> Option<String> {
    let attributes = account.document.attributes();
    attributes.get("externalId").and_then(Value::as_str).map(str::to_owned)
}
