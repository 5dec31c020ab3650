//! Applies one write with its side records in one transaction.

use std::collections::BTreeSet;

use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::account_records::RecordOwner;
use super::row::Row;
use super::{SqlUserstore, conditions, credentials, indexed, members, unique};
use crate::audit::origin;
use crate::domain::change::MembershipDelta;
use crate::domain::provenance::{self, Provenance};
use crate::domain::unique::UniqueValue;
use crate::domain::{
    Attributes, Document, Kind, Precondition, RequestOrigin, Resource, ResourceId, SideRecord, StoreName, Timestamp,
    Version,
};
use crate::storage::connection::{PreparedDsl, SuffixDsl};
use crate::storage::tables::{attribute_values, resources};
use crate::storage::{SqlConnection, StorageError, credential_versions, grants, journal, known_browsers, sessions};
use crate::userstore::{Draft, MemberSteps, PasswordChange, StoreError, Write, WriteAction, WriteResult};

/// A write with everything that can be computed before the transaction begins: hashes, index values, texts.
pub(super) struct PreparedWrite {
    store: StoreName,
    kind: Kind,
    pub(super) id: ResourceId,
    pub(super) at: Timestamp,
    pub(super) step: PreparedAction,
    pub(super) journal: Vec<journal::StoredJournalEntry>,
    /// The side records other than journal entries.
    pub(super) side_records: Vec<SideRecord>,
    /// Where the request of the change came from.
    origin: RequestOrigin,
}

pub(super) enum PreparedAction {
    Create(PreparedState),
    Replace(PreparedState, Precondition),
    Members(MemberSteps, Precondition),
    Keep,
    Delete(Precondition),
}

/// The columns of the row that an update returns.
struct StoredTimes {
    created: Timestamp,
    modified: Timestamp,
    /// The form that the index rows were in.
    form: i64,
}

/// A password in the form in which it is stored.
enum PreparedPassword {
    Hash(String),
    None,
}

/// A draft in the form in which it is stored.
pub(super) struct PreparedState {
    attribute: String,
    name: String,
    key: String,
    external_id: Option<String>,
    /// Whether `active` is true; false if it is absent.
    active: bool,
    /// Whether `active` is false: the user cannot log in.
    closed: bool,
    writers: Provenance,
    document: Document,
    values: BTreeSet<(String, String)>,
    /// The number of the form of these values.
    form: i64,
    /// Whether the previous state is known to have had the same values.
    keeps_values: bool,
    unique: Option<BTreeSet<UniqueValue>>,
    members: Option<MemberSteps>,
    password: Option<PreparedPassword>,
}

impl PreparedWrite {
    /// Prepares a write; hashing a password happens here, outside the transaction.
    pub(super) fn new(store: &SqlUserstore, write: Write, side_records: Vec<SideRecord>) -> Self {
        let step = match write.action {
            WriteAction::Create(draft) => PreparedAction::Create(PreparedState::new(store, &write.kind, draft)),
            WriteAction::Replace {
                draft,
                before,
                expected,
            } => {
                let mut state = PreparedState::new(store, &write.kind, draft);
                state.keeps_values = before.is_some_and(|before| values(store, &write.kind, &before) == state.values);
                PreparedAction::Replace(state, expected)
            }
            WriteAction::Members { change, expected } => PreparedAction::Members(change, expected),
            WriteAction::Keep => PreparedAction::Keep,
            WriteAction::Delete { expected } => PreparedAction::Delete(expected),
        };
        let mut order = Self {
            store: store.name.clone(),
            kind: write.kind,
            id: write.id,
            at: write.at,
            step,
            journal: Vec::new(),
            side_records: Vec::new(),
            origin: origin::current(),
        };
        for side_record in side_records {
            match side_record {
                SideRecord::Journal(entry) => order.journal.push(entry.into()),
                other => order.side_records.push(other),
            }
        }
        order
    }

    /// Applies the write in the open transaction.
    pub(super) fn carry_out(&self, connection: &mut SqlConnection) -> Result<Option<WriteResult>, StoreError> {
        match &self.step {
            PreparedAction::Create(state) => self.create(connection, state).map(Some),
            PreparedAction::Replace(state, expected) => self.replace(connection, state, expected),
            PreparedAction::Members(change, expected) => self.change_members(connection, change, expected),
            PreparedAction::Keep => self.keep(connection),
            PreparedAction::Delete(expected) => self.delete(connection, expected),
        }
    }

