//! Login through a plain OAuth 2.0 provider: its API returns the claims for the access token.
//!
//! There is no ID token: `state`, PKCE and the connection to the provider bind the answer to the login.

use openidconnect::http::{StatusCode, header};
use openidconnect::{HttpResponse, PkceCodeChallenge, PkceCodeVerifier};
use ring::hmac;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::calls::{self, Exchange, PendingAuthorization};
use super::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError,
    RequestOptions,
};
use crate::domain::Secret;
use crate::federation::idp::claim::lookup;
use crate::federation::idp::id_token::LONGEST_SUBJECT;
use crate::http_client::{HttpClient, HttpError, HttpSettings};

/// Our client registration at an OAuth 2.0 provider, and how to read the user from its API.
#[derive(Clone, Debug)]
pub(crate) struct OAuth2Settings {
    /// Issuer name in links; nothing is fetched from it.
    pub issuer: String,
    /// Our `client_id` there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Secret>,
    /// Scopes to request.
    pub scopes: Vec<String>,
    /// Whether it may be on a private network and speak plain `http`.
    pub allow_private_network: bool,
    /// The parameters of its authorization requests.
    pub request: RequestOptions,
    /// Its endpoints, and how its answers are read.
    pub rules: OAuth2Rules,
}

/// Endpoints of an OAuth 2.0 provider, and how its answers are read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2Rules {
    /// Authorization endpoint (RFC 6749 §3.1).
    pub authorization: Url,
    /// Token endpoint (RFC 6749 §3.2).
    pub token: Url,
    /// Endpoint that returns the user's claims.
    pub userinfo: Url,
    /// The claim that is the stable subject.
    pub subject: String,
    /// Claim that is `true` if `email` is verified; `None` if the provider has no such claim.
    #[serde(default)]
    pub verified_claim: Option<String>,
    /// Further calls with the access token.
    #[serde(default)]
    pub calls: Vec<FurtherCall>,
    /// The claim that lists addresses as `{"email", "primary", "verified"}`. The primary one becomes `email`.
    #[serde(default)]
    pub email_list: Option<String>,
    /// Whether it supports PKCE (RFC 7636).
    pub pkce: bool,
    /// Whether the client secret goes into the request body.
    pub secret_in_body: bool,
    /// Whether each call carries a proof of the client secret, as Facebook's Graph API takes it (`appsecret_proof`).
    pub secret_proof: bool,
}

/// A further call whose answer becomes one claim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurtherCall {
    /// Endpoint to call.
    pub endpoint: Url,
    /// The claim that the answer becomes.
    pub claim: String,
}

/// An OAuth 2.0 provider.
pub(crate) struct OAuth2Provider {
    settings: OAuth2Settings,
    client: HttpClient,
}

impl OAuth2Provider {
    /// Creates the provider. Nothing is fetched before the first login.
    pub(crate) fn new(settings: OAuth2Settings) -> Result<Self, HttpError> {
        let client = HttpClient::new(HttpSettings::new(settings.allow_private_network))?;
        let rules = &settings.rules;
        let further = rules.calls.iter().map(|call| &call.endpoint);
        for url in [&rules.authorization, &rules.token, &rules.userinfo]
            .into_iter()
            .chain(further)
        {
            client.check(url)?;
        }
        Ok(Self { settings, client })
    }

    fn exchange(&self, code: &str, pending: &PendingAuthorization) -> Result<String, ProviderError> {
        let rules = &self.settings.rules;
        let exchange = Exchange {
            endpoint: &rules.token,
            client_id: &self.settings.client_id,
            client_secret: self.settings.client_secret.as_ref(),
            secret_in_body: rules.secret_in_body,
            code,
            pending,
            pkce: rules.pkce,
        };
        access_token(&exchange.send(&self.client)?)
    }

    fn ask(&self, endpoint: &Url, access_token: &str) -> Result<Value, ProviderError> {
        let mut url = endpoint.clone();
        if let Some(secret) = self
            .settings
            .client_secret
            .as_ref()
            .filter(|_| self.settings.rules.secret_proof)
        {
            url.query_pairs_mut()
                .append_pair("appsecret_proof", &secret_proof(secret, access_token));
        }
        calls::ask(&self.client, &url, access_token)
    }

    /// Returns the claims of the token's holder from all configured endpoints.
    fn claims(&self, access_token: &str) -> Result<Map<String, Value>, ProviderError> {
        let rules = &self.settings.rules;
        let Value::Object(mut claims) = self.ask(&rules.userinfo, access_token)? else {
            return Err(unusable("its userinfo is not a JSON object"));
        };
        for call in &rules.calls {
            let answer = self.ask(&call.endpoint, access_token)?;
            claims.insert(call.claim.clone(), answer);
        }
        judge_email(
            &mut claims,
            rules.email_list.as_deref(),
            rules.verified_claim.as_deref(),
        );
        Ok(claims)
    }
}

