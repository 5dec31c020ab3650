//! Signs, parses and verifies JWTs in JWS compact serialization (RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::signing_key::{BadKey, SigningKey};

/// The longest token that is parsed, in bytes.
const LONGEST: usize = 16 * 1024;

/// The `typ` headers of tokens (RFC 8725 §3.11), so that a token of one type is not accepted as another.
pub(crate) const ID_TOKEN: &str = "JWT";
pub(crate) const LOGOUT_TOKEN: &str = "logout+jwt";

/// Returns a token with signed claims.
pub(crate) fn write(key: &SigningKey, kind: &str, claims: &Map<String, Value>) -> Result<String, BadKey> {
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
pub(crate) struct Compact<'a> {
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
    /// The part that the signature covers.
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(crate) fn read(token: &'a str) -> Option<Self> {
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