    fn create(&self, connection: &mut SqlConnection, state: &PreparedState) -> Result<WriteResult, StoreError> {
        conditions::check_new_subject(connection, &self.kind, &self.side_records)?;
        diesel::insert_into(resources::table)
            .values((
                resources::id.eq(self.id.as_str()),
                resources::store.eq(self.store.as_str()),
                resources::kind.eq(self.kind.as_str()),
                resources::name.eq(&state.name),
                resources::key.eq(&state.key),
                resources::external_id.eq(&state.external_id),
                resources::active.eq(state.active),
                resources::created.eq(self.at.0),
                resources::modified.eq(self.at.0),
                resources::version.eq(Version::FIRST.0),
                resources::writers.eq(state.writers.text()),
                resources::document.eq(state.document.text()),
                resources::indexed_as.eq(state.form),
            ))
            .execute(connection)
            .map_err(|error| state.named(error))?;
        self.insert_values(connection, state.values.iter())?;
        let delta = self.apply_parts(connection, state)?;
        let resource = self.resource(state, self.at, self.at, Version::FIRST);
        self.record(connection, &resource, &delta)?;
        Ok(WriteResult {
            resource,
            members: delta,
            changed: true,
        })
    }

    fn replace(
        &self,
        connection: &mut SqlConnection,
        state: &PreparedState,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        if state.members.is_some() {
            members::lock_members(connection, std::iter::once(self.id.as_str()))?;
        }
        let version = match expected {
            Precondition::Versions(versions) if versions.len() == 1 => versions[0],
            _ => match self.current(connection, expected)? {
                Some(resource) => resource.version,
                None => return Ok(None),
            },
        };
        let Some(StoredTimes {
            created,
            modified,
            form,
        }) = self.update(connection, state, version)?
        else {
            // The resource is at another version, or does not exist.
            return self
                .current(connection, expected)?
                .map_or(Ok(None), |_| Err(StoreError::Stale));
        };
        conditions::check_proof(connection, &self.id, &self.side_records)?;
        conditions::check_subject_change(connection, &self.id, &self.side_records)?;
        if state.password.is_some() || state.closed {
            self.end_sessions(connection)?;
        }
        self.owner().record_password_change(connection)?;
        if !state.keeps_values || form != state.form {
            self.update_values(connection, state)?;
        }
        if form != state.form {
            let row = resources::table.find(self.id.as_str());
            diesel::update(row)
                .set(resources::indexed_as.eq(state.form))
                .returning(resources::id)
                .prepared()
                .load::<String>(connection)?;
        }
        let delta = self.apply_parts(connection, state)?;
        let resource = self.resource(state, created, modified, version.next());
        self.record(connection, &resource, &delta)?;
        Ok(Some(WriteResult {
            resource,
            members: delta,
            changed: true,
        }))
    }

    /// Replaces the state at `version`.
    fn update(
        &self,
        connection: &mut SqlConnection,
        state: &PreparedState,
        version: Version,
    ) -> Result<Option<StoredTimes>, StoreError> {
        let now = self.at.0.into_sql::<BigInt>();
        let later = case_when(resources::modified.lt(now), now).otherwise(resources::modified + 1);
        let stored = resources::table
            .find(self.id.as_str())
            .filter(resources::store.eq(self.store.as_str()))
            .filter(resources::kind.eq(self.kind.as_str()))
            .filter(resources::version.eq(version.0));
        let times: Vec<(i64, i64, i64)> = diesel::update(stored)
            .set((
                resources::name.eq(&state.name),
                resources::key.eq(&state.key),
                resources::external_id.eq(&state.external_id),
                resources::active.eq(state.active),
                resources::modified.eq(later),
                resources::version.eq(version.next().0),
                resources::writers.eq(state.writers.text()),
                resources::document.eq(state.document.text()),
            ))
            .returning((resources::created, resources::modified, resources::indexed_as))
            .prepared()
            .get_results(connection)
            .map_err(|error| state.named(error))?;
        Ok(times.first().map(|(created, modified, form)| StoredTimes {
            created: Timestamp(*created),
            modified: Timestamp(*modified),
            form: *form,
        }))
    }

