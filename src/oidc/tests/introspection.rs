//! Tests of token introspection.

use serde_json::{Value, json};

use super::super::fixtures::{START, World, code_of, with};

fn introspect(world: &World, token: &str, changes: &[(&str, &str)]) -> Result<Value, &'static str> {
    let form = [("client_id", "wiki"), ("client_secret", "s3cret"), ("token", token)];
    world
        .oidc
        .introspect(None, &with(&form, changes))
        .map(Value::Object)
        .map_err(|failure| code_of(&failure))
}

fn inactive() -> Value {
    json!({ "active": false })
}

#[test]
fn introspection_describes_valid_tokens_of_the_client() {
    let world = World::new();
    let tokens = world.tokens();
    let access = introspect(&world, &tokens.access_token, &[]).unwrap();
    assert_eq!(
        access,
        json!({
            "active": true, "scope": "openid email offline_access", "client_id": "wiki", "sub": "u1", "aud": "wiki",
            "iss": "https://id.example", "exp": START.seconds() + 600, "auth_time": START.seconds(),
            "token_type": "Bearer",
        })
    );
    let refresh = introspect(&world, &tokens.refresh_token.unwrap(), &[]).unwrap();
    assert_eq!((&refresh["active"], refresh.get("token_type")), (&json!(true), None));
    assert_eq!(refresh["exp"], json!(START.seconds() + 14 * 24 * 60 * 60));
}

#[test]
fn invalid_tokens_are_inactive_without_further_details() {
    let world = World::new();
    let tokens = world.tokens();
    let refresh_token = tokens.refresh_token.unwrap();
    for unknown in [
        "unknown",
        &tokens.access_token[..42],
        &tokens.id_token.unwrap(),
        &".".repeat(100_000),
    ] {
        assert_eq!(introspect(&world, unknown, &[]), Ok(inactive()));
    }
    world.advance(600);
    assert_eq!(introspect(&world, &tokens.access_token, &[]), Ok(inactive()));
    world.refresh(&refresh_token, &[]).unwrap();
    assert_eq!(introspect(&world, &refresh_token, &[]), Ok(inactive()), "it was used");
}

#[test]
fn tokens_of_inactive_users_are_inactive() {
    let world = World::new();
    let tokens = world.tokens();
    world.put_user(json!({ "userName": "alice", "active": false }));
    for token in [tokens.access_token, tokens.refresh_token.unwrap()] {
        assert_eq!(introspect(&world, &token, &[]), Ok(inactive()));
    }
}

#[test]
fn tokens_of_other_clients_are_inactive() {
    let world = World::new();
    let tokens = world.tokens();
    let other = [("client_id", "service"), ("client_secret", "s3rvice")];
    assert_eq!(introspect(&world, &tokens.access_token, &other), Ok(inactive()));
    assert_eq!(
        introspect(&world, &tokens.refresh_token.unwrap(), &other),
        Ok(inactive())
    );
}

#[test]
fn only_authenticated_clients_may_introspect() {
    let world = World::new();
    let token = world.tokens().access_token;
    for changes in [
        &[("client_secret", "wrong")][..],
        &[("client_secret", "")],
        &[("client_id", "phone"), ("client_secret", "")],
        &[("client_id", ""), ("client_secret", "")],
    ] {
        assert_eq!(
            introspect(&world, &token, changes),
            Err("invalid_client"),
            "{changes:?}"
        );
    }
    assert_eq!(introspect(&world, "", &[]), Err("invalid_request"));
}
