//! Searching by POST, at one type and at the root (RFC 7644 §3.4.3).

#![allow(clippy::allow_attributes, clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use serde_json::{Value, json};
use vestibule::directory::Directory;
use vestibule::domain::schema::Registry;
use vestibule::domain::{Actor, Clock, Kind, Principal, StoreName};
use vestibule::scim::{Caller, Clients, Fault, Scim, Terms};
use vestibule::storage::{Database, DatabaseUrl, migrate};
use vestibule::userstore::PasswordHasher;
use vestibule::userstore::memory::MemoryUserstore;

struct Service {
    scim: Scim,
    caller: Caller,
    _folder: tempfile::TempDir,
}

impl Service {
    /// With the users a, b, c and the groups x, y.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&DatabaseUrl::Sqlite(folder.path().join("test.db"))).unwrap();
        migrate::run(&database).unwrap();
        let (registry, hasher, clock) = (Arc::new(Registry::builtin()), PasswordHasher::new(), Clock::system());
        let userstore = MemoryUserstore::new(StoreName::PRIMARY, hasher.clone(), clock.clone());
        let directory = Directory::new(vec![Arc::new(userstore)], registry, hasher, clock);
        let principal = Principal::Client {
            token: "test".into(),
            store: StoreName::PRIMARY,
        };
        let actor = Actor {
            principal,
            service_provider: "wiki".into(),
        };
        let base = "https://x.example/scim/v2".to_owned();
        let service = Self {
            scim: Scim::new(Arc::new(directory), database, Clients::new(), base),
            caller: Caller {
                actor,
                store: StoreName::PRIMARY,
            },
            _folder: folder,
        };
        for name in ["a", "b", "c"] {
            service.create(
                &Kind::USER,
                &json!({"userName": name, "displayName": name, "title": "T"}),
            );
        }
        for name in ["x", "y"] {
            service.create(&Kind::GROUP, &json!({"displayName": name}));
        }
        service
    }

    fn create(&self, kind: &Kind, body: &Value) {
        let body = body.to_string();
        let created = self.scim.create(&self.caller, kind, body.as_bytes(), &Terms::default());
        assert_eq!(created.unwrap().status, 201);
    }

    fn search(&self, kind: Option<&Kind>, body: &Value) -> Result<Value, Fault> {
        let reply = self.scim.search(&self.caller, kind, body.to_string().as_bytes());
        let body = reply.map_err(|error| error.fault)?.body.unwrap();
        Ok(serde_json::from_str(&body).unwrap())
    }

    /// The total and the display names of the page.
    fn at_the_root(&self, body: &Value) -> (u64, Vec<String>) {
        let list = self.search(None, body).unwrap();
        assert_eq!(list["itemsPerPage"], list["Resources"].as_array().unwrap().len());
        let names = list["Resources"].as_array().unwrap().iter();
        let names = names.map(|one| one["displayName"].as_str().unwrap().to_owned());
        (list["totalResults"].as_u64().unwrap(), names.collect())
    }
}

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

#[test]
fn a_search_at_a_type_finds_only_that_type() {
    let service = Service::start();
    let list = service.search(Some(&Kind::GROUP), &json!({"filter": "displayName ge \"b\""}));
    let list = list.unwrap();
    assert_eq!(list["totalResults"], 2);
    assert_eq!(list["Resources"][0]["meta"]["resourceType"], "Group");
}

#[test]
fn a_search_at_the_root_pages_over_every_type() {
    let service = Service::start();
    for (page, expected) in [
        (json!({}), names(["a", "b", "c", "x", "y"])),
        (json!({"count": 2}), names(["a", "b"])),
        (json!({"startIndex": 3, "count": 2}), names(["c", "x"])),
        (json!({"startIndex": 5, "count": 2}), names(["y"])),
        (json!({"startIndex": 6}), names([])),
        (json!({"count": 0}), names([])),
    ] {
        assert_eq!(service.at_the_root(&page), (5, expected), "{page}");
    }
}

#[test]
fn an_attribute_of_one_type_meets_nothing_in_the_others() {
    let service = Service::start();
    let found = service.at_the_root(&json!({"filter": "userName eq \"B\" or displayName eq \"x\""}));
    assert_eq!(found, (2, names(["b", "x"])));
    let found = service.at_the_root(&json!({"filter": "meta.resourceType eq \"Group\""}));
    assert_eq!(found, (2, names(["x", "y"])));
}

#[test]
fn order_holds_within_each_type() {
    let service = Service::start();
    let found = service.at_the_root(&json!({"sortBy": "displayName", "sortOrder": "descending", "count": 4}));
    assert_eq!(found, (5, names(["c", "b", "a", "y"])));
}

#[test]
fn a_search_shows_what_it_asks_for() {
    let service = Service::start();
    let asked = json!({"attributes": ["title", "displayName"], "filter": "displayName eq \"a\""});
    let list = service.search(None, &asked).unwrap();
    let mut one = list["Resources"][0].as_object().unwrap().clone();
    one.remove("id");
    assert_eq!(
        Value::Object(one),
        json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "displayName": "a", "title": "T"})
    );
}

#[test]
fn a_secret_cannot_be_searched_for() {
    let service = Service::start();
    let search = json!({"filter": "password sw \"a\""});
    assert_eq!(service.search(None, &search), Err(Fault::InvalidFilter));
    assert_eq!(service.search(Some(&Kind::USER), &search), Err(Fault::InvalidFilter));
}
