//! Rebuilds indexes whose definition has changed: an attribute that became indexed or is compared otherwise, names after
//! new Unicode tables.
//!
//! As long as a resource is in the form of other schemas, filters on the attributes that these index otherwise are answered
//! from the documents. The form of the process that started last is the one into which all resources are rebuilt, a bounded
//! number in each transaction; every change of a resource writes its index rows in the form of its own process. So a
//! process that still runs with older schemas is noticed by what it writes, and mended.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::row::Row;
use super::{indexed, unique};
use crate::domain::name::CANONICAL_FORM;
use crate::domain::schema::{Registry, ResourceType};
use crate::domain::unique::unique_values;
use crate::domain::{Kind, Resource};
use crate::storage::connection::SuffixDsl;
use crate::storage::tables::{attribute_values, resources};
use crate::storage::{Database, SqlConnection, StorageError, index_forms, random};
use crate::userstore::{StoreError, UniqueKey};

/// The index of names: canonical `userName`, `displayName` and unique values.
pub(super) const NAMES: &str = "names";

/// The number of resources that one step goes through.
const STEP: i64 = 200;

/// How far a rebuild is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is to be rebuilt.
    Idle,
    /// So many more resources are done.
    Done(usize),
    /// A process that started later rebuilds them in the form of its schemas.
    Superseded,
}

/// The name of the index of an attribute at a path.
pub(super) fn name(kind: &Kind, path: &str) -> String {
    format!("{kind} {path}")
}

/// The indexes that the schemas of a process define.
#[derive(Clone, Debug)]
pub(crate) struct IndexForm {
    number: i64,
    /// The form of the values of each index.
    indexes: BTreeMap<String, String>,
}

impl IndexForm {
    /// The form that a registry asks for.
    pub(crate) fn of(registry: &Registry) -> Self {
        let mut indexes = BTreeMap::from([(NAMES.to_owned(), CANONICAL_FORM.to_string())]);
        for resource_type in registry.types() {
            for (path, case_exact) in indexed::paths(resource_type) {
                indexes.insert(name(&resource_type.kind, &path), form_of(case_exact));
            }
            for attribute in &resource_type.unique {
                let leaf = attribute.leaf();
                let form = format!("{:?} {}", leaf.uniqueness, form_of(leaf.case_exact));
                let name = name(&resource_type.kind, &attribute.path());
                indexes.insert(format!("{name} (unique)"), form);
            }
        }
        let description = serde_json::to_string(&indexes).unwrap_or_default();
        let digits = &random::fingerprint(&description)[..15];
        Self {
            number: i64::from_str_radix(digits, 16).unwrap_or(1),
            indexes,
        }
    }

    /// Its number, which is the same for the same indexes. 0 stands for what a database held before forms had numbers.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// The indexes that cannot be used for resources in another form.
    fn unlike(&self, description: Option<&str>) -> impl Iterator<Item = &String> {
        let other: BTreeMap<String, String> = description
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let differs = move |(name, form): &(&String, &String)| other.get(*name) != Some(form);
        self.indexes.iter().filter(differs).map(|(name, _)| name)
    }
}

fn form_of(case_exact: bool) -> String {
    if case_exact {
        "exact".to_owned()
    } else {
        format!("folded {CANONICAL_FORM}")
    }
}

/// Stores what this process's form is, and notes the indexes that may not be used yet. To be called at start, before the
/// first filter is answered.
pub(crate) fn begin(database: &Database, registry: &Registry) -> Result<(), StorageError> {
    let form = IndexForm::of(registry);
    let (number, description) = (form.number, serde_json::to_string(&form.indexes).unwrap_or_default());
    let is_known = database.read::<_, StorageError>(|connection| index_forms::description(connection, number))?;
    if is_known.is_none() {
        database
            .write::<_, StorageError>(move |connection| Ok(index_forms::describe(connection, number, &description)?))?;
    }
    let unfinished = pending(database, &form)?;
    database.unfinished_indexes().set(unfinished);
    Ok(())
}