impl IdentityProvider for OAuth2Provider {
    fn begin(&self, callback: &Url, hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        let pending = PendingAuthorization::new(&self.settings.issuer, callback);
        let mut url = self.settings.rules.authorization.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", callback.as_str())
            .append_pair("state", &pending.state);
        if !self.settings.scopes.is_empty() {
            query.append_pair("scope", &self.settings.scopes.join(" "));
        }
        if self.settings.rules.pkce {
            let verifier = PkceCodeVerifier::new(pending.verifier.clone());
            let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
            query
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", "S256");
        }
        if let Some(login) = &hint.login {
            // GitHub's name for `login_hint`; other providers ignore it.
            query.append_pair("login", login);
        }
        for (name, value) in self.settings.request.parameters(&LoginHint::default()) {
            query.append_pair(name, &value);
        }
        drop(query);
        Ok(AuthorizationStart {
            redirect: url,
            state: LoginSecret::new(pending),
        })
    }

    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool {
        calls::carry_state(parameters, state)
    }

    fn finish(&self, parameters: &CallbackParameters, state: &LoginSecret) -> Result<Identity, ProviderError> {
        let pending: PendingAuthorization = state.read()?;
        let issuer = &self.settings.issuer;
        if pending.issuer != *issuer || parameters.get("iss").is_some_and(|iss| iss != issuer) {
            return Err(ProviderError::MixUp);
        }
        if let Some(error) = parameters.get("error") {
            return Err(ProviderError::from_code(error));
        }
        let code = parameters.get("code").filter(|code| !code.is_empty());
        let access_token = self.exchange(code.ok_or(ProviderError::NoCode)?, &pending)?;
        let claims = self.claims(&access_token)?;
        let subject = subject(&claims, &self.settings.rules.subject).ok_or(ProviderError::NoSubject)?;
        Ok(Identity {
            issuer: issuer.clone(),
            subject,
            claims,
            token: None,
        })
    }
}

