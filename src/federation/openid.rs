//! An OpenID provider as an upstream: authorization code flow with PKCE, state and nonce (OpenID Connect Core §3.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openidconnect::http::{Request, StatusCode, header};
use openidconnect::{HttpRequest, HttpResponse, IssuerUrl, PkceCodeChallenge, PkceCodeVerifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::fetch::{FetchError, Fetcher};
use super::id_token::{Expected, IdToken, TokenDefect, subject};
use super::metadata::{Metadata, MetadataCache};
use super::provider::{Hint, Identity, IdentityProvider, Pending, ProviderError, Returned};
use crate::domain::{Clock, Secret};
use crate::storage::random;

/// How we are known to an OpenID provider.
#[derive(Clone, Debug)]
pub struct OpenIdSettings {
    /// Its issuer identifier, exactly as its metadata has it.
    pub issuer: String,
    /// Our `client_id` there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<Secret>,
    /// What to ask for; `openid` is always added.
    pub scopes: Vec<String>,
    /// Whether it may be on a private network and speak plain `http`.
    pub allow_private_network: bool,
    /// The claims that a login needs. If the ID token lacks one, the userinfo endpoint is asked.
    pub wanted_claims: Vec<String>,
}

/// One OpenID provider.
pub struct OpenIdProvider {
    settings: OpenIdSettings,
    fetcher: Fetcher,
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
    /// Nothing is fetched until somebody logs in, so that an upstream that is down does not keep us from starting.
    pub fn new(settings: OpenIdSettings, clock: Clock) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(settings.allow_private_network)?;
        // Kept as a text beside: issuers are compared byte for byte, and a URL adds a slash.
        let url = IssuerUrl::new(settings.issuer.clone()).map_err(|_| FetchError::Scheme)?;
        fetcher.check(url.url())?;
        Ok(Self {
            metadata: MetadataCache::new(url, clock.clone()),
            settings,
            fetcher,
            clock,
        })
    }

    fn exchange(&self, code: &str, pending: &Pending, metadata: &Metadata) -> Result<Tokens, ProviderError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", pending.callback.as_str())
            .append_pair("code_verifier", &pending.verifier);
        let mut request = Request::post(metadata.token_endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        match &self.settings.client_secret {
            Some(secret) if !metadata.secret_in_body => {
                // Both parts are form-encoded first (RFC 6749 §2.3.1).
                let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(&self.settings.client_id), encode(secret.expose()));
                request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            Some(secret) => {
                form.append_pair("client_id", &self.settings.client_id)
                    .append_pair("client_secret", secret.expose());
            }
            None => {
                form.append_pair("client_id", &self.settings.client_id);
            }
        }
        let response = self.fetcher.send(prepared(request.body(form.finish().into_bytes()))?)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        serde_json::from_slice(response.body()).map_err(|_| refusal(&response))
    }

    /// The claims of the ID token. An unknown key is looked for once in newly fetched keys.
    fn verify(
        &self,
        token: &str,
        expected: &Expected<'_>,
        metadata: &Metadata,
    ) -> Result<Map<String, Value>, ProviderError> {
        let token = IdToken::parse(token, &metadata.algorithms)?;
        match token.verify(&metadata.keys, expected) {
            Err(TokenDefect::UnknownKey) => match self.metadata.renew_keys(metadata, &self.fetcher)? {
                Some(renewed) => Ok(token.verify(&renewed.keys, expected)?),
                None => Err(TokenDefect::UnknownKey.into()),
            },
            verdict => Ok(verdict?),
        }
    }

    /// Adds what the ID token lacks. What it says itself stands.
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
        if !tokens.token_type.eq_ignore_ascii_case("bearer") {
            return Err(ProviderError::Unusable(
                "its access token is not a bearer token".to_owned(),
            ));
        }
        let request = Request::get(endpoint.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", tokens.access_token));
        let response = self.fetcher.send(prepared(request.body(Vec::new()))?)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(&response));
        }
        let more: Map<String, Value> = serde_json::from_slice(response.body())
            .map_err(|_| ProviderError::Unusable("its userinfo is not a JSON object".to_owned()))?;
        merge(claims, more)
    }
}

impl IdentityProvider for OpenIdProvider {
    fn begin(&self, callback: &Url, hint: &Hint) -> Result<(Url, Pending), ProviderError> {
        let metadata = self.metadata.get(&self.fetcher)?;
        let pending = Pending {
            issuer: self.settings.issuer.clone(),
            callback: callback.clone(),
            state: random::token(),
            nonce: random::token(),
            verifier: random::token(),
        };
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
        if hint.reauthenticate {
            query.append_pair("prompt", "login");
        }
        drop(query);
        Ok((url, pending))
    }

    fn finish(&self, returned: &Returned, pending: &Pending) -> Result<Identity, ProviderError> {
        if pending.issuer != self.settings.issuer {
            return Err(ProviderError::MixUp);
        }
        let metadata = self.metadata.get(&self.fetcher)?;
        match &returned.iss {
            Some(issuer) if *issuer != self.settings.issuer => return Err(ProviderError::MixUp),
            None if metadata.promises_iss => return Err(ProviderError::MixUp),
            _ => {}
        }
        if let Some(error) = &returned.error {
            return Err(ProviderError::from_code(error));
        }
        let code = returned
            .code
            .as_deref()
            .filter(|code| !code.is_empty())
            .ok_or(ProviderError::NoCode)?;
        let tokens = self.exchange(code, pending, &metadata)?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &pending.nonce,
            code,
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let token = tokens.id_token.as_deref().ok_or(TokenDefect::Missing)?;
        let mut claims = self.verify(token, &expected, &metadata)?;
        let subject = subject(&claims)?.to_owned();
        self.add_userinfo(&mut claims, &tokens, &metadata)?;
        Ok(Identity {
            issuer: self.settings.issuer.clone(),
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
    // `email_verified` speaks of the address beside it, not of one in another document.
    let about_ours = claims.get("email").is_none_or(|email| more.get("email") == Some(email));
    for (name, value) in more {
        if (name != "email_verified" || about_ours) && !claims.contains_key(&name) {
            claims.insert(name, value);
        }
    }
    Ok(())
}

fn prepared(request: Result<HttpRequest, openidconnect::http::Error>) -> Result<HttpRequest, ProviderError> {
    request.map_err(|_| ProviderError::Unusable("a value of it does not fit into a request".to_owned()))
}

/// What an answer other than 200 means: an OAuth error, or a server in trouble.
fn refusal(response: &HttpResponse) -> ProviderError {
    let code = serde_json::from_slice::<Map<String, Value>>(response.body()).ok();
    match code.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str) {
        Some(code) => ProviderError::from_code(code),
        None if response.status().is_server_error() => ProviderError::Unavailable(None),
        None => ProviderError::Unusable(format!(
            "its answer has status {} and no tokens",
            response.status().as_u16()
        )),
    }
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
