//! Searching by POST, at one type and at the root (RFC 7644 §3.4.3).

use crate::fixtures::service::Service;
use serde_json::{Value, json};
use vestibule::domain::Kind;
use vestibule::scim::ScimErrorKind;

/// A service with the users a, b, c and the groups x, y.
struct World(Service);

impl World {
    fn start() -> Self {
        let service = Service::memory();
        for name in ["a", "b", "c"] {
            service.create(
                &Kind::USER,
                &json!({"userName": name, "displayName": name, "title": "T"}),
            );
        }
        for name in ["x", "y"] {
            service.create(&Kind::GROUP, &json!({"displayName": name}));
        }
        Self(service)
    }

    fn search(&self, kind: Option<&Kind>, body: &Value) -> Result<Value, ScimErrorKind> {
        self.0.search(kind, body).map_err(|error| error.fault)
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
    let service = World::start();
    let list = service.search(Some(&Kind::GROUP), &json!({"filter": "displayName ge \"b\""}));
    let list = list.unwrap();
    assert_eq!(list["totalResults"], 2);
    assert_eq!(list["Resources"][0]["meta"]["resourceType"], "Group");
}

#[test]
fn a_search_at_the_root_pages_over_every_type() {
    let service = World::start();
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
    let service = World::start();
    let found = service.at_the_root(&json!({"filter": "userName eq \"B\" or displayName eq \"x\""}));
    assert_eq!(found, (2, names(["b", "x"])));
    let found = service.at_the_root(&json!({"filter": "meta.resourceType eq \"Group\""}));
    assert_eq!(found, (2, names(["x", "y"])));
}

#[test]
fn order_holds_within_each_type() {
    let service = World::start();
    let found = service.at_the_root(&json!({"sortBy": "displayName", "sortOrder": "descending", "count": 4}));
    assert_eq!(found, (5, names(["c", "b", "a", "y"])));
}

#[test]
fn a_search_shows_what_it_asks_for() {
    let service = World::start();
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
    let service = World::start();
    let search = json!({"filter": "password sw \"a\""});
    assert_eq!(service.search(None, &search), Err(ScimErrorKind::InvalidFilter));
    assert_eq!(
        service.search(Some(&Kind::USER), &search),
        Err(ScimErrorKind::InvalidFilter)
    );
}
