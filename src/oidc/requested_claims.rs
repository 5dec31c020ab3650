//! The parameters `claims` and `acr_values` of an authorization request (OpenID Connect Core §3.1.2.1, §5.5), without I/O.

use serde_json::{Map, Value};

use super::claims::CLAIMS;
use super::error::{ErrorCode, OAuthError};
use super::id_token::CLASSES;
use super::parameters::Parameters;
use crate::domain::ResourceId;
use crate::domain::login::{AuthenticationClass, RequestedClaims};

/// The longest accepted value of each parameter, in bytes.
const LONGEST: usize = 4096;
/// The longest accepted `sub`, in bytes.
const LONGEST_SUBJECT: usize = 255;

const MALFORMED: OAuthError =
    ErrorCode::InvalidRequest.because("claims must be a JSON object with the objects userinfo and id_token.");

/// The claims that a request asks for, and the only user whose login satisfies it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClaimsRequest {
    pub(super) claims: RequestedClaims,
    pub(super) subject: Option<ResourceId>,
}

/// Reads both parameters. What this server does not know is left out, as all requests for claims are wishes; but a class of
/// authentication that is called essential and unknown here is an error (§5.5.1.1).
pub(super) fn read(parameters: &Parameters<'_>) -> Result<ClaimsRequest, OAuthError> {
    let mut wished = limited(parameters, "acr_values")?.split_ascii_whitespace();
    let mut request = ClaimsRequest::default();
    request.claims.acr = wished.find_map(class);
    let text = limited(parameters, "claims")?;
    if text.is_empty() {
        return Ok(request);
    }
    let asked: Map<String, Value> = serde_json::from_str(text).map_err(|_| MALFORMED)?;
    request.claims.userinfo = known(members(&asked, "userinfo")?.keys());
    let of_id_token = members(&asked, "id_token")?;
    request.claims.id_token = known(of_id_token.keys());
    if let Some(asked) = of_id_token.get("acr") {
        let values = values(asked)?;
        let known = values.iter().copied().find_map(class);
        if known.is_none() && !values.is_empty() && asked.get("essential") == Some(&Value::Bool(true)) {
            return Err(ErrorCode::UnmetAuthenticationRequirements.because("No requested acr is known here."));
        }
        request.claims.acr = known.or(request.claims.acr);
    }
    let subjects = of_id_token.get("sub").map(values).transpose()?.unwrap_or_default();
    request.subject = match subjects[..] {
        [] => None,
        [one] if one.len() <= LONGEST_SUBJECT => Some(one.into()),
        _ => return Err(ErrorCode::InvalidRequest.because("claims may ask for one sub, of at most 255 bytes.")),
    };
    Ok(request)
}

fn limited<'a>(parameters: &Parameters<'a>, name: &str) -> Result<&'a str, OAuthError> {
    match parameters.get(name) {
        Some(value) if value.len() > LONGEST => Err(ErrorCode::InvalidRequest.because("A parameter is too long.")),
        value => Ok(value.unwrap_or_default()),
    }
}

/// Returns the claims that are asked for in one place, each with `null` or an object (§5.5.1).
fn members(asked: &Map<String, Value>, place: &str) -> Result<Map<String, Value>, OAuthError> {
    match asked.get(place) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) if members.values().all(|asked| asked.is_null() || asked.is_object()) => {
            Ok(members.clone())
        }
        Some(_) => Err(MALFORMED),
    }
}

/// Returns the claims among these that this server has, in its own order.
fn known<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let names: Vec<&String> = names.collect();
    let known = CLAIMS
        .into_iter()
        .filter(|claim| names.iter().any(|name| name == claim));
    known.map(str::to_owned).collect()
}

/// Returns the values that a claim may have (`value` or `values`), best first.
fn values(asked: &Value) -> Result<Vec<&str>, OAuthError> {
    let several = match asked.get("values") {
        None => &[][..],
        Some(Value::Array(several)) => several,
        Some(_) => return Err(MALFORMED),
    };
    let all = asked.get("value").into_iter().chain(several);
    all.map(|value| value.as_str().ok_or(MALFORMED)).collect()
}

