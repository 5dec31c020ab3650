//! Attacks on other SCIM servers, tried on this one.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use crate::support::{Caller, PATCH_OP, USER, anonymous, app, chat, id_of, logged, unique, wiki};

#[test]
fn s01_external_id_never_becomes_or_selects_an_id() {
    let admin = wiki().user(&unique("admin"));
    let before = wiki().get(&admin).body;
    let mut ids = vec![id_of(&admin).to_owned()];
    for external_id in ["1", "0", "admin", id_of(&admin)] {
        let path = wiki().user_with(&unique("eve"), &json!({ "externalId": external_id }));
        assert!(!ids.contains(&id_of(&path).to_owned()) && id_of(&path) != external_id);
        ids.push(id_of(&path).to_owned());
    }
    assert_eq!(wiki().get(&admin).body, before);
}

#[test]
fn s02_creating_an_existing_user_changes_nothing() {
    let name = unique("bob");
    let bob = wiki().user_with(
        &name,
        &json!({ "emails": [{ "value": format!("{name}@example.com") }] }),
    );
    let before = wiki().get(&bob).body;
    wiki()
        .post("/scim/v2/Users", &json!({ "schemas": [USER], "userName": name }))
        .refuses(409, Some("uniqueness"));
    let twin = chat().user_with(
        &name,
        &json!({ "emails": [{ "value": format!("{name}@example.com") }] }),
    );
    assert_ne!(id_of(&twin), id_of(&bob));
    chat()
        .patch(
            &bob,
            &json!([{ "op": "replace", "path": "emails", "value": [{ "value": "eve@example.com" }] }]),
        )
        .refuses(404, None);
    assert_eq!(wiki().get(&bob).body, before);
}

#[test]
fn s03_client_cannot_reach_users_of_another_client() {
    let ann = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&ann)]);
    for path in [&ann, &group] {
        chat().get(path).refuses(404, None);
        chat().delete(path).refuses(404, None);
        chat()
            .patch(path, &json!([{ "op": "add", "path": "displayName", "value": "x" }]))
            .refuses(404, None);
    }
    chat()
        .patch(
            &group,
            &json!([{ "op": "add", "path": "members", "value": [{ "value": "eve" }] }]),
        )
        .refuses(404, None);
    assert_eq!(wiki().members(&group), [id_of(&ann)]);
}

#[test]
fn s05_an_inactive_person_is_shown_and_found_inactive() {
    let name = unique("ann");
    let path = wiki().user(&name);
    wiki()
        .patch(&path, &json!([{ "op": "replace", "path": "active", "value": false }]))
        .gives(200);
    assert_eq!(wiki().get(&path).body["active"], false);
    let find = |active: bool| {
        wiki()
            .find("Users", &format!("userName eq \"{name}\" and active eq {active}"))
            .body["totalResults"]
            .clone()
    };
    assert_eq!((find(false), find(true)), (json!(1), json!(0)));
}

#[test]
fn s06_no_verb_on_any_route_without_a_token_touches_anything() {
    let path = wiki().user(&unique("ann"));
    let group = wiki().group(&unique("ops"), &[id_of(&path)]);
    let before = (wiki().get(&path).body, wiki().get(&group).body);
    for target in [
        path.as_str(),
        group.as_str(),
        "/scim/v2/Users",
        "/scim/v2/Groups",
        "/scim/Users",
        "/scim/v2/Me",
        "/scim/v2/Bulk",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = anonymous().send(method, target, &[], "{}");
            assert!(
                [401, 405].contains(&answer.status),
                "{method} {target}: {}",
                answer.status
            );
        }
    }
    assert_eq!((wiki().get(&path).body, wiki().get(&group).body), before);
}

#[test]
fn s07_no_spelling_of_a_path_gets_around_the_token() {
    let name = unique("ann");
    let path = wiki().user(&name);
    for spelling in [
        "//scim/v2/Users",
        "/scim//v2/Users",
        "/scim/v2//Users",
        "/scim/v2/./Users",
        "/scim/v2/Users/..;/Users",
        "/scim/v2/Schemas/../Users",
        "/scim/v2/Schemas/%2e%2e/Users",
        "/scim/v2/Users;x",
        "/scim/v2/Users/",
        "/SCIM/v2/Users",
        "/scim/v2/users",
        "/scim/v2/%55sers",
        "/scim/v2/Users%00",
        "/scim/v2/Users?x=/Schemas",
        "/scim/v2/Users#/Schemas",
        "/healthz/../scim/v2/Users",
        "/scim/v2/Schemas%2f..%2fUsers",
        "/assets/../scim/v2/Users",
        "/scim\\v2\\Users",
        "http://127.0.0.1/scim/v2/Users",
    ] {
        for target in [spelling.to_owned(), format!("{spelling}/{}", id_of(&path))] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let (status, answer) = app().raw(request.as_bytes());
            assert!(status >= 400, "{target}: {status}");
            assert!(!answer.contains(&name), "{target}");
        }
    }
}

#[test]
fn s11_a_replacement_changes_who_the_path_names() {
    let (ann, bob) = (wiki().user(&unique("ann")), wiki().user(&unique("bob")));
    let before = wiki().get(&bob).body;
    let body = json!({ "schemas": [USER], "id": id_of(&bob), "userName": unique("eve"), "meta": before["meta"] });
    let answer = wiki().put(&ann, &body);
    assert!(answer.status == 400 || answer.id() == id_of(&ann));
    assert_eq!(wiki().get(&bob).body, before);
}

