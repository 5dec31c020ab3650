//! Resources and a journal without a userstore, with an engine that reads them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::RunQueryDsl;
use serde_json::{Value, json};
use vestibule::domain::backoff::Backoff;
use vestibule::domain::change::{Action, MembershipDelta};
use vestibule::domain::provenance;
use vestibule::domain::schema::Registry;
use vestibule::domain::{
    Attributes, Clock, Document, JournalEntry, Kind, Member, Resource, ResourceId, Secret, StoreName, TargetName,
    Version,
};
use vestibule::provisioning::{
    Auth, ConnectorSettings, Engine, OutboundRule, ScimTargetSettings, Settings, Source, TargetSettings,
};
use vestibule::storage::journal::{self, JournalSubject};
use vestibule::storage::outbound::OutboundState;
use vestibule::storage::{Database, DatabaseUrl, StorageError, each, migrate, random};

use crate::fixtures::fake_target::FakeTarget;

pub(crate) type Resources = Arc<Mutex<BTreeMap<ResourceId, Resource>>>;

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) resources: Resources,
    _folder: tempfile::TempDir,
}

impl World {
    /// On SQLite, or in a new schema of the PostgreSQL at `VESTIBULE_TEST_POSTGRES_URL`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match std::env::var("VESTIBULE_TEST_POSTGRES_URL") {
            Ok(server) => fresh_schema(&server),
            Err(_) => DatabaseUrl::Sqlite(folder.path().join("test.db")),
        };
        Self::at(&url, folder)
    }

    pub(crate) fn at(url: &DatabaseUrl, folder: tempfile::TempDir) -> Self {
        let database = Database::open(url).unwrap();
        migrate::run(&database).unwrap();
        Self {
            database,
            resources: Resources::default(),
            _folder: folder,
        }
    }

    /// Makes the database reject rows of a table.
    pub(crate) fn reject(&self, table: &str, condition: &str) {
        use diesel::connection::SimpleConnection;
        let statement = match self.database.url() {
            DatabaseUrl::Postgres(_) => format!("ALTER TABLE {table} ADD CONSTRAINT rejected CHECK (NOT ({condition}))"),
            DatabaseUrl::Sqlite(_) => ["INSERT", "UPDATE"]
                .map(|event| {
                    format!(
                        "CREATE TRIGGER rejected_{event} AFTER {event} ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {condition}) \
                         BEGIN SELECT RAISE(ABORT, 'rejected for the test'); END;"
                    )
                })
                .join("\n"),
        };
        self.database
            .read::<_, StorageError>(|connection| connection.batch_execute(&statement))
            .unwrap();
    }

    pub(crate) fn source(&self) -> Source {
        let resources = Arc::clone(&self.resources);
        Source::new(move |kind, id, _| {
            Ok(resources
                .lock()
                .unwrap()
                .get(id)
                .filter(|resource| &resource.kind == kind)
                .cloned())
        })
    }

    /// Starts an engine that pushes the changes of `wiki` to each target.
    pub(crate) fn engine(&self, targets: Vec<TargetSettings>) -> Engine {
        let rules = targets.iter().map(|target| OutboundRule {
            service_provider: "wiki".into(),
            target: target.name.clone(),
            jit: false,
        });
        let mut settings = Settings::new(targets.clone(), rules.collect());
        settings.poll = Duration::from_millis(20);
        settings.lease = Duration::from_secs(2);
        Engine::start(settings, self.source(), self.database.clone(), Clock::system()).unwrap()
    }

    pub(crate) fn save(&self, kind: &Kind, id: &str, attributes: Value) {
        self.save_as("scim:wiki", "wiki", (kind, id, attributes));
    }

    /// Creates or replaces a resource.
    pub(crate) fn save_as(&self, actor: &str, service_provider: &str, (kind, id, attributes): (&Kind, &str, Value)) {
        let id = ResourceId::new(id);
        let before = self.resources.lock().unwrap().get(&id).cloned();
        let mut resource = resource(kind, id.as_str(), &attributes);
        if let Some(before) = &before {
            resource.version = before.version.next();
            resource.members.clone_from(&before.members);
        }
        // Like a store, changes the resource and the journal together: no reader sees one without the other.
        let mut resources = self.resources.lock().unwrap();
        resources.insert(id, resource.clone());
        let action = if before.is_some() {
            Action::Update
        } else {
            Action::Create
        };
        let registry = Registry::builtin();
        let attributes = |resource: &Resource| resource.document.attributes();
        let before = before.as_ref().map(attributes).unwrap_or_default();
        let diff = provenance::diff(registry.resource_type(kind).unwrap(), &before, &attributes(&resource));
        self.journal(
            (actor, service_provider, action),
            &resource,
            (MembershipDelta::default(), diff),
        );
        drop(resources);
    }

    pub(crate) fn user(&self, id: &str, name: &str) {
        self.save(&Kind::USER, id, json!({"userName": name, "active": true}));
    }

    pub(crate) fn group(&self, id: &str, name: &str) {
        self.save(&Kind::GROUP, id, json!({"displayName": name}));
    }

    /// Adds members through a service provider.
    pub(crate) fn members_as(&self, service_provider: &str, group: &str, joined: &[&str]) {
        self.change_members(service_provider, group, (joined, &[]));
    }

    /// Adds and removes members.
    pub(crate) fn members(&self, group: &str, joined: &[&str], left: &[&str]) {
        self.change_members("wiki", group, (joined, left));
    }

    fn change_members(&self, service_provider: &str, group: &str, (joined, left): (&[&str], &[&str])) {
        let ids = |ids: &[&str]| ids.iter().map(|id| ResourceId::from(*id)).collect::<Vec<_>>();
        let delta = MembershipDelta {
            joined: ids(joined),
            left: ids(left),
            ..MembershipDelta::default()
        };
        let resource = {
            let mut resources = self.resources.lock().unwrap();
            let resource = resources.get_mut(&ResourceId::from(group)).unwrap();
            resource.version = resource.version.next();
            resource.members.retain(|member| !delta.left.contains(&member.id));
            resource.members.extend(delta.joined.iter().map(|id| Member {
                id: id.clone(),
                body: "{}".to_owned(),
            }));
            resource.clone()
        };
        self.journal(
            (&format!("scim:{service_provider}"), service_provider, Action::Update),
            &resource,
            (delta, Attributes::new()),
        );
    }

    pub(crate) fn delete(&self, id: &str) {
        self.delete_as("wiki", id);
    }

    pub(crate) fn delete_as(&self, service_provider: &str, id: &str) {
        let mut resource = self.resources.lock().unwrap().remove(&ResourceId::from(id)).unwrap();
        for other in self.resources.lock().unwrap().values_mut() {
            other.members.retain(|member| member.id != resource.id);
        }
        resource.version = resource.version.next();
        self.journal(
            ("scim:wiki", service_provider, Action::Delete),
            &resource,
            (MembershipDelta::default(), Attributes::new()),
        );
    }

    fn journal(
        &self,
        (actor, service_provider, action): (&str, &str, Action),
        resource: &Resource,
        (members, diff): (MembershipDelta, Attributes),
    ) {
        let entry = JournalEntry {
            at: Clock::system().now(),
            actor: actor.to_owned(),
            service_provider: service_provider.into(),
            action,
            diff,
        };
        let (entry, resource) = (journal::StoredJournalEntry::from(entry), resource.clone());
        self.database
            .write(move |connection| {
                let (store, kind, id, version) = (&resource.store, &resource.kind, &resource.id, resource.version);
                Ok::<_, StorageError>(journal::append(
                    connection,
                    &entry,
                    &JournalSubject {
                        store,
                        kind,
                        id,
                        version,
                        members: &members,
                    },
                )?)
            })
            .unwrap();
    }
}

