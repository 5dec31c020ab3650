//! Convergence: a POST for a user who already has an account updates that account.
//!
//! A client that is a trusted SCIM source of an identity provider gets the account that a login through that provider
//! created, if the `externalId` that it sends is the subject of the login, or if the configured attribute of both is
//! the same. A client also gets back an account that it deactivated itself. In both cases the account takes the values
//! that the client sends and keeps the rest. Any other uniqueness violation is a conflict.

use serde_json::Value;

use super::{Caller, Scim, ScimError, ScimErrorKind};
use crate::domain::filter::{Comparand, Filter, Operator};
use crate::domain::patch::{PatchOp, PatchOperation};
use crate::domain::query::Query;
use crate::domain::schema::AttributeRef;
use crate::domain::schema::ResourceType;
use crate::domain::{
    Attributes, IdentityProviderName, Kind, Operation, Precondition, Relations, Resource, ResourceId, StoreName,
    provenance,
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

/// A resource to be created.
pub(super) struct NewResource<'a> {
    pub(super) resource_type: &'a ResourceType,
    pub(super) store: &'a StoreName,
    pub(super) attributes: Attributes,
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
            let account = self.directory.get(&Kind::USER, &id, Relations::NONE)?;
            if account.is_some_and(|account| !account.is_active() && !may_enable(caller, &account)) {
                return Err(ScimErrorKind::Uniqueness.because(format!(
                    "{endpoint}/{id} is this user, and somebody else switched it off. Change that one.",
                    endpoint = resource_type.endpoint,
                )));
            }
            return self.take_over(caller, resource_type, id, attributes);
        }
        let operation = Operation::Create {
            store: store.clone(),
            kind: resource_type.kind.clone(),
            attributes,
            typed: Vec::new(),
        };
        let error = match self.apply(caller, operation) {
            Ok(outcome) => return Ok(outcome.into_resource()),
            Err(error) if taken(&error).is_none() => return Err(error),
            Err(error) => error,
        };
        let mut attributes = again()?;
        let Some((attribute, holder)) = self.holder(store, resource_type, &attributes, &error)? else {
            return Err(error);
        };
        let own = holder.writers.writers().get(&attribute) == Some(&caller.actor.writer());
        if own && !holder.is_active() && may_enable(caller, &holder) {
            attributes.entry("active").or_insert(Value::Bool(true));
            return self.take_over(caller, resource_type, holder.id, attributes);
        }
        Err(ScimErrorKind::Uniqueness.because(format!(
            "{attribute} is taken by {endpoint}/{id}. Change that one, or choose another value.",
            endpoint = resource_type.endpoint,
            id = holder.id,
        )))
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
        let here = known.filter(|link| caller.actor.reaches(&link.store));
        Ok(here.map(|link| link.resource_id))
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
        // A value that the person typed proves no identity.
        let key = attribute.path();
        let writers = one.writers.writers();
        let is_trusted = writers.get(&key).is_some_and(|writer| writer != provenance::PERSON);
        Ok((linked && is_trusted).then(|| one.id.clone()))
    }

    /// Lets the client take over an account: the values that it sends are set, the rest stays.
    fn take_over(
        &self,
        caller: &Caller,
        resource_type: &ResourceType,
        id: ResourceId,
        attributes: Attributes,
    ) -> Result<Resource, ScimError> {
        let operation = Operation::Patch {
            kind: resource_type.kind.clone(),
            id,
            operations: vec![PatchOperation {
                op: PatchOp::Replace,
                path: None,
                value: Some(Value::Object(attributes)),
            }],
            precondition: Precondition::None,
        };
        Ok(self.apply(caller, operation)?.into_resource())
    }
}

/// Whether a client's POST may enable an account again: only what it switched off itself, or what its lease did.
fn may_enable(caller: &Caller, account: &Resource) -> bool {
    let writers = account.writers.writers();
    let writer = writers.get("active");
    writer == Some(&caller.actor.writer()) || writer == Some(&provenance::of_job("lease"))
}

/// Returns the attribute whose value another resource has, if that is the error.
fn taken(error: &ScimError) -> Option<&String> {
    match error.cause.as_deref()?.downcast_ref()? {
        StoreError::Taken { attribute } => Some(attribute),
        _ => None,
    }
}
