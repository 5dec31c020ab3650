//! Tests of login sessions.

use crate::domain::SecurityEventKind;
use crate::domain::login::{Authentication, ProviderToken};
use crate::storage::security_events::{self, EventFilter};
use crate::storage::{StorageError, random, sessions};

use super::super::OidcError;
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

#[test]
fn logins_tokens_refusals_and_logouts_are_events() {
    let world = World::new();
    let application = "app".into();
    let session = world
        .oidc
        .open_session(&authentication(), None, Some(&application))
        .unwrap();
    let code = world.code(&session, &[]);
    world.redeem(&code, &[]).unwrap();
    world.redeem(&code, &[]).unwrap_err();
    world.oidc.end_session(random::fingerprint(&session)).unwrap();
    let all = EventFilter::default();
    let read = |connection: &mut _| security_events::newest(connection, &all, 10);
    let mut events = world.oidc.database.read::<_, StorageError>(read).unwrap();
    events.reverse();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.reason.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            (SecurityEventKind::Login, "pwd"),
            (SecurityEventKind::TokenIssued, "openid email offline_access"),
            (SecurityEventKind::TokenRefused, "invalid_grant"),
            (SecurityEventKind::Logout, ""),
        ]
    );
    assert!(events[0].service_provider.as_ref() == Some(&application) && events[1].user.is_some());
}

#[test]
fn token_of_the_provider_goes_with_the_session_to_its_next_step() {
    let world = World::new();
    world.link("google");
    let login = Authentication {
        identity_provider: Some("google".into()),
        provider_token: ProviderToken::new("a.b.c"),
        ..authentication()
    };
    let first = world.oidc.open_session(&login, None, None).unwrap();
    let step = Authentication {
        provider_token: None,
        ..login.clone()
    };
    let second = world.oidc.open_session(&step, Some(&first), None).unwrap();
    let at_provider = |cookie: &str| world.oidc.session_at_provider(cookie).unwrap();
    assert_eq!(
        at_provider(&second),
        Some(("google".into(), ProviderToken::new("a.b.c")))
    );
    assert_eq!(at_provider(&first), None);
    let stored = world
        .database
        .read::<_, OidcError>(|connection| sessions::at_provider(connection, &random::fingerprint(&second)));
    let sealed = stored.unwrap().and_then(|stored| stored.sealed_token).unwrap();
    assert!(!sealed.windows(5).any(|part| part == b"a.b.c"));
    // The session of somebody else brings nothing.
    world.put_somebody_else();
    let other = Authentication {
        user: "u2".into(),
        identity_provider: None,
        ..step
    };
    let third = world.oidc.open_session(&other, Some(&second), None).unwrap();
    assert_eq!(at_provider(&third), None);
    assert_eq!(format!("{:?}", login.provider_token), "Some([hidden])");
}
