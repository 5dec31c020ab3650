//! The OpenID Connect identity provider, against an issuer that is wrong in one place at a time.

use std::time::Duration;

use crate::fixtures::issuer::{Issuer, Key};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as B64};
use serde_json::{Value, json};
use url::Url;
use vestibule::domain::login::ProviderToken;
use vestibule::domain::{Clock, Secret, Timestamp};
use vestibule::federation::idp::groups_endpoint::GroupsEndpoint;
use vestibule::federation::idp::metadata::Endpoints;
use vestibule::federation::idp::openid::{OpenIdProvider, OpenIdRules, OpenIdSettings};
use vestibule::federation::idp::provider::{
    CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, LogoutRequest, ProviderError,
    RequestOptions,
};

const NOW: i64 = 1_700_000_000;

/// An issuer, and the provider under test as its client.
struct Rig {
    issuer: Issuer,
    key: Key,
    clock: Clock,
    provider: OpenIdProvider,
}

impl Rig {
    fn new() -> Self {
        Self::wanting(&[])
    }

    fn wanting(claims: &[&str]) -> Self {
        Self::bent(|settings, _| settings.wanted_claims = claims.iter().map(|&claim| claim.to_owned()).collect())
    }

    /// With changes to the settings, which get the issuer's address.
    fn bent(bend: impl FnOnce(&mut OpenIdSettings, &str)) -> Self {
        let key = Key::new("k1");
        let issuer = Issuer::start(&key);
        let clock = Clock::fixed(Timestamp(NOW * 1000));
        let mut settings = OpenIdSettings {
            issuer: issuer.url.clone(),
            client_id: "us".to_owned(),
            client_secret: Some(Secret::new("s:3 cret")),
            scopes: vec!["openid".to_owned(), "email".to_owned()],
            allow_private_network: true,
            wanted_claims: Vec::new(),
            groups: None,
            request: RequestOptions::default(),
            rules: OpenIdRules::default(),
        };
        bend(&mut settings, &issuer.url);
        let provider = OpenIdProvider::new(settings, clock.clone()).unwrap();
        Self {
            issuer,
            key,
            clock,
            provider,
        }
    }

    fn begin(&self) -> (Url, LoginSecret) {
        let callback = Url::parse("https://id.example/federation/google/callback").unwrap();
        let begun = self.provider.begin(&callback, &LoginHint::default()).unwrap();
        (begun.redirect, begun.state)
    }

    fn claims(&self, pending: &LoginSecret) -> Value {
        json!({
            "iss": self.issuer.url, "sub": "u-1", "aud": "us", "exp": NOW + 300, "iat": NOW, "nonce": memory(pending)["nonce"],
            "email": "a@example.com", "email_verified": "true",
        })
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "kid": self.key.id, "typ": "JWT"})
    }

    fn give(&self, token: &str) {
        let answer = json!({"access_token": "opaque", "token_type": "Bearer", "id_token": token});
        self.issuer.say("/token", 200, answer);
    }

    fn finish(&self, pending: &LoginSecret) -> Result<Identity, ProviderError> {
        let returned: CallbackParameters = [("code", "code")].into_iter().collect();
        self.provider.finish(&returned, pending)
    }

    /// A login whose ID token was altered.
    fn login(&self, bend: impl Fn(&mut Value, &mut Value)) -> Result<Identity, ProviderError> {
        let (_, pending) = self.begin();
        let (mut header, mut claims) = (self.header(), self.claims(&pending));
        bend(&mut header, &mut claims);
        self.give(&self.key.sign(&header, &claims));
        self.finish(&pending)
    }

    fn reason(&self, bend: impl Fn(&mut Value, &mut Value)) -> &'static str {
        self.login(bend).map_or_else(|error| error.reason(), |_| "accepted")
    }
}

fn remove(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name);
}

/// The state that the adapter keeps of a login.
fn memory(state: &LoginSecret) -> Value {
    serde_json::to_value(state).unwrap()
}