/// Makes this process's form the one into which resources are rebuilt: it is the one that started last.
pub(crate) fn take_turn(database: &Database, form: &IndexForm) -> Result<(), StorageError> {
    let number = form.number;
    database.write(move |connection| {
        if index_forms::is_last(connection, number)? {
            return Ok(());
        }
        Ok::<_, StorageError>(index_forms::take_turn(connection, number)?)
    })
}

/// Returns the indexes that cannot be used as long as some resources are in other forms. Changes nothing.
pub(crate) fn pending(database: &Database, form: &IndexForm) -> Result<BTreeSet<String>, StorageError> {
    database.read::<_, StorageError>(|connection| {
        let mut names = BTreeSet::new();
        for other in index_forms::others(connection, form.number)? {
            let description = index_forms::description(connection, other)?;
            names.extend(form.unlike(description.as_deref()).cloned());
        }
        Ok(names)
    })
}

/// Looks for resources in other forms, and rebuilds the index rows of the next ones.
pub(crate) fn step(
    database: &Database,
    registry: &std::sync::Arc<Registry>,
    form: &IndexForm,
) -> Result<Progress, StoreError> {
    let number = form.number;
    let others = database.read::<_, StorageError>(|connection| index_forms::others(connection, number))?;
    database.unfinished_indexes().set(pending(database, form)?);
    let Some(other) = others.first().copied() else {
        return Ok(Progress::Idle);
    };
    let known = std::sync::Arc::clone(registry);
    database.write(move |connection| {
        if !index_forms::is_last(connection, number)? {
            return Ok(Progress::Superseded);
        }
        let mut ids = index_forms::resources_in(connection, other, STEP)?;
        // Rows are locked in one order everywhere.
        ids.sort_unstable();
        for id in &ids {
            if let Some(resource) = locked(connection, id, other)? {
                if let Some(resource_type) = known.resource_type(&resource.kind) {
                    rebuild(connection, &resource, resource_type)?;
                }
                let row = resources::table.find(id);
                diesel::update(row)
                    .set(resources::indexed_as.eq(number))
                    .execute(connection)?;
            }
        }
        Ok(Progress::Done(ids.len()))
    })
}

/// Locks a resource if it is still in that form.
fn locked(connection: &mut SqlConnection, id: &str, form: i64) -> QueryResult<Option<Resource>> {
    let mut rows: Vec<Row> = resources::table
        .find(id)
        .filter(resources::indexed_as.eq(form))
        .select(Row::as_select())
        .suffix_postgres(" FOR UPDATE OF resources")
        .load(connection)?;
    Ok(rows.pop().map(Row::into_resource))
}

