//! Convergence: a POST for a user who already has an account updates that account.
//!
//! A client that is a trusted SCIM source of an identity provider gets the account that a login through that provider
//! created, if the `externalId` that it sends is the subject of the login, or if the configured attribute of both is
//! the same. A client also gets back an account that it deactivated itself, unless it names another `externalId`. In
//! both cases the account takes the values that the client sends and keeps the rest. Any other uniqueness violation is a
//! conflict.

use serde_json::Value;

use super::subjects::{ATTEMPTS, BACKOFF, BUSY, is_stale};
use super::{Caller, Scim, ScimError, ScimErrorKind};
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::query::Query;
use crate::domain::schema::AttributeRef;
use crate::domain::schema::ResourceType;
use crate::domain::{
    Attributes, IdentityProviderName, Kind, Link, Operation, Precondition, Relations, Resource, ResourceId, SideRecord,
    StoreName, provenance,
};
use crate::storage::{StorageError, links};
use crate::userstore::StoreError;

/// The accounts that a client may take over, and how they are matched.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The identity provider through which the client's users log in.
    pub identity_provider: IdentityProviderName,
    /// The issuer of its subjects.
    pub issuer: String,
    /// The attribute that must be equal in the client's resource and in the account. Without one the client's
    /// `externalId` must be the subject that the identity provider asserts.
    pub attribute: Option<String>,
}

impl Adoption {
    /// The identity of a subject.
    pub(super) fn identity(&self, subject: &str) -> Link {
        Link {
            identity_provider: self.identity_provider.clone(),
            issuer: self.issuer.clone(),
            subject: subject.to_owned(),
        }
    }
}

/// A resource to be created.
pub(super) struct NewResource<'a> {
    pub(super) resource_type: &'a ResourceType,
    pub(super) store: &'a StoreName,
    pub(super) attributes: Attributes,
}

/// A resource that a client sends for one that exists already.
struct SentResource<'a> {
    caller: &'a Caller,
    resource_type: &'a ResourceType,
    attributes: Attributes,
}

impl<'a> SentResource<'a> {
    fn new(caller: &'a Caller, resource_type: &'a ResourceType, attributes: Attributes) -> Self {
        Self {
            caller,
            resource_type,
            attributes,
        }
    }
}

impl Scim {
    /// Creates the resource, or updates the existing one. `again` returns the attributes again: few requests need
    /// them again, and a copy for all would cost as much as parsing them.
    pub(super) fn create_or_converge(
        &self,
        caller: &Caller,
        wanted: NewResource<'_>,
        again: impl FnOnce() -> Result<Attributes, ScimError>,
    ) -> Result<Resource, ScimError> {
        let NewResource {
            resource_type,
            store,
            attributes,
        } = wanted;
        if let Some(id) = self.adoptable(caller, resource_type, &attributes)? {
            return self.adopt(SentResource::new(caller, resource_type, attributes), id);
        }
        let condition = new_subject(caller, resource_type, &attributes);
        let operation = Operation::Create {
            store: store.clone(),
            kind: resource_type.kind.clone(),
            attributes,
            typed: Vec::new(),
        };
        let error = match self.apply_with(caller, operation, condition) {
            Ok(outcome) => return Ok(outcome.into_resource()),
            Err(error) => error,
        };
        if is_superseded(&error) {
            // A first login made the account meanwhile.
            let attributes = again()?;
            let Some(id) = self.adoptable(caller, resource_type, &attributes)? else {
                return Err(ScimErrorKind::Uniqueness
                    .because("externalId is the subject of an account that this client does not keep."));
            };
            return self.adopt(SentResource::new(caller, resource_type, attributes), id);
        }
        if taken(&error).is_none() {
            return Err(error);
        }
        let attributes = again()?;
        match self.holder(store, resource_type, &attributes, &error)? {
            Some((attribute, holder))
                if is_switched_off_by(caller, &attribute, &holder) && may_be_same(&holder, &attributes) =>
            {
                self.enable(
                    SentResource::new(caller, resource_type, attributes),
                    (&attribute, holder.id),
                )
            }
            Some((attribute, holder)) => Err(ScimErrorKind::Uniqueness.because(format!(
                "{attribute} is taken by {endpoint}/{id}. Change that one, or choose another value.",
                endpoint = resource_type.endpoint,
                id = holder.id,
            ))),
            None => Err(error),
        }
    }

