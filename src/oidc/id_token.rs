//! The claims of an ID token (OpenID Connect Core §2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::client::Client;
use crate::domain::Timestamp;
use crate::domain::login::AuthenticationClass;
use crate::storage::grants::Grant;
use crate::storage::random;

/// The client, grant and user that an ID token is issued for.
pub(super) struct IdTokenInput<'a> {
    pub(super) client: &'a Client,
    pub(super) grant: &'a Grant,
    /// The claims about the user that the scope of its access token requests.
    pub(super) about_user: Map<String, Value>,
}

/// Returns the claims of the ID token that is issued with an access token. Only the first one has the `nonce` (OpenID
/// Connect Core §12.2).
pub(super) fn claims(
    issuer: &str,
    about: IdTokenInput<'_>,
    access_token: &str,
    now: Timestamp,
    nonce: Option<&str>,
) -> Map<String, Value> {
    let IdTokenInput {
        client,
        grant,
        about_user: mut claims,
    } = about;
    for (name, value) in [
        ("iss", json!(issuer)),
        ("sub", json!(grant.user)),
        ("aud", json!(client.client_id)),
        ("exp", json!(now.plus(client.lifetimes.id_token).seconds())),
        ("iat", json!(now.seconds())),
        ("at_hash", json!(half_hash(access_token))),
        ("sid", json!(sid(&grant.session_hash))),
    ] {
        claims.insert(name.to_owned(), value);
    }
    if let Some(at) = grant.authenticated_at {
        claims.insert("auth_time".to_owned(), json!(at.seconds()));
    }
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), json!(nonce));
    }
    claims.insert("acr".to_owned(), json!(class(grant)));
    if !grant.amr.is_empty() {
        claims.insert("amr".to_owned(), json!(grant.amr));
    }
    claims
}

/// The classes of authentication (`acr`): with one factor, and with two. Their names are those of the REFEDS profiles, which
/// many applications know.
pub(super) const CLASSES: [&str; 2] = ["https://refeds.org/profile/sfa", "https://refeds.org/profile/mfa"];

/// Returns the class of a login by its methods (RFC 8176). Two factors are one as well, if that was asked for.
fn class(grant: &Grant) -> &'static str {
    let [one, two] = CLASSES;
    let has_two = grant.amr.iter().any(|method| method == "mfa");
    match grant.claims.acr {
        Some(AuthenticationClass::OneFactor) => one,
        _ if has_two => two,
        _ => one,
    }
}

/// Returns the `sid` of a session. Neither the cookie nor its stored hash can be derived from it.
pub(super) fn sid(session_hash: &str) -> String {
    random::fingerprint(&format!("sid:{session_hash}"))
}

/// Returns the left half of the SHA-256, which is `at_hash` for both algorithms (OpenID Connect Core §3.1.3.6).
fn half_hash(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, token.as_bytes()).as_ref()[..16])
}
