//! Login through OpenID Connect: authorization code flow with PKCE, `state` and `nonce` (Core §3.1).

use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::http::StatusCode;
use openidconnect::{IssuerUrl, JsonWebKey, PkceCodeChallenge, PkceCodeVerifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::calls::{self, Exchange, PendingAuthorization};
use super::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError,
};
use crate::domain::{Clock, Secret};
use crate::federation::idp::id_token::{Expected, IdToken, TokenDefect, subject};
use crate::federation::idp::metadata::{Metadata, MetadataCache};
use crate::federation::idp::tenant::IssuerRule;
use crate::http_client::{HttpClient, HttpError, HttpSettings};

/// The standard claim that says whether `email` is verified (OpenID Connect Core §5.1).
pub(crate) const EMAIL_VERIFIED: &str = "email_verified";

/// Deviations of an OpenID provider from the standard, and restrictions on its users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenIdRules {
    /// URL of the metadata, if it does not follow from the issuer (OpenID Connect Discovery §4).
    pub discovery_url: Option<Url>,
    /// The allowed tenants of a multi-tenant issuer; all if empty.
    pub allowed_tenants: Vec<String>,
    /// The Google Workspace domain that users must belong to (`hd`).
    pub hosted_domain: Option<String>,
    /// The claim of the ID token that is the stable subject.
    pub subject: String,
    /// The claim that is `true` if `email` is verified.
    pub verified_claim: String,
}

impl Default for OpenIdRules {
    fn default() -> Self {
        Self {
            discovery_url: None,
            allowed_tenants: Vec::new(),
            hosted_domain: None,
            subject: "sub".to_owned(),
            verified_claim: EMAIL_VERIFIED.to_owned(),
        }
    }
}

/// Our client registration at an OpenID provider.
#[derive(Clone, Debug)]
pub struct OpenIdSettings {
    /// Its issuer identifier, exactly as in its metadata.
    pub issuer: String,
    /// Our `client_id` there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Secret>,
    /// The scopes to request; `openid` is always added.
    pub scopes: Vec<String>,
    /// Whether it may be on a private network and speak plain `http`.
    pub allow_private_network: bool,
    /// The claims that a login needs. If the ID token lacks one, the userinfo endpoint is asked.
    pub wanted_claims: Vec<String>,
    /// Its deviations from the standard.
    pub rules: OpenIdRules,
}

/// An OpenID provider.
pub struct OpenIdProvider {
    settings: OpenIdSettings,
    issuer: IssuerRule,
    client: HttpClient,
    metadata: MetadataCache,
    clock: Clock,
}

/// The token endpoint's answer (OpenID Connect Core §3.1.3.3).
#[derive(Deserialize)]
struct Tokens {
    access_token: String,
    token_type: String,
    id_token: Option<String>,
}

impl OpenIdProvider {
    /// Creates the provider. Nothing is fetched before the first login, so that the server starts even if the provider
    /// is down.
    pub fn new(settings: OpenIdSettings, clock: Clock) -> Result<Self, HttpError> {
        let client = HttpClient::new(HttpSettings::new(settings.allow_private_network))?;
        // The issuer is also kept as text, since issuers are compared byte for byte and a URL adds a slash.
        let url = IssuerUrl::new(settings.issuer.clone()).map_err(|_| HttpError::Scheme)?;
        let place = settings.rules.discovery_url.clone();
        client.check(place.as_ref().unwrap_or_else(|| url.url()))?;
        Ok(Self {
            issuer: IssuerRule {
                issuer: settings.issuer.clone(),
                tenants: settings.rules.allowed_tenants.clone(),
            },
            metadata: MetadataCache::new(url, place, clock.clone()),
            settings,
            client,
            clock,
        })
    }

