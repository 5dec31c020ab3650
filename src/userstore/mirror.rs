//! A userstore that reads from another store and writes to a copy, for rehearsals.
//! A resource is copied when it is first read. The original store is never written to, so a rehearsal runs as a real
//! change would, without any effect.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::sql::SqlUserstore;
use super::{Draft, PasswordCheck, StoreError, UniqueKey, Userstore, Write, WriteAction, WriteResult};
use crate::domain::lockout::FailureCount;
use crate::domain::patch::MemberStep;
use crate::domain::query::{Query, ResultPage};
use crate::domain::schema::Registry;
use crate::domain::unique::unique_values;
use crate::domain::{Kind, Member, Relations, Resource, ResourceId, Secret, SideRecord, StoreName};

/// Copies the other records of a user.
pub(crate) type CopyRecords = dyn Fn(&ResourceId) -> Result<(), StoreError> + Send + Sync;

/// A mirror of a store.
pub(crate) struct Mirror {
    origin: Arc<dyn Userstore>,
    copy: SqlUserstore,
    registry: Arc<Registry>,
    copy_records: Box<CopyRecords>,
    seen: Mutex<HashSet<ResourceId>>,
}

impl Mirror {
    /// Mirrors `origin` in `copy`, a store of the same name in a database of its own.
    pub(crate) fn new(
        origin: Arc<dyn Userstore>,
        copy: SqlUserstore,
        registry: Arc<Registry>,
        copy_records: Box<CopyRecords>,
    ) -> Self {
        Self {
            origin,
            copy,
            registry,
            copy_records,
            seen: Mutex::default(),
        }
    }

    /// Copies a resource if the original has it: a user together with their direct groups, a group without its members.
    fn take(&self, kind: &Kind, id: &ResourceId) -> Result<(), StoreError> {
        let is_new = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone());
        if !is_new {
            return Ok(());
        }
        let relations = Relations {
            groups: true,
            members: false,
        };
        let Some(resource) = self.origin.get(kind, id, relations)? else {
            return Ok(());
        };
        self.write_copy(&resource, WriteAction::Create(self.draft(&resource)))?;
        if *kind == Kind::USER {
            (self.copy_records)(id)?;
        }
        for membership in resource.groups.iter().filter(|membership| membership.direct) {
            self.take(&Kind::GROUP, &membership.id)?;
            let Some(group) = self.copy.get(&Kind::GROUP, &membership.id, Relations::NONE)? else {
                continue;
            };
            let member = Member {
                id: id.clone(),
                body: serde_json::json!({ "value": id }).to_string(),
            };
            let change = vec![MemberStep::Join(vec![member])];
            let expected = crate::domain::Precondition::None;
            self.write_copy(&group, WriteAction::Members { change, expected })?;
        }
        Ok(())
    }

    fn write_copy(&self, resource: &Resource, action: WriteAction) -> Result<(), StoreError> {
        let write = Write {
            kind: resource.kind.clone(),
            id: resource.id.clone(),
            at: resource.created,
            action,
        };
        self.copy.write(write, Vec::new()).map(|_| ())
    }

    fn draft(&self, resource: &Resource) -> Draft {
        let attributes = resource.document.attributes();
        let resource_type = self.registry.resource_type(&resource.kind);
        Draft {
            key: UniqueKey::of(resource_type, &resource.id, &attributes),
            unique: resource_type.and_then(|resource_type| unique_values(resource_type, &attributes)),
            attributes,
            writers: resource.writers.writers(),
            members: None,
            password: None,
        }
    }
}

impl Userstore for Mirror {
    fn name(&self) -> &StoreName {
        self.copy.name()
    }

    fn get(&self, kind: &Kind, id: &ResourceId, relations: Relations) -> Result<Option<Resource>, StoreError> {
        self.take(kind, id)?;
        self.copy.get(kind, id, relations)
    }

    fn is_larger(&self, group: &ResourceId, limit: usize) -> Result<bool, StoreError> {
        self.origin.is_larger(group, limit)
    }

    fn member_ids(
        &self,
        group: &ResourceId,
        after: Option<&ResourceId>,
        limit: usize,
    ) -> Result<Vec<ResourceId>, StoreError> {
        self.origin.member_ids(group, after, limit)
    }

    fn find(&self, query: &Query) -> Result<ResultPage, StoreError> {
        for found in self.origin.find(query)?.resources {
            self.take(&found.kind, &found.id)?;
        }
        self.copy.find(query)
    }

    fn write(&self, write: Write, side_records: Vec<SideRecord>) -> Result<Option<WriteResult>, StoreError> {
        self.take(&write.kind, &write.id)?;
        self.copy.write(write, side_records)
    }

    /// Always answers that the password is wrong: a check against the original would count as an attempt.
    fn verify_password(
        &self,
        _id: &ResourceId,
        _password: &Secret,
        _counted: FailureCount,
    ) -> Result<PasswordCheck, StoreError> {
        Ok(PasswordCheck::Invalid)
    }

    fn has_password(&self, id: &ResourceId) -> Result<bool, StoreError> {
        self.origin.has_password(id)
    }

    fn unlock(&self, _id: &ResourceId) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("unlock an account in a rehearsal"))
    }

    fn ping(&self) -> Result<(), StoreError> {
        self.origin.ping()
    }
}