/// A new resource.
pub(crate) fn resource(kind: &Kind, id: &str, attributes: &Value) -> Resource {
    Resource {
        store: StoreName::PRIMARY,
        kind: kind.clone(),
        id: ResourceId::new(id),
        version: Version::FIRST,
        created: Clock::system().now(),
        modified: Clock::system().now(),
        document: Document::new(attributes.as_object().unwrap()),
        writers: vestibule::domain::provenance::Provenance::from_text("{}".to_owned()),
        members: Vec::new(),
        groups: Vec::new(),
    }
}

/// Creates a schema and returns a connection string that uses it.
fn fresh_schema(server: &str) -> DatabaseUrl {
    let name = format!("test_{}", &random::fingerprint(&random::token())[..16]);
    let database = Database::open(&DatabaseUrl::parse(server).unwrap()).unwrap();
    let sql = format!("CREATE SCHEMA {name}");
    database
        .read::<_, StorageError>(|connection| each!(connection, c => diesel::sql_query(&sql).execute(c)))
        .unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    DatabaseUrl::parse(&format!("{server}{separator}options=-csearch_path%3D{name}")).unwrap()
}

/// Settings of a target in the test, with short timeouts.
pub(crate) fn target(name: &str, fake: &FakeTarget) -> TargetSettings {
    let scim = ScimTargetSettings {
        allow_private_network: true,
        timeout: Duration::from_millis(500),
        ..ScimTargetSettings::new(fake.url.clone(), Auth::Bearer(Secret::new("s3cret-token")))
    };
    TargetSettings {
        backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(100)),
        max_deletes: 1000,
        ..TargetSettings::new(TargetName::new(name), ConnectorSettings::Scim(scim))
    }
}