#[test]
fn a_good_login_gives_the_identity_with_its_claims_as_they_came() {
    let rig = Rig::new();
    let identity = rig.login(|_, _| {}).unwrap();
    assert_eq!(
        (identity.issuer.as_str(), identity.subject.as_str()),
        (rig.issuer.url.as_str(), "u-1")
    );
    assert_eq!(identity.claims["email_verified"], json!("true"));
}

#[test]
fn the_browser_is_sent_with_state_nonce_and_pkce() {
    let rig = Rig::new();
    let (url, pending) = rig.begin();
    let query: std::collections::HashMap<String, String> = url.query_pairs().into_owned().collect();
    let memory = memory(&pending);
    let verifier = memory["verifier"].as_str().unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    assert_eq!(query["code_challenge"], B64.encode(digest));
    assert_eq!(query["state"], memory["state"].as_str().unwrap());
    assert_eq!(query["nonce"], memory["nonce"].as_str().unwrap());
    assert_eq!(query["scope"], "openid email");
    assert_eq!(query["tenant"], "1");
    assert_eq!(query["redirect_uri"], "https://id.example/federation/google/callback");
    assert!(!url.as_str().contains(verifier));
}

#[test]
fn the_secret_goes_into_the_header_and_the_verifier_along() {
    let rig = Rig::new();
    rig.login(|_, _| {}).unwrap();
    let answers = rig.issuer.answers.lock().unwrap();
    assert_eq!(
        answers.last_authorization,
        Some(format!("Basic {}", STANDARD.encode("us:s%3A3+cret")))
    );
    assert!(answers.last_body.contains("code_verifier=") && !answers.last_body.contains("cret"));
}

#[test]
fn client_secret_post_sends_the_secret_in_the_body() {
    let rig = Rig::new();
    rig.issuer
        .describe("token_endpoint_auth_methods_supported", json!(["client_secret_post"]));
    rig.login(|_, _| {}).unwrap();
    let answers = rig.issuer.answers.lock().unwrap();
    assert_eq!(answers.last_authorization, None);
    assert!(answers.last_body.contains("client_id=us") && answers.last_body.contains("client_secret=s%3A3+cret"));
}

#[test]
fn each_claim_defect_has_its_own_reason() {
    let rig = Rig::new();
    let cases: [(&str, &str, Option<Value>); 24] = [
        ("id_token_iss", "iss", Some(json!("https://other.example"))),
        ("id_token_iss", "iss", Some(json!(format!("{}/", rig.issuer.url)))),
        ("id_token_iss", "iss", None),
        ("id_token_aud", "aud", None),
        ("id_token_aud", "aud", Some(json!("other"))),
        ("id_token_aud", "aud", Some(json!(["other", "another"]))),
        ("id_token_aud", "aud", Some(json!([]))),
        ("id_token_aud", "aud", Some(json!({"us": true}))),
        ("id_token_azp", "aud", Some(json!(["us", "other"]))),
        ("id_token_azp", "azp", Some(json!("other"))),
        ("id_token_azp", "azp", Some(json!(null))),
        ("id_token_exp", "exp", Some(json!(NOW - 61))),
        ("id_token_exp", "exp", None),
        ("id_token_exp", "exp", Some(json!("never"))),
        ("id_token_nbf", "nbf", Some(json!(NOW + 61))),
        ("id_token_iat", "iat", Some(json!(NOW + 61))),
        ("id_token_iat", "iat", None),
        ("id_token_nonce", "nonce", None),
        ("id_token_nonce", "nonce", Some(json!("another login's"))),
        ("id_token_at_hash", "at_hash", Some(json!("wrong"))),
        ("id_token_c_hash", "c_hash", Some(json!("wrong"))),
        ("id_token_sub", "sub", Some(json!(""))),
        ("id_token_sub", "sub", Some(json!("x".repeat(256)))),
        ("id_token_sub", "sub", Some(json!(17))),
    ];
    for (reason, claim, value) in cases {
        let found = rig.reason(|_, claims| match &value {
            Some(value) => claims[claim] = value.clone(),
            None => remove(claims, claim),
        });
        assert_eq!(found, reason, "{claim} = {value:?}");
    }
}

