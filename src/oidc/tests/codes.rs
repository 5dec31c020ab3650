//! Tests of the authorization code flow.

use serde_json::json;

use super::super::fixtures::{REQUEST, VERIFIER, World, authentication, code_of, pairs, parameter, redirect, with};
use super::super::{Authorized, ErrorCode, PageFailure};
use crate::domain::login::Authentication;
use crate::jose::jws::Compact;

#[test]
fn without_a_session_the_person_must_log_in() {
    let world = World::new();
    let answer = world.oidc.authorize(&with(REQUEST, &[]), None).unwrap();
    assert!(matches!(answer, Authorized::Login(request) if !request.reauthenticate));
    let stranger = world.oidc.authorize(&with(REQUEST, &[]), Some("no-session")).unwrap();
    assert!(matches!(stranger, Authorized::Login(_)));
}

#[test]
fn a_code_goes_to_the_registered_address_with_state_and_issuer() {
    let world = World::new();
    let location = redirect(world.oidc.authorize(&with(REQUEST, &[]), Some(&world.login())).unwrap());
    assert!(location.starts_with("https://app.example/cb?code="), "{location}");
    assert_eq!(parameter(&location, "state").as_deref(), Some("st"));
    assert_eq!(parameter(&location, "iss").as_deref(), Some("https://id.example"));
}

#[test]
fn errors_go_back_with_state_and_issuer_or_to_a_page() {
    let world = World::new();
    let location = redirect(
        world
            .oidc
            .authorize(&with(REQUEST, &[("response_type", "token")]), None)
            .unwrap(),
    );
    assert_eq!(
        parameter(&location, "error").as_deref(),
        Some("unsupported_response_type")
    );
    assert_eq!(parameter(&location, "state").as_deref(), Some("st"));
    assert_eq!(parameter(&location, "iss").as_deref(), Some("https://id.example"));
    let page = world.oidc.authorize(&with(REQUEST, &[("client_id", "x")]), None);
    assert!(matches!(page, Err(PageFailure::Refused(page)) if page.code == "invalid_client"));
}

#[test]
fn prompt_none_is_answered_without_a_page() {
    let world = World::new();
    let asked = with(REQUEST, &[("prompt", "none")]);
    let location = redirect(world.oidc.authorize(&asked, None).unwrap());
    assert_eq!(parameter(&location, "error").as_deref(), Some("login_required"));
    let location = redirect(world.oidc.authorize(&asked, Some(&world.login())).unwrap());
    assert!(parameter(&location, "code").is_some());
}

#[test]
fn a_session_is_not_enough_for_a_new_login_or_beyond_max_age() {
    let world = World::new();
    let session = world.login();
    world.advance(61);
    for changes in [
        [("prompt", "login")],
        [("max_age", "60")],
        [("max_age", "0")],
        [("id_token_hint", "x.y.z")],
    ] {
        let answer = world.oidc.authorize(&with(REQUEST, &changes), Some(&session)).unwrap();
        assert!(
            matches!(answer, Authorized::Login(request) if request.reauthenticate),
            "{changes:?}"
        );
    }
    world.code(&session, &[("max_age", "61")]);
}

#[test]
fn a_hint_of_the_person_who_is_logged_in_is_fine() {
    let world = World::new();
    let id_token = world.tokens().id_token.unwrap();
    world.code(&world.login(), &[("id_token_hint", &id_token), ("prompt", "none")]);
}

#[test]
fn only_the_person_of_the_hint_answers_the_request() {
    let world = World::new();
    let id_token = world.tokens().id_token.unwrap();
    let mut other = super::super::fixtures::authentication();
    other.user = "u2".into();
    let session = world.oidc.open_session(&other, None, None).unwrap();
    world.put_somebody_else();
    let hinted = |prompt: &str| with(REQUEST, &[("id_token_hint", id_token.as_str()), ("prompt", prompt)]);
    let silent = redirect(world.oidc.authorize(&hinted("none"), Some(&session)).unwrap());
    assert_eq!(parameter(&silent, "error").as_deref(), Some("login_required"));
    let Authorized::Login(request) = world.oidc.authorize(&hinted(""), Some(&session)).unwrap() else {
        panic!("a code")
    };
    assert!(request.reauthenticate);
    let wrong = world.oidc.complete(&request, &other, &session).unwrap().location();
    assert_eq!(parameter(&wrong, "error").as_deref(), Some("login_required"));
    let right = world
        .oidc
        .complete(&request, &super::super::fixtures::authentication(), &world.login())
        .unwrap()
        .location();
    assert!(parameter(&right, "code").is_some());
}

