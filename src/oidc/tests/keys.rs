//! Tests of keys and ID tokens with an independent verifier.

use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{AccessToken, AccessTokenHash, ClientId, IssuerUrl, Nonce};
use serde_json::{Value, json};

use super::super::fixtures::{START, VERIFIER, World};
use super::super::keys::Keys;
use super::super::token::TokenResponse;
use crate::domain::{Clock, Secret};
use crate::storage::SecretBox;

/// The tokens of the public client, whose ID tokens are signed with ES256.
fn public_tokens(world: &World) -> TokenResponse {
    let uri = "http://127.0.0.1:8123/cb";
    let code = world.code(&world.login(), &[("client_id", "phone"), ("redirect_uri", uri)]);
    let changes = [
        ("client_id", "phone"),
        ("client_secret", ""),
        ("redirect_uri", uri),
        ("code_verifier", VERIFIER),
    ];
    world.redeem(&code, &changes).unwrap()
}

fn verifier(world: &World, client: &str, jwks: Value) -> CoreIdTokenVerifier<'static> {
    let jwks: CoreJsonWebKeySet = serde_json::from_value(jwks).unwrap();
    let issuer = IssuerUrl::new("https://id.example".to_owned()).unwrap();
    let clock = world.clock.clone();
    CoreIdTokenVerifier::new_public_client(ClientId::new(client.to_owned()), issuer, jwks)
        .set_allowed_algs([
            CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        ])
        .set_time_fn(move || moment(&clock))
}

fn moment(clock: &Clock) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(clock.now().0).unwrap()
}

#[test]
fn id_tokens_of_both_algorithms_satisfy_an_independent_verifier() {
    let world = World::new();
    let cases = [
        ("wiki", world.tokens(), CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256),
        ("phone", public_tokens(&world), CoreJwsSigningAlgorithm::EcdsaP256Sha256),
    ];
    for (client, tokens, algorithm) in cases {
        let verifier = verifier(&world, client, world.oidc.jwks().unwrap());
        let id_token = CoreIdToken::from_str(tokens.id_token.as_ref().unwrap()).unwrap();
        let claims = id_token.claims(&verifier, &Nonce::new("no".to_owned())).unwrap();
        assert_eq!(id_token.signing_alg().unwrap(), &algorithm);
        assert_eq!(claims.subject().as_str(), "u1");
        assert_eq!(claims.email().map(|email| email.as_str()), Some("alice@example.com"));
        assert_eq!(claims.auth_time().map(|time| time.timestamp()), Some(START.seconds()));
        assert_eq!((claims.expiration() - claims.issue_time()).num_seconds(), 300);
        let key = id_token.signing_key(&verifier).unwrap();
        let hash = AccessTokenHash::from_token(&AccessToken::new(tokens.access_token), &algorithm, key).unwrap();
        assert_eq!(claims.access_token_hash(), Some(&hash));
    }
}

#[test]
fn id_token_is_valid_only_for_its_client_nonce_and_time() {
    let world = World::new();
    let id_token = CoreIdToken::from_str(&world.tokens().id_token.unwrap()).unwrap();
    let (nonce, jwks) = (Nonce::new("no".to_owned()), world.oidc.jwks().unwrap());
    assert!(
        id_token
            .claims(&verifier(&world, "phone", jwks.clone()), &nonce)
            .is_err()
    );
    assert!(
        id_token
            .claims(&verifier(&world, "wiki", jwks.clone()), &Nonce::new("other".to_owned()))
            .is_err()
    );
    world.advance(301);
    assert!(id_token.claims(&verifier(&world, "wiki", jwks), &nonce).is_err());
}

#[test]
fn a_refreshed_id_token_names_the_same_login_without_the_nonce() {
    let world = World::new();
    let first = world.tokens();
    world.advance(100);
    let second = world.refresh(&first.refresh_token.unwrap(), &[]).unwrap();
    let keys = world.oidc.keys.set().unwrap();
    let (first, second) = (
        crate::oidc::keys::claims_of_id_token(&keys, &first.id_token.unwrap()).unwrap(),
        crate::oidc::keys::claims_of_id_token(&keys, &second.id_token.unwrap()).unwrap(),
    );
    for same in ["iss", "sub", "aud", "auth_time", "sid", "amr"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    assert_eq!(
        (second.get("nonce"), &second["iat"]),
        (None, &json!(START.seconds() + 100))
    );
}

#[test]
fn narrower_refresh_gives_an_id_token_with_fewer_claims() {
    let world = World::new();
    let refresh_token = world.tokens().refresh_token.unwrap();
    let narrowed = world.refresh(&refresh_token, &[("scope", "openid")]).unwrap();
    let claims =
        crate::oidc::keys::claims_of_id_token(&world.oidc.keys.set().unwrap(), &narrowed.id_token.unwrap()).unwrap();
    assert_eq!((claims.get("email"), &claims["sub"]), (None, &json!("u1")));
}

#[test]
fn published_keys_contain_only_public_parts() {
    let world = World::new();
    let jwks = world.oidc.jwks().unwrap();
    let mut members: Vec<Vec<&str>> = Vec::new();
    for key in jwks["keys"].as_array().unwrap() {
        let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        members.push(names);
        assert_eq!(key["use"], "sig");
    }
    members.sort();
    assert_eq!(
        members,
        [
            vec!["alg", "crv", "kid", "kty", "use", "x", "y"],
            vec!["alg", "e", "kid", "kty", "n", "use"]
        ]
    );
}

#[test]
fn processes_that_start_together_share_one_key_set() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::storage::test_database::url(&folder);
    crate::storage::migrate::run(&crate::storage::Database::open(&url).unwrap()).unwrap();
    let secret_box = Arc::new(SecretBox::from_file(&folder.path().join("master.key")).unwrap());
    let start = || {
        let database = crate::storage::Database::open(&url).unwrap();
        let keys = Keys::open(
            database,
            Arc::clone(&secret_box),
            Clock::fixed(START),
            std::time::Duration::ZERO,
        );
        keys.unwrap().set().unwrap().jwks()
    };
    let sets: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let settled = start();
    assert_eq!(settled["keys"].as_array().unwrap().len(), 2);
    for set in &sets {
        assert_eq!(set, &settled);
    }
}

