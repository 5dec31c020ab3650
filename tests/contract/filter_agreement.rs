//! A filter gives the same resources, order and pages in memory, on SQLite, on PostgreSQL and in `OpenLDAP`. Random
//! users, groups, devices and filters are tried on each store; `PROPTEST_CASES` sets the number of populations, and
//! each answers a dozen queries. A backend that is not configured is reported as ignored.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fixtures::agreement::{Ask, Person, Population, Team};
use libtest_mimic::Trial;
use proptest::test_runner::{Config, TestError, TestRunner};
use serde_json::{Value, json};
use vestibule::domain::filter::parse;
use vestibule::domain::patch::MemberStep;
use vestibule::domain::provenance::Writers;
use vestibule::domain::query::{Page, Query, ResultPage, Sort, Start};
use vestibule::domain::schema::Registry;
use vestibule::domain::{
    Attributes, Clock, Kind, Member, Precondition, Relations, ResourceId, StoreName, name, validate,
};
use vestibule::storage::{Database, DatabaseUrl, migrate, random};
use vestibule::userstore::ldap::{Flavour, LdapUserstore};
use vestibule::userstore::memory::MemoryUserstore;
use vestibule::userstore::sql::SqlUserstore;
use vestibule::userstore::{Draft, PasswordHasher, UniqueKey, Userstore, Write, WriteAction};

/// Populations per backend unless `PROPTEST_CASES` is set.
const CASES: u32 = 64;

pub(crate) fn trials() -> Vec<Trial> {
    // Removed with the last trial.
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let sqlite = DatabaseUrl::Sqlite(folder.path().join("agreement.db"));
    let postgres = crate::fixtures::stores::postgres_url().map(|url| DatabaseUrl::parse(&url).unwrap());
    let mut trials = Vec::new();
    let openldap =
        crate::fixtures::stores::directory("openldap").map(|_| DatabaseUrl::Sqlite(folder.path().join("openldap.db")));
    for (backend, url) in [("sqlite", Some(sqlite)), ("postgres", postgres), ("openldap", openldap)] {
        let ignored = url.is_none();
        let in_a_directory = backend == "openldap";
        let folder = Arc::clone(&folder);
        let run = move || {
            let _folder = folder;
            agree(&Bench::on(&url.ok_or("not configured")?, in_a_directory)).map_err(Into::into)
        };
        trials.push(Trial::test(format!("{backend}::agrees_with_memory"), run).with_ignored_flag(ignored));
    }
    trials
}

/// A database, and the dependencies of stores.
struct Bench {
    database: Database,
    registry: Arc<Registry>,
    hasher: PasswordHasher,
    run: String,
    /// Whether the store is `OpenLDAP`; the database then holds only its records.
    in_a_directory: bool,
    populations: AtomicU64,
    /// Queries, and those with a filter that matches some resources but not all.
    asked: AtomicU64,
    parted: AtomicU64,
}

/// One population in two stores: one in memory, and the one under test.
struct Pair {
    stores: [Box<dyn Userstore>; 2],
    registry: Arc<Registry>,
    clock: Clock,
    prefix: String,
    /// The ids that a directory server assigned, by local id.
    given: Option<RefCell<BTreeMap<String, ResourceId>>>,
}

fn agree(bench: &Bench) -> Result<(), String> {
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        max_shrink_time: 20_000,
        ..match std::env::var("PROPTEST_CASES") {
            Ok(_) => Config::default(),
            Err(_) => Config::with_cases(CASES),
        }
    };
    let outcome = TestRunner::new(config).run(
        &(
            crate::fixtures::agreement::population(),
            crate::fixtures::agreement::asks(),
        ),
        |(population, asks)| {
            let pair = bench.pair();
            pair.settle(&population);
            for ask in &asks {
                let [memory, tried] = pair.answers(ask);
                bench.count(&population, ask, &memory);
                proptest::prop_assert_eq!(memory, tried, "{:?}", ask);
            }
            Ok(())
        },
    );
    outcome.map_err(|error| match error {
        TestError::Fail(reason, (population, _)) => format!("{reason}\namong {population:#?}"),
        TestError::Abort(reason) => reason.to_string(),
    })?;
    let (asked, parted) = (
        bench.asked.load(Ordering::Relaxed),
        bench.parted.load(Ordering::Relaxed),
    );
    println!(
        "{} populations, {asked} queries, {parted} of them matched some resources but not all",
        bench.populations.load(Ordering::Relaxed)
    );
    // Filters that match no resource or all of them prove little.
    if parted * 10 <= asked {
        Err(format!(
            "only {parted} of {asked} queries matched some resources but not all"
        ))
    } else {
        Ok(())
    }
}

