//! Tests of the client credentials grant.

use serde_json::json;

use super::super::fixtures::{START, World, code_of, robot_key, with};
use super::super::token::TokenResponse;
use crate::jose::jws;
use crate::storage::{StorageError, random, scim_tokens};

/// Returns a form of the client `robot` with a new assertion.
fn form(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let now = START.seconds();
    let claims = json!({
        "iss": "robot", "sub": "robot", "aud": "https://id.example", "jti": random::token(), "exp": now + 600,
    });
    let assertion = jws::write(robot_key(), jws::ID_TOKEN, claims.as_object().unwrap()).unwrap();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    with(
        &[("client_assertion_type", kind), ("client_assertion", &assertion)],
        more,
    )
}

fn ask(world: &World, more: &[(&str, &str)]) -> Result<TokenResponse, &'static str> {
    let more = [&[("grant_type", "client_credentials")], more].concat();
    world
        .oidc
        .token(None, &form(&more))
        .map_err(|failure| code_of(&failure))
}

#[test]
fn a_client_gets_a_token_of_its_service_provider() {
    let world = World::new();
    let tokens = ask(&world, &[]).unwrap();
    assert_eq!((tokens.scope.as_str(), tokens.expires_in), ("scim", 600));
    assert_eq!((tokens.refresh_token, tokens.id_token), (None, None));
    let hash = random::fingerprint(&tokens.access_token);
    let stored = world
        .database
        .read::<_, StorageError>(|connection| scim_tokens::find(connection, &hash))
        .unwrap()
        .unwrap();
    assert_eq!(stored.service_provider.as_str(), "robot");
    assert!(stored.is_good(START) && !stored.is_good(START.plus(std::time::Duration::from_mins(10))));
    assert_eq!(
        world.userinfo(&tokens.access_token),
        Err("invalid_token"),
        "it has no user"
    );
}

#[test]
fn client_credentials_support_only_the_scope_scim() {
    let world = World::new();
    assert!(ask(&world, &[("scope", "scim")]).is_ok());
    for scope in ["openid", "scim openid", "scim scim", "SCIM", "offline_access"] {
        assert_eq!(
            ask(&world, &[("scope", scope)]).unwrap_err(),
            "invalid_scope",
            "{scope}"
        );
    }
}

#[test]
fn clients_without_client_credentials_get_no_token() {
    let world = World::new();
    for client in [
        &[("client_id", "wiki"), ("client_secret", "s3cret")][..],
        &[("client_id", "phone")],
    ] {
        let form = [client, &[("grant_type", "client_credentials")]].concat();
        let refused = world.oidc.token(None, &with(&form, &[])).unwrap_err();
        assert_eq!(code_of(&refused), "unauthorized_client");
    }
    let form = with(&[("client_id", "robot"), ("grant_type", "client_credentials")], &[]);
    assert_eq!(code_of(&world.oidc.token(None, &form).unwrap_err()), "invalid_client");
}

#[test]
fn only_its_client_introspects_and_revokes_a_scim_token() {
    let world = World::new();
    let token = ask(&world, &[]).unwrap().access_token;
    let own = |world: &World| world.oidc.introspect(None, &form(&[("token", &token)])).unwrap();
    assert_eq!(
        serde_json::Value::Object(own(&world)),
        json!({
            "active": true, "scope": "scim", "client_id": "robot", "iss": "https://id.example",
            "iat": START.seconds(), "exp": START.seconds() + 600, "token_type": "Bearer",
        })
    );
    let other = with(
        &[("client_id", "wiki"), ("client_secret", "s3cret"), ("token", &token)],
        &[],
    );
    assert_eq!(world.oidc.introspect(None, &other).unwrap()["active"], false);
    world.oidc.revoke(None, &other).unwrap();
    assert_eq!(own(&world)["active"], true);
    world.oidc.revoke(None, &form(&[("token", &token)])).unwrap();
    assert_eq!(own(&world)["active"], false);
}

#[test]
fn expired_client_tokens_are_removed_and_others_stay() {
    let world = World::new();
    ask(&world, &[]).unwrap();
    let make = |connection: &mut _| Ok(scim_tokens::create(connection, &"wiki".into(), START, START)?);
    world.database.write::<_, StorageError>(make).unwrap();
    let list = || {
        let list = world.database.read::<_, StorageError>(scim_tokens::list);
        list.unwrap().len()
    };
    assert_eq!(list(), 1, "only tokens that administrators created are listed");
    world.advance(600);
    assert_eq!(world.oidc.sweep().unwrap(), 1);
    assert_eq!(list(), 1);
}