#[test]
fn prompt_none_never_shows_a_page() {
    let world = World::new();
    let session = world.login();
    world.advance(61);
    for (changes, code) in [
        ([("max_age", "60")], "login_required"),
        ([("id_token_hint", "x.y.z")], "login_required"),
    ] {
        let asked = [&changes[..], &[("prompt", "none")]].concat();
        let location = redirect(world.oidc.authorize(&with(REQUEST, &asked), Some(&session)).unwrap());
        assert_eq!(parameter(&location, "error").as_deref(), Some(code), "{changes:?}");
    }
    for prompt in ["none login", "login none", "none consent", "create"] {
        let asked = with(REQUEST, &[("prompt", prompt)]);
        let location = redirect(world.oidc.authorize(&asked, Some(&session)).unwrap());
        assert_eq!(
            parameter(&location, "error").as_deref(),
            Some("invalid_request"),
            "{prompt}"
        );
    }
}

#[test]
fn session_of_a_refused_identity_provider_gives_no_code() {
    let world = World::new();
    let mut login = super::super::fixtures::authentication();
    login.identity_provider = Some("refused".into());
    world.link("refused");
    let session = world.oidc.open_session(&login, None, None).unwrap();
    let Authorized::Login(request) = world.oidc.authorize(&with(REQUEST, &[]), Some(&session)).unwrap() else {
        panic!("a code")
    };
    let location = world.oidc.complete(&request, &login, &session).unwrap().location();
    assert_eq!(parameter(&location, "error").as_deref(), Some("access_denied"));
}

#[test]
fn login_is_completed_only_with_its_own_session() {
    let world = World::new();
    let Authorized::Login(request) = world.oidc.authorize(&with(REQUEST, &[]), None).unwrap() else {
        panic!("a code")
    };
    let login = super::super::fixtures::authentication();
    let session = world.login();
    assert!(
        parameter(
            &world.oidc.complete(&request, &login, &session).unwrap().location(),
            "code"
        )
        .is_some()
    );
    let mut other = login.clone();
    other.user = "u2".into();
    assert_eq!(
        parameter(
            &world.oidc.complete(&request, &login, "gone").unwrap().location(),
            "error"
        )
        .as_deref(),
        Some("login_required")
    );
    let mixed = world.oidc.open_session(&other, None, None).unwrap();
    assert_eq!(
        parameter(
            &world.oidc.complete(&request, &login, &mixed).unwrap().location(),
            "error"
        )
        .as_deref(),
        Some("login_required")
    );
    let cancelled = world.oidc.refuse(&request, ErrorCode::AccessDenied).unwrap().location();
    assert_eq!(parameter(&cancelled, "error").as_deref(), Some("access_denied"));
}

#[test]
fn address_that_a_linked_provider_verified_is_sent_as_verified() {
    use crate::domain::Link;
    use crate::domain::email::Email;
    use crate::storage::{StorageError, links, mail_codes};
    let world = World::new();
    let tokens = world.tokens();
    world.link("google");
    let verified = |address: &str| {
        let address = Email::parse(address).unwrap();
        let fingerprint = mail_codes::address_fingerprint(&"u1".into(), &address);
        let link = Link {
            identity_provider: "google".into(),
            issuer: "https://issuer.example".to_owned(),
            subject: "s".to_owned(),
        };
        let now = world.clock.now();
        let touch = move |connection: &mut _| Ok(links::touch(connection, &link, Some(&fingerprint), now)?);
        world.database.write::<_, StorageError>(touch).unwrap();
        world.userinfo(&tokens.access_token).unwrap()["email_verified"].clone()
    };
    assert_eq!(
        verified("old@example.com"),
        json!(false),
        "another address was verified"
    );
    assert_eq!(verified("alice@example.com"), json!(true));
}

#[test]
fn a_code_brings_tokens_and_the_access_token_brings_claims() {
    let world = World::new();
    let tokens = world.tokens();
    assert_eq!((tokens.token_type, tokens.expires_in), ("Bearer", 600));
    assert_eq!(tokens.scope, "openid email offline_access");
    assert_eq!(
        world.userinfo(&tokens.access_token),
        Ok(json!({ "email": "alice@example.com", "email_verified": false, "sub": "u1" }))
    );
    world.advance(600);
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
}

#[test]
fn without_offline_access_there_is_no_refresh_token() {
    let world = World::new();
    let code = world.code(&world.login(), &[("scope", "openid")]);
    assert_eq!(world.redeem(&code, &[]).unwrap().refresh_token, None);
}