/// Writes the index rows of one resource as its document asks.
fn rebuild(
    connection: &mut SqlConnection,
    resource: &Resource,
    resource_type: &ResourceType,
) -> Result<(), StoreError> {
    let attributes = resource.document.attributes();
    let wanted = indexed::values(resource_type, &attributes);
    let held: Vec<(String, String)> = attribute_values::table
        .filter(attribute_values::resource_id.eq(resource.id.as_str()))
        .select((attribute_values::path, attribute_values::value))
        .load(connection)?;
    let held: BTreeSet<(String, String)> = held.into_iter().collect();
    for (path, value) in held.difference(&wanted) {
        diesel::delete(attribute_values::table.find((path, value, resource.id.as_str()))).execute(connection)?;
    }
    let missing: Vec<_> = wanted.difference(&held).collect();
    indexed::insert(connection, &resource.id, &missing)?;
    let key = UniqueKey::of(Some(resource_type), &resource.id, &attributes).canonical;
    let renamed = connection.savepoint::<_, StoreError>(|connection| {
        diesel::update(
            resources::table
                .find(resource.id.as_str())
                .filter(resources::key.ne(&key)),
        )
        .set(resources::key.eq(&key))
        .execute(connection)?;
        if let Some(values) = unique_values(resource_type, &attributes) {
            unique::claim(connection, (&resource.store, &resource.kind, &resource.id), &values)?;
        }
        Ok(())
    });
    match renamed {
        Err(StoreError::Taken { attribute }) => {
            log::error!(
                "{attribute} of {} {} is the same as another one's by now; it keeps its old form until it is changed",
                resource.kind,
                resource.id
            );
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use diesel::connection::SimpleConnection;
    use serde_json::json;

    use super::*;
    use crate::domain::filter::{Comparand, Filter, Operator};
    use crate::domain::query::Query;
    use crate::domain::{Clock, ResourceId, StoreName, Timestamp};
    use crate::storage::{migrate, test_database};
    use crate::userstore::sql::SqlUserstore;
    use crate::userstore::{Draft, PasswordHasher, Userstore, Write, WriteAction};

    struct World {
        database: Database,
        registry: Arc<Registry>,
        store: Arc<SqlUserstore>,
        _folder: tempfile::TempDir,
    }

    /// A store with users of whom each third is called Ann.
    fn world(count: usize) -> World {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&test_database::url(&folder)).unwrap();
        migrate::run(&database).unwrap();
        let (registry, clock, hasher) = (Arc::new(Registry::builtin()), Clock::system(), PasswordHasher::new());
        begin(&database, &registry).unwrap();
        take_turn(&database, &IndexForm::of(&registry)).unwrap();
        let store = SqlUserstore::new(
            StoreName::PRIMARY,
            database.clone(),
            Arc::clone(&registry),
            hasher,
            clock,
        );
        let store = Arc::new(store);
        let user = registry.resource_type(&Kind::USER).unwrap();
        for number in 0..count {
            let name = if number % 3 == 0 { "Ann" } else { "Bob" };
            let attributes = json!({"userName": format!("U{number}"), "displayName": name});
            let (attributes, id) = (
                attributes.as_object().unwrap().clone(),
                ResourceId::new(format!("id{number:05}")),
            );
            let draft = Draft {
                key: UniqueKey::of(Some(user), &id, &attributes),
                unique: None,
                attributes,
                writers: BTreeMap::new(),
                members: None,
                password: None,
            };
            let write = Write {
                kind: Kind::USER,
                id,
                at: Timestamp(1),
                action: WriteAction::Create(draft),
            };
            store.write(write, Vec::new()).unwrap();
        }
        World {
            database,
            registry,
            store,
            _folder: folder,
        }
    }

    impl World {
        fn execute(&self, statements: &str) {
            self.database
                .read::<_, StorageError>(|connection| connection.batch_execute(statements))
                .unwrap();
        }

        fn named(&self, attribute: &str, value: &str) -> (Filter, Filter) {
            let user = self.registry.resource_type(&Kind::USER).unwrap();
            let is = Filter::Compare {
                attribute: user.resolve(attribute).unwrap(),
                operator: Operator::Eq,
                value: Comparand::Text(value.to_owned()),
            };
            (is.clone(), Filter::Not(Box::new(is)))
        }

        fn count(&self, filter: Filter) -> usize {
            let found = self.store.find(&Query::all(Kind::USER, 1000).filtered(filter)).unwrap();
            found.resources.len()
        }

        /// Steps to the end; returns how many steps it took.
        fn rebuild(&self) -> usize {
            (0..1000).find(|_| self.step() == Progress::Idle).unwrap()
        }

        fn step(&self) -> Progress {
            step(&self.database, &self.registry, &self.form()).unwrap()
        }

        fn form(&self) -> IndexForm {
            IndexForm::of(&self.registry)
        }

        /// Another process, whose schemas do not index `without`, has written the resources that `which` selects.
        fn write_without(&self, without: &str, which: &str) {
            let mut other = self.form();
            other.indexes.remove(without);
            let description = serde_json::to_string(&other.indexes).unwrap();
            self.execute(&format!(
                "INSERT INTO index_forms (form, description, turn) VALUES (7, '{description}', 0) ON CONFLICT DO NOTHING; \
                UPDATE resources SET indexed_as = 7 WHERE {which}"
            ));
        }
    }

    #[test]
    fn an_attribute_that_becomes_indexed_is_found_at_once() {
        let world = world(450);
        world.execute("DELETE FROM attribute_values WHERE path = 'displayName'");
        world.write_without("User displayName", "kind = 'User'");
        begin(&world.database, &world.registry).unwrap();
        let unfinished = world.database.unfinished_indexes().get();
        assert_eq!(*unfinished, BTreeSet::from([name(&Kind::USER, "displayName")]));
        let (is, is_not) = world.named("displayName", "ann");
        assert_eq!((world.count(is.clone()), world.count(is_not.clone())), (150, 300));
        assert!(world.rebuild() > 2, "in bounded steps");
        assert!(pending(&world.database, &world.form()).unwrap().is_empty());
        assert_eq!((world.count(is), world.count(is_not)), (150, 300));
        assert_eq!(world.step(), Progress::Idle);
    }

    #[test]
    fn names_are_found_while_their_canonical_form_changes() {
        let world = world(20);
        // As tables of another Unicode version made them.
        world.execute("UPDATE resources SET key = 'old ' || key");
        world.write_without(NAMES, "kind = 'User'");
        begin(&world.database, &world.registry).unwrap();
        assert_eq!(
            *world.database.unfinished_indexes().get(),
            BTreeSet::from([NAMES.to_owned()])
        );
        let (is, is_not) = world.named("userName", "u7");
        assert_eq!((world.count(is.clone()), world.count(is_not.clone())), (1, 19));
        world.rebuild();
        assert_eq!((world.count(is), world.count(is_not)), (1, 19));
    }

    #[test]
    fn a_rebuild_goes_on_where_it_was_interrupted() {
        let world = world(450);
        world.execute("DELETE FROM attribute_values");
        world.write_without("User displayName", "kind = 'User'");
        assert_eq!(world.step(), Progress::Done(200));
        begin(&world.database, &world.registry).unwrap();
        let left = [world.step(), world.step(), world.step()];
        assert_eq!(left, [Progress::Done(200), Progress::Done(50), Progress::Idle]);
    }

    #[test]
    fn what_a_process_with_older_schemas_writes_is_found() {
        let world = world(30);
        world.execute("DELETE FROM attribute_values WHERE path = 'displayName' AND resource_id = 'id00003'");
        world.write_without("User displayName", "id = 'id00003'");
        assert_eq!(world.step(), Progress::Done(1));
        let (is, is_not) = world.named("displayName", "ann");
        assert_eq!((world.count(is), world.count(is_not)), (10, 20));
    }

    #[test]
    fn a_process_that_started_later_rebuilds_in_its_form() {
        let world = world(30);
        world.execute("DELETE FROM attribute_values WHERE path = 'displayName' AND resource_id = 'id00003'");
        world.write_without("User displayName", "id = 'id00003'");
        world.execute("UPDATE index_forms SET turn = 9 WHERE form = 7");
        assert_eq!(world.step(), Progress::Superseded);
        let (is, is_not) = world.named("displayName", "ann");
        assert_eq!((world.count(is), world.count(is_not)), (10, 20), "from the documents");
        take_turn(&world.database, &world.form()).unwrap();
        assert_eq!(world.step(), Progress::Done(1));
    }

    #[test]
    fn a_value_is_unique_from_the_rebuild_on() {
        let mut form = IndexForm::of(&Registry::builtin());
        let before = form.indexes.clone();
        form.indexes.insert("User badge (unique)".to_owned(), form_of(false));
        let description = serde_json::to_string(&before).unwrap();
        assert_eq!(
            form.unlike(Some(&description)).collect::<Vec<_>>(),
            ["User badge (unique)"]
        );
    }

    #[test]
    fn an_empty_database_has_nothing_to_rebuild() {
        let world = world(0);
        assert!(pending(&world.database, &world.form()).unwrap().is_empty());
    }
}