impl Bench {
    fn on(url: &DatabaseUrl, in_a_directory: bool) -> Self {
        let database = Database::open(url).unwrap();
        migrate::run(&database).unwrap();
        Self {
            database,
            registry: Arc::clone(crate::fixtures::generate::registry()),
            hasher: PasswordHasher::new(),
            run: random::token(),
            in_a_directory,
            populations: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            parted: AtomicU64::new(0),
        }
    }

    fn count(&self, population: &Population, ask: &Ask, answer: &Value) {
        if self.in_a_directory && ask.kind == crate::fixtures::agreement::device() {
            return;
        }
        let everybody = match ask.kind.as_str() {
            "User" => population.people.len(),
            "Group" => population.teams.len(),
            _ => population.devices.len(),
        };
        let total = answer["total"].as_u64().unwrap_or_default();
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.parted
            .fetch_add(u64::from(total > 0 && total < everybody as u64), Ordering::Relaxed);
    }

    fn pair(&self) -> Pair {
        let prefix = format!("{}{:06}", self.run, self.populations.fetch_add(1, Ordering::Relaxed));
        let (store, clock) = (
            StoreName::new(prefix.as_str()),
            Clock::fixed(crate::fixtures::stores::START),
        );
        let (database, registry, hasher) = (self.database.clone(), Arc::clone(&self.registry), self.hasher.clone());
        let tried: Box<dyn Userstore> = if self.in_a_directory {
            let settings = crate::fixtures::stores::ldap_settings("openldap", Flavour::OpenLdap);
            Box::new(LdapUserstore::new(settings, database, registry, hasher, clock.clone()).unwrap())
        } else {
            Box::new(SqlUserstore::new(
                store.clone(),
                database,
                registry,
                hasher,
                clock.clone(),
            ))
        };
        Pair {
            stores: [
                Box::new(MemoryUserstore::new(store, self.hasher.clone(), clock.clone())),
                tried,
            ],
            registry: Arc::clone(&self.registry),
            clock,
            prefix,
            given: self.in_a_directory.then(RefCell::default),
        }
    }
}

impl Pair {
    /// Creates the population in both stores, without the resources whose name is taken.
    fn settle(&self, population: &Population) {
        for (at, Person(attributes)) in population.people.iter().enumerate() {
            self.create(&Kind::USER, &format!("u{at}"), attributes, None);
        }
        if self.given.is_some() {
            for (at, team) in population.teams.iter().enumerate() {
                self.create(&Kind::GROUP, &format!("g{at}"), &team.attributes, None);
            }
        }
        for (at, Team { attributes, members }) in population.teams.iter().enumerate() {
            let members = members.iter().map(|(who, label)| {
                let id = self.id(who);
                let mut body = json!({ "value": id });
                body.as_object_mut().unwrap().extend(label.clone());
                Member {
                    id: ResourceId::new(id),
                    body: body.to_string(),
                }
            });
            let joining = MemberStep::Join(members.collect());
            if self.given.is_some() {
                self.join(&format!("g{at}"), joining);
            } else {
                self.create(&Kind::GROUP, &format!("g{at}"), attributes, Some(joining));
            }
        }
        for (at, attributes) in population.devices.iter().enumerate() {
            self.create(
                &crate::fixtures::agreement::device(),
                &format!("d{at}"),
                attributes,
                None,
            );
        }
    }