#[test]
fn standard_forms_are_accepted() {
    let rig = Rig::new();
    let at_hash = |text: &str| B64.encode(&ring::digest::digest(&ring::digest::SHA512, text.as_bytes()).as_ref()[..32]);
    let cases: [(&str, Value); 7] = [
        ("exp", json!(NOW - 59)),
        ("iat", json!(NOW + 59)),
        ("auth_time", json!(1.5)),
        ("aud", json!(["us"])),
        ("azp", json!("us")),
        ("at_hash", json!(at_hash("opaque"))),
        ("c_hash", json!(at_hash("code"))),
    ];
    for (claim, value) in cases {
        assert_eq!(
            rig.reason(|_, claims| claims[claim] = value.clone()),
            "accepted",
            "{claim} = {value}"
        );
    }
    let both = |_: &mut Value, claims: &mut Value| {
        claims["aud"] = json!(["us", "other"]);
        claims["azp"] = json!("us");
    };
    assert_eq!(rig.reason(both), "accepted");
}

#[test]
fn each_header_defect_has_its_own_reason() {
    let rig = Rig::new();
    let cases = [
        ("id_token_alg", "alg", json!("none")),
        ("id_token_alg", "alg", json!("None")),
        ("id_token_alg", "alg", json!("HS256")),
        ("id_token_alg", "alg", json!("RS256")),
        ("id_token_alg", "alg", json!(null)),
        ("id_token_header", "crit", json!(["b64"])),
        ("id_token_header", "typ", json!("at+jwt")),
        ("id_token_header", "kid", json!(1)),
        ("id_token_kid", "kid", json!("unknown")),
    ];
    for (reason, name, value) in cases {
        assert_eq!(
            rig.reason(|header, _| header[name] = value.clone()),
            reason,
            "{name} = {value}"
        );
    }
}

#[test]
fn a_token_that_another_key_signed_is_refused() {
    let rig = Rig::new();
    let (_, pending) = rig.begin();
    rig.give(&Key::new("k1").sign(&rig.header(), &rig.claims(&pending)));
    assert_eq!(rig.finish(&pending).unwrap_err().reason(), "id_token_signature");
    let good = rig.key.sign(&rig.header(), &rig.claims(&pending));
    let unsigned = good.rsplit_once('.').unwrap().0;
    rig.give(&format!("{unsigned}."));
    assert_eq!(rig.finish(&pending).unwrap_err().reason(), "id_token_signature");
}

#[test]
fn malformed_id_token_is_refused() {
    let rig = Rig::new();
    let (_, pending) = rig.begin();
    for text in ["", ".", "..", "a.b.c", "e30.e30", "e30.e30.e30", "W10.W10.AA"] {
        rig.give(text);
        let error = rig.finish(&pending).unwrap_err();
        assert!(matches!(error, ProviderError::Token(_)), "{text}: {error}");
    }
    rig.issuer
        .say("/token", 200, json!({"access_token": "opaque", "token_type": "Bearer"}));
    assert_eq!(rig.finish(&pending).unwrap_err().reason(), "id_token_missing");
}

#[test]
fn a_new_key_is_found_and_an_unknown_one_asks_once_a_minute() {
    let mut rig = Rig::new();
    rig.login(|_, _| {}).unwrap();
    rig.key = Key::new("k2");
    rig.issuer.say("/jwks", 200, json!({"keys": [rig.key.public()]}));
    rig.login(|_, _| {}).unwrap();
    assert_eq!(rig.issuer.hits("/jwks"), 2);
    for _ in 0..3 {
        assert_eq!(rig.reason(|header, _| header["kid"] = json!("k3")), "id_token_kid");
    }
    assert_eq!(rig.issuer.hits("/jwks"), 2);
    rig.clock.advance(Duration::from_mins(1));
    assert_eq!(rig.reason(|header, _| header["kid"] = json!("k3")), "id_token_kid");
    assert_eq!(rig.issuer.hits("/jwks"), 3);
}

