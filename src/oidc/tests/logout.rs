//! Tests of RP-initiated logout.

use super::super::fixtures::{World, pairs};
use super::super::{LoggedOut, PageFailure};

const BYE: (&str, &str) = ("post_logout_redirect_uri", "https://app.example/bye");

/// Returns a session and its tokens.
fn logged_in(world: &World) -> (String, super::super::token::TokenResponse) {
    let session = world.login();
    let tokens = world.redeem(&world.code(&session, &[]), &[]).unwrap();
    (session, tokens)
}

#[test]
fn with_a_hint_the_session_ends_at_once_and_its_tokens_with_it() {
    let world = World::new();
    let (session, tokens) = logged_in(&world);
    world.advance(301);
    let asked = pairs(&[
        ("id_token_hint", tokens.id_token.as_ref().unwrap()),
        BYE,
        ("state", "a&b"),
    ]);
    let answer = world.oidc.logout(&asked, Some(&session), false).unwrap();
    assert_eq!(
        answer,
        LoggedOut::Redirect("https://app.example/bye?state=a%26b".to_owned())
    );
    assert_eq!(world.oidc.session(&session).unwrap(), None);
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
    assert_eq!(
        world.refresh(&tokens.refresh_token.unwrap(), &[]).unwrap_err(),
        "invalid_grant"
    );
}

#[test]
fn logout_without_a_hint_needs_confirmation() {
    let world = World::new();
    let (session, _) = logged_in(&world);
    let asked = pairs(&[("client_id", "wiki"), BYE, ("state", "st")]);
    let LoggedOut::Confirm(confirmation) = world.oidc.logout(&asked, Some(&session), false).unwrap() else {
        panic!("logged out without confirmation")
    };
    assert!(world.oidc.session(&session).unwrap().is_some());
    let form: Vec<(&str, &str)> = confirmation
        .fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let sent_by_link = world.oidc.logout(&pairs(&form), Some(&session), false).unwrap();
    assert!(matches!(sent_by_link, LoggedOut::Confirm(_)));
    let answer = world.oidc.logout(&pairs(&form), Some(&session), true).unwrap();
    assert_eq!(
        answer,
        LoggedOut::Redirect("https://app.example/bye?state=st".to_owned())
    );
    assert_eq!(world.oidc.session(&session).unwrap(), None);
}

#[test]
fn a_form_of_another_site_or_session_ends_nothing() {
    let world = World::new();
    let (session, _) = logged_in(&world);
    let LoggedOut::Confirm(other) = world.oidc.logout(&[], Some(&world.login()), false).unwrap() else {
        panic!()
    };
    for confirm in ["", "1", other.fields[0].1.as_str()] {
        let answer = world
            .oidc
            .logout(&pairs(&[("confirm", confirm)]), Some(&session), true)
            .unwrap();
        assert!(matches!(answer, LoggedOut::Confirm(_)), "{confirm}");
    }
    assert!(world.oidc.session(&session).unwrap().is_some());
}

#[test]
fn hint_of_another_session_or_forged_needs_confirmation() {
    let world = World::new();
    let (session, tokens) = logged_in(&world);
    let (_, others) = logged_in(&world);
    let id_token = tokens.id_token.unwrap();
    let (signed, _) = id_token.rsplit_once('.').unwrap();
    let (_, claims) = signed.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
    let unsigned_kid = format!("{signed}.");
    for hint in [
        others.id_token.as_ref().unwrap(),
        &unsigned,
        &unsigned_kid,
        "x",
        "..",
        &".".repeat(100_000),
    ] {
        let answer = world
            .oidc
            .logout(&pairs(&[("id_token_hint", hint)]), Some(&session), false)
            .unwrap();
        assert!(matches!(answer, LoggedOut::Confirm(_)));
    }
}

#[test]
fn logout_never_redirects_to_an_unregistered_uri() {
    let world = World::new();
    let (session, tokens) = logged_in(&world);
    let hint = tokens.id_token.unwrap();
    for uri in [
        "//evil",
        "/\\evil",
        "/%09/evil",
        "https:evil",
        "\\/evil",
        "https://app.example/bye/",
        "https://app.example/cb",
        "https://app.example.evil/bye",
        "javascript:alert(1)",
    ] {
        let asked = pairs(&[("id_token_hint", &hint), ("post_logout_redirect_uri", uri)]);
        let answer = world.oidc.logout(&asked, Some(&session), false);
        assert!(
            matches!(answer, Err(PageFailure::Refused(page)) if page.code == "invalid_redirect_uri"),
            "{uri}"
        );
    }
    assert!(matches!(
        world.oidc.logout(&pairs(&[BYE]), Some(&session), false),
        Err(PageFailure::Refused(_))
    ));
    let two = pairs(&[("id_token_hint", &hint), ("client_id", "phone"), BYE]);
    assert!(matches!(
        world.oidc.logout(&two, Some(&session), false),
        Err(PageFailure::Refused(_))
    ));
    assert!(world.oidc.session(&session).unwrap().is_some());
}

#[test]
fn logout_without_a_session_needs_no_confirmation() {
    let world = World::new();
    assert_eq!(world.oidc.logout(&[], None, false).unwrap(), LoggedOut::Done);
    assert_eq!(world.oidc.logout(&[], Some("gone"), false).unwrap(), LoggedOut::Done);
    let answer = world
        .oidc
        .logout(&pairs(&[("client_id", "wiki"), BYE]), None, false)
        .unwrap();
    assert_eq!(answer, LoggedOut::Redirect("https://app.example/bye".to_owned()));
}
