//! Signed tokens of an issuer (RFC 7515): parsed, and verified with its published keys.
//!
//! The openidconnect crate verifies all signatures but those on the curve P-521.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Algorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyUse};
use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use serde_json::{Map, Value};

use super::id_token::TokenDefect;

/// Accepted signature algorithms. No shared secrets: a client secret is easier to guess than a key.
pub(crate) const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EcdsaP521Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EdDsa,
];
/// Types of tokens that an issuer signs for other purposes (RFC 8725 §3.11).
const OTHER_TYPES: [&str; 8] = [
    "at+jwt",
    "logout+jwt",
    "dpop+jwt",
    "secevent+jwt",
    "oauth-authz-req+jwt",
    "token-introspection+jwt",
    "entity-statement+jwt",
    "client-authentication+jwt",
];

/// A parsed token, not verified yet.
pub(crate) struct SignedToken<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl<'a> SignedToken<'a> {
    /// Parses a token and rejects what no key could make valid. `allowed` are the algorithms of the issuer. Header
    /// parameters that need not be understood are ignored (RFC 7515 §4); keys that the header names are never used.
    pub(crate) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, TokenDefect> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenDefect::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenDefect::Malformed)?;
        let header = object(header)?;
        let algorithm = header.get("alg").cloned().ok_or(TokenDefect::Algorithm)?;
        let algorithm: Algorithm = serde_json::from_value(algorithm).map_err(|_| TokenDefect::Algorithm)?;
        if !ALGORITHMS.contains(&algorithm) || !allowed.contains(&algorithm) {
            return Err(TokenDefect::Algorithm);
        }
        if !header.get("typ").is_none_or(may_be_identity) || header.contains_key("crit") {
            return Err(TokenDefect::Header);
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(TokenDefect::Header),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenDefect::Malformed)?;
        Ok(Self {
            signed,
            signature,
            algorithm,
            key_id,
            claims: object(payload)?,
        })
    }

    /// Returns the unverified claims.
    pub(crate) fn unverified(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Returns the algorithm of the signature.
    pub(crate) fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// Returns the claims and the key that verifies the signature.
    pub(crate) fn verify<'k>(
        &self,
        keys: &'k CoreJsonWebKeySet,
    ) -> Result<(&Map<String, Value>, &'k CoreJsonWebKey), TokenDefect> {
        let mut candidates = keys.keys().iter().filter(|key| self.fits(key)).peekable();
        if candidates.peek().is_none() {
            return Err(TokenDefect::UnknownKey);
        }
        // Without a `kid`, the right key may be one that is not fetched yet.
        let defect = if self.key_id.is_some() {
            TokenDefect::Signature
        } else {
            TokenDefect::UnknownKey
        };
        let key = candidates.find(|key| self.is_signed_with(key)).ok_or(defect)?;
        Ok((&self.claims, key))
    }

    fn is_signed_with(&self, key: &CoreJsonWebKey) -> bool {
        let message = self.signed.as_bytes();
        if self.algorithm == Algorithm::EcdsaP521Sha512 {
            let signature = Signature::from_slice(&self.signature).ok();
            let key = p521_key(key);
            return key
                .zip(signature)
                .is_some_and(|(key, signature)| key.verify(message, &signature).is_ok());
        }
        key.verify_signature(&self.algorithm, message, &self.signature).is_ok()
    }

    fn fits(&self, key: &CoreJsonWebKey) -> bool {
        let named = match (&self.key_id, key.key_id()) {
            (Some(wanted), Some(id)) => wanted == id.as_str(),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let for_algorithm = match key.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(algorithm) => *algorithm == self.algorithm,
            JsonWebKeyAlgorithm::Unspecified => true,
            JsonWebKeyAlgorithm::Unsupported => false,
        };
        named && for_algorithm && key.key_use().is_none_or(JsonWebKeyUse::allows_signature)
    }
}

/// Whether a token of this type can be about who somebody is.
fn may_be_identity(kind: &Value) -> bool {
    let Value::String(kind) = kind else {
        return false;
    };
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    !OTHER_TYPES.contains(&kind)
}

/// Returns a key on the curve P-521 (RFC 7518 §6.2.1): its coordinates, 66 bytes each.
fn p521_key(key: &CoreJsonWebKey) -> Option<VerifyingKey> {
    let key = serde_json::to_value(key).ok()?;
    if key.get("crv")? != "P-521" {
        return None;
    }
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok();
    let point = [vec![0x04], coordinate("x")?, coordinate("y")?].concat();
    VerifyingKey::from_sec1_bytes(&point).ok()
}

fn object(part: &str) -> Result<Map<String, Value>, TokenDefect> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenDefect::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenDefect::Malformed)
}