#[test]
fn rotated_keys_reach_other_processes_within_a_second() {
    let world = World::new();
    let other = world.another();
    assert_eq!(other.jwks().unwrap(), world.oidc.jwks().unwrap());
    world.oidc.rotate_keys().unwrap();
    world.advance(1);
    assert_eq!(other.jwks().unwrap(), world.oidc.jwks().unwrap());
    assert_eq!(other.jwks().unwrap()["keys"].as_array().unwrap().len(), 4);
}

#[test]
fn replaced_keys_are_worth_nothing_within_a_second() {
    let world = World::new();
    let other = world.another();
    let old = world.tokens().id_token.unwrap();
    let is_ours = |oidc: &crate::oidc::Oidc, token: &str| {
        crate::oidc::keys::claims_of_id_token(&oidc.keys.set().unwrap(), token).is_some()
    };
    assert!(is_ours(&other, &old));
    world.oidc.replace_keys().unwrap();
    world.advance(1);
    assert!(!is_ours(&other, &old) && !is_ours(&world.oidc, &old));
    let new = world.tokens().id_token.unwrap();
    assert!(is_ours(&other, &new), "the new keys sign at once");
    assert_eq!(other.jwks().unwrap()["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_are_published_before_they_sign_and_until_tokens_expire() {
    let world = World::new();
    let kid = || {
        let token = world.tokens().id_token.unwrap();
        CoreIdToken::from_str(&token)
            .unwrap()
            .signing_key(&verifier(&world, "wiki", world.oidc.jwks().unwrap()))
            .map(|key| serde_json::to_value(key).unwrap()["kid"].clone())
            .unwrap()
    };
    let old = kid();
    world.oidc.rotate_keys().unwrap();
    world.advance(599);
    assert_eq!(kid(), old);
    let last = world.tokens().id_token.unwrap();
    world.advance(1);
    assert_ne!(kid(), old);
    world.advance(12 * 60 * 60 - 1);
    world.oidc.sweep().unwrap();
    assert!(crate::oidc::keys::claims_of_id_token(&world.oidc.keys.set().unwrap(), &last).is_some());
    world.advance(1);
    world.oidc.sweep().unwrap();
    assert!(crate::oidc::keys::claims_of_id_token(&world.oidc.keys.set().unwrap(), &last).is_none());
    assert_eq!(world.oidc.jwks().unwrap()["keys"].as_array().unwrap().len(), 2);
}

#[test]
fn signing_keys_do_not_open_with_another_master_key() {
    let world = World::new();
    let other = Arc::new(SecretBox::from_secret(&Secret::new("B".repeat(42) + "A=")).unwrap());
    let opened = Keys::open(
        world.database.clone(),
        other,
        world.clock.clone(),
        std::time::Duration::ZERO,
    );
    assert!(matches!(opened, Err(super::super::keys::KeysError::Sealed(_))));
}

/// OC30.
#[test]
fn discovery_lists_exactly_the_supported_grant_types() {
    let world = World::new();
    let discovery = world.oidc.discovery();
    let advertised: Vec<&str> = discovery["grant_types_supported"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let others = [
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "x",
    ];
    for grant_type in advertised.iter().copied().chain(others) {
        let answer = world.redeem("no-code", &[("grant_type", grant_type), ("refresh_token", "x")]);
        let is_known = answer.unwrap_err() != "unsupported_grant_type";
        assert_eq!(is_known, advertised.contains(&grant_type), "{grant_type}");
    }
    for method in discovery["token_endpoint_auth_methods_supported"].as_array().unwrap() {
        let known = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
        assert!(
            known.contains(&method.as_str().unwrap()),
            "each has tests of its own: {method}"
        );
    }
}

#[test]
fn discovery_lists_only_supported_features() {
    let discovery = World::new().oidc.discovery();
    assert_eq!(discovery["issuer"], "https://id.example");
    assert_eq!(discovery["token_endpoint"], "https://id.example/oauth2/token");
    assert_eq!(discovery["response_types_supported"], json!(["code"]));
    assert_eq!(discovery["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(discovery["request_uri_parameter_supported"], false);
    let metadata: Result<openidconnect::core::CoreProviderMetadata, _> = serde_json::from_value(discovery);
    assert!(metadata.is_ok());
}
