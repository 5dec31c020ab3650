//! Sessions.

use super::super::Client;
use super::super::fixtures::{World, authentication, confidential};

#[test]
fn a_session_tells_the_login_until_its_life_is_over() {
    let world = World::new();
    let mut login = authentication();
    login.identity_provider = Some("google".into());
    login.amr = vec!["fed".to_owned(), "mfa".to_owned()];
    let cookie = world.oidc.open_session(&login, None).unwrap();
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
fn a_new_login_ends_the_session_before_and_keeps_its_grants_for_the_same_person() {
    let world = World::new();
    let before = world.login();
    let code = world.code(&before, &[]);
    let tokens = world.redeem(&code, &[]).unwrap();
    let after = world.oidc.open_session(&authentication(), Some(&before)).unwrap();
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
fn another_person_at_the_browser_ends_what_the_first_had() {
    let world = World::new();
    let before = world.login();
    let tokens = world.redeem(&world.code(&before, &[]), &[]).unwrap();
    let mut other = authentication();
    other.user = "u2".into();
    world.oidc.open_session(&other, Some(&before)).unwrap();
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
}

#[test]
fn a_session_without_a_second_factor_is_not_enough_for_whoever_wants_one() {
    let strict = Client {
        required_methods: &["mfa"],
        ..confidential()
    };
    let mut login = authentication();
    assert!(confidential().accepts(&login) && !strict.accepts(&login));
    login.amr.push("mfa".to_owned());
    assert!(strict.accepts(&login));
    login.identity_provider = Some("other".into());
    assert!(!strict.accepts(&login));
}
