//! Clients that change one resource at the same moment, through SCIM: every acknowledged change persists, and no client
//! gets a server error. A database that is not configured is reported as ignored, never as passed.

use std::collections::BTreeSet;
use std::sync::Barrier;

use crate::fixtures::service::{Case, Service};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use vestibule::domain::Kind;
use vestibule::scim::{Reply, RequestOptions, ResourceRef, ScimError};

const CLIENTS: usize = 50;

const CASES: &[(&str, Case)] = &[
    (
        "members_added_at_once_are_all_there",
        members_added_at_once_are_all_there,
    ),
    ("members_come_and_go_at_once", members_come_and_go_at_once),
    ("patches_of_one_user_are_all_there", patches_of_one_user_are_all_there),
    ("one_name_is_taken_once", one_name_is_taken_once),
    ("of_changes_to_one_version_one_wins", of_changes_to_one_version_one_wins),
];

fn members_added_at_once_are_all_there(service: &Service) {
    let users: Vec<String> = (0..CLIENTS).map(|n| service.user(&format!("user{n}"))).collect();
    let group = service.create(&Kind::GROUP, &json!({"displayName": "staff"}));
    let answers = at_once(|n| {
        let add = json!({"op": "add", "path": "members", "value": [{"value": users[n]}]});
        service.patch(&group, &json!([add]), &RequestOptions::default())
    });
    for answer in answers {
        answer.unwrap();
    }
    assert_eq!(members(service, &group), users.into_iter().collect());
    assert_eq!(
        service.read(&group)["meta"]["version"],
        json!(format!("W/\"{}\"", 1 + CLIENTS))
    );
}

fn members_come_and_go_at_once(service: &Service) {
    let users: Vec<String> = (0..CLIENTS).map(|n| service.user(&format!("user{n}"))).collect();
    let (leaving, coming) = users.split_at(CLIENTS / 2);
    let first: Vec<Value> = leaving.iter().map(|id| json!({"value": id})).collect();
    let group = service.create(&Kind::GROUP, &json!({"displayName": "staff", "members": first}));
    let answers = at_once(|n| {
        let operation = if n < leaving.len() {
            json!({"op": "remove", "path": format!("members[value eq \"{}\"]", users[n])})
        } else {
            json!({"op": "add", "path": "members", "value": [{"value": users[n]}]})
        };
        service.patch(&group, &json!([operation]), &RequestOptions::default())
    });
    for answer in answers {
        answer.unwrap();
    }
    assert_eq!(members(service, &group), coming.iter().cloned().collect());
}

fn patches_of_one_user_are_all_there(service: &Service) {
    let user = ResourceRef {
        kind: Kind::USER,
        id: service.user("alice").into(),
    };
    let answers = at_once(|n| {
        let add = json!({"op": "add", "path": "emails", "value": [{"value": format!("{n}@example.com")}]});
        service.patch(&user, &json!([add]), &RequestOptions::default())
    });
    for answer in answers {
        answer.unwrap();
    }
    let seen = service.read(&user);
    let emails = seen["emails"].as_array().unwrap().iter();
    let emails: BTreeSet<&str> = emails.map(|email| email["value"].as_str().unwrap()).collect();
    assert_eq!(emails.len(), CLIENTS, "{emails:?}");
    assert_eq!(seen["meta"]["version"], json!(format!("W/\"{}\"", 1 + CLIENTS)));
}

fn one_name_is_taken_once(service: &Service) {
    let body = json!({"userName": "alice"}).to_string();
    let answers = at_once(|_| {
        service.scim.create(
            &service.caller,
            &Kind::USER,
            body.as_bytes(),
            &RequestOptions::default(),
        )
    });
    let mut statuses: Vec<u16> = answers.iter().map(status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (201, &[409; CLIENTS - 1][..]));
}

fn of_changes_to_one_version_one_wins(service: &Service) {
    let user = ResourceRef {
        kind: Kind::USER,
        id: service.user("alice").into(),
    };
    let mut terms = RequestOptions::default();
    terms.conditions.if_match = Some("W/\"1\"".to_owned());
    let answers = at_once(|n| {
        let replace = json!({"op": "replace", "path": "title", "value": format!("t{n}")});
        service.patch(&user, &json!([replace]), &terms)
    });
    let mut statuses: Vec<u16> = answers.iter().map(status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, &[412; CLIENTS - 1][..]));
}

pub(crate) fn trials() -> Vec<Trial> {
    crate::fixtures::service::trials(CASES, false)
}

// ---- helpers ----

fn members(service: &Service, group: &ResourceRef) -> BTreeSet<String> {
    let seen = service.read(group);
    let members = seen["members"].as_array().unwrap();
    let ids: BTreeSet<String> = members
        .iter()
        .map(|member| member["value"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), members.len(), "a member is listed twice");
    ids
}

fn status(answer: &Result<Reply, ScimError>) -> u16 {
    match answer {
        Ok(reply) => reply.status,
        Err(error) => error.fault.row().0,
    }
}

/// Runs the function for every client at the same moment.
fn at_once<T: Send>(part: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (start, part) = (Barrier::new(CLIENTS), &part);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    part(n)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}