    fn exchange(
        &self,
        code: &str,
        pending: &PendingAuthorization,
        metadata: &Metadata,
    ) -> Result<Tokens, ProviderError> {
        let exchange = Exchange {
            endpoint: &metadata.token_endpoint,
            client_id: &self.settings.client_id,
            client_secret: self.settings.client_secret.as_ref(),
            secret_in_body: metadata.secret_in_body,
            code,
            pending,
            pkce: true,
        };
        let response = exchange.send(&self.client)?;
        if response.status() != StatusCode::OK {
            return Err(calls::refusal(&response));
        }
        serde_json::from_slice(response.body()).map_err(|_| calls::refusal(&response))
    }

    /// Verifies the ID token. Returns its claims and its issuer. For an unknown key, the keys are fetched once more.
    fn verify(
        &self,
        (code, pending): (&str, &PendingAuthorization),
        tokens: &Tokens,
        metadata: &Metadata,
    ) -> Result<(Map<String, Value>, String), ProviderError> {
        let token = tokens.id_token.as_deref().ok_or(TokenDefect::Missing)?;
        let token = IdToken::parse(token, &metadata.algorithms)?;
        let issuer = self.issuer.expected(token.unverified())?;
        let expected = Expected {
            issuer: &issuer,
            client_id: &self.settings.client_id,
            nonce: &pending.nonce,
            code,
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let claims = match token.verify(&self.keys(metadata, &token, &issuer), &expected) {
            Err(TokenDefect::UnknownKey) => match self.metadata.renew_keys(metadata, &self.client)? {
                Some(renewed) => token.verify(&self.keys(&renewed, &token, &issuer), &expected)?,
                None => return Err(TokenDefect::UnknownKey.into()),
            },
            verdict => verdict?,
        };
        Ok((claims, issuer))
    }

    /// Returns the keys that may sign for an issuer.
    fn keys(&self, metadata: &Metadata, token: &IdToken<'_>, issuer: &str) -> CoreJsonWebKeySet {
        if !self.issuer.is_of_many() {
            return metadata.keys.clone();
        }
        let signs = |id: &str| {
            let tied = metadata.key_issuers.get(id);
            tied.is_none_or(|tied| IssuerRule::key_signs_for(tied, issuer, token.unverified()))
        };
        let keys = metadata.keys.keys().iter();
        CoreJsonWebKeySet::new(
            keys.filter(|key| key.key_id().is_some_and(|id| signs(id.as_str())))
                .cloned()
                .collect(),
        )
    }

    /// Refuses users of another Google Workspace, or of none.
    fn check_hosted_domain(&self, claims: &Map<String, Value>) -> Result<(), TokenDefect> {
        let Some(wanted) = &self.settings.rules.hosted_domain else {
            return Ok(());
        };
        let hosted = claims.get("hd").and_then(Value::as_str);
        if hosted.is_some_and(|hosted| hosted.eq_ignore_ascii_case(wanted)) {
            return Ok(());
        }
        Err(TokenDefect::HostedDomain)
    }

    /// Sets `email_verified` from the configured claim, if it is another one.
    fn judge_email(&self, claims: &mut Map<String, Value>) {
        let claim = &self.settings.rules.verified_claim;
        if claim != EMAIL_VERIFIED {
            let verified = claims.get(claim) == Some(&Value::Bool(true)) && claims.contains_key("email");
            claims.insert(EMAIL_VERIFIED.to_owned(), verified.into());
        }
    }

    /// Adds the claims from userinfo that the ID token lacks. Claims of the ID token win.
    fn add_userinfo(
        &self,
        claims: &mut Map<String, Value>,
        tokens: &Tokens,
        metadata: &Metadata,
    ) -> Result<(), ProviderError> {
        let Some(endpoint) = &metadata.userinfo_endpoint else {
            return Ok(());
        };
        if self.settings.wanted_claims.iter().all(|name| claims.contains_key(name)) {
            return Ok(());
        }
        calls::must_be_bearer(&tokens.token_type)?;
        let Value::Object(more) = calls::ask(&self.client, endpoint, &tokens.access_token)? else {
            return Err(ProviderError::Unusable("its userinfo is not a JSON object".to_owned()));
        };
        merge(claims, more)
    }
}

impl IdentityProvider for OpenIdProvider {
    fn begin(&self, callback: &Url, hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        let metadata = self.metadata.get(&self.client)?;
        let pending = PendingAuthorization::new(&self.settings.issuer, callback);
        let verifier = PkceCodeVerifier::new(pending.verifier.clone());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        let mut scopes = vec!["openid"];
        scopes.extend(
            self.settings
                .scopes
                .iter()
                .map(String::as_str)
                .filter(|scope| *scope != "openid"),
        );
        let mut url = metadata.authorization_endpoint.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", callback.as_str())
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", challenge.as_str())
            .append_pair("code_challenge_method", "S256");
        if let Some(login) = &hint.login {
            query.append_pair("login_hint", login);
        }
        if let Some(domain) = &self.settings.rules.hosted_domain {
            query.append_pair("hd", domain);
        }
        if hint.reauthenticate {
            query.append_pair("prompt", "login");
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
        if pending.issuer != self.settings.issuer {
            return Err(ProviderError::MixUp);
        }
        let metadata = self.metadata.get(&self.client)?;
        let named = parameters.get("iss");
        match named {
            Some(issuer) if !self.issuer.admits(issuer) => return Err(ProviderError::MixUp),
            None if metadata.promises_iss => return Err(ProviderError::MixUp),
            _ => {}
        }
        if let Some(error) = parameters.get("error") {
            return Err(ProviderError::from_code(error));
        }
        let code = parameters
            .get("code")
            .filter(|code| !code.is_empty())
            .ok_or(ProviderError::NoCode)?;
        let tokens = self.exchange(code, &pending, &metadata)?;
        let (mut claims, issuer) = self.verify((code, &pending), &tokens, &metadata)?;
        if named.is_some_and(|named| named != issuer) {
            return Err(ProviderError::MixUp);
        }
        self.check_hosted_domain(&claims)?;
        let subject = subject(&claims, &self.settings.rules.subject)?.to_owned();
        self.judge_email(&mut claims);
        self.add_userinfo(&mut claims, &tokens, &metadata)?;
        Ok(Identity {
            issuer,
            subject,
            claims,
        })
    }
}

/// Merges userinfo into verified claims, if it is about the same person (OpenID Connect Core §5.3.2).
fn merge(claims: &mut Map<String, Value>, more: Map<String, Value>) -> Result<(), ProviderError> {
    if more.get("sub") != claims.get("sub") {
        return Err(TokenDefect::UserinfoSubject.into());
    }
    // `email_verified` refers to the address in its own document, not to one in another document.
    let about_ours = claims.get("email").is_none_or(|email| more.get("email") == Some(email));
    for (name, value) in more {
        if (name != "email_verified" || about_ours) && !claims.contains_key(&name) {
            claims.insert(name, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(claims: Value, more: Value) -> Result<Value, ProviderError> {
        let (Value::Object(mut claims), Value::Object(more)) = (claims, more) else {
            panic!("not objects")
        };
        merge(&mut claims, more).map(|()| claims.into())
    }

    #[test]
    fn userinfo_fills_gaps_and_never_overrides() {
        let claims = merged(
            json!({"sub": "1", "name": "A"}),
            json!({"sub": "1", "name": "B", "locale": "fi"}),
        )
        .unwrap();
        assert_eq!(claims, json!({"sub": "1", "name": "A", "locale": "fi"}));
    }

    #[test]
    fn userinfo_about_another_person_is_refused() {
        for more in [json!({"sub": "2"}), json!({}), json!({"sub": 1})] {
            assert!(matches!(
                merged(json!({"sub": "1"}), more),
                Err(ProviderError::Token(TokenDefect::UserinfoSubject))
            ));
        }
    }

    #[test]
    fn a_verified_address_never_vouches_for_another() {
        let claims = merged(
            json!({"sub": "1", "email": "victim@example.com"}),
            json!({"sub": "1", "email": "me@example.com", "email_verified": true}),
        );
        assert_eq!(claims.unwrap(), json!({"sub": "1", "email": "victim@example.com"}));
    }
}
