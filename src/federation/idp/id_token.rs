//! Validates ID tokens (OpenID Connect Core §3.1.3.7). Every defect has its own code for the audit.
//!
//! Claims are read as plain JSON, because the types of the openidconnect crate reject a whole token over an optional claim
//! of another shape, and accept the string `"true"` for a verified e-mail in lenient mode.

use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::{AccessToken, AccessTokenHash, AuthorizationCode, AuthorizationCodeHash};
use serde_json::{Map, Value};

use super::jws::SignedToken;
use crate::domain::Timestamp;
use crate::storage::random;

/// Accepted clock skew, in seconds.
const SKEW: f64 = 60.0;
/// Longest subject, in bytes (OpenID Connect Core §2).
pub(crate) const LONGEST_SUBJECT: usize = 255;
/// A defect of an ID token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TokenDefect {
    #[error("it is missing")]
    Missing,
    #[error("it is not a JWT")]
    Malformed,
    #[error("its header has critical extensions, or the type of another kind of token")]
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
    #[error("the userinfo is not signed for us by the issuer")]
    Userinfo,
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
            Self::Userinfo => "userinfo_signature",
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

/// Returns the claims of an ID token, if one of the issuer's keys verifies the signature and all values match.
///
/// [`TokenDefect::UnknownKey`] means that newly fetched keys may help.
pub(crate) fn verify(
    token: &SignedToken<'_>,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Map<String, Value>, TokenDefect> {
    let (claims, key) = token.verify(keys)?;
    check_claims(claims, expected)?;
    let access_token = AccessToken::new(expected.access_token.to_owned());
    let hash = AccessTokenHash::from_token(&access_token, token.algorithm(), key);
    let hash = hash.map_err(|_| TokenDefect::Algorithm)?;
    check_hash(claims.get("at_hash"), hash.as_str(), TokenDefect::AccessTokenHash)?;
    let code = AuthorizationCode::new(expected.code.to_owned());
    let hash = AuthorizationCodeHash::from_code(&code, token.algorithm(), key);
    let hash = hash.map_err(|_| TokenDefect::Algorithm)?;
    check_hash(claims.get("c_hash"), hash.as_str(), TokenDefect::CodeHash)?;
    Ok(claims.clone())
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

/// Checks the claims of a signed userinfo answer (OpenID Connect Core §5.3.2): `iss` and `aud` are optional, but name the
/// issuer and us if they are there.
pub(crate) fn check_userinfo(
    claims: &Map<String, Value>,
    (issuer, client_id): (&str, &str),
    now: Timestamp,
) -> Result<(), TokenDefect> {
    let is_issuer = claims.get("iss").is_none_or(|iss| iss == issuer);
    let is_for_us = match claims.get("aud") {
        None => true,
        Some(Value::String(one)) => one == client_id,
        Some(Value::Array(several)) => several.iter().any(|one| one == client_id),
        Some(_) => false,
    };
    let is_current = match claims.get("exp") {
        None => true,
        Some(expiry) => expiry.as_f64().is_some_and(|expiry| expiry + SKEW > seconds(now)),
    };
    if is_issuer && is_for_us && is_current {
        Ok(())
    } else {
        Err(TokenDefect::Userinfo)
    }
}

fn seconds(time: Timestamp) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds stay exact for 285,000 years")]
    let milliseconds = time.0 as f64;
    milliseconds / 1000.0
}

fn check_claims(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), TokenDefect> {
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(TokenDefect::Issuer);
    }
    check_audience(claims, expected.client_id)?;
    let now = seconds(expected.now);
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