#[test]
fn a_mix_up_is_refused_before_the_code_is_spent() {
    let rig = Rig::new();
    let (_, pending) = rig.begin();
    let from = |iss: Option<&str>| -> CallbackParameters {
        let code = ("code", "code");
        std::iter::once(code).chain(iss.map(|iss| ("iss", iss))).collect()
    };
    let other = rig
        .provider
        .finish(&from(Some("https://other.example")), &pending)
        .unwrap_err();
    assert_eq!(other.reason(), "idp_mix_up");
    let mut elsewhere = memory(&pending);
    elsewhere["issuer"] = json!("https://other.example");
    let elsewhere = LoginSecret::new(elsewhere);
    assert_eq!(
        rig.provider.finish(&from(None), &elsewhere).unwrap_err().reason(),
        "idp_mix_up"
    );
    assert_eq!(rig.issuer.hits("/token"), 0);
}

#[test]
fn an_issuer_that_promises_iss_must_send_it() {
    let rig = Rig::new();
    rig.issuer
        .describe("authorization_response_iss_parameter_supported", json!(true));
    assert_eq!(rig.reason(|_, _| {}), "idp_mix_up");
    let (_, pending) = rig.begin();
    rig.give(&rig.key.sign(&rig.header(), &rig.claims(&pending)));
    let returned: CallbackParameters = [("code", "code"), ("iss", &rig.issuer.url)].into_iter().collect();
    assert!(rig.provider.finish(&returned, &pending).is_ok());
}

#[test]
fn a_refusal_of_the_issuer_is_told_apart() {
    let rig = Rig::new();
    let (_, pending) = rig.begin();
    let with = |error: &str| -> CallbackParameters { [("error", error)].into_iter().collect() };
    assert_eq!(
        rig.provider
            .finish(&with("access_denied"), &pending)
            .unwrap_err()
            .reason(),
        "idp_declined"
    );
    assert_eq!(
        rig.provider
            .finish(&with("server_error"), &pending)
            .unwrap_err()
            .reason(),
        "idp_error"
    );
    assert_eq!(
        rig.provider
            .finish(&CallbackParameters::default(), &pending)
            .unwrap_err()
            .reason(),
        "idp_no_code"
    );
    rig.issuer.say(
        "/token",
        400,
        json!({"error": "invalid_grant", "error_description": "<b>"}),
    );
    let error = rig.finish(&pending).unwrap_err();
    assert_eq!(error.to_string(), "the identity provider answered invalid_grant");
}

#[test]
fn userinfo_fills_missing_claims_and_must_match_sub() {
    let rig = Rig::wanting(&["email", "locale"]);
    rig.issuer.say(
        "/userinfo",
        200,
        json!({"sub": "u-1", "locale": "fi", "email": "other@example.com"}),
    );
    let identity = rig.login(|_, _| {}).unwrap();
    assert_eq!(
        (&identity.claims["locale"], &identity.claims["email"]),
        (&json!("fi"), &json!("a@example.com"))
    );
    rig.issuer.say("/userinfo", 200, json!({"sub": "u-2", "locale": "fi"}));
    assert_eq!(rig.reason(|_, _| {}), "userinfo_sub");
    let asked = rig.issuer.hits("/userinfo");
    assert_eq!(rig.reason(|_, claims| claims["locale"] = json!("sv")), "accepted");
    assert_eq!(rig.issuer.hits("/userinfo"), asked);
}

#[test]
fn metadata_of_another_issuer_is_refused() {
    let rig = Rig::new();
    rig.issuer.describe("issuer", json!("https://other.example"));
    let callback = Url::parse("https://id.example/cb").unwrap();
    assert_eq!(
        rig.provider
            .begin(&callback, &LoginHint::default())
            .err()
            .unwrap()
            .reason(),
        "idp_unusable"
    );
}