    fn create(&self, kind: &Kind, id: &str, attributes: &Attributes, joining: Option<MemberStep>) {
        self.clock.advance(Duration::from_millis(500));
        let resource_type = self.registry.resource_type(kind).unwrap();
        validate::check(resource_type, attributes).unwrap();
        let key = resource_type.name_attribute().map_or("id", |unique| &unique.name);
        let (local, id) = (id, self.id(id));
        let name = attributes.get(key).map_or(id.as_str(), |name| name.as_str().unwrap());
        let draft = Draft {
            key: UniqueKey {
                attribute: key.to_owned(),
                name: name.to_owned(),
                canonical: name::canonical(name),
            },
            unique: None,
            attributes: validate::ordered(resource_type, attributes.clone()),
            writers: Writers::new(),
            members: joining.map(|step| vec![step]),
            password: None,
        };
        let write = Write {
            kind: kind.clone(),
            id: ResourceId::new(id.clone()),
            at: self.clock.now(),
            action: WriteAction::Create(draft),
        };
        if let Some(given) = &self.given {
            // A resource that the directory server refuses is left out of both stores.
            let made = self.stores[1].write(write.clone(), Vec::new());
            if let Ok(Some(written)) = made {
                let id = written.resource.id;
                given.borrow_mut().insert(local.to_owned(), id.clone());
                self.stores[0].write(Write { id, ..write }, Vec::new()).unwrap();
            }
            return;
        }
        let taken = self
            .stores
            .each_ref()
            .map(|store| store.write(write.clone(), Vec::new()).is_err());
        assert_eq!(taken[0], taken[1], "one store took {name:?} and the other did not");
    }

    /// Adds members to an existing group.
    fn join(&self, group: &str, joining: MemberStep) {
        self.clock.advance(Duration::from_millis(500));
        let write = Write {
            kind: Kind::GROUP,
            id: ResourceId::new(self.id(group)),
            at: self.clock.now(),
            action: WriteAction::Members {
                change: vec![joining],
                expected: Precondition::None,
            },
        };
        for store in &self.stores {
            store.write(write.clone(), Vec::new()).unwrap();
        }
    }

    fn answers(&self, ask: &Ask) -> [Value; 2] {
        let resource_type = self.registry.resource_type(&ask.kind).unwrap();
        let text = ask.filter.as_ref().map(|text| self.with_ids(text));
        let filter = text.map(|text| parse(&text, resource_type).unwrap_or_else(|error| panic!("{text}: {error}")));
        let sort = ask.sort.as_ref().map(|(by, descending)| Sort {
            by: resource_type.resolve(by).unwrap(),
            descending: *descending,
        });
        let query = Query {
            kind: ask.kind.clone(),
            filter,
            sort,
            page: Page {
                start: Start::Index(ask.start),
                count: ask.count,
            },
            relations: Relations::ALL,
        };
        self.stores.each_ref().map(|store| match store.find(&query) {
            Ok(found) => self.shown(&found),
            Err(error) => json!(format!("{error:?}")),
        })
    }

    /// The result without details that differ between stores.
    fn shown(&self, found: &ResultPage) -> Value {
        let views = found.resources.iter().map(|resource| {
            let id = self.local(&resource.id);
            let groups: Vec<&str> = resource.groups.iter().map(|group| group.display.as_str()).collect();
            json!([id, resource.members.len(), groups])
        });
        json!({ "total": found.total, "page": views.collect::<Vec<_>>() })
    }

    fn id(&self, local: &str) -> String {
        let given = self.given.as_ref().and_then(|given| given.borrow().get(local).cloned());
        given.map_or_else(|| format!("{}-{local}", self.prefix), |id| id.to_string())
    }

    fn local(&self, id: &ResourceId) -> String {
        let given = self.given.as_ref().map(RefCell::borrow);
        let given = given.iter().flat_map(|given| given.iter());
        let mut named = given.filter(|(_, known)| *known == id).map(|(local, _)| local.clone());
        named
            .next_back()
            .unwrap_or_else(|| id.as_str().replace(&self.prefix, ""))
    }

    fn with_ids(&self, text: &str) -> String {
        let given = self.given.as_ref().map(RefCell::borrow);
        let given = given.iter().flat_map(|given| given.iter());
        let named = given.fold(text.to_owned(), |text, (local, id)| {
            text.replace(&format!("@{local}"), id.as_str())
        });
        named.replace('@', &self.id(""))
    }
}
