//! Tests of pushed authorization requests.

use super::super::fixtures::{REQUEST, World, code_of, parameter, redirect, with};
use super::super::{Authorized, PageFailure};
use crate::domain::login::AuthenticationClass;
use crate::storage::{StorageError, pushed_requests};

/// Pushes the usual request with changes as the client `wiki`; returns its `request_uri`.
fn push(world: &World, changes: &[(&str, &str)]) -> Result<String, &'static str> {
    let form = [REQUEST, &[("client_secret", "s3cret")]].concat();
    world
        .oidc
        .push(None, &with(&form, changes))
        .map(|pushed| pushed.request_uri)
        .map_err(|failure| code_of(&failure))
}

/// Sends an authorization request as a browser; returns the answer, or the code of the error page.
fn bring(world: &World, session: Option<&str>, query: &[(&str, &str)]) -> Result<Authorized, &'static str> {
    match world.oidc.authorize(&with(query, &[]), session) {
        Ok(answer) => Ok(answer),
        Err(PageFailure::Refused(page)) => Err(page.code),
        Err(PageFailure::Failed(error)) => panic!("{error}"),
    }
}

#[test]
fn a_pushed_request_is_answered_like_any_other() {
    let world = World::new();
    let name = push(&world, &[]).unwrap();
    // Other parameters of the browser are ignored.
    let query = [
        ("client_id", "wiki"),
        ("request_uri", &name),
        ("scope", "openid groups"),
        ("state", "evil"),
    ];
    let location = redirect(bring(&world, Some(&world.login()), &query).unwrap());
    assert_eq!(parameter(&location, "state").as_deref(), Some("st"));
    let tokens = world.redeem(&parameter(&location, "code").unwrap(), &[]).unwrap();
    assert_eq!(tokens.scope, "openid email offline_access");
}

#[test]
fn pushed_request_keeps_the_claims_that_it_asks_for() {
    let world = World::new();
    let [_, two] = super::super::id_token::CLASSES;
    let other = r#"{"id_token": {"sub": {"value": "u2"}}, "userinfo": {"nickname": null}}"#;
    let name = push(&world, &[("acr_values", two), ("claims", other)]).unwrap();
    let query = [("client_id", "wiki"), ("request_uri", name.as_str())];
    let Authorized::Login(request) = bring(&world, Some(&world.login()), &query).unwrap() else {
        panic!("a code for another user")
    };
    assert_eq!(request.subject, Some("u2".into()));
    assert_eq!(request.claims.userinfo, ["nickname"]);
    assert_eq!(request.claims.acr, Some(AuthenticationClass::TwoFactors));
}

#[test]
fn request_uri_is_valid_once_for_its_client_for_a_minute() {
    let world = World::new();
    let session = world.login();
    let bring =
        |client: &str, name: &str| bring(&world, Some(&session), &[("client_id", client), ("request_uri", name)]);
    let name = push(&world, &[]).unwrap();
    assert_eq!(bring("service", &name), Err("invalid_request"), "another client");
    assert_eq!(bring("", &name), Err("invalid_request"), "no client_id");
    assert!(bring("wiki", &name).is_ok());
    assert_eq!(bring("wiki", &name), Err("invalid_request"), "used");
    assert_eq!(
        bring("wiki", "urn:ietf:params:oauth:request_uri:unknown"),
        Err("invalid_request")
    );
    let name = push(&world, &[]).unwrap();
    world.advance(60);
    assert_eq!(bring("wiki", &name), Err("invalid_request"), "expired");
    assert_eq!(
        world.oidc.sweep().unwrap(),
        2,
        "the request, and the code of the other one"
    );
}

#[test]
fn one_of_twenty_concurrent_uses_of_a_request_uri_succeeds() {
    let world = World::new();
    let (session, name) = (world.login(), push(&world, &[]).unwrap());
    let query = [("client_id", "wiki"), ("request_uri", name.as_str())];
    let answered = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| bring(&world, Some(&session), &query)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!(answered, 1);
}

