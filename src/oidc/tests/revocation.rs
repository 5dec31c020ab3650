//! Tests of token revocation.

use super::super::ClientFailure;
use super::super::fixtures::{World, pairs};

fn revoke(world: &World, fields: &[(&str, &str)]) -> Result<(), &'static str> {
    world
        .oidc
        .revoke(None, &pairs(fields))
        .map_err(|failure| match failure {
            ClientFailure::Refused(error) => error.code.as_str(),
            ClientFailure::Failed(error) => panic!("{error}"),
        })
}

fn revoke_of_wiki(world: &World, token: &str) -> Result<(), &'static str> {
    revoke(
        world,
        &[("client_id", "wiki"), ("client_secret", "s3cret"), ("token", token)],
    )
}

#[test]
fn revoking_a_refresh_token_revokes_the_grant() {
    let world = World::new();
    let tokens = world.tokens();
    let refresh_token = tokens.refresh_token.unwrap();
    assert_eq!(revoke_of_wiki(&world, &refresh_token), Ok(()));
    assert_eq!(world.refresh(&refresh_token, &[]).unwrap_err(), "invalid_grant");
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
}

#[test]
fn revoking_an_access_token_keeps_the_refresh_token() {
    let world = World::new();
    let tokens = world.tokens();
    assert_eq!(revoke_of_wiki(&world, &tokens.access_token), Ok(()));
    assert_eq!(world.userinfo(&tokens.access_token), Err("invalid_token"));
    assert!(world.refresh(&tokens.refresh_token.unwrap(), &[]).is_ok());
}

#[test]
fn revoking_an_unknown_token_succeeds() {
    let world = World::new();
    assert_eq!(revoke_of_wiki(&world, "unknown"), Ok(()));
    assert_eq!(revoke_of_wiki(&world, ""), Err("invalid_request"));
}

#[test]
fn no_client_revokes_the_tokens_of_another() {
    let world = World::new();
    let tokens = world.tokens();
    let refresh_token = tokens.refresh_token.unwrap();
    assert_eq!(
        revoke(&world, &[("client_id", "phone"), ("token", &refresh_token)]),
        Err("invalid_grant")
    );
    assert_eq!(
        revoke(&world, &[("client_id", "wiki"), ("token", &refresh_token)]),
        Err("invalid_client")
    );
    assert!(world.userinfo(&tokens.access_token).is_ok());
    assert!(world.refresh(&refresh_token, &[]).is_ok());
}