    fn change_members(
        &self,
        connection: &mut SqlConnection,
        change: &MemberSteps,
        expected: &Precondition,
    ) -> Result<Option<WriteResult>, StoreError> {
        members::lock_members(connection, std::iter::once(self.id.as_str()))?;
        let Some(mut resource) = self.current(connection, expected)? else {
            return Ok(None);
        };
        let delta = members::change(connection, &self.id, change, self.writer())?;
        if delta.is_empty() {
            self.write_side_records(connection)?;
            return Ok(Some(WriteResult {
                resource,
                members: delta,
                changed: false,
            }));
        }
        self.touch(connection, &mut resource)?;
        self.record(connection, &resource, &delta)?;
        Ok(Some(WriteResult {
            resource,
            members: delta,
            changed: true,
        }))
    }

    fn keep(&self, connection: &mut SqlConnection) -> Result<Option<WriteResult>, StoreError> {
        let Some(mut resource) = self.current(connection, &Precondition::None)? else {
            return Ok(None);
        };
        conditions::check_proof(connection, &self.id, &self.side_records)?;
        // A login that was decided on before a withdrawal must not store what it is about.
        if self
            .side_records
            .iter()
            .any(|record| matches!(record, SideRecord::Withdrawal(_) | SideRecord::Consent(_)))
        {
            self.touch(connection, &mut resource)?;
        }
        self.write_side_records(connection)?;
        Ok(Some(WriteResult {
            resource,
            members: MembershipDelta::default(),
            changed: false,
        }))
    }

    /// Ends the user's sessions and grants in the same transaction, so that no later change can revive them.
    pub(super) fn end_sessions(&self, connection: &mut SqlConnection) -> QueryResult<()> {
        credential_versions::advance(connection, &self.id)?;
        known_browsers::forget(connection, &self.id)?;
        sessions::delete_of_user(connection, &self.id, self.at)?;
        grants::revoke_of_user(connection, &self.id, self.at)
    }

    /// Returns the current resource, locked until the transaction ends.
    pub(super) fn current(
        &self,
        connection: &mut SqlConnection,
        expected: &Precondition,
    ) -> Result<Option<Resource>, StoreError> {
        let found = locked(connection, &self.id)?.filter(|found| found.store == self.store && found.kind == self.kind);
        match found {
            Some(resource) if !expected.allows(resource.version) => Err(StoreError::Stale),
            found => Ok(found),
        }
    }

    pub(super) fn touch(&self, connection: &mut SqlConnection, resource: &mut Resource) -> QueryResult<()> {
        resource.version = resource.version.next();
        resource.modified = self.at.max(Timestamp(resource.modified.0 + 1));
        diesel::update(resources::table.find(resource.id.as_str()))
            .set((
                resources::version.eq(resource.version.0),
                resources::modified.eq(resource.modified.0),
            ))
            .returning(resources::id)
            .prepared()
            .load::<String>(connection)
            .map(|_| ())
    }

    fn apply_parts(
        &self,
        connection: &mut SqlConnection,
        state: &PreparedState,
    ) -> Result<MembershipDelta, StoreError> {
        if let Some(wanted) = &state.unique {
            unique::claim(connection, (&self.store, &self.kind, &self.id), wanted)?;
        }
        if let Some(credential) = &state.password {
            let hash = match credential {
                PreparedPassword::Hash(hash) => Some(hash.as_str()),
                PreparedPassword::None => None,
            };
            credentials::set(connection, &self.id, hash, self.at)?;
        }
        match &state.members {
            Some(change) => Ok(members::change(connection, &self.id, change, self.writer())?),
            None => Ok(MembershipDelta::default()),
        }
    }