#[test]
fn only_authenticated_clients_push_and_only_for_themselves() {
    let world = World::new();
    for changes in [
        [("client_secret", "wrong")],
        [("client_secret", "")],
        [("client_id", "service")],
        [("client_id", "")],
    ] {
        assert_eq!(push(&world, &changes), Err("invalid_client"), "{changes:?}");
    }
    let form = with(REQUEST, &[("client_id", "service")]);
    let basic = world.oidc.push(Some("Basic d2lraTpzM2NyZXQ="), &form);
    assert_eq!(code_of(&basic.unwrap_err()), "invalid_request");
}

#[test]
fn invalid_requests_are_refused_when_they_are_pushed() {
    let world = World::new();
    for (changes, code) in [
        (("redirect_uri", "https://app.example.evil/cb"), "invalid_request"),
        (("redirect_uri", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "email"), "invalid_scope"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("request", "a.b.c"), "request_not_supported"),
        (
            ("request_uri", "urn:ietf:params:oauth:request_uri:x"),
            "invalid_request",
        ),
    ] {
        assert_eq!(push(&world, &[changes]), Err(code), "{changes:?}");
    }
}

/// O25.
#[test]
fn external_request_uri_is_refused_and_never_fetched() {
    let world = World::new();
    for uri in [
        "https://app.example/request.jwt",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "x",
    ] {
        let asked = with(REQUEST, &[("request_uri", uri)]);
        let location = redirect(world.oidc.authorize(&asked, None).unwrap());
        assert_eq!(
            parameter(&location, "error").as_deref(),
            Some("request_uri_not_supported"),
            "{uri}"
        );
    }
    assert!(world.outside.calls.lock().unwrap().is_empty());
}

#[test]
fn require_pushed_requests_refuses_other_requests() {
    let world = World::new();
    let session = world.login();
    let asked = with(REQUEST, &[("client_id", "service")]);
    let location = redirect(world.oidc.authorize(&asked, Some(&session)).unwrap());
    assert_eq!(parameter(&location, "error").as_deref(), Some("invalid_request"));
    let name = push(&world, &[("client_id", "service"), ("client_secret", "s3rvice")]).unwrap();
    let query = [("client_id", "service"), ("request_uri", name.as_str())];
    let location = redirect(bring(&world, Some(&session), &query).unwrap());
    assert!(parameter(&location, "code").is_some());
}

#[test]
fn unknown_parameters_and_secrets_are_not_stored() {
    let world = World::new();
    let name = push(&world, &[("x", &"y".repeat(10_000)), ("max_age", "60")]).unwrap();
    let hash = crate::storage::random::fingerprint(name.rsplit_once(':').unwrap().1);
    let now = world.clock.now();
    let take = move |connection: &mut _| Ok(pushed_requests::take(connection, &hash, "wiki", now)?);
    let kept = world.database.write::<_, StorageError>(take).unwrap().unwrap();
    assert!(
        kept.contains("max_age") && !kept.contains("yyy") && !kept.contains("s3cret"),
        "{kept}"
    );
}

#[test]
fn a_request_larger_than_its_bound_is_refused() {
    let world = World::new();
    let long = "x".repeat(2000);
    let hint = "y".repeat(4000);
    let fields = [
        ("state", long.as_str()),
        ("acr_values", hint.as_str()),
        ("id_token_hint", hint.as_str()),
    ];
    assert!(push(&world, &fields).is_ok());
    let escaped = "\u{1}".repeat(2048);
    let fields = [("state", escaped.as_str())];
    assert_eq!(
        push(&world, &fields),
        Err("invalid_request"),
        "as JSON it has more than 12 KiB"
    );
}

#[test]
fn a_client_that_pushes_without_end_is_slowed_down() {
    let world = World::new();
    // A moment later one more is allowed, so a slow machine may need several attempts.
    let is_refused = (0..100).any(|_| {
        while world.oidc.pushes.take("wiki") {}
        push(&world, &[]) == Err("temporarily_unavailable")
    });
    assert!(is_refused);
}
