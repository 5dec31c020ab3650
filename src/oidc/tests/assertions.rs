//! Tests of client assertions (`private_key_jwt`).

use serde_json::{Value, json};

use super::super::fixtures::{START, World, code_of, robot_key, with};
use crate::jose::signing_key::{SigningKey, generate};
use crate::jose::{Algorithm, jws};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Returns valid claims with changes; `null` removes one.
fn claims(changes: &Value) -> serde_json::Map<String, Value> {
    let now = START.seconds();
    let mut claims = json!({
        "iss": "robot", "sub": "robot", "aud": "https://id.example", "jti": "1", "iat": now, "exp": now + 60,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let mut claims = claims.as_object().unwrap().clone();
    claims.retain(|_, value| !value.is_null());
    claims
}

fn signed(changes: &Value) -> String {
    jws::write(robot_key(), jws::ID_TOKEN, &claims(changes)).unwrap()
}

/// Authenticates with an assertion; returns the error code if it is refused.
fn prove(world: &World, assertion: &str, changes: &[(&str, &str)]) -> Result<(), &'static str> {
    let form = [
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
        ("token", "unknown"),
    ];
    world
        .oidc
        .introspect(None, &with(&form, changes))
        .map(drop)
        .map_err(|failure| code_of(&failure))
}

#[test]
fn a_client_proves_who_it_is_with_its_key() {
    let world = World::new();
    for (jti, audience) in [
        ("1", json!("https://id.example")),
        ("2", json!("https://id.example/oauth2/token")),
        ("3", json!(["https://id.example"])),
    ] {
        assert_eq!(
            prove(&world, &signed(&json!({"jti": jti, "aud": audience})), &[]),
            Ok(()),
            "{audience}"
        );
    }
    assert_eq!(
        prove(&world, &signed(&json!({"jti": "4"})), &[("client_id", "robot")]),
        Ok(())
    );
}

/// Each line adds one defect to a valid assertion.
#[test]
fn an_assertion_with_any_defect_is_refused() {
    let world = World::new();
    let now = START.seconds();
    for defect in [
        json!({"iss": "wiki"}),
        json!({"iss": null}),
        json!({"sub": "wiki", "iss": "wiki"}),
        json!({"sub": "phone", "iss": "phone"}),
        json!({"sub": "nobody", "iss": "nobody"}),
        json!({"sub": null}),
        json!({"aud": null}),
        json!({"aud": []}),
        json!({"aud": "https://id.example.evil"}),
        json!({"aud": "https://other.example"}),
        json!({"aud": "https://id.example/oauth2/authorize"}),
        json!({"aud": ["https://id.example", "https://other.example"]}),
        json!({"exp": null}),
        json!({"exp": now}),
        json!({"exp": "soon"}),
        json!({"exp": now + 601}),
        json!({"exp": 1e300}),
        json!({"nbf": now + 61}),
        json!({"iat": now + 61}),
        json!({"jti": null}),
        json!({"jti": ""}),
        json!({"jti": 1}),
        json!({"jti": "x".repeat(256)}),
    ] {
        assert_eq!(prove(&world, &signed(&defect), &[]), Err("invalid_client"), "{defect}");
    }
    assert_eq!(
        prove(&world, &signed(&json!({})), &[]),
        Ok(()),
        "no refused assertion uses up its jti"
    );
}

#[test]
fn a_signature_that_is_not_the_clients_is_refused() {
    let world = World::new();
    let stranger = SigningKey::read(Algorithm::Es256, &generate(Algorithm::Es256).unwrap()).unwrap();
    let good = signed(&json!({}));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let body = rest.split_once('.').unwrap().1;
    for bad in [
        jws::write(&stranger, jws::ID_TOKEN, &claims(&json!({}))).unwrap(),
        format!("eyJhbGciOiJub25lIn0.{body}."),
        format!("eyJhbGciOiJIUzI1NiJ9.{body}.{signature}"),
        format!("{rest}.{}", &signature[..40]),
        format!("{rest}."),
        "x".to_owned(),
        ".".repeat(100_000),
    ] {
        assert_eq!(prove(&world, &bad, &[]), Err("invalid_client"), "{bad:.80}");
    }
}

/// O13.
#[test]
fn one_of_twenty_concurrent_uses_of_an_assertion_succeeds() {
    let world = World::new();
    let assertion = signed(&json!({}));
    let successes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| prove(&world, &assertion, &[])))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!(successes, 1);
    assert_eq!(prove(&world, &assertion, &[]), Err("invalid_client"), "and none later");
}

