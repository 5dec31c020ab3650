//! Validates ID tokens (OpenID Connect Core §3.1.3.7). Every defect has its own code for the audit.
//!
//! The openidconnect crate checks signatures and keys. Claims are read as plain JSON, because the types of the crate
//! reject a whole token over an optional claim of another shape, and accept the string `"true"` for a verified e-mail
//! in lenient mode.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Algorithm};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash, JsonWebKey, JsonWebKeyAlgorithm,
    JsonWebKeyUse,
};
use serde_json::{Map, Value};

use crate::domain::Timestamp;
use crate::storage::random;

/// Accepted clock skew, in seconds.
const SKEW: f64 = 60.0;
/// Longest subject, in bytes (OpenID Connect Core §2).
pub(crate) const LONGEST_SUBJECT: usize = 255;
/// Accepted signature algorithms. No shared secrets: a client secret is easier to guess than a key.
pub(crate) const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EdDsa,
    Algorithm::RsaSsaPssSha256,
];

/// A defect of an ID token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TokenDefect {
    #[error("it is missing")]
    Missing,
    #[error("it is not a JWT")]
    Malformed,
    #[error("its header has keys, critical extensions or another type")]
    Header,
    #[error("its algorithm is not allowed")]
    Algorithm,
    #[error("no published key fits it")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("iss is another issuer")]
    Issuer,
    #[error("aud does not name our client_id")]
    Audience,
    #[error("azp is another client or missing")]
    AuthorizedParty,
    #[error("exp is in the past or missing")]
    Expired,
    #[error("nbf is in the future")]
    NotYetValid,
    #[error("iat is in the future or missing")]
    IssuedAt,
    #[error("nonce is another login's or missing")]
    Nonce,
    #[error("at_hash is of another access token")]
    AccessTokenHash,
    #[error("c_hash is of another code")]
    CodeHash,
    #[error("sub is empty, too long or not a text")]
    Subject,
    #[error("tid is not a GUID, or its tenant is not allowed")]
    Tenant,
    #[error("hd is another domain or missing")]
    HostedDomain,
    #[error("the userinfo is about another sub")]
    UserinfoSubject,
}

impl TokenDefect {
    /// Returns a stable code for logs and audits.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "id_token_missing",
            Self::Malformed => "id_token_malformed",
            Self::Header => "id_token_header",
            Self::Algorithm => "id_token_alg",
            Self::UnknownKey => "id_token_kid",
            Self::Signature => "id_token_signature",
            Self::Issuer => "id_token_iss",
            Self::Audience => "id_token_aud",
            Self::AuthorizedParty => "id_token_azp",
            Self::Expired => "id_token_exp",
            Self::NotYetValid => "id_token_nbf",
            Self::IssuedAt => "id_token_iat",
            Self::Nonce => "id_token_nonce",
            Self::AccessTokenHash => "id_token_at_hash",
            Self::CodeHash => "id_token_c_hash",
            Self::Subject => "id_token_sub",
            Self::Tenant => "id_token_tid",
            Self::HostedDomain => "id_token_hd",
            Self::UserinfoSubject => "userinfo_sub",
        }
    }
}

/// The values that a token must match.
pub(crate) struct Expected<'a> {
    /// The issuer that was asked.
    pub issuer: &'a str,
    /// Our `client_id` there.
    pub client_id: &'a str,
    /// The nonce of this login.
    pub nonce: &'a str,
    /// The code that was exchanged.
    pub code: &'a str,
    /// The access token that came along.
    pub access_token: &'a str,
    /// The time now.
    pub now: Timestamp,
}

