//! Rebuilds indexes whose definition has changed: an attribute that became indexed or is compared otherwise, names after
//! new Unicode tables.
//!
//! Until a rebuild is finished, filters on these attributes are answered from the documents. It goes through all
//! resources in the order of their ids, a bounded number in each transaction. Processes on one database share the place,
//! so that the work is done once; every change of a resource writes its index rows by the new definition meanwhile.

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
use crate::storage::{Database, SqlConnection, StorageError, index_state};
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
    /// The resources up to this id are done.
    At(String),
    /// The last resource was done.
    Finished,
}

/// The name of the index of an attribute at a path.
pub(super) fn name(kind: &Kind, path: &str) -> String {
    format!("{kind} {path}")
}

/// The indexes that the schemas define, each with the form of its values.
fn wanted(registry: &Registry) -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::from([(NAMES.to_owned(), CANONICAL_FORM.to_string())]);
    for resource_type in registry.types() {
        for (path, case_exact) in indexed::paths(resource_type) {
            let form = if case_exact {
                "exact".to_owned()
            } else {
                format!("folded {CANONICAL_FORM}")
            };
            wanted.insert(name(&resource_type.kind, &path), form);
        }
    }
    wanted
}

/// Compares the stored indexes with the schemas, and notes those that must be rebuilt. To be called at start, before the
/// first filter is answered.
pub(crate) fn begin(database: &Database, registry: &Registry) -> Result<BTreeSet<String>, StorageError> {
    let wanted = wanted(registry);
    let known = database.read::<_, StorageError>(index_state::all)?;
    let is_held = |(name, form): (&String, &String)| known.get(name) == Some(&(form.clone(), true));
    if known.len() == wanted.len() && wanted.iter().all(is_held) {
        return Ok(BTreeSet::new());
    }
    let unfinished = database.write::<_, StorageError>(move |connection| {
        let first: Option<String> = resources::table
            .select(resources::id)
            .limit(1)
            .first(connection)
            .optional()?;
        Ok(index_state::expect(connection, &wanted, first.is_none())?)
    })?;
    database.unfinished_indexes().set(unfinished.clone());
    Ok(unfinished)
}

/// Returns the indexes that must be or are being rebuilt. Changes nothing.
pub(crate) fn pending(database: &Database, registry: &Registry) -> Result<BTreeSet<String>, StorageError> {
    let known = database.read::<_, StorageError>(index_state::all)?;
    let is_pending = |(name, form): &(String, String)| known.get(name) != Some(&(form.clone(), true));
    Ok(wanted(registry)
        .into_iter()
        .filter(is_pending)
        .map(|(name, _)| name)
        .collect())
}

/// Rebuilds the indexes of the next resources.
pub(crate) fn step(database: &Database, registry: &std::sync::Arc<Registry>) -> Result<Progress, StoreError> {
    if database.unfinished_indexes().get().is_empty() {
        return Ok(Progress::Idle);
    }
    let known = std::sync::Arc::clone(registry);
    let progress = database.write(move |connection| rebuild_next(connection, &known))?;
    // Another process may have finished it.
    let left = pending(database, registry)?;
    let is_finished = left.is_empty();
    database.unfinished_indexes().set(left);
    Ok(if is_finished { Progress::Finished } else { progress })
}

fn rebuild_next(connection: &mut SqlConnection, registry: &Registry) -> Result<Progress, StoreError> {
    let Some(place) = index_state::place(connection)? else {
        return Ok(Progress::Idle);
    };
    let ids: Vec<String> = resources::table
        .filter(resources::id.gt(&place))
        .order(resources::id)
        .limit(STEP)
        .select(resources::id)
        .load(connection)?;
    let Some(last) = ids.last() else {
        index_state::finish(connection)?;
        return Ok(Progress::Finished);
    };
    for id in &ids {
        if let Some(resource) = locked(connection, id)?
            && let Some(resource_type) = registry.resource_type(&resource.kind)
        {
            rebuild(connection, &resource, resource_type)?;
        }
    }
    index_state::move_place(connection, last)?;
    Ok(Progress::At(last.clone()))
}

fn locked(connection: &mut SqlConnection, id: &str) -> QueryResult<Option<Resource>> {
    let mut rows: Vec<Row> = resources::table
        .find(id)
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
            (1..1000)
                .find(|_| step(&self.database, &self.registry).unwrap() == Progress::Finished)
                .unwrap()
        }
    }

    #[test]
    fn an_attribute_that_becomes_indexed_is_found_at_once() {
        let world = world(450);
        // As the database was before the attribute became indexed.
        world.execute(
            "DELETE FROM attribute_values WHERE path = 'displayName'; DELETE FROM index_state WHERE name = 'User displayName'",
        );
        let unfinished = begin(&world.database, &world.registry).unwrap();
        assert_eq!(unfinished, BTreeSet::from([name(&Kind::USER, "displayName")]));
        let (is, is_not) = world.named("displayName", "ann");
        assert_eq!((world.count(is.clone()), world.count(is_not.clone())), (150, 300));
        assert_eq!(pending(&world.database, &world.registry).unwrap().len(), 1);
        assert!(world.rebuild() > 2, "in bounded steps");
        assert!(pending(&world.database, &world.registry).unwrap().is_empty());
        assert_eq!((world.count(is), world.count(is_not)), (150, 300));
        assert_eq!(step(&world.database, &world.registry).unwrap(), Progress::Idle);
    }

    #[test]
    fn names_are_found_while_their_canonical_form_changes() {
        let world = world(20);
        // As tables of another Unicode version made them.
        world.execute(
            "UPDATE resources SET key = 'old ' || key; UPDATE index_state SET form = '0' WHERE name = 'names'",
        );
        assert_eq!(
            begin(&world.database, &world.registry).unwrap(),
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
        world.execute("DELETE FROM attribute_values; UPDATE index_state SET form = 'older' WHERE name <> ''");
        begin(&world.database, &world.registry).unwrap();
        let Progress::At(place) = step(&world.database, &world.registry).unwrap() else {
            panic!("one step is enough")
        };
        begin(&world.database, &world.registry).unwrap();
        let Progress::At(next) = step(&world.database, &world.registry).unwrap() else {
            panic!("two steps are enough")
        };
        assert!(next > place);
    }

    #[test]
    fn an_empty_database_has_nothing_to_rebuild() {
        let world = world(0);
        assert!(pending(&world.database, &world.registry).unwrap().is_empty());
    }
}