/// Reads the access token from a JSON or form-encoded answer. An error can come with any status, even 200 (GitHub).
fn access_token(response: &HttpResponse) -> Result<String, ProviderError> {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_form = content_type.and_then(|value| value.to_str().ok()).is_some_and(|kind| {
        kind.to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
    });
    let body: Map<String, Value> = if is_form {
        let pairs = form_urlencoded::parse(response.body());
        pairs
            .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
            .collect()
    } else {
        serde_json::from_slice(response.body()).map_err(|_| calls::refusal(response))?
    };
    match body.get("error") {
        None => {}
        Some(Value::String(code)) => return Err(ProviderError::from_code(code)),
        // Facebook's error is an object. Its message is third-party text and is never shown.
        Some(_) => return Err(ProviderError::from_code("")),
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if response.status() != StatusCode::OK {
        return Err(calls::refusal(response));
    }
    let token = text("access_token").ok_or_else(|| unusable("its answer holds no access token"))?;
    calls::must_be_bearer(text("token_type").unwrap_or_default())?;
    Ok(token.to_owned())
}

/// Returns the stable subject: a string, or an integer as a string.
fn subject(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    let subject = match lookup(claims, claim)? {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    let good = !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.chars().any(char::is_control);
    good.then_some(subject)
}

/// Sets `email` and `email_verified`. Only an explicit statement of the provider verifies an address, since a public
/// profile may show any address.
fn judge_email(claims: &mut Map<String, Value>, list: Option<&str>, verified_claim: Option<&str>) {
    let verified = if let Some(list) = list {
        let primary = primary_address(claims.get(list));
        claims.remove("email");
        primary.is_some_and(|(address, verified)| {
            claims.insert("email".to_owned(), address.into());
            verified
        })
    } else {
        verified_claim.and_then(|name| lookup(claims, name)) == Some(&Value::Bool(true))
    };
    claims.remove("email_verified");
    if claims.contains_key("email") {
        claims.insert("email_verified".to_owned(), verified.into());
    }
}

/// Returns the primary address of a list such as GitHub's `/user/emails`, and whether it is verified.
fn primary_address(list: Option<&Value>) -> Option<(String, bool)> {
    let is = |entry: &Value, name: &str| entry.get(name) == Some(&Value::Bool(true));
    let primary = list?.as_array()?.iter().find(|entry| is(entry, "primary"))?;
    let address = primary.get("email")?.as_str()?;
    Some((address.to_owned(), is(primary, "verified")))
}

/// Returns Facebook's proof of possession of the client secret: HMAC-SHA-256 of the token, in hexadecimal digits.
fn secret_proof(secret: &Secret, access_token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, access_token.as_bytes());
    let digits = tag.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn unusable(what: &str) -> ProviderError {
    ProviderError::Unusable(what.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        map
    }

    fn answer(status: u16, kind: &str, body: &str) -> Result<String, ProviderError> {
        let response = openidconnect::http::Response::builder()
            .status(status)
            .header("content-type", kind);
        access_token(&response.body(body.as_bytes().to_vec()).unwrap())
    }

    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
    const JSON: &str = "application/json; charset=utf-8";

    #[test]
    fn a_token_comes_as_json_or_as_a_form() {
        let json = r#"{"access_token":"gho_1","scope":"user:email","token_type":"bearer"}"#;
        assert_eq!(answer(200, JSON, json).unwrap(), "gho_1");
        let form = "access_token=gho_2&scope=user%3Aemail&token_type=bearer";
        assert_eq!(answer(200, FORM, form).unwrap(), "gho_2");
    }

    #[test]
    fn an_error_with_status_200_is_an_error() {
        for (kind, body) in [
            (
                JSON,
                r#"{"error":"bad_verification_code","access_token":"x","token_type":"bearer"}"#,
            ),
            (FORM, "error=bad_verification_code&access_token=x&token_type=bearer"),
        ] {
            let error = answer(200, kind, body).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the identity provider answered bad_verification_code"
            );
        }
        let graph = r#"{"error":{"message":"Invalid code <script>","type":"OAuthException","code":100}}"#;
        assert_eq!(answer(400, JSON, graph).unwrap_err().reason(), "idp_error");
    }

    #[test]
    fn an_answer_without_a_usable_token_is_refused() {
        for (status, body) in [
            (200, "{}"),
            (200, "[]"),
            (200, "<html>"),
            (200, r#"{"access_token":"","token_type":"bearer"}"#),
            (200, r#"{"access_token":7,"token_type":"bearer"}"#),
            (200, r#"{"access_token":"x"}"#),
            (200, r#"{"access_token":"x","token_type":"mac"}"#),
            (302, r#"{"access_token":"x","token_type":"bearer"}"#),
        ] {
            assert_eq!(
                answer(status, JSON, body).unwrap_err().reason(),
                "idp_unusable",
                "{body}"
            );
        }
        assert_eq!(answer(503, JSON, "down").unwrap_err().reason(), "idp_unavailable");
    }

    #[test]
    fn a_subject_is_a_text_or_a_whole_number() {
        let of = |value: Value| subject(&map(json!({"id": value})), "id");
        assert_eq!(of(json!(583_231)), Some("583231".to_owned()));
        assert_eq!(of(json!("10218")), Some("10218".to_owned()));
        for bad in [
            json!(null),
            json!(""),
            json!(true),
            json!({}),
            json!([1]),
            json!(1.5),
            json!("a\nb"),
            json!("x".repeat(256)),
        ] {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
        assert_eq!(subject(&Map::new(), "id"), None);
    }

    fn judged(claims: Value, list: Option<&str>, verified: Option<&str>) -> (Option<Value>, Option<Value>) {
        let mut claims = map(claims);
        judge_email(&mut claims, list, verified);
        (claims.remove("email"), claims.remove("email_verified"))
    }

    #[test]
    fn the_primary_listed_address_wins_over_the_profile() {
        let claims = |verified: Value| {
            json!({"email": "victim@example.com", "email_verified": true, "emails": [
                {"email": "a@noreply.example.com", "primary": false, "verified": true},
                {"email": "octo@example.com", "primary": true, "verified": verified},
            ]})
        };
        let octo = || Some(json!("octo@example.com"));
        assert_eq!(
            judged(claims(json!(true)), Some("emails"), None),
            (octo(), Some(json!(true)))
        );
        for lie in [json!(false), json!("true"), json!(1), json!(null)] {
            assert_eq!(judged(claims(lie), Some("emails"), None), (octo(), Some(json!(false))));
        }
        let none = json!({"email": "victim@example.com", "emails": {"message": "Not Found"}});
        assert_eq!(judged(none, Some("emails"), None), (None, None));
    }

    #[test]
    fn an_address_is_verified_only_by_the_claim_that_is_named() {
        let claims = json!({"email": "a@example.com", "email_verified": true, "verified": true, "asserted": "true"});
        let of = |name| judged(claims.clone(), None, name).1;
        assert_eq!(of(None), Some(json!(false)));
        assert_eq!(of(Some("asserted")), Some(json!(false)));
        assert_eq!(of(Some("verified")), Some(json!(true)));
        assert_eq!(
            judged(json!({"email_verified": true}), None, Some("email_verified")),
            (None, None)
        );
    }

    #[test]
    fn the_secret_proof_matches_a_test_vector_of_rfc_4231() {
        // RFC 4231 §4.3
        let proof = secret_proof(&Secret::new("Jefe"), "what do ya want for nothing?");
        assert_eq!(
            proof,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
