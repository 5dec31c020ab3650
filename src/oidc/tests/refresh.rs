//! Tests of refresh tokens: rotation, reuse and expiry.

use serde_json::json;

use super::super::fixtures::World;

#[test]
fn a_refresh_token_brings_new_tokens_and_is_used_up() {
    let world = World::new();
    let first = world.tokens();
    let second = world.refresh(first.refresh_token.as_ref().unwrap(), &[]).unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    assert!(world.userinfo(&first.access_token).is_ok() && world.userinfo(&second.access_token).is_ok());
    assert!(world.refresh(second.refresh_token.as_ref().unwrap(), &[]).is_ok());
}

#[test]
fn reuse_of_a_refresh_token_revokes_the_grant() {
    let world = World::new();
    let first = world.tokens().refresh_token.unwrap();
    let second = world.refresh(&first, &[]).unwrap();
    assert_eq!(world.refresh(&first, &[]).unwrap_err(), "invalid_grant");
    assert_eq!(
        world.refresh(second.refresh_token.as_ref().unwrap(), &[]).unwrap_err(),
        "invalid_grant"
    );
    assert_eq!(world.userinfo(&second.access_token), Err("invalid_token"));
}

#[test]
fn one_of_fifty_concurrent_refreshes_succeeds() {
    let world = World::new();
    let token = world.tokens().refresh_token.unwrap();
    let successes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| world.refresh(&token, &[]))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!(successes, 1);
}

#[test]
fn refresh_by_another_client_revokes_the_grant() {
    let world = World::new();
    let token = world.tokens().refresh_token.unwrap();
    let other = [("client_id", "phone"), ("client_secret", "")];
    assert_eq!(world.refresh(&token, &other).unwrap_err(), "invalid_grant");
    assert_eq!(world.refresh(&token, &[]).unwrap_err(), "invalid_grant");
}

#[test]
fn a_refresh_may_ask_for_less_but_not_for_more() {
    let world = World::new();
    let token = world.tokens().refresh_token.unwrap();
    for scope in [
        "openid groups",
        "profile",
        "openid  email",
        "openid email offline_access openid email offline_access",
    ] {
        assert_eq!(
            world.refresh(&token, &[("scope", scope)]).unwrap_err(),
            "invalid_scope",
            "{scope}"
        );
    }
    let less = world.refresh(&token, &[("scope", "openid")]).unwrap();
    assert_eq!(world.userinfo(&less.access_token), Ok(json!({ "sub": "u1" })));
    let again = world.refresh(less.refresh_token.as_ref().unwrap(), &[]).unwrap();
    assert_eq!(again.scope, "openid email offline_access");
    let none = world
        .refresh(again.refresh_token.as_ref().unwrap(), &[("scope", "email")])
        .unwrap();
    assert_eq!(
        (none.id_token, world.userinfo(&none.access_token)),
        (None, Err("insufficient_scope"))
    );
}

#[test]
fn refresh_tokens_have_an_idle_and_a_total_lifetime() {
    const DAY: u64 = 24 * 60 * 60;
    let world = World::new();
    let idle = world.tokens().refresh_token.unwrap();
    world.advance(14 * DAY);
    assert_eq!(world.refresh(&idle, &[]).unwrap_err(), "invalid_grant");
    let mut token = world.tokens().refresh_token.unwrap();
    for _ in 0..8 {
        world.advance(11 * DAY);
        token = world.refresh(&token, &[]).unwrap().refresh_token.unwrap();
    }
    world.advance(2 * DAY);
    assert_eq!(world.refresh(&token, &[]).unwrap_err(), "invalid_grant");
}

#[test]
fn deleted_or_inactive_users_lose_all_tokens_at_once() {
    for gone in [true, false] {
        let world = World::new();
        let session = world.login();
        let tokens = world.tokens();
        let code = world.code(&session, &[]);
        if gone {
            world.delete_user();
        } else {
            world.put_user(json!({ "userName": "alice", "active": false }));
        }
        assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
        assert_eq!(
            world.refresh(tokens.refresh_token.as_ref().unwrap(), &[]).unwrap_err(),
            "invalid_grant"
        );
        assert_eq!(world.redeem(&code, &[]).unwrap_err(), "invalid_grant");
        assert_eq!(world.oidc.session(&session).unwrap(), None);
    }
}

#[test]
fn tokens_used_while_inactive_stay_revoked() {
    let world = World::new();
    let session = world.login();
    let token = world.tokens().refresh_token.unwrap();
    world.put_user(json!({ "userName": "alice", "active": false }));
    assert!(world.refresh(&token, &[]).is_err() && world.oidc.session(&session).unwrap().is_none());
    world.put_user(json!({ "userName": "alice" }));
    assert_eq!(world.refresh(&token, &[]).unwrap_err(), "invalid_grant");
    assert_eq!(world.oidc.session(&session).unwrap(), None);
}

#[test]
fn a_user_of_the_same_id_in_another_store_is_somebody_else() {
    let world = World::new();
    let mut elsewhere = super::super::fixtures::authentication();
    elsewhere.store = "CORP".into();
    let session = world.oidc.open_session(&elsewhere, None, None).unwrap();
    assert_eq!(world.oidc.session(&session).unwrap(), None);
}

#[test]
fn sweep_removes_only_expired_records() {
    let world = World::new();
    let tokens = world.tokens();
    world.code(&world.login(), &[]);
    assert_eq!(world.oidc.sweep().unwrap(), 0);
    world.advance(601);
    assert_eq!(world.oidc.sweep().unwrap(), 2, "the unused code, the access token");
    let next = world.refresh(tokens.refresh_token.as_ref().unwrap(), &[]).unwrap();
    assert!(world.userinfo(&next.access_token).is_ok());
    world.advance(91 * 24 * 60 * 60);
    assert_eq!(world.oidc.sweep().unwrap(), 4, "two sessions, a grant, an access token");
}