fn class(name: &str) -> Option<AuthenticationClass> {
    let [one, two] = CLASSES;
    match name {
        _ if name == one => Some(AuthenticationClass::OneFactor),
        _ if name == two => Some(AuthenticationClass::TwoFactors),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<ClaimsRequest, OAuthError> {
        let pairs: Vec<(String, String)> = pairs.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        read(&Parameters::new(&pairs))
    }

    #[test]
    fn known_claims_are_taken_for_each_place() {
        let text = r#"{"userinfo": {"nickname": null, "unheard": null, "email": {"essential": true}},
                       "id_token": {"groups": {}, "auth_time": {"essential": true}}, "other": 1}"#;
        let claims = asked(&[("claims", text)]).unwrap().claims;
        assert_eq!(claims.userinfo, ["nickname", "email"]);
        assert_eq!(claims.id_token, ["groups"]);
        assert_eq!(claims.acr, None);
    }

    #[test]
    fn other_forms_are_malformed() {
        for text in [
            "x",
            "[]",
            "null",
            r#"{"userinfo": []}"#,
            r#"{"id_token": {"email": true}}"#,
        ] {
            assert_eq!(asked(&[("claims", text)]), Err(MALFORMED), "{text}");
        }
        assert_eq!(
            asked(&[("claims", r#"{"userinfo": null}"#)]),
            Ok(ClaimsRequest::default())
        );
        let long = "x".repeat(LONGEST + 1);
        for name in ["claims", "acr_values"] {
            assert_eq!(
                asked(&[(name, &long)]).unwrap_err().code,
                ErrorCode::InvalidRequest,
                "{name}"
            );
        }
    }

    #[test]
    fn first_known_class_is_asked_for() {
        let [one, two] = CLASSES;
        let class_of = |pairs: &[(&str, &str)]| asked(pairs).unwrap().claims.acr;
        assert_eq!(class_of(&[("acr_values", "urn:unheard")]), None);
        let both = format!("urn:unheard {two} {one}");
        assert_eq!(
            class_of(&[("acr_values", &both)]),
            Some(AuthenticationClass::TwoFactors)
        );
        let text = format!(r#"{{"id_token": {{"acr": {{"values": ["{one}", "{two}"]}}}}}}"#);
        assert_eq!(class_of(&[("claims", &text)]), Some(AuthenticationClass::OneFactor));
        let wish = r#"{"id_token": {"acr": {"value": "urn:unheard"}}}"#;
        assert_eq!(
            class_of(&[("claims", wish), ("acr_values", two)]),
            Some(AuthenticationClass::TwoFactors)
        );
    }

    #[test]
    fn essential_class_that_is_unknown_is_an_error() {
        let text = r#"{"id_token": {"acr": {"essential": true, "values": ["urn:unheard"]}}}"#;
        let error = asked(&[("claims", text)]).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnmetAuthenticationRequirements);
        for odd in [r#""value": 5"#, r#""values": "urn:x""#, r#""values": [5]"#] {
            let text = format!(r#"{{"id_token": {{"acr": {{"essential": true, {odd}}}}}}}"#);
            assert_eq!(asked(&[("claims", &text)]), Err(MALFORMED), "{odd}");
        }
        // Any class will do.
        assert!(asked(&[("claims", r#"{"id_token": {"acr": {"essential": true}}}"#)]).is_ok());
    }

    #[test]
    fn one_user_can_be_asked_for() {
        let text = r#"{"id_token": {"sub": {"value": "u1"}}}"#;
        assert_eq!(asked(&[("claims", text)]).unwrap().subject, Some("u1".into()));
        assert_eq!(
            asked(&[("claims", r#"{"id_token": {"sub": null}}"#)]).unwrap().subject,
            None
        );
        let long = "x".repeat(LONGEST_SUBJECT + 1);
        for other in ["5", r#""u1", "values": ["u2"]"#, &format!("\"{long}\"")] {
            let text = format!(r#"{{"id_token": {{"sub": {{"value": {other}}}}}}}"#);
            assert_eq!(
                asked(&[("claims", &text)]).unwrap_err().code,
                ErrorCode::InvalidRequest,
                "{other}"
            );
        }
    }
}