#[test]
fn records_of_expired_assertions_are_removed() {
    let world = World::new();
    prove(&world, &signed(&json!({})), &[]).unwrap();
    assert_eq!(world.oidc.sweep().unwrap(), 0);
    world.advance(11 * 60);
    assert_eq!(world.oidc.sweep().unwrap(), 1);
}

/// O14.
#[test]
fn a_secret_never_stands_in_for_an_assertion_nor_the_reverse() {
    let world = World::new();
    let assertion = signed(&json!({}));
    for changes in [
        &[
            ("client_assertion", "junk"),
            ("client_id", "robot"),
            ("client_secret", "s3cret"),
        ][..],
        &[("client_id", "robot"), ("client_secret", "s3cret")],
        &[
            ("client_assertion", ""),
            ("client_assertion_type", ""),
            ("client_id", "robot"),
            ("client_secret", ""),
        ],
        &[
            ("client_assertion", ""),
            ("client_assertion_type", ""),
            ("client_id", "robot"),
            ("client_secret", "x"),
        ],
        &[
            ("client_assertion", ""),
            ("client_id", "wiki"),
            ("client_secret", "s3cret"),
        ],
        &[("client_assertion_type", "")],
        &[(
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        )],
        &[("client_id", "wiki")],
    ] {
        assert_eq!(prove(&world, &assertion, changes), Err("invalid_client"), "{changes:?}");
    }
    let basic = "Basic d2lraTpzM2NyZXQ=";
    let form = with(
        &[
            ("client_assertion", "junk"),
            ("client_assertion_type", TYPE),
            ("token", "x"),
        ],
        &[],
    );
    assert_eq!(
        code_of(&world.oidc.introspect(Some(basic), &form).unwrap_err()),
        "invalid_client"
    );
}

#[test]
fn published_keys_are_fetched_on_demand_and_once_a_minute() {
    let world = World::new();
    let whose = json!({"iss": "publisher", "sub": "publisher", "exp": START.seconds() + 500});
    let with_jti = |jti: &str| {
        let mut whose = whose.clone();
        whose["jti"] = json!(jti);
        signed(&whose)
    };
    let looks = || world.outside.calls.lock().unwrap().len();
    assert_eq!(prove(&world, &with_jti("1"), &[]), Err("invalid_client"), "no answer");
    world
        .outside
        .answers(200, &json!({ "keys": [robot_key().jwk()] }).to_string());
    assert_eq!(
        (prove(&world, &with_jti("1"), &[]), looks()),
        (Err("invalid_client"), 1)
    );
    world.advance(60);
    assert_eq!((prove(&world, &with_jti("1"), &[]), looks()), (Ok(()), 2));
    assert_eq!(
        (prove(&world, &with_jti("2"), &[]), looks()),
        (Ok(()), 2),
        "known keys are cached"
    );
    world.advance(60);
    let unknown = SigningKey::read(Algorithm::Es256, &generate(Algorithm::Es256).unwrap()).unwrap();
    let stranger = jws::write(&unknown, jws::ID_TOKEN, &claims(&whose)).unwrap();
    for _ in 0..3 {
        assert_eq!((prove(&world, &stranger, &[]), looks()), (Err("invalid_client"), 3));
    }
    world.outside.answers(302, "");
    world.advance(60);
    assert_eq!((prove(&world, &stranger, &[]), looks()), (Err("invalid_client"), 4));
    assert_eq!(
        (prove(&world, &with_jti("3"), &[]), looks()),
        (Ok(()), 4),
        "an outage keeps the cached keys"
    );
}