    /// Updates the account that a login created for the user that the client sends.
    fn adopt(&self, sent: SentResource<'_>, id: ResourceId) -> Result<Resource, ScimError> {
        let SentResource {
            caller, resource_type, ..
        } = sent;
        self.take_over(sent, &id, |account, attributes| {
            if !account.is_active() && !may_enable(caller, account) {
                return Err(ScimErrorKind::Uniqueness.because(format!(
                    "{endpoint}/{id} is this user, and somebody else switched it off. Change that one.",
                    endpoint = resource_type.endpoint,
                )));
            }
            if self.adoptable(caller, resource_type, attributes)?.as_ref() != Some(&id) {
                return Err(changed_meanwhile(resource_type, &id));
            }
            Ok(())
        })
    }

    /// Enables and updates a resource that the client switched off itself.
    fn enable(&self, mut sent: SentResource<'_>, (attribute, id): (&str, ResourceId)) -> Result<Resource, ScimError> {
        sent.attributes.entry("active").or_insert(Value::Bool(true));
        let SentResource {
            caller, resource_type, ..
        } = sent;
        self.take_over(sent, &id, |account, attributes| {
            let is_same = is_switched_off_by(caller, attribute, account) && may_be_same(account, attributes);
            is_same
                .then_some(())
                .ok_or_else(|| changed_meanwhile(resource_type, &id))
        })
    }

    /// Returns the resource that has the taken name, and the attribute.
    fn holder(
        &self,
        store: &StoreName,
        resource_type: &ResourceType,
        attributes: &Attributes,
        error: &ScimError,
    ) -> Result<Option<(String, Resource)>, ScimError> {
        let Some(attribute) = taken(error) else {
            return Ok(None);
        };
        let unique = resource_type.name_attribute();
        let Some(name) = unique
            .filter(|unique| unique.name == *attribute)
            .and_then(|_| attributes.get(attribute)?.as_str())
        else {
            return Ok(None);
        };
        let holder = self.directory.named(store, &resource_type.kind, name)?;
        Ok(holder.map(|holder| (attribute.clone(), holder)))
    }

    /// Returns the account that a login created for the user that the client sends.
    fn adoptable(
        &self,
        caller: &Caller,
        resource_type: &ResourceType,
        attributes: &Attributes,
    ) -> Result<Option<ResourceId>, ScimError> {
        let Some(adoption) = caller
            .client
            .adoption
            .as_ref()
            .filter(|_| resource_type.kind == Kind::USER)
        else {
            return Ok(None);
        };
        let Some(path) = &adoption.attribute else {
            return self.by_subject(caller, adoption, attributes);
        };
        let by = resource_type.resolve(path);
        let value = by.as_ref().and_then(|by| by.single_text(attributes));
        match (&by, value) {
            (Some(by), Some(value)) if !value.is_empty() => self.by_attribute(caller, adoption, by, value),
            _ => Ok(None),
        }
    }

    fn by_subject(
        &self,
        caller: &Caller,
        adoption: &Adoption,
        attributes: &Attributes,
    ) -> Result<Option<ResourceId>, ScimError> {
        let Some(subject) = attributes.get("externalId").and_then(Value::as_str) else {
            return Ok(None);
        };
        let known = self.database.read::<_, StorageError>(|connection| {
            links::find(connection, &adoption.identity_provider, &adoption.issuer, subject)
        })?;
        let Some(link) = known.filter(|link| caller.actor.reaches(&link.store)) else {
            return Ok(None);
        };
        // An account that the client keeps under another subject is another person's.
        let account = self.directory.get(&Kind::USER, &link.resource_id, Relations::NONE)?;
        let is_another = account.is_some_and(|account| {
            kept_external_id(&account, &caller.actor.writer()).is_some_and(|kept| kept != subject)
        });
        Ok(Some(link.resource_id).filter(|_| !is_another))
    }