#[test]
fn an_issuer_that_fails_is_left_alone_for_a_while() {
    let rig = Rig::new();
    let path = "/.well-known/openid-configuration";
    let (status, metadata) = rig.issuer.answers.lock().unwrap().documents[path].clone();
    rig.issuer.say(path, 503, json!({}));
    let callback = Url::parse("https://id.example/cb").unwrap();
    for _ in 0..3 {
        assert_eq!(
            rig.provider
                .begin(&callback, &LoginHint::default())
                .err()
                .unwrap()
                .reason(),
            "idp_unavailable"
        );
    }
    assert_eq!(rig.issuer.hits(path), 1);
    rig.issuer.say(path, status, metadata);
    rig.clock.advance(Duration::from_secs(10));
    assert!(rig.provider.begin(&callback, &LoginHint::default()).is_ok());
}

/// A provider whose groups are asked for at its own address if the claims leave them out.
fn asking_for_groups() -> Rig {
    Rig::bent(|settings, issuer| {
        settings.groups = Some(GroupsEndpoint {
            claim: "groups".to_owned(),
            url: Url::parse(&format!("{issuer}/memberOf")).unwrap(),
        });
    })
}

fn left_out(claims: &mut Value) {
    claims["_claim_names"] = json!({"groups": "src1"});
}

#[test]
fn groups_that_were_left_out_are_asked_for_page_by_page() {
    let rig = asking_for_groups();
    let next = format!("{}/more", rig.issuer.url);
    rig.issuer.say(
        "/memberOf",
        200,
        json!({"value": [{"id": "1"}], "@odata.nextLink": next}),
    );
    rig.issuer
        .say("/more", 200, json!({"value": [{"id": "2"}, {"id": "3"}]}));
    let claims = rig.login(|_, claims| left_out(claims)).unwrap().claims;
    assert_eq!(claims["groups"], json!([{"id": "1"}, {"id": "2"}, {"id": "3"}]));
    assert_eq!(claims["_claim_names"], json!({}));
    let told = rig.login(|_, claims| claims["groups"] = json!(["1"])).unwrap().claims;
    assert_eq!((&told["groups"], rig.issuer.hits("/memberOf")), (&json!(["1"]), 1));
}

#[test]
fn list_of_groups_that_cannot_be_had_leaves_the_claims() {
    for (status, answer) in [
        (500, json!({})),
        (403, json!({"error": "insufficient_scope"})),
        (200, json!({"groups": []})),
        (
            200,
            json!({"value": [{"id": "1"}], "@odata.nextLink": "https://elsewhere.example/more"}),
        ),
        (200, json!({"value": [{"id": "1"}], "@odata.nextLink": "/memberOf"})),
    ] {
        let rig = asking_for_groups();
        rig.issuer.say("/memberOf", status, answer.clone());
        let claims = rig.login(|_, claims| left_out(claims)).unwrap().claims;
        assert_eq!(claims.get("groups"), None, "{answer}");
        assert_eq!(claims["_claim_names"], json!({"groups": "src1"}), "{answer}");
    }
}

#[test]
fn endless_list_of_groups_ends() {
    let rig = asking_for_groups();
    let again = format!("{}/memberOf", rig.issuer.url);
    rig.issuer.say(
        "/memberOf",
        200,
        json!({"value": [{"id": "1"}], "@odata.nextLink": again}),
    );
    let claims = rig.login(|_, claims| left_out(claims)).unwrap().claims;
    assert_eq!((claims.get("groups"), rig.issuer.hits("/memberOf")), (None, 20));
}

#[test]
fn headers_that_need_not_be_understood_are_ignored() {
    let rig = Rig::new();
    let cases = [
        ("jwk", json!({})),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x5u")),
        ("x5t#S256", json!("9cXk")),
        ("cty", json!("json")),
        ("typ", json!("JOSE")),
        ("typ", json!("application/jwt")),
    ];
    for (name, value) in cases {
        let found = rig.reason(|header, _| header[name] = value.clone());
        assert_eq!(found, "accepted", "{name} = {value}");
    }
}

