//! Tests of login sessions.

use super::super::fixtures::{World, authentication};

#[test]
fn a_session_returns_its_login_until_it_expires() {
    let world = World::new();
    let mut login = authentication();
    login.identity_provider = Some("google".into());
    world.link("google");
    login.amr = vec!["fed".to_owned(), "mfa".to_owned()];
    let cookie = world.oidc.open_session(&login, None, None).unwrap();
    assert_eq!(world.oidc.session(&cookie).unwrap(), Some(login));
    world.advance(12 * 60 * 60 - 1);
    assert!(world.oidc.session(&cookie).unwrap().is_some());
    world.advance(1);
    assert_eq!(world.oidc.session(&cookie).unwrap(), None);
}

#[test]
fn no_other_value_opens_a_session() {
    let world = World::new();
    let cookie = world.login();
    let stored = crate::storage::random::fingerprint(&cookie);
    for value in [
        "",
        &cookie[..42],
        &format!("{cookie}A"),
        &stored,
        &super::super::id_token::sid(&stored),
    ] {
        assert_eq!(world.oidc.session(value).unwrap(), None, "{value}");
    }
}

#[test]
fn new_login_of_the_same_user_moves_grants_to_new_session() {
    let world = World::new();
    let before = world.login();
    let code = world.code(&before, &[]);
    let tokens = world.redeem(&code, &[]).unwrap();
    let after = world.oidc.open_session(&authentication(), Some(&before), None).unwrap();
    assert_ne!(before, after);
    assert_eq!(world.oidc.session(&before).unwrap(), None);
    assert!(world.userinfo(&tokens.access_token).is_ok());
    world
        .oidc
        .end_session(crate::storage::random::fingerprint(&after))
        .unwrap();
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
}

#[test]
fn login_of_another_user_revokes_the_previous_grants() {
    let world = World::new();
    let before = world.login();
    let tokens = world.redeem(&world.code(&before, &[]), &[]).unwrap();
    let mut other = authentication();
    other.user = "u2".into();
    world.oidc.open_session(&other, Some(&before), None).unwrap();
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
}

#[test]
fn no_session_opens_for_an_identity_that_was_unlinked() {
    let world = World::new();
    let mut login = authentication();
    login.identity_provider = Some("google".into());
    assert!(world.oidc.open_session(&login, None, None).is_err());
}
