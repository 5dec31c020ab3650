//! Changes of users by clients that know the subjects of an identity provider: their `externalId` says whose account it is.

use serde_json::Value;

use super::converge::{Adoption, is_superseded, taken};
use super::{Caller, Scim, ScimError, ScimErrorKind};
use crate::directory::Outcome;
use crate::domain::change::{SubjectSource, Transfer};
use crate::domain::patch::PatchOp;
use crate::domain::{Kind, Operation, Precondition, Relations, Resource, ResourceId, SideRecord, Version, provenance};
use crate::storage::{StorageError, links};
use crate::userstore::StoreError;

/// Most attempts of one change of a subject. It is tried again if the account changed meanwhile.
const ATTEMPTS: usize = 5;

impl Scim {
    /// Changes a user, and says so if a client that knows the subjects of a provider names another subject.
    pub(super) fn apply_to_user(&self, caller: &Caller, mut operation: Operation) -> Result<Outcome, ScimError> {
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
            let new = match &named {
                NamedExternalId::Unsaid => old.clone(),
                NamedExternalId::Removed => None,
                NamedExternalId::Set(new) => Some(new.clone()),
            };
            // A replacement that does not name it keeps it: it says whose account it is.
            if let (NamedExternalId::Unsaid, Operation::Replace { attributes, .. }) = (&named, &mut operation) {
                attributes.extend(old.iter().map(|old| ("externalId".to_owned(), old.as_str().into())));
            }
            let subject = new.clone();
            let change = |old, new| SideRecord::SubjectChange {
                identity_provider: adoption.identity_provider.clone(),
                issuer: adoption.issuer.clone(),
                old,
                new,
            };
            if old == new {
                let is_said = matches!(named, NamedExternalId::Set(_));
                let writer = account.writers.writers().remove("externalId");
                if let Some(writer) = writer.filter(|writer| is_said && *writer != caller.actor.writer()) {
                    let stated = self.take_subject_over(caller, (&id, writer), change(None, new));
                    stated.map_err(|error| self.subject_taken(adoption, subject.as_deref()).unwrap_or(error))?;
                }
                return self.apply_with(caller, operation, Vec::new());
            }
            let conditional = on_version(operation.clone(), account.version);
            let has_own_condition = conditional.is_none();
            let asked = conditional.unwrap_or_else(|| operation.clone());
            match self.change_subject(caller, &id, asked, change(old, new)) {
                // The account changed meanwhile: whose it was is asked again.
                Err(error) if is_stale(&error) && !has_own_condition && attempt < ATTEMPTS => {}
                Err(error) if taken(&error).is_some_and(|attribute| attribute == "externalId") => {
                    return Err(self.subject_taken(adoption, subject.as_deref()).unwrap_or(error));
                }
                done => return done,
            }
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

    /// Makes a change by which an account may become another subject's. What identity providers granted to the subject
    /// before is withdrawn first.
    fn change_subject(
        &self,
        caller: &Caller,
        id: &ResourceId,
        operation: Operation,
        change: SideRecord,
    ) -> Result<Outcome, ScimError> {
        for _ in 1..ATTEMPTS {
            match self.apply_with(caller, operation.clone(), vec![change.clone()]) {
                Err(error) if is_superseded(&error) => {
                    self.directory
                        .withdraw_granted(&self.database, &caller.actor, (id, None))?;
                }
                done => return done,
            }
        }
        self.apply_with(caller, operation, vec![change])
    }

    /// Makes the `externalId` of an account the statement of the client, which says the same as its writer.
    fn take_subject_over(
        &self,
        caller: &Caller,
        (id, writer): (&ResourceId, String),
        change: SideRecord,
    ) -> Result<Outcome, ScimError> {
        let taken_over = Operation::Transfer {
            kind: Kind::USER,
            id: id.clone(),
            transfer: Transfer {
                from: writer,
                paths: vec!["externalId".to_owned()],
                to: caller.actor.writer(),
            },
        };
        self.change_subject(caller, id, taken_over, change)
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
enum NamedExternalId {
    Unsaid,
    Removed,
    Set(String),
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

/// Makes an operation depend on a version. `None` if it has a condition of its own.
fn on_version(mut operation: Operation, version: Version) -> Option<Operation> {
    match &mut operation {
        Operation::Replace { precondition, .. } | Operation::Patch { precondition, .. }
            if *precondition == Precondition::None =>
        {
            *precondition = Precondition::Versions(vec![version]);
            Some(operation)
        }
        _ => None,
    }
}

/// Whether the resource is at another version than a change depends on.
fn is_stale(error: &ScimError) -> bool {
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