#[test]
fn key_of_the_header_never_verifies() {
    let rig = Rig::new();
    let stranger = Key::new("k1");
    let (_, pending) = rig.begin();
    let mut header = rig.header();
    header["jwk"] = stranger.public();
    rig.give(&stranger.sign(&header, &rig.claims(&pending)));
    assert_eq!(rig.finish(&pending).unwrap_err().reason(), "id_token_signature");
}

#[test]
fn metadata_that_no_login_needs_may_be_odd_or_missing() {
    let odd = [
        ("subject_types_supported", Value::Null),
        ("response_types_supported", Value::Null),
        ("id_token_signing_alg_values_supported", Value::Null),
        ("id_token_signing_alg_values_supported", json!("EdDSA")),
        ("id_token_signing_alg_values_supported", json!(["EdDSA", "ES256K", 7])),
        ("service_documentation", json!("TBD")),
        ("registration_endpoint", json!("/")),
        ("op_policy_uri", json!("")),
        ("claims_parameter_supported", json!("true")),
        ("token_endpoint_auth_methods_supported", json!({})),
        ("scopes_supported", json!(7)),
        ("userinfo_endpoint", json!("")),
    ];
    for (name, value) in odd {
        let rig = Rig::new();
        rig.issuer.describe(name, value.clone());
        assert_eq!(rig.reason(|_, _| {}), "accepted", "{name} = {value}");
    }
}

/// The message of a login that cannot begin.
fn refused(rig: &Rig) -> String {
    let callback = Url::parse("https://id.example/cb").unwrap();
    let begun = rig.provider.begin(&callback, &LoginHint::default());
    begun.err().unwrap().to_string()
}

#[test]
fn defect_of_the_metadata_is_named() {
    let cases = [
        ("token_endpoint", Value::Null, "token_endpoint is not a URL"),
        (
            "authorization_endpoint",
            json!("/authorize"),
            "authorization_endpoint is not a URL",
        ),
        ("jwks_uri", json!(""), "jwks_uri is not a URL"),
        (
            "issuer",
            json!("https://other.example"),
            "names the issuer \"https://other.example\", and the configuration \"http",
        ),
    ];
    for (name, value, message) in cases {
        let rig = Rig::new();
        rig.issuer.describe(name, value);
        let found = refused(&rig);
        assert!(found.contains(message), "{found}");
    }
}

#[test]
fn cause_of_a_failure_is_told_while_the_issuer_is_left_alone() {
    let rig = Rig::new();
    rig.issuer.say("/.well-known/openid-configuration", 404, json!({}));
    for _ in 0..2 {
        let found = refused(&rig);
        assert!(
            found.contains("/.well-known/openid-configuration answered with status 404"),
            "{found}"
        );
    }
    let nowhere = Rig::bent(|settings, _| settings.issuer = "http://127.0.0.1:1".to_owned());
    for _ in 0..2 {
        let found = refused(&nowhere);
        assert!(found.contains("Connection refused"), "{found}");
    }
}

/// A login whose claims come in a signed userinfo answer, altered.
fn with_signed_userinfo(key: Option<&Key>, bend: impl Fn(&mut Value)) -> Result<Identity, ProviderError> {
    let rig = Rig::wanting(&["email"]);
    let mut userinfo = json!({"iss": rig.issuer.url, "aud": "us", "sub": "u-1", "email": "signed@example.com"});
    bend(&mut userinfo);
    let key = key.unwrap_or(&rig.key);
    let token = key.sign(&json!({"alg": "EdDSA", "kid": "k1"}), &userinfo);
    rig.issuer.say("/userinfo", 200, token.into());
    rig.login(|_, claims| remove(claims, "email"))
}

