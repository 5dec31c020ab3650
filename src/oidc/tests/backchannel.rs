//! Tests of back-channel logout.

use serde_json::{Value, json};

use super::super::fixtures::{START, World, pairs, redirect, with};
use crate::domain::ResourceId;
use crate::jose::jws::Compact;
use crate::storage::{StorageError, sessions};

/// Returns the claims of every logout token sent so far. Each has a valid signature and its own `typ`.
fn told(world: &World) -> Vec<Value> {
    let jwks = world.oidc.keys.set().unwrap();
    let calls = world.outside.calls.lock().unwrap();
    let token_of = |body: &str| {
        url::form_urlencoded::parse(body.as_bytes())
            .next()
            .unwrap()
            .1
            .into_owned()
    };
    let claims = |(url, body): &(String, String)| {
        assert_eq!(url, "https://app.example/logout");
        let token = token_of(body);
        let read = Compact::read(&token).unwrap();
        assert_eq!(read.header["typ"], "logout+jwt");
        let key = jwks.by_kid(read.header["kid"].as_str().unwrap()).unwrap();
        assert!(key.verify(read.signed.as_bytes(), &read.signature));
        assert_eq!(
            crate::oidc::keys::claims_of_id_token(&jwks, &token),
            None,
            "not accepted as an ID token"
        );
        Value::Object(read.claims)
    };
    calls.iter().map(claims).collect()
}

/// Returns a world in which the client `wiki` has tokens of a session, the session, and its `sid`.
fn logged_in() -> (World, String, Value) {
    let world = World::new();
    world.outside.answers(200, "");
    let session = world.login();
    let tokens = world.redeem(&world.code(&session, &[]), &[]).unwrap();
    let claims =
        crate::oidc::keys::claims_of_id_token(&world.oidc.keys.set().unwrap(), &tokens.id_token.unwrap()).unwrap();
    (world, session, claims["sid"].clone())
}

fn log_out(world: &World, session: &str) {
    let confirm = crate::storage::random::fingerprint(&format!("logout:{session}"));
    world
        .oidc
        .logout(&pairs(&[("confirm", &confirm)]), Some(session), true)
        .unwrap();
}

