//! Several userstores as one: where changes go, lists over all stores, and the effects of an unreachable store.

use std::sync::Arc;

use crate::fixtures::service::{Service, Shared, sql};
use serde_json::{Value, json};
use vestibule::domain::{Kind, Principal, StoreName};
use vestibule::scim::{RequestOptions, ResourceRef, ScimErrorKind};
use vestibule::userstore::Userstore;
use vestibule::userstore::ldap::LdapUserstore;

const EXTENSION: &str = "urn:vestibule:params:scim:schemas:extension:2.0:User";

fn two(shared: Shared) -> Vec<Arc<dyn Userstore>> {
    vec![
        Arc::new(sql(StoreName::PRIMARY, shared.clone())),
        Arc::new(sql("CORP".into(), shared)),
    ]
}

/// PRIMARY, and a directory server at a port on which nothing answers.
fn one_and_a_dead_one(shared: Shared) -> Vec<Arc<dyn Userstore>> {
    vec![
        Arc::new(sql(StoreName::PRIMARY, shared.clone())),
        Arc::new(dead("CORP".into(), shared)),
    ]
}

fn dead_ones(shared: Shared) -> Vec<Arc<dyn Userstore>> {
    vec![
        Arc::new(dead(StoreName::PRIMARY, shared.clone())),
        Arc::new(dead("CORP".into(), shared)),
    ]
}

fn dead(name: StoreName, (database, registry, hasher, clock): Shared) -> LdapUserstore {
    let settings = crate::fixtures::stores::ldap_at(name, "ldap://127.0.0.1:1");
    LdapUserstore::new(settings, database, registry, hasher, clock).unwrap()
}

/// Creates a user in a store.
fn user(service: &Service, store: &str, name: &str) -> ResourceRef {
    service.create(
        &Kind::USER,
        &json!({"userName": name, "displayName": name, EXTENSION: {"userstore": store}}),
    )
}

/// Users a, c in PRIMARY and b, d in CORP.
fn four() -> Service {
    let service = Service::over(two);
    for (store, name) in [("CORP", "b"), ("PRIMARY", "a"), ("CORP", "d"), ("primary", "c")] {
        user(&service, store, name);
    }
    service
}

fn bound(mut service: Service, store: &str) -> Service {
    service.caller.client.store = Some(store.into());
    service.caller.actor.principal = Principal::Client {
        token: "test".into(),
        store: Some(store.into()),
    };
    service
}

fn names(list: &Value) -> Vec<&str> {
    let resources = list["Resources"].as_array().unwrap().iter();
    resources.map(|one| one["userName"].as_str().unwrap()).collect()
}

fn sorted(list: &Value) -> Vec<&str> {
    let mut names = names(list);
    names.sort_unstable();
    names
}

fn users(service: &Service, body: &Value) -> Value {
    service.search(Some(&Kind::USER), body).unwrap()
}

#[test]
fn a_list_goes_over_every_store_with_an_exact_total() {
    let all = users(&four(), &json!({}));
    assert_eq!(
        (all["totalResults"].as_u64(), sorted(&all)),
        (Some(4), vec!["a", "b", "c", "d"])
    );
}

#[test]
fn pages_by_index_cross_the_borders_of_stores() {
    let service = four();
    for sort in [json!(null), json!("userName")] {
        let mut seen = Vec::new();
        for start in 1..=4 {
            let page = users(&service, &json!({"startIndex": start, "count": 1, "sortBy": sort}));
            assert_eq!(page["totalResults"], 4);
            seen.push(names(&page)[0].to_owned());
        }
        if sort == "userName" {
            assert_eq!(seen, ["a", "b", "c", "d"]);
        }
        seen.sort();
        assert_eq!(seen, ["a", "b", "c", "d"], "each once, by {sort}");
    }
}

#[test]
fn sorting_spans_userstores() {
    let service = four();
    let down = users(&service, &json!({"sortBy": "displayName", "sortOrder": "descending"}));
    assert_eq!(names(&down), ["d", "c", "b", "a"]);
    let part = users(&service, &json!({"sortBy": "displayName", "startIndex": 2, "count": 2}));
    assert_eq!((names(&part), part["totalResults"].as_u64()), (vec!["b", "c"], Some(4)));
}

#[test]
fn cursors_go_forth_and_back_across_stores() {
    let service = four();
    for sort in [json!(null), json!("userName")] {
        let page = |cursor: &Value| users(&service, &json!({"count": 1, "sortBy": sort, "cursor": cursor}));
        let (mut forth, mut last, mut cursor) = (Vec::new(), Value::Null, json!(""));
        while !cursor.is_null() {
            last = page(&cursor);
            forth.extend(names(&last).into_iter().map(str::to_owned));
            cursor = last["nextCursor"].clone();
        }
        let (mut back, mut cursor) = (vec![names(&last)[0].to_owned()], last["previousCursor"].clone());
        while !cursor.is_null() {
            let page = page(&cursor);
            back.extend(names(&page).into_iter().map(str::to_owned));
            cursor = page["previousCursor"].clone();
        }
        back.reverse();
        assert_eq!((forth.len(), &forth), (4, &back), "by {sort}");
    }
}