#[test]
fn signed_userinfo_is_read() {
    let identity = with_signed_userinfo(None, |_| {}).unwrap();
    assert_eq!(identity.claims["email"], "signed@example.com");
    let bare = with_signed_userinfo(None, |userinfo| {
        remove(userinfo, "iss");
        remove(userinfo, "aud");
    });
    assert_eq!(bare.unwrap().claims["email"], "signed@example.com");
}

#[test]
fn signed_userinfo_must_be_of_the_issuer_and_for_us() {
    let reason = |found: Result<Identity, ProviderError>| found.unwrap_err().reason();
    let stranger = Key::new("k1");
    assert_eq!(
        reason(with_signed_userinfo(Some(&stranger), |_| {})),
        "userinfo_signature"
    );
    for (claim, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!(["others"])),
        ("aud", json!(7)),
        ("exp", json!(NOW - 61)),
    ] {
        let found = with_signed_userinfo(None, |userinfo| userinfo[claim] = value.clone());
        assert_eq!(reason(found), "userinfo_signature", "{claim} = {value}");
    }
    assert_eq!(
        reason(with_signed_userinfo(None, |userinfo| userinfo["sub"] = json!("u-2"))),
        "userinfo_sub"
    );
}

#[test]
fn issuer_without_discovery_is_used_by_its_endpoints() {
    let rig = Rig::bent(|settings, issuer| {
        let url = |path: &str| Url::parse(&format!("{issuer}{path}")).unwrap();
        settings.rules.endpoints = Some(Box::new(Endpoints {
            authorization: url("/authorize"),
            token: url("/token"),
            userinfo: None,
            keys: url("/jwks"),
            end_session: Some(url("/logout")),
        }));
        settings.rules.secret_in_body = Some(true);
    });
    assert_eq!(rig.reason(|_, _| {}), "accepted");
    assert_eq!(rig.issuer.hits("/.well-known/openid-configuration"), 0);
    let end = logout(&rig).expect("an end session endpoint");
    assert_eq!(
        end.as_str().split('?').next(),
        Some(&*format!("{}/logout", rig.issuer.url))
    );
    assert!(rig.issuer.answers.lock().unwrap().last_body.contains("client_secret="));
}

#[test]
fn configured_parameters_go_along_with_the_request() {
    let rig = Rig::bent(|settings, _| {
        let parameters = [("acr_values", "eidas1"), ("max_age", "900")];
        settings.request = RequestOptions {
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            form_post: true,
        };
    });
    let callback = Url::parse("https://id.example/cb").unwrap();
    let hint = LoginHint {
        max_age: Some(Duration::from_mins(1)),
        ..LoginHint::default()
    };
    let url = rig.provider.begin(&callback, &hint).unwrap().redirect;
    let all = |wanted: &str| -> Vec<String> {
        let pairs = url.query_pairs().filter(|(name, _)| name == wanted);
        pairs.map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(all("acr_values"), ["eidas1"]);
    assert_eq!(all("response_mode"), ["form_post"]);
    // The application wants a fresher proof than the configuration.
    assert_eq!(all("max_age"), ["60"]);
}

/// The URL that ends a session at the provider.
fn logout(rig: &Rig) -> Option<Url> {
    let back = Url::parse("https://id.example/federation/google/logout").unwrap();
    let token = ProviderToken::new("a.b.c");
    let request = LogoutRequest {
        token: token.as_ref(),
        back: &back,
        state: "on",
    };
    rig.provider.logout(&request).unwrap()
}

#[test]
fn logout_names_the_session_and_the_way_back() {
    let rig = Rig::new();
    assert_eq!(logout(&rig), None, "the issuer publishes no endpoint");
    let rig = Rig::new();
    let end = json!(format!("{}/logout?tenant=1", rig.issuer.url));
    rig.issuer.describe("end_session_endpoint", end);
    let url = logout(&rig).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let sent = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        sent("tenant", "1"),
        sent("id_token_hint", "a.b.c"),
        sent("client_id", "us"),
        sent(
            "post_logout_redirect_uri",
            "https://id.example/federation/google/logout",
        ),
        sent("state", "on"),
    ];
    assert_eq!(pairs, expected);
}