/// The settings of the SCIM connector of a target.
pub(crate) fn scim(target: &mut TargetSettings) -> &mut ScimTargetSettings {
    let ConnectorSettings::Scim(settings) = &mut target.connector;
    settings
}

/// Waits until a condition holds; fails after 30 seconds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "timed out waiting until {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a target has received everything.
pub(crate) fn settled(engine: &Engine, target: &str) {
    engine.wake();
    eventually("the target is idle", || {
        engine.is_idle(&TargetName::new(target)).unwrap()
    });
}

pub(crate) fn start() -> (World, FakeTarget, Engine) {
    let (world, fake) = (World::new(), FakeTarget::start());
    let engine = world.engine(vec![target("chat", &fake)]);
    (world, fake, engine)
}

pub(crate) fn chat() -> TargetName {
    TargetName::new("chat")
}

pub(crate) fn names(fake: &FakeTarget) -> Vec<String> {
    let mut names: Vec<String> = fake.with(|state| {
        state
            .users
            .values()
            .map(|user| user["userName"].as_str().unwrap().to_owned())
            .collect()
    });
    names.sort();
    names
}

/// The target's ids of a group's members.
pub(crate) fn remote_members(fake: &FakeTarget, group: &str) -> Vec<String> {
    fake.with(|state| {
        let mut groups = state.groups.values();
        let found = groups
            .find(|there| there["externalId"] == group)
            .expect("the group is there");
        let members = found["members"].as_array().into_iter().flatten();
        members
            .map(|member| member["value"].as_str().unwrap().to_owned())
            .collect()
    })
}

/// Our ids of a group's members at the target, sorted.
pub(crate) fn members(fake: &FakeTarget, group: &str) -> Vec<String> {
    let remote = remote_members(fake, group);
    let ours = |id: &String| fake.with(|state| state.users[id]["externalId"].as_str().unwrap().to_owned());
    let mut ids: Vec<String> = remote.iter().map(ours).collect();
    ids.sort();
    ids
}

pub(crate) fn count(engine: &Engine, state: OutboundState) -> i64 {
    let status = engine.status().unwrap();
    status[0]
        .counts
        .iter()
        .find(|(found, _)| *found == state)
        .map_or(0, |(_, count)| *count)
}
