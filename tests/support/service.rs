//! SCIM over one store, without HTTP.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use vestibule::directory::Directory;
use vestibule::domain::schema::Registry;
use vestibule::domain::{Actor, Clock, Kind, Principal, Secret, StoreName};
use vestibule::scim::{Caller, Reply, RequestOptions, ResourceRef, Scim, ScimClient, ScimClients, ScimError, Settings};
use vestibule::storage::{Database, DatabaseUrl, SecretBox, migrate, random};
use vestibule::userstore::memory::MemoryUserstore;
use vestibule::userstore::sql::SqlUserstore;
use vestibule::userstore::{PasswordHasher, Userstore};

use super::START;

/// The SCIM service and a client.
pub(crate) struct Service {
    pub(crate) scim: Scim,
    pub(crate) caller: Caller,
    pub(crate) clock: Clock,
    _folder: Option<tempfile::TempDir>,
}

impl Service {
    /// With a store in memory.
    pub(crate) fn memory() -> Self {
        let (folder, url) = sqlite();
        let memory = |(_, _, hasher, clock)| one(MemoryUserstore::new(StoreName::PRIMARY, hasher, clock));
        Self::open(&url, Some(StoreName::PRIMARY), Some(folder), memory)
    }

    /// With a store on SQLite.
    pub(crate) fn sqlite() -> Self {
        let (folder, url) = sqlite();
        let sqlite = |shared| one(sql(StoreName::PRIMARY, shared));
        Self::open(&url, Some(StoreName::PRIMARY), Some(folder), sqlite)
    }

    /// With a store of its own on PostgreSQL.
    pub(crate) fn postgres() -> Self {
        let url = DatabaseUrl::parse(&super::postgres_url().expect("the caller looked first")).unwrap();
        let name = StoreName::new(random::token());
        Self::open(&url, Some(name.clone()), None, |shared| one(sql(name, shared)))
    }

    /// With the given stores, for a client that reaches them all.
    pub(crate) fn over(stores: impl FnOnce(Shared) -> Vec<Arc<dyn Userstore>>) -> Self {
        let (folder, url) = sqlite();
        Self::open(&url, None, Some(folder), stores)
    }

    fn open(
        url: &DatabaseUrl,
        bound: Option<StoreName>,
        folder: Option<tempfile::TempDir>,
        stores: impl FnOnce(Shared) -> Vec<Arc<dyn Userstore>>,
    ) -> Self {
        let database = Database::open(url).unwrap();
        migrate::run(&database).unwrap();
        let (registry, hasher, clock) = (
            Arc::new(Registry::builtin()),
            PasswordHasher::new(),
            Clock::fixed(START),
        );
        let shared = (database.clone(), Arc::clone(&registry), hasher.clone(), clock.clone());
        let directory = Directory::new(stores(shared), registry, hasher, clock.clone());
        let key = Secret::new("c2VhbHMgY3Vyc29ycyBpbiB0ZXN0cyBvZiBTQ0lNIQo=");
        let settings = Settings {
            base_url: "https://x.example/scim/v2".to_owned(),
            clients: ScimClients::new(),
            cursor_lifetime: Duration::from_mins(10),
            stores_are_near: true,
            userstore_in_username: false,
        };
        let principal = Principal::Client {
            token: "test".into(),
            store: bound.clone(),
        };
        Self {
            scim: Scim::new(
                Arc::new(directory),
                database,
                Arc::new(SecretBox::from_secret(&key).unwrap()),
                settings,
            ),
            caller: Caller {
                actor: Actor {
                    principal,
                    service_provider: "wiki".into(),
                },
                client: ScimClient {
                    store: bound,
                    strict: false,
                    adoption: None,
                },
            },
            clock,
            _folder: folder,
        }
    }

    pub(crate) fn create(&self, kind: &Kind, body: &Value) -> ResourceRef {
        let body = body.to_string();
        let reply = self
            .scim
            .create(&self.caller, kind, body.as_bytes(), &RequestOptions::default());
        let created: Value = serde_json::from_str(&reply.unwrap().body.unwrap()).unwrap();
        ResourceRef {
            kind: kind.clone(),
            id: created["id"].as_str().unwrap().into(),
        }
    }

    /// Creates a user and returns its id.
    pub(crate) fn user(&self, name: &str) -> String {
        self.create(&Kind::USER, &json!({"userName": name})).id.to_string()
    }

    pub(crate) fn patch(
        &self,
        target: &ResourceRef,
        operations: &Value,
        terms: &RequestOptions,
    ) -> Result<Reply, ScimError> {
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        self.scim
            .patch(&self.caller, target, body.to_string().as_bytes(), terms)
    }

    pub(crate) fn read(&self, target: &ResourceRef) -> Value {
        let reply = self.scim.get(&self.caller, target, &RequestOptions::default()).unwrap();
        serde_json::from_str(&reply.body.unwrap()).unwrap()
    }

    /// A search over one type, or over all types.
    pub(crate) fn search(&self, kind: Option<&Kind>, body: &Value) -> Result<Value, ScimError> {
        let reply = self.scim.search(&self.caller, kind, body.to_string().as_bytes())?;
        Ok(serde_json::from_str(&reply.body.unwrap()).unwrap())
    }
}

/// The dependencies of a store.
pub(crate) type Shared = (Database, Arc<Registry>, PasswordHasher, Clock);

/// A store in the service's own database.
pub(crate) fn sql(name: StoreName, (database, registry, hasher, clock): Shared) -> SqlUserstore {
    SqlUserstore::new(name, database, registry, hasher, clock)
}

fn one(store: impl Userstore + 'static) -> Vec<Arc<dyn Userstore>> {
    vec![Arc::new(store)]
}

fn sqlite() -> (tempfile::TempDir, DatabaseUrl) {
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
    (folder, url)
}

/// A test that runs on a service of its own.
pub(crate) type Case = fn(&Service);

/// Runs each case on each backend and exits. A database that is not configured is reported as ignored.
pub(crate) fn run(cases: &'static [(&'static str, Case)], with_memory: bool) -> ! {
    type Open = fn() -> Service;
    let backends: [(&str, Option<Open>); 3] = [
        ("memory", Some(Service::memory)),
        ("sqlite", Some(Service::sqlite)),
        ("postgres", super::postgres_url().map(|_| Service::postgres as Open)),
    ];
    let mut trials = Vec::new();
    for (backend, open) in backends.into_iter().skip(usize::from(!with_memory)) {
        for (name, case) in cases {
            let trial = Trial::test(format!("{backend}::{name}"), move || {
                case(&open.ok_or("not configured")?());
                Ok(())
            });
            trials.push(trial.with_ignored_flag(open.is_none()));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
