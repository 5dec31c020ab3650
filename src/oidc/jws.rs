//! Signs, parses and verifies JWTs in JWS compact serialization (RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::keys::KeySet;
use super::signing_key::{BadKey, SigningKey};

/// The longest token that is parsed, in bytes.
const LONGEST: usize = 16 * 1024;

/// The `typ` headers of tokens (RFC 8725 §3.11), so that a token of one type is not accepted as another.
pub(super) const ID_TOKEN: &str = "JWT";
pub(super) const LOGOUT_TOKEN: &str = "logout+jwt";

/// Returns a token with signed claims.
pub(super) fn write(key: &SigningKey, kind: &str, claims: &Map<String, Value>) -> Result<String, BadKey> {
    let header = json!({ "alg": key.algorithm().name(), "kid": key.kid(), "typ": kind });
    let claims = serde_json::to_vec(claims).map_err(|_| BadKey)?;
    let signed = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A parsed token, before any verification.
pub(super) struct Compact<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// The part that the signature covers.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(super) fn read(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

/// Returns the claims of an ID token that one of this server's keys signed. Its times and its audience are not checked.
pub(super) fn read(keys: &KeySet, token: &str) -> Option<Map<String, Value>> {
    let token = Compact::read(token)?;
    let key = keys.by_kid(token.header.get("kid")?.as_str()?)?;
    // The key determines the algorithm; the header must agree.
    let genuine = *token.header.get("typ")? == ID_TOKEN
        && *token.header.get("alg")? == key.algorithm().name()
        && key.verify(token.signed.as_bytes(), &token.signature);
    genuine.then_some(token.claims)
}
