use super::super::fixtures::{CHALLENGE, REQUEST, confidential, pairs, public, with};
use super::*;
use crate::domain::login::RequestedClaims;

fn clients() -> Clients {
    let strict = Client {
        client_id: "strict".to_owned(),
        require_pkce: true,
        ..confidential()
    };
    Clients::new(vec![confidential(), public(), strict])
}

fn ask(changes: &[(&str, &str)]) -> Result<ValidRequest, AuthorizeError> {
    validate(&with(REQUEST, changes), &clients())
}

/// Returns the error code that is sent back to the client.
fn refused(changes: &[(&str, &str)]) -> &'static str {
    match ask(changes) {
        Err(AuthorizeError {
            error,
            deliver: ErrorDelivery::Redirect { redirect_uri, .. },
        }) => {
            assert_eq!(redirect_uri, "https://app.example/cb");
            error.code.as_str()
        }
        other => panic!("{other:?}"),
    }
}

fn page(pairs: &[(String, String)]) -> &'static str {
    match validate(pairs, &clients()) {
        Err(AuthorizeError {
            deliver: ErrorDelivery::Page(page),
            ..
        }) => page.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_request_is_taken_as_it_is() {
    let asked = ask(&[
        ("max_age", "60"),
        ("login_hint", "alice"),
        ("idp_hint", "google"),
        ("ui_locales", "de-AT en"),
    ])
    .unwrap();
    assert_eq!(
        asked,
        ValidRequest {
            request: AuthorizationRequest {
                client_id: "wiki".to_owned(),
                redirect_uri: "https://app.example/cb".to_owned(),
                scope: vec!["openid".to_owned(), "email".to_owned(), "offline_access".to_owned()],
                state: Some("st".to_owned()),
                nonce: Some("no".to_owned()),
                code_challenge: Some(CHALLENGE.to_owned()),
                idp_hint: Some("google".into()),
                login_hint: Some("alice".to_owned()),
                ui_locales: vec!["de-AT".to_owned(), "en".to_owned()],
                subject: None,
                reauthenticate: false,
                again: false,
                fresh_since: None,
                response_mode: ResponseMode::Query,
                claims: RequestedClaims::default(),
            },
            prompt: Prompt::Any,
            max_age: Some(Duration::from_mins(1)),
            id_token_hint: None,
        }
    );
}

#[test]
fn unverified_client_or_redirect_uri_shows_an_error_page() {
    assert_eq!(page(&with(REQUEST, &[("client_id", "")])), "invalid_client");
    assert_eq!(page(&with(REQUEST, &[("client_id", "WIKI")])), "invalid_client");
    assert_eq!(page(&with(REQUEST, &[("client_id", "<script>")])), "invalid_client");
    assert_eq!(page(&with(REQUEST, &[("redirect_uri", "")])), "invalid_redirect_uri");
    assert_eq!(
        page(&with(REQUEST, &[("redirect_uri", "https://app.example.evil/cb")])),
        "invalid_redirect_uri"
    );
    for name in ["client_id", "redirect_uri"] {
        let mut twice = pairs(REQUEST);
        twice.extend(pairs(REQUEST).into_iter().filter(|(key, _)| key == name));
        assert_eq!(page(&twice), "invalid_request", "{name}");
    }
}

#[test]
fn other_repeated_parameters_are_errors_for_the_client() {
    for (name, value) in [
        ("scope", "openid"),
        ("code_challenge", CHALLENGE),
        ("state", ""),
        ("x", "1"),
    ] {
        let mut twice = pairs(REQUEST);
        twice.extend(pairs(&[(name, value), (name, value)]));
        let error = validate(&twice, &clients()).unwrap_err();
        assert_eq!(error.error.code, ErrorCode::InvalidRequest, "{name}");
        let ErrorDelivery::Redirect { state, .. } = error.deliver else {
            panic!("a page")
        };
        assert_eq!(state.is_none(), name == "state");
    }
}

#[test]
fn only_response_type_code_is_supported() {
    for other in ["token", "id_token", "code token", "code id_token", "none", "CODE"] {
        assert_eq!(
            refused(&[("response_type", other)]),
            "unsupported_response_type",
            "{other}"
        );
    }
    assert_eq!(refused(&[("response_type", "")]), "invalid_request");
    for mode in ["fragment", "form_post.jwt", "query.jwt"] {
        assert_eq!(refused(&[("response_mode", mode)]), "invalid_request", "{mode}");
    }
    for (mode, taken) in [("query", ResponseMode::Query), ("form_post", ResponseMode::FormPost)] {
        assert_eq!(ask(&[("response_mode", mode)]).unwrap().request.response_mode, taken);
    }
}

#[test]
fn unsupported_parameters_have_their_own_error_codes() {
    assert_eq!(refused(&[("request", "a.b.c")]), "request_not_supported");
    assert_eq!(
        refused(&[("request_uri", "https://app.example/r")]),
        "request_uri_not_supported"
    );
    assert_eq!(refused(&[("registration", "{}")]), "registration_not_supported");
    assert_eq!(refused(&[("resource", "https://api.example")]), "invalid_target");
}

#[test]
fn pkce_must_be_s256_and_may_be_absent_only_where_allowed() {
    let none = [("code_challenge", ""), ("code_challenge_method", "")];
    assert_eq!(ask(&none).unwrap().request.code_challenge, None);
    let strict = [
        ("client_id", "strict"),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ];
    assert_eq!(refused(&strict), "invalid_request");
    for (challenge, method) in [
        (CHALLENGE, ""),
        (CHALLENGE, "plain"),
        (CHALLENGE, "s256"),
        (CHALLENGE, "S512"),
        ("", "S256"),
        (&CHALLENGE[1..], "S256"),
        ("dBjftJeZ4CVP+mB92K27uhbUJU1p1r/wW1gFWFOEjXk", "S256"),
    ] {
        assert_eq!(
            refused(&[("code_challenge", challenge), ("code_challenge_method", method)]),
            "invalid_request"
        );
    }
}

#[test]
fn a_public_client_must_use_pkce() {
    let native = [("client_id", "phone"), ("redirect_uri", "http://127.0.0.1:5000/cb")];
    assert!(ask(&native).is_ok());
    let without = with(
        REQUEST,
        &[
            native[0],
            native[1],
            ("code_challenge", ""),
            ("code_challenge_method", ""),
        ],
    );
    assert_eq!(
        validate(&without, &clients()).unwrap_err().error.code,
        ErrorCode::InvalidRequest
    );
}

#[test]
fn the_scope_must_hold_openid_and_unknown_words_are_left_out() {
    for scope in ["", "profile", "OPENID", "openid2", "profile,openid"] {
        assert_eq!(refused(&[("scope", scope)]), "invalid_scope", "{scope}");
    }
    let asked = ask(&[("scope", "admin profile openid profile")]).unwrap();
    assert_eq!(asked.request.scope, ["openid", "profile"]);
    assert_eq!(refused(&[("scope", &"openid ".repeat(1000))]), "invalid_scope");
}

#[test]
fn prompts_are_none_alone_or_a_new_login() {
    assert_eq!(ask(&[("prompt", "none")]).unwrap().prompt, Prompt::None);
    for (prompt, expected) in [
        ("login", Prompt::Login),
        ("login consent", Prompt::Login),
        ("select_account", Prompt::Choose),
        ("consent", Prompt::Choose),
    ] {
        let asked = ask(&[("prompt", prompt)]).unwrap();
        assert!(asked.prompt == expected && asked.request.reauthenticate, "{prompt}");
    }
    for prompt in ["none login", "NONE", "maybe", "login maybe"] {
        assert_eq!(refused(&[("prompt", prompt)]), "invalid_request", "{prompt}");
    }
}

#[test]
fn max_age_is_a_number_and_zero_means_a_new_login() {
    assert!(ask(&[("max_age", "0")]).unwrap().request.reauthenticate);
    for age in ["-1", "1.5", "x", "99999999999999999999"] {
        assert_eq!(refused(&[("max_age", age)]), "invalid_request", "{age}");
    }
}

#[test]
fn oversized_values_are_refused_and_not_echoed() {
    let long = "x".repeat(2049);
    let error = ask(&[("state", &long)]).unwrap_err();
    assert_eq!(error.error.code, ErrorCode::InvalidRequest);
    assert!(matches!(error.deliver, ErrorDelivery::Redirect { state: None, .. }));
    assert_eq!(refused(&[("nonce", &long)]), "invalid_request");
    assert_eq!(refused(&[("login_hint", &long)]), "invalid_request");
}

proptest::proptest! {
    #[test]
    fn any_changed_parameter_gives_a_request_or_a_known_error(
        name in "(response_type|client_id|redirect_uri|scope|state|nonce|prompt|max_age|code_challenge|code_challenge_method|x)",
        value in "\\PC{0,40}",
    ) {
        if let Err(error) = ask(&[(name.as_str(), value.as_str())]) {
            let code = error.error.code.as_str();
            proptest::prop_assert!(["invalid_request", "unsupported_response_type", "invalid_scope"].contains(&code));
        }
    }
}

#[test]
fn ignored_parameters_are_accepted_up_to_a_length() {
    for name in ["ui_locales", "claims_locales", "display"] {
        assert!(ask(&[(name, "x")]).is_ok(), "{name}");
        assert_eq!(refused(&[(name, &"x".repeat(5000))]), "invalid_request", "{name}");
    }
}