#[test]
fn a_wrongly_presented_code_is_refused_and_revoked() {
    let world = World::new();
    let session = world.login();
    for wrong in [
        vec![("code_verifier", "")],
        vec![("code_verifier", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
        vec![("redirect_uri", "https://app.example/cb/")],
        vec![("client_id", "phone"), ("client_secret", "")],
        vec![
            ("client_id", "phone"),
            ("client_secret", ""),
            ("redirect_uri", "http://127.0.0.1/cb"),
        ],
    ] {
        let code = world.code(&session, &[]);
        assert_eq!(world.redeem(&code, &wrong).unwrap_err(), "invalid_grant", "{wrong:?}");
        assert_eq!(
            world.redeem(&code, &[]).unwrap_err(),
            "invalid_grant",
            "after {wrong:?}"
        );
    }
}

#[test]
fn a_verifier_without_a_challenge_is_refused() {
    let world = World::new();
    let session = world.login();
    let none = [("code_challenge", ""), ("code_challenge_method", "")];
    assert_eq!(
        world
            .redeem(&world.code(&session, &none), &[("code_verifier", VERIFIER)])
            .unwrap_err(),
        "invalid_grant"
    );
    assert!(
        world
            .redeem(&world.code(&session, &none), &[("code_verifier", "")])
            .is_ok()
    );
}

#[test]
fn invalid_token_requests_do_not_consume_the_code() {
    let world = World::new();
    let code = world.code(&world.login(), &[]);
    assert_eq!(
        world.redeem(&code, &[("client_secret", "wrong")]).unwrap_err(),
        "invalid_client"
    );
    assert_eq!(
        world.redeem(&code, &[("grant_type", "password")]).unwrap_err(),
        "unsupported_grant_type"
    );
    assert_eq!(
        world
            .redeem(&code, &[("grant_type", "client_credentials")])
            .unwrap_err(),
        "unauthorized_client"
    );
    assert_eq!(
        world.redeem(&code, &[("grant_type", "")]).unwrap_err(),
        "invalid_request"
    );
    assert_eq!(
        world.redeem(&code, &[("redirect_uri", "")]).unwrap_err(),
        "invalid_request"
    );
    assert_eq!(world.redeem(&code[..42], &[]).unwrap_err(), "invalid_grant");
    assert_eq!(world.refresh(&code, &[]).unwrap_err(), "invalid_grant");
    assert!(world.redeem(&code, &[]).is_ok());
}

#[test]
fn a_code_is_good_for_a_minute() {
    let world = World::new();
    let session = world.login();
    let code = world.code(&session, &[]);
    world.advance(60);
    assert_eq!(world.redeem(&code, &[]).unwrap_err(), "invalid_grant");
    let code = world.code(&session, &[]);
    world.advance(59);
    assert!(world.redeem(&code, &[]).is_ok());
}

#[test]
fn second_use_of_a_code_revokes_the_tokens_of_the_first() {
    let world = World::new();
    let code = world.code(&world.login(), &[]);
    let tokens = world.redeem(&code, &[]).unwrap();
    assert!(world.userinfo(&tokens.access_token).is_ok());
    assert_eq!(world.redeem(&code, &[]).unwrap_err(), "invalid_grant");
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
    assert_eq!(
        world.refresh(&tokens.refresh_token.unwrap(), &[]).unwrap_err(),
        "invalid_grant"
    );
}

#[test]
fn one_of_fifty_concurrent_uses_of_a_code_succeeds() {
    let world = World::new();
    let code = world.code(&world.login(), &[]);
    let successes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| world.redeem(&code, &[]))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!(successes, 1);
}

#[test]
fn userinfo_takes_the_token_of_a_form_but_not_two() {
    let world = World::new();
    let tokens = world.tokens();
    let form = pairs(&[("access_token", &tokens.access_token)]);
    assert!(world.oidc.userinfo(None, &form).is_ok());
    let header = format!("Bearer {}", tokens.access_token);
    let twice = world.oidc.userinfo(Some(&header), &form).unwrap_err();
    assert_eq!(code_of(&twice), "invalid_request");
    let doubled = pairs(&[("access_token", &tokens.access_token), ("access_token", "another")]);
    assert!(world.oidc.userinfo(None, &doubled).is_err());
}

#[test]
fn class_of_authentication_says_whether_two_factors_were_used() {
    let world = World::new();
    for (amr, class) in [
        (vec!["fed"], "https://refeds.org/profile/sfa"),
        (vec!["pwd", "otp", "mfa"], "https://refeds.org/profile/mfa"),
    ] {
        let login = Authentication {
            amr: amr.into_iter().map(str::to_owned).collect(),
            ..authentication()
        };
        let session = world.oidc.open_session(&login, None, None).unwrap();
        let code = world.code(&session, &[]);
        let token = world.redeem(&code, &[]).unwrap().id_token.unwrap();
        assert_eq!(Compact::read(&token).unwrap().claims["acr"], class);
    }
}

#[test]
fn userinfo_accepts_only_complete_access_tokens() {
    let world = World::new();
    let tokens = world.tokens();
    for length in [0, 1, 20, 42] {
        assert_eq!(world.userinfo(&tokens.access_token[..length]), Err("invalid_token"));
    }
    assert_eq!(world.userinfo(&tokens.refresh_token.unwrap()), Err("invalid_token"));
    assert_eq!(world.userinfo(&tokens.id_token.unwrap()), Err("invalid_token"));
    assert_eq!(world.userinfo(&".".repeat(100_000)), Err("invalid_token"));
    assert!(world.oidc.userinfo(None, &[]).is_err());
    assert!(
        world
            .oidc
            .userinfo(Some(&format!("Basic {}", tokens.access_token)), &[])
            .is_err()
    );
}

#[test]
fn claims_that_are_asked_for_one_by_one_are_in_their_place() {
    let world = World::new();
    world.put_user(json!({
        "userName": "alice", "nickName": "Al", "emails": [{ "value": "alice@example.com" }],
        "phoneNumbers": [{ "value": "+1-201-555-0123" }],
    }));
    let asked = r#"{"userinfo": {"nickname": null, "email_verified": null}, "id_token": {"phone_number": {"essential": true}}}"#;
    let code = world.code(&world.login(), &[("scope", "openid offline_access"), ("claims", asked)]);
    let tokens = world.redeem(&code, &[]).unwrap();
    let again = world.refresh(&tokens.refresh_token.unwrap(), &[]).unwrap();
    for (access_token, id_token) in [
        (tokens.access_token, tokens.id_token),
        (again.access_token, again.id_token),
    ] {
        let about = world.userinfo(&access_token).unwrap();
        assert_eq!(about, json!({ "sub": "u1", "nickname": "Al", "email_verified": false }));
        let id_token = id_token.unwrap();
        let claims = Compact::read(&id_token).unwrap().claims;
        assert_eq!(claims["phone_number"], "+1-201-555-0123");
        assert!(
            !claims.contains_key("nickname") && !claims.contains_key("email"),
            "{claims:?}"
        );
    }
}

#[test]
fn user_that_claims_name_is_the_only_one() {
    let world = World::new();
    let of = |subject: &str| format!(r#"{{"id_token": {{"sub": {{"value": "{subject}"}}}}}}"#);
    let session = world.login();
    world.code(&session, &[("claims", &of("u1"))]);
    let other = with(REQUEST, &[("claims", &of("u2")), ("prompt", "none")]);
    let location = redirect(world.oidc.authorize(&other, Some(&session)).unwrap());
    assert_eq!(parameter(&location, "error").as_deref(), Some("login_required"));
    let id_token = world.tokens().id_token.unwrap();
    let both = with(
        REQUEST,
        &[("claims", &of("u2")), ("id_token_hint", &id_token), ("prompt", "none")],
    );
    let location = redirect(world.oidc.authorize(&both, Some(&session)).unwrap());
    assert_eq!(parameter(&location, "error").as_deref(), Some("invalid_request"));
}

#[test]
fn class_of_the_login_is_told() {
    let world = World::new();
    let [one, two] = super::super::id_token::CLASSES;
    let class_of = |amr: &[&str], changes: &[(&str, &str)]| {
        let login = Authentication {
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            ..authentication()
        };
        let session = world.oidc.open_session(&login, None, None).unwrap();
        let tokens = world.redeem(&world.code(&session, changes), &[]).unwrap();
        let id_token = tokens.id_token.unwrap();
        Compact::read(&id_token).unwrap().claims["acr"].clone()
    };
    assert_eq!(class_of(&["pwd"], &[]), one);
    assert_eq!(class_of(&["pwd", "otp", "mfa"], &[]), two);
    // Two factors are one as well.
    assert_eq!(class_of(&["pwd", "otp", "mfa"], &[("acr_values", one)]), one);
    assert_eq!(class_of(&["pwd", "otp", "mfa"], &[("acr_values", "urn:unheard")]), two);
}