    fn insert_values<'a>(
        &self,
        connection: &mut SqlConnection,
        values: impl Iterator<Item = &'a (String, String)>,
    ) -> QueryResult<()> {
        let values: Vec<_> = values.collect();
        indexed::insert(connection, &self.id, &values)
    }

    /// Writes only the differences.
    fn update_values(&self, connection: &mut SqlConnection, state: &PreparedState) -> QueryResult<()> {
        let old: Vec<(String, String)> = attribute_values::table
            .filter(attribute_values::resource_id.eq(self.id.as_str()))
            .select((attribute_values::path, attribute_values::value))
            .load(connection)?;
        let old: BTreeSet<(String, String)> = old.into_iter().collect();
        for (path, value) in old.difference(&state.values) {
            diesel::delete(attribute_values::table.find((path, value, self.id.as_str()))).execute(connection)?;
        }
        self.insert_values(connection, state.values.difference(&old))
    }

    fn resource(&self, state: &PreparedState, created: Timestamp, modified: Timestamp, version: Version) -> Resource {
        Resource {
            store: self.store.clone(),
            kind: self.kind.clone(),
            id: self.id.clone(),
            version,
            created,
            modified,
            document: state.document.clone(),
            writers: state.writers.clone(),
            members: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Writes the side records.
    pub(super) fn record(
        &self,
        connection: &mut SqlConnection,
        resource: &Resource,
        delta: &MembershipDelta,
    ) -> Result<(), StoreError> {
        for entry in &self.journal {
            append(connection, entry, resource, delta)?;
        }
        self.write_side_records(connection)
    }

    fn write_side_records(&self, connection: &mut SqlConnection) -> Result<(), StoreError> {
        let owner = self.owner();
        self.side_records
            .iter()
            .try_for_each(|side_record| owner.write(connection, side_record))
    }

    fn owner(&self) -> RecordOwner<'_> {
        RecordOwner {
            store: &self.store,
            id: &self.id,
            at: self.at,
            sets_password: matches!(&self.step, PreparedAction::Replace(state, _) if state.password.is_some()),
            change: self.journal.first(),
            origin: &self.origin,
        }
    }

    /// The actor that grants memberships with this write.
    fn writer(&self) -> &str {
        let actor = self.journal.first().map(journal::StoredJournalEntry::actor);
        actor.map_or("", provenance::writer_of)
    }
}

impl PreparedState {
    fn new(store: &SqlUserstore, kind: &Kind, draft: Draft) -> Self {
        let external_id = draft.attributes.get("externalId").and_then(|value| value.as_str());
        Self {
            attribute: draft.key.attribute,
            name: draft.key.name,
            key: draft.key.canonical,
            external_id: external_id.map(|id| indexed::capped(id).into_owned()),
            active: draft.attributes.get("active") == Some(&true.into()),
            closed: draft.attributes.get("active") == Some(&false.into()),
            writers: Provenance::of(&draft.writers),
            document: Document::new(&draft.attributes),
            values: values(store, kind, &draft.attributes),
            form: store.index_form,
            keeps_values: false,
            unique: draft.unique,
            members: draft.members,
            password: draft.password.map(|change| match change {
                PasswordChange::Set(password) => PreparedPassword::Hash(store.hasher.hash(&password)),
                PasswordChange::Clear => PreparedPassword::None,
            }),
        }
    }

    /// Names the attribute that is taken: the only unique index that writing the row can violate guards the key.
    fn named(&self, error: diesel::result::Error) -> StoreError {
        match StorageError::from(error) {
            StorageError::Taken { .. } => StoreError::Taken {
                attribute: self.attribute.clone(),
            },
            other => other.into(),
        }
    }
}

/// Returns the values of these attributes for the index.
fn values(store: &SqlUserstore, kind: &Kind, attributes: &Attributes) -> BTreeSet<(String, String)> {
    let resource_type = store.registry.resource_type(kind);
    resource_type.map_or_else(BTreeSet::new, |resource_type| {
        indexed::values(resource_type, attributes)
    })
}

pub(super) fn locked(connection: &mut SqlConnection, id: &ResourceId) -> QueryResult<Option<Resource>> {
    let query = resources::table.find(id.as_str()).select(Row::as_select());
    let row = match connection {
        // The transaction already holds SQLite's only write lock.
        SqlConnection::Sqlite(_) => query.first::<Row>(connection).optional()?,
        SqlConnection::Postgres(_) => query.suffix_postgres(" FOR UPDATE").load::<Row>(connection)?.pop(),
    };
    Ok(row.map(Row::into_resource))
}

pub(super) fn append(
    connection: &mut SqlConnection,
    entry: &journal::StoredJournalEntry,
    resource: &Resource,
    delta: &MembershipDelta,
) -> QueryResult<()> {
    let subject = journal::JournalSubject {
        store: &resource.store,
        kind: &resource.kind,
        id: &resource.id,
        version: resource.version,
        members: delta,
    };
    journal::append(connection, entry, &subject)
}