#[test]
fn logout_token_has_its_own_type_and_is_sent_once() {
    let (world, session, sid) = logged_in();
    world.oidc.send_logouts().unwrap();
    assert_eq!(told(&world), [] as [Value; 0]);
    log_out(&world, &session);
    world.oidc.send_logouts().unwrap();
    world.oidc.send_logouts().unwrap();
    let mut claims = told(&world);
    assert_eq!(claims.len(), 1, "it is sent once");
    let jti = claims[0].as_object_mut().unwrap().shift_remove("jti").unwrap();
    assert_eq!(jti.as_str().unwrap().len(), 43);
    assert_eq!(
        claims[0],
        json!({
            "iss": "https://id.example", "sub": "u1", "aud": "wiki", "iat": START.seconds(), "exp": START.seconds() + 120,
            "sid": sid, "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        })
    );
}

#[test]
fn clients_without_tokens_of_a_session_are_not_notified() {
    let world = World::new();
    let session = world.login();
    world.code(&session, &[]);
    log_out(&world, &session);
    world.oidc.send_logouts().unwrap();
    assert!(world.outside.calls.lock().unwrap().is_empty());
}

#[test]
fn clients_are_notified_however_a_session_ends() {
    type End = fn(&World, &str);
    let ends: [(&str, End); 4] = [
        ("another user logs in", |world, session| {
            let mut other = super::super::fixtures::authentication();
            other.user = "u2".into();
            world.oidc.open_session(&other, Some(session), None).unwrap();
        }),
        ("the user may no longer log in", |world, session| {
            world.delete_user();
            assert_eq!(world.oidc.session(session).unwrap(), None);
        }),
        ("the userstore ends the sessions of the user", |world, _| {
            let (user, now) = (ResourceId::from("u1"), world.clock.now());
            let end = move |connection: &mut _| Ok(sessions::delete_of_user(connection, &user, now)?);
            world.database.write::<_, StorageError>(end).unwrap();
        }),
        ("it expires", |world, _| {
            world.advance(12 * 60 * 60);
            world.oidc.sweep().unwrap();
        }),
    ];
    for (how, end) in ends {
        let (world, session, sid) = logged_in();
        end(&world, &session);
        world.oidc.send_logouts().unwrap();
        let told = told(&world);
        assert_eq!(told.len(), 1, "{how}");
        assert_eq!((&told[0]["sid"], &told[0]["sub"]), (&sid, &json!("u1")), "{how}");
    }
}

#[test]
fn new_login_of_the_same_user_keeps_the_sid() {
    let (world, session, sid) = logged_in();
    let again = world
        .oidc
        .open_session(&super::super::fixtures::authentication(), Some(&session), None)
        .unwrap();
    world.oidc.send_logouts().unwrap();
    assert!(told(&world).is_empty());
    log_out(&world, &again);
    world.oidc.send_logouts().unwrap();
    assert_eq!(told(&world)[0]["sid"], sid);
}

#[test]
fn failed_logout_notifications_are_retried_with_backoff() {
    let (world, session, _) = logged_in();
    log_out(&world, &session);
    let calls = || {
        world.oidc.send_logouts().unwrap();
        world.outside.calls.lock().unwrap().len()
    };
    for (status, wait) in [(500, 5), (302, 10), (400, 20)] {
        let before = world.outside.calls.lock().unwrap().len();
        world.outside.answers(status, "");
        assert_eq!((calls(), calls()), (before + 1, before + 1), "{status}");
        world.advance(wait - 1);
        assert_eq!(calls(), before + 1, "not before {wait} seconds have passed");
        world.advance(1);
    }
    world.outside.answers(204, "");
    assert_eq!(calls(), 4);
    world.advance(2 * 60 * 60);
    assert_eq!(calls(), 4, "it was accepted");
    let jtis: std::collections::HashSet<String> = told(&world).iter().map(|token| token["jti"].to_string()).collect();
    assert_eq!(jtis.len(), 4, "each attempt has a new token");
}

#[test]
fn logout_notifications_are_discarded_after_a_day() {
    let (world, session, _) = logged_in();
    log_out(&world, &session);
    world.outside.answers(500, "");
    world.oidc.send_logouts().unwrap();
    world.advance(24 * 60 * 60);
    world.oidc.sweep().unwrap();
    world.oidc.send_logouts().unwrap();
    assert_eq!(world.outside.calls.lock().unwrap().len(), 1);
}

#[test]
fn several_processes_send_each_notification_once() {
    let (world, session, _) = logged_in();
    let other = world.another();
    log_out(&world, &session);
    std::thread::scope(|scope| {
        for oidc in [&world.oidc, &other, &world.oidc, &other] {
            scope.spawn(|| oidc.send_logouts().unwrap());
        }
    });
    assert_eq!(told(&world).len(), 1);
}

/// O09: no token is accepted as another type of token.
#[test]
fn logout_token_is_not_accepted_as_id_token_hint() {
    let (world, session, _) = logged_in();
    log_out(&world, &session);
    world.oidc.send_logouts().unwrap();
    let body = world.outside.calls.lock().unwrap()[0].1.clone();
    let token = url::form_urlencoded::parse(body.as_bytes())
        .next()
        .unwrap()
        .1
        .into_owned();
    let asked = with(
        super::super::fixtures::REQUEST,
        &[("id_token_hint", token.as_str()), ("prompt", "none")],
    );
    let location = redirect(world.oidc.authorize(&asked, Some(&world.login())).unwrap());
    assert_eq!(
        super::super::fixtures::parameter(&location, "error").as_deref(),
        Some("login_required")
    );
}