    fn by_attribute(
        &self,
        caller: &Caller,
        adoption: &Adoption,
        attribute: &AttributeRef,
        value: &str,
    ) -> Result<Option<ResourceId>, ScimError> {
        let filter = Filter::Compare {
            attribute: attribute.clone(),
            operator: Operator::Eq,
            value: Comparand::Text(value.to_owned()),
        };
        let query = Query::all(Kind::USER, 2).filtered(filter);
        let found = self.directory.find_over(&self.directory.reach(&caller.actor), &query)?;
        let [one] = found.found.resources.as_slice() else {
            return Ok(None);
        };
        let links = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &one.id))?;
        let linked = links
            .iter()
            .any(|link| link.link.identity_provider == adoption.identity_provider);
        // Only the provider of the client's people, or an administrator, is trusted to know who has the value: not the
        // person, and not a provider where anybody signs up under any name.
        let provider = provenance::of_provider(&adoption.identity_provider);
        let writers = one.writers.writers();
        let writer = writers.get(&attribute.path());
        let is_trusted = writer.is_some_and(|writer| *writer == provider || writer == provenance::ADMINISTRATOR);
        Ok((linked && is_trusted).then(|| one.id.clone()))
    }

    /// Lets the client take over an account: the values that it sends are set, the rest stays. It holds for the account as it
    /// is when `check` allows it; after a change of others it is decided again.
    fn take_over(
        &self,
        sent: SentResource<'_>,
        id: &ResourceId,
        check: impl Fn(&Resource, &Attributes) -> Result<(), ScimError>,
    ) -> Result<Resource, ScimError> {
        let SentResource {
            caller,
            resource_type,
            attributes,
        } = sent;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let account = self.directory.get(&resource_type.kind, id, Relations::NONE)?;
            let account = account.ok_or_else(|| changed_meanwhile(resource_type, id))?;
            check(&account, &attributes)?;
            let operation = Operation::Patch {
                kind: resource_type.kind.clone(),
                id: id.clone(),
                operations: vec![PatchOperation {
                    op: PatchOp::Replace,
                    path: None,
                    value: Some(Value::Object(attributes.clone())),
                }],
                precondition: Precondition::Versions(vec![account.version]),
            };
            match self.apply(caller, operation) {
                Err(error) if is_stale(&error) && attempt < ATTEMPTS => std::thread::sleep(BACKOFF.wait(attempt)),
                Err(error) if is_stale(&error) => return Err(ScimErrorKind::Unavailable.because(BUSY)),
                settled => return Ok(settled?.into_resource()),
            }
        }
    }
}

/// The error of a user who is another's, or in another state, than a moment ago.
fn changed_meanwhile(resource_type: &ResourceType, id: &ResourceId) -> ScimError {
    let endpoint = &resource_type.endpoint;
    ScimErrorKind::Uniqueness.because(format!("{endpoint}/{id} has changed in the meantime. Read it again."))
}

/// The condition under which a client that knows the subjects of a provider makes an account: no login has made one
/// for the subject meanwhile.
fn new_subject(caller: &Caller, resource_type: &ResourceType, attributes: &Attributes) -> Vec<SideRecord> {
    let adoption = caller
        .client
        .adoption
        .as_ref()
        .filter(|_| resource_type.kind == Kind::USER);
    let Some(adoption) = adoption.filter(|adoption| adoption.attribute.is_none()) else {
        return Vec::new();
    };
    let subject = attributes.get("externalId").and_then(Value::as_str);
    let condition = subject.map(|subject| SideRecord::NewSubject {
        link: adoption.identity(subject),
        trusted: Vec::new(),
        stores: Vec::new(),
    });
    condition.into_iter().collect()
}

/// Whether a first login made an account for the subject meanwhile.
fn is_superseded(error: &ScimError) -> bool {
    let cause = error
        .cause
        .as_deref()
        .and_then(|cause| cause.downcast_ref::<StoreError>());
    matches!(cause, Some(StoreError::Superseded))
}

/// Whether a client's POST may enable an account again: only what it switched off itself, or what its lease did.
fn may_enable(caller: &Caller, account: &Resource) -> bool {
    let writers = account.writers.writers();
    let writer = writers.get("active");
    writer == Some(&caller.actor.writer()) || writer == Some(&provenance::of_job("lease"))
}

/// Whether a client wrote the taken value of a resource and switched it off itself.
fn is_switched_off_by(caller: &Caller, attribute: &str, holder: &Resource) -> bool {
    let own = holder.writers.writers().get(attribute) == Some(&caller.actor.writer());
    own && !holder.is_active() && may_enable(caller, holder)
}

/// Whether nothing says that a resource is another one than the client sends. Two values of `externalId` are two people: a
/// name that a leaver had may be given to a newcomer, who must not get the leaver's groups and roles.
fn may_be_same(holder: &Resource, attributes: &Attributes) -> bool {
    let known = holder.document.attributes();
    match (known.get("externalId"), attributes.get("externalId")) {
        (Some(known), Some(sent)) => known == sent,
        _ => true,
    }
}

/// Returns the attribute whose value another resource has, if that is the error.
pub(super) fn taken(error: &ScimError) -> Option<&String> {
    match error.cause.as_deref()?.downcast_ref()? {
        StoreError::Taken { attribute } => Some(attribute),
        _ => None,
    }
}

/// Returns the `externalId` that a writer keeps for an account.
pub(super) fn kept_external_id(account: &Resource, writer: &str) -> Option<String> {
    let is_theirs = account
        .writers
        .writers()
        .get("externalId")
        .is_some_and(|known| known == writer);
    let attributes = account.document.attributes();
    let kept = attributes.get("externalId").and_then(Value::as_str).map(str::to_owned);
    kept.filter(|_| is_theirs)
}
