//! `/Me` (RFC 7644 §3.11).

use std::time::Duration;

use crate::support::{Caller, anonymous, app, id_of, unique, wiki};
use vestibule::domain::StoreName;
use vestibule::domain::login::RequestedClaims;
use vestibule::storage::grants::Grant;
use vestibule::storage::tokens::NewToken;
use vestibule::storage::{StorageError, grants, random, tokens};

/// A caller with an access token of the OpenID provider for the user at a path.
fn person(path: &str, scope: &str) -> Caller {
    person_at("desk", path, scope)
}

/// Like `person`, with a token that a client got.
fn person_at(client_id: &str, path: &str, scope: &str) -> Caller {
    let (token, now) = (random::token(), app().now());
    let end = now.plus(Duration::from_hours(1));
    let grant = Grant {
        id: random::token(),
        code_expires: now,
        client_id: client_id.to_owned(),
        session_hash: String::new(),
        store: StoreName::PRIMARY,
        user: id_of(path).into(),
        redirect_uri: String::new(),
        scope: scope.to_owned(),
        nonce: None,
        claims: RequestedClaims::default(),
        code_challenge: None,
        amr: Vec::new(),
        auth_time: now,
        authenticated_at: Some(now),
        identity_provider: None,
        created: now,
        expires: end,
        revoked: None,
    };
    let access = NewToken {
        hash: random::fingerprint(&token),
        scope: scope.to_owned(),
        expires: end,
    };
    let stored = app().app.database.write::<_, StorageError>(move |connection| {
        grants::insert(connection, &grant, &random::token())?;
        Ok(tokens::insert_access(connection, &grant.id, &access)?)
    });
    stored.unwrap();
    Caller::with_token(&token)
}

#[test]
fn a_person_sees_who_it_is_at_its_own_location() {
    let path = wiki().user(&unique("me"));
    let me = person(&path, "openid profile")
        .get("/scim/v2/Me?attributes=userName")
        .gives(200);
    let user = wiki().get(&format!("{path}?attributes=userName"));
    assert_eq!(
        (me.body.clone(), me.header("location"), me.header("etag")),
        (user.body.clone(), user.header("location"), user.header("etag"))
    );
}

#[test]
fn it_shows_what_the_scopes_say() {
    let name = unique("me");
    let path = wiki().user(&name);
    let details = serde_json::json!([{ "op": "add", "value": {"displayName": "Me", "title": "CEO",
        "emails": [{"value": "me@example.com"}], "roles": [{"value": "admin"}]} }]);
    wiki().patch(&path, &details).gives(200);
    let shown = |scope: &str| -> Vec<String> {
        let me = person(&path, scope).get("/scim/v2/Me").gives(200);
        me.body.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(shown("openid"), ["schemas", "id", "active", "meta"]);
    assert_eq!(
        shown("openid profile"),
        ["schemas", "id", "userName", "displayName", "active", "meta"]
    );
    assert_eq!(shown("openid email"), ["schemas", "id", "active", "emails", "meta"]);
}

#[test]
fn client_token_has_no_me_resource() {
    wiki().get("/scim/v2/Me").refuses(404, None);
    let refused = anonymous().get("/scim/v2/Me").refuses(401, None);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    Caller::with_token("unknown").get("/scim/v2/Me").refuses(401, None);
}

#[test]
fn it_needs_the_scope_openid_and_an_account_that_is_on() {
    let path = wiki().user(&unique("me"));
    person(&path, "email").get("/scim/v2/Me").refuses(403, None);
    let me = person(&path, "openid");
    me.get("/scim/v2/Me").gives(200);
    wiki()
        .patch(
            &path,
            &serde_json::json!([{ "op": "replace", "path": "active", "value": false }]),
        )
        .gives(200);
    me.get("/scim/v2/Me").refuses(401, None);
}

#[test]
fn a_person_can_do_nothing_else_through_scim() {
    let path = wiki().user(&unique("me"));
    let me = person(&path, "openid");
    me.get(&path).refuses(401, None);
    me.patch(
        &path,
        &serde_json::json!([{ "op": "add", "path": "title", "value": "CEO" }]),
    )
    .refuses(401, None);
    let refused = me.patch(
        "/scim/v2/Me",
        &serde_json::json!([{ "op": "add", "path": "title", "value": "CEO" }]),
    );
    assert_eq!(refused.refuses(405, None).header("allow"), "GET, HEAD, OPTIONS");
}

#[test]
fn it_asks_the_application_of_the_token() {
    let path = wiki().user(&unique("me"));
    person(&path, "openid").get("/scim/v2/Me").gives(200);
    // One accepts people of another userstore alone, the other is not configured any more.
    for client in ["chat-desk", "gone"] {
        person_at(client, &path, "openid").get("/scim/v2/Me").gives(401);
    }
}