/// A parsed token, not verified yet.
pub(crate) struct IdToken<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl<'a> IdToken<'a> {
    /// Parses a token and rejects what no key could make valid. `allowed` are the algorithms of the issuer.
    pub(crate) fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, TokenDefect> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenDefect::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenDefect::Malformed)?;
        let header = object(header)?;
        let algorithm = header.get("alg").cloned().ok_or(TokenDefect::Algorithm)?;
        let algorithm: Algorithm = serde_json::from_value(algorithm).map_err(|_| TokenDefect::Algorithm)?;
        if !ALGORITHMS.contains(&algorithm) || !allowed.contains(&algorithm) {
            return Err(TokenDefect::Algorithm);
        }
        let typed = match header.get("typ") {
            None => true,
            Some(Value::String(kind)) => kind.eq_ignore_ascii_case("JWT"),
            Some(_) => false,
        };
        if !typed
            || ["jwk", "jku", "x5u", "crit"]
                .iter()
                .any(|name| header.contains_key(*name))
        {
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

    /// Returns the claims, if one of the issuer's keys verifies the signature and all values match.
    ///
    /// [`TokenDefect::UnknownKey`] means that newly fetched keys may help.
    pub(crate) fn verify(
        &self,
        keys: &CoreJsonWebKeySet,
        expected: &Expected<'_>,
    ) -> Result<Map<String, Value>, TokenDefect> {
        let key = self.signer(keys)?;
        check_claims(&self.claims, expected)?;
        let access_token = AccessToken::new(expected.access_token.to_owned());
        let hash =
            AccessTokenHash::from_token(&access_token, &self.algorithm, key).map_err(|_| TokenDefect::Algorithm)?;
        check_hash(self.claims.get("at_hash"), hash.as_str(), TokenDefect::AccessTokenHash)?;
        let code = AuthorizationCode::new(expected.code.to_owned());
        let hash = AuthorizationCodeHash::from_code(&code, &self.algorithm, key).map_err(|_| TokenDefect::Algorithm)?;
        check_hash(self.claims.get("c_hash"), hash.as_str(), TokenDefect::CodeHash)?;
        Ok(self.claims.clone())
    }

    /// Returns the key that verifies the signature.
    fn signer<'k>(&self, keys: &'k CoreJsonWebKeySet) -> Result<&'k CoreJsonWebKey, TokenDefect> {
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
        candidates
            .find(|key| {
                key.verify_signature(&self.algorithm, self.signed.as_bytes(), &self.signature)
                    .is_ok()
            })
            .ok_or(defect)
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

/// Returns the subject of verified claims: `sub`, or another claim that is as stable.
pub fn subject<'c>(claims: &'c Map<String, Value>, claim: &str) -> Result<&'c str, TokenDefect> {
    match claims.get(claim) {
        Some(Value::String(subject))
            if !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control) =>
        {
            Ok(subject)
        }
        _ => Err(TokenDefect::Subject),
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenDefect> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenDefect::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenDefect::Malformed)
}

fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), TokenDefect> {
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(TokenDefect::Issuer);
    }
    check_audience(claims, expected.client_id)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay exact for 285,000 years")]
    let now = expected.now.0 as f64 / 1000.0;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    if !time("exp").is_some_and(|expiry| expiry + SKEW > now) {
        return Err(TokenDefect::Expired);
    }
    if claims.contains_key("nbf") && !time("nbf").is_some_and(|start| start <= now + SKEW) {
        return Err(TokenDefect::NotYetValid);
    }
    if !time("iat").is_some_and(|issued| issued <= now + SKEW) {
        return Err(TokenDefect::IssuedAt);
    }
    match claims.get("nonce") {
        Some(Value::String(nonce)) if random::equal(nonce, expected.nonce) => {}
        _ => return Err(TokenDefect::Nonce),
    }
    subject(claims, "sub").map(|_| ())
}

/// Checks that `aud` names us, and, if it names others too, that `azp` is our client.
fn check_audience(claims: &Map<String, Value>, client_id: &str) -> Result<(), TokenDefect> {
    let audience: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(TokenDefect::Audience)?,
        _ => return Err(TokenDefect::Audience),
    };
    if !audience.contains(&client_id) {
        return Err(TokenDefect::Audience);
    }
    match claims.get("azp") {
        Some(Value::String(party)) if party == client_id => Ok(()),
        None if audience.len() == 1 => Ok(()),
        _ => Err(TokenDefect::AuthorizedParty),
    }
}

fn check_hash(claimed: Option<&Value>, actual: &str, defect: TokenDefect) -> Result<(), TokenDefect> {
    match claimed {
        None => Ok(()),
        Some(Value::String(claimed)) if random::equal(claimed, actual) => Ok(()),
        Some(_) => Err(defect),
    }
}
