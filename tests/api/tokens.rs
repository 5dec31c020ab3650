//! Bearer tokens of SCIM clients.

use std::time::Duration;

use crate::support::{Caller, app, chat, unique, wiki};

const USERS: &str = "/scim/v2/Users?count=0";

#[test]
fn a_revoked_token_is_dead_within_a_second() {
    let (id, token) = app().token("wiki", Duration::from_hours(1));
    let caller = Caller::with_token(&token);
    caller.get(USERS).gives(200);
    app().revoke(&id);
    std::thread::sleep(Duration::from_secs(1));
    caller.get(USERS).refuses(401, None);
    wiki().get(USERS).gives(200);
}

#[test]
fn read_only_token_changes_nothing() {
    let path = wiki().user(&unique("read"));
    let reader = Caller::with_token(&app().read_only_token("wiki"));
    reader.get(&path).gives(200);
    reader
        .post(
            "/scim/v2/Users/.search",
            &serde_json::json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "count": 0}),
        )
        .gives(200);
    let body = serde_json::json!({"userName": unique("read")});
    reader.post("/scim/v2/Users", &body).refuses(403, None);
    reader.put(&path, &body).refuses(403, None);
    reader
        .patch(
            &path,
            &serde_json::json!([{"op": "add", "path": "title", "value": "x"}]),
        )
        .refuses(403, None);
    reader.delete(&path).refuses(403, None);
    wiki().get(&path).gives(200);
}

#[test]
fn expired_token_is_refused() {
    let (_, token) = app().token("wiki", Duration::from_millis(300));
    let caller = Caller::with_token(&token);
    std::thread::sleep(Duration::from_millis(400));
    caller.get(USERS).refuses(401, None);
}

#[test]
fn a_token_is_taken_whole_or_not_at_all() {
    let token = wiki().token().to_owned();
    for wrong in [
        &token[..token.len() - 1],
        &format!("{token}x"),
        &token.to_uppercase(),
        "x",
        &"x".repeat(5000),
    ] {
        Caller::with_token(wrong).get(USERS).refuses(401, None);
    }
}

#[test]
fn a_token_of_a_service_provider_that_is_gone_opens_nothing() {
    let (_, token) = app().token("no-longer-configured", Duration::from_hours(1));
    Caller::with_token(&token).get(USERS).refuses(401, None);
}

#[test]
fn token_is_accepted_only_in_the_authorization_header() {
    let token = wiki().token().to_owned();
    let anonymous = crate::support::anonymous();
    anonymous
        .get(&format!("{USERS}&access_token={token}"))
        .refuses(401, None);
    anonymous
        .send("GET", USERS, &[("cookie", &format!("access_token={token}"))], "")
        .refuses(401, None);
    anonymous
        .send("GET", USERS, &[("authorization", &format!("Basic {token}"))], "")
        .refuses(401, None);
}

#[test]
fn a_token_is_not_in_the_database_as_it_is() {
    let token = wiki().token().to_owned();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("api");
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

/// Gets a token over HTTP with the client credentials grant.
fn own_token() -> String {
    let form = "grant_type=client_credentials&client_id=robot&client_secret=robot-secret-0123456789";
    let request = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
        form.len()
    );
    let (status, answer) = app().raw(request.as_bytes());
    assert_eq!(status, 200, "{answer}");
    let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn client_credentials_token_has_its_service_providers_rights() {
    let robot = Caller::with_token(&own_token());
    let path = robot.user(&unique("own"));
    robot.get(&path).gives(200);
    chat().get(&path).gives(200);
    wiki().get(&path).refuses(404, None);
    robot.get("/scim/v2/Me").refuses(404, None);
}

#[test]
fn wrong_tokens_of_one_address_are_limited() {
    let from = |address: &str, token: &str| {
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("x-forwarded-for", address.to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        crate::support::anonymous().send("GET", USERS, &headers, "").status
    };
    let wrong = (0..320).map(|_| from("203.0.113.77", "vst_wrong"));
    let limited = wrong.filter(|status| *status == 429).count();
    assert!((1..=20).contains(&limited), "{limited} of 320 were turned away");
    assert_eq!(from("203.0.113.78", wiki().token()), 200, "others are not");
}

#[test]
fn right_tokens_are_not_limited() {
    for _ in 0..320 {
        let token = app().token("wiki", Duration::from_hours(1)).1;
        let header = format!("Bearer {token}");
        let headers = [("authorization", header.as_str()), ("x-forwarded-for", "203.0.113.79")];
        let reply = crate::support::anonymous().send("GET", USERS, &headers, "");
        assert_eq!(reply.status, 200);
    }
}