#[test]
fn a_filter_is_asked_of_every_store() {
    let service = four();
    assert_eq!(names(&users(&service, &json!({"filter": "userName eq \"d\""}))), ["d"]);
    let most = users(&service, &json!({"filter": "displayName gt \"a\""}));
    assert_eq!(
        (most["totalResults"].as_u64(), sorted(&most)),
        (Some(3), vec!["b", "c", "d"])
    );
}

#[test]
fn a_token_bound_to_a_store_sees_that_store_alone() {
    let service = four();
    let elsewhere = user(&service, "CORP", "e");
    let service = bound(service, "PRIMARY");
    assert_eq!(sorted(&users(&service, &json!({}))), ["a", "c"]);
    let gone = service
        .scim
        .get(&service.caller, &elsewhere, &RequestOptions::default())
        .unwrap_err();
    assert_eq!(gone.fault, ScimErrorKind::NotFound);
    let gone = service
        .scim
        .delete(&service.caller, &elsewhere, &RequestOptions::default())
        .unwrap_err();
    assert_eq!(gone.fault, ScimErrorKind::NotFound);
}

#[test]
fn unknown_or_unreachable_userstore_is_an_invalid_value() {
    let service = bound(four(), "PRIMARY");
    for store in [json!("CORP"), json!("NOWHERE"), json!(7)] {
        let body = json!({"userName": "x", EXTENSION: {"userstore": store}}).to_string();
        let refused = service.scim.create(
            &service.caller,
            &Kind::USER,
            body.as_bytes(),
            &RequestOptions::default(),
        );
        assert_eq!(refused.unwrap_err().fault, ScimErrorKind::InvalidValue);
    }
}

#[test]
fn a_name_is_unique_in_its_store_alone() {
    let service = four();
    user(&service, "CORP", "a");
    assert_eq!(
        users(&service, &json!({"filter": "userName eq \"a\""}))["totalResults"],
        2
    );
}

#[test]
fn a_dead_store_is_left_out_of_lists_and_the_list_says_so() {
    let service = Service::over(one_and_a_dead_one);
    user(&service, "PRIMARY", "a");
    for body in [json!({}), json!({"sortBy": "userName"}), json!({"cursor": ""})] {
        let list = users(&service, &body);
        assert_eq!(names(&list), ["a"], "{body}");
        let warning = "urn:vestibule:params:scim:api:messages:2.0:Warning";
        assert_eq!(list[warning]["userstores"], json!(["CORP"]), "{body}");
        assert_eq!(list["meta"]["incomplete"], true);
        assert!(list["schemas"].as_array().unwrap().contains(&json!(warning)));
    }
}

#[test]
fn a_list_is_unavailable_when_no_store_answers() {
    let service = Service::over(dead_ones);
    for body in [json!({}), json!({"sortBy": "userName"}), json!({"cursor": ""})] {
        let refused = service
            .scim
            .search(&service.caller, Some(&Kind::USER), body.to_string().as_bytes());
        assert_eq!(refused.unwrap_err().fault, ScimErrorKind::Unavailable, "{body}");
    }
}

#[test]
fn unreachable_store_does_not_affect_the_others() {
    let service = Service::over(one_and_a_dead_one);
    for at in 0..50 {
        let target = user(&service, "PRIMARY", &format!("u{at}"));
        service.read(&target);
        service
            .scim
            .delete(&service.caller, &target, &RequestOptions::default())
            .unwrap();
    }
}

#[test]
fn resource_of_an_unreachable_store_is_503_not_404() {
    let service = Service::over(one_and_a_dead_one);
    let target = ResourceRef {
        kind: Kind::USER,
        id: "0d7a8c1e-1111-1031-8111-111111111111".into(),
    };
    let unknown = service
        .scim
        .get(&service.caller, &target, &RequestOptions::default())
        .unwrap_err();
    assert_eq!(unknown.fault, ScimErrorKind::Unavailable);
    let service = bound(service, "PRIMARY");
    let absent = service
        .scim
        .get(&service.caller, &target, &RequestOptions::default())
        .unwrap_err();
    assert_eq!(absent.fault, ScimErrorKind::NotFound);
    let service = bound(service, "CORP");
    let unavailable = service.search(Some(&Kind::USER), &json!({})).unwrap_err();
    assert_eq!(
        unavailable.fault,
        ScimErrorKind::Unavailable,
        "no other store can answer"
    );
}