#[test]
fn s16_nesting_has_an_end() {
    let path = wiki().user(&unique("ann"));
    for depth in [51, 1_000, 8_000] {
        for (open, close) in [("(", ")"), ("not (", ")"), ("emails[", "]")] {
            let filter = format!("{}title pr{}", open.repeat(depth), close.repeat(depth));
            let body = json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "remove", "path": format!("emails[{filter}]") }] });
            assert_eq!(
                wiki().send("PATCH", &path, &[], body.to_string()).status,
                400,
                "{depth} {open}"
            );
            let short: String = filter.chars().take(8_000).collect();
            assert!(
                [400, 414, 431].contains(&wiki().find("Users", &short).status),
                "{depth} {open}"
            );
        }
    }
    let huge = format!(
        "GET /scim/v2/Users?filter={} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        "(".repeat(300_000),
        wiki().token()
    );
    let (status, _) = app().raw(huge.as_bytes());
    assert!(status == 0 || status >= 400, "{status}");
    wiki().get(&path).gives(200);
}

#[test]
fn s20_expired_token_gets_a_scim_error() {
    let (_, token) = app().token("wiki", Duration::from_millis(1));
    std::thread::sleep(Duration::from_millis(20));
    let refused = Caller::with_token(&token).get("/scim/v2/Users").refuses(401, None);
    assert!(!refused.text.contains(&token));
}

#[test]
fn s21_queries_are_not_logged() {
    let marker = "c4n4ry-marker@example.com";
    wiki()
        .find("Users", &format!("emails.value eq \"{marker}\""))
        .gives(200);
    wiki()
        .find("Users", &format!("emails.value eq \"{marker}\" and ("))
        .refuses(400, Some("invalidFilter"));
    let path = wiki().user_with(
        &unique("ann"),
        &json!({ "emails": [{ "value": marker }], "password": "c4n4ry-password" }),
    );
    wiki().patch(
        &path,
        &json!([{ "op": "replace", "path": "emails", "value": "c4n4ry-wrong" }]),
    );
    wiki().get("/scim/v2/Users?access_token=c4n4ry-token");
    let log = logged();
    assert!(log.contains("GET /scim/v2/Users 200"), "requests are logged");
    assert!(
        !log.contains("c4n4ry"),
        "{}",
        log.lines().find(|line| line.contains("c4n4ry")).unwrap()
    );
    assert!(!log.contains(wiki().token()));
}

#[test]
fn s26_deep_json_is_refused_fast_with_and_without_a_token() {
    let path = wiki().user(&unique("ann"));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        assert_eq!(
            anonymous().send("POST", "/scim/v2/Users", &[], deep.clone()).status,
            401
        );
        for (method, target) in [
            ("POST", "/scim/v2/Users"),
            ("PUT", path.as_str()),
            ("PATCH", path.as_str()),
        ] {
            let status = wiki().send(method, target, &[], deep.clone()).status;
            assert!([400, 413].contains(&status), "{method}: {status}");
        }
        let inside = format!("{{\"userName\":\"x\",\"emails\":{deep}}}");
        assert!([400, 413].contains(&wiki().send("POST", "/scim/v2/Users", &[], inside).status));
    }
}

#[test]
fn s27_a_body_has_a_largest_size() {
    let large = json!({ "schemas": [USER], "userName": unique("ann"), "title": "x".repeat(5 * 1024 * 1024) });
    wiki().post("/scim/v2/Users", &large).refuses(413, None);
    let mut announced = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
        wiki().token()
    );
    write!(
        announced,
        "Content-Type: application/scim+json\r\nContent-Length: 1099511627776\r\n\r\n"
    )
    .unwrap();
    assert_eq!(app().raw(announced.as_bytes()).0, 413);
}

#[test]
fn s31_an_id_is_never_used_again() {
    let name = unique("ann");
    let first = wiki().user(&name);
    wiki().delete(&first).gives(204);
    let second = wiki().user(&name);
    assert_ne!(first, second);
    wiki().get(&first).refuses(404, None);
    wiki()
        .patch(&first, &json!([{ "op": "add", "path": "title", "value": "x" }]))
        .refuses(404, None);
}

#[test]
fn s32_false_in_any_spelling_is_never_true() {
    for word in [
        json!("False"),
        json!("false"),
        json!("FALSE"),
        json!(0),
        json!("0"),
        json!("no"),
        json!(""),
        json!([false]),
    ] {
        let body = json!({ "schemas": [USER], "userName": unique("ann"), "active": word });
        let made = wiki().post("/scim/v2/Users", &body);
        assert!(
            made.status == 400 || made.body["active"] == false || word == json!(""),
            "POST {word}: {}",
            made.text
        );
        let path = wiki().user_with(&unique("bob"), &json!({ "active": false }));
        let patched = wiki().patch(&path, &json!([{ "op": "Replace", "path": "active", "value": word }]));
        assert!(
            patched.status == 400 || wiki().get(&path).body["active"] == false || word == json!(""),
            "PATCH {word}: {}",
            patched.text
        );
    }
}
