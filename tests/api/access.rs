//! Access control: a client sees only its own userstore.

use serde_json::json;

use vestibule::domain::SecurityEventKind;
use vestibule::storage::StorageError;
use vestibule::storage::security_events::{self, EventFilter};

use crate::support::{Caller, USER, anonymous, app, chat, id_of, unique, wiki};

#[test]
fn every_verb_without_a_token_is_401_with_www_authenticate() {
    let path = wiki().user(&unique("ann"));
    for (method, path) in [
        ("GET", "/scim/v2/Users"),
        ("POST", "/scim/v2/Users"),
        ("GET", path.as_str()),
        ("PUT", path.as_str()),
        ("PATCH", path.as_str()),
        ("DELETE", path.as_str()),
        ("GET", "/scim/v2/Groups"),
        ("POST", "/scim/v2/Groups"),
    ] {
        let refused = anonymous()
            .send(method, path, &[], if method == "GET" { "" } else { "{}" })
            .refuses(401, None);
        assert!(
            refused.header("www-authenticate").starts_with("Bearer"),
            "{method} {path}"
        );
    }
    wiki().get(&path).gives(200);
}

#[test]
fn refused_token_is_an_event_with_address_and_request() {
    let headers = [("x-forwarded-for", "203.0.113.77, 198.51.100.78")];
    let refused = Caller::with_token("unknown-token").send("GET", "/scim/v2/Users", &headers, "");
    let request = refused.header("x-request-id").to_owned();
    refused.refuses(401, None);
    let filter = EventFilter {
        kind: Some(SecurityEventKind::TokenRefused),
        address: Some("198.51.100.78".to_owned()),
        ..EventFilter::default()
    };
    let found = app()
        .app
        .database
        .read::<_, StorageError>(|connection| security_events::newest(connection, &filter, 10))
        .unwrap();
    let reasons: Vec<_> = found.iter().map(|event| event.reason.as_deref()).collect();
    assert_eq!(reasons, [Some("scim_token")]);
    assert_eq!(found[0].origin.request_id, Some(request));
    assert!(!format!("{found:?}").contains("unknown-token"));
}

#[test]
fn other_stores_are_invisible_to_a_client() {
    let path = wiki().user(&unique("ann"));
    let before = wiki().get(&path).body;
    chat().get(&path).refuses(404, None);
    chat()
        .put(&path, &json!({ "schemas": [USER], "userName": "x" }))
        .refuses(404, None);
    chat()
        .patch(&path, &json!([{ "op": "add", "path": "title", "value": "x" }]))
        .refuses(404, None);
    chat().delete(&path).refuses(404, None);
    assert_eq!(wiki().get(&path).body, before);
}

#[test]
fn id_of_another_store_answers_like_an_unknown_id() {
    let there = wiki().user(&unique("ann"));
    let (theirs, nobodys) = (
        chat().get(&there),
        chat().get("/scim/v2/Users/0190c2f0-0000-7000-8000-000000000000"),
    );
    assert_eq!((theirs.status, &theirs.body), (nobodys.status, &nobodys.body));
}

#[test]
fn list_shows_only_the_clients_own_store() {
    let name = unique("ann");
    wiki().user(&name);
    assert_eq!(
        chat().find("Users", &format!("userName eq \"{name}\"")).gives(200).body["totalResults"],
        0
    );
    chat().user(&name);
    assert_eq!(
        chat().find("Users", &format!("userName eq \"{name}\"")).body["totalResults"],
        1
    );
    assert_eq!(
        wiki().find("Users", &format!("userName eq \"{name}\"")).body["totalResults"],
        1
    );
}

#[test]
fn group_in_another_store_reveals_no_membership() {
    let ann = wiki().user(&unique("ann"));
    let group = chat().group(&unique("spies"), &[id_of(&ann)]);
    let by_group = format!("groups.value eq \"{}\"", id_of(&group));
    assert_eq!(wiki().find("Users", &by_group).gives(200).body["totalResults"], 0);
    assert!(
        wiki()
            .get(&ann)
            .body
            .get("groups")
            .is_none_or(|groups| groups == &json!([]))
    );
}
