//! Login through OpenID Connect: authorization code flow with PKCE, `state` and `nonce` (Core §3.1).

use openidconnect::core::CoreJsonWebKeySet;
use openidconnect::http::StatusCode;
use openidconnect::{JsonWebKey, PkceCodeChallenge, PkceCodeVerifier};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::calls::{self, Exchange, PendingAuthorization, Userinfo};
use super::groups_endpoint::GroupsEndpoint;
use super::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, LogoutRequest,
    ProviderError, RequestOptions,
};
use super::userinfo_claims::{EMAIL_VERIFIED, judge_email, merge};
use crate::domain::login::ProviderToken;
use crate::domain::{Clock, Secret};
use crate::federation::idp::id_token::{self, Expected, TokenDefect, subject};
use crate::federation::idp::jws::{ALGORITHMS, SignedToken};
use crate::federation::idp::metadata::{Endpoints, Metadata, MetadataCache, MetadataSource};
use crate::federation::idp::tenant::IssuerRule;
use crate::http_client::{HttpClient, HttpError, HttpSettings};

/// Deviations of an OpenID provider from the standard, and restrictions on its users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenIdRules {
    /// URL of the metadata, if it does not follow from the issuer (OpenID Connect Discovery §4).
    pub discovery_url: Option<Url>,
    /// Its endpoints, if it publishes no metadata.
    pub endpoints: Option<Box<Endpoints>>,
    /// Whether the client secret goes into the request body; if unset, its metadata decide.
    pub secret_in_body: Option<bool>,
    /// The allowed tenants of a multi-tenant issuer; all if empty.
    pub allowed_tenants: Vec<String>,
    /// The Google Workspace domain that users must belong to (`hd`).
    pub hosted_domain: Option<String>,
    /// The claim of the ID token that is the stable subject.
    pub subject: String,
    /// The claim that is `true` if `email` is verified.
    pub verified_claim: String,
    /// The address that is asked for the groups of a person if the claims leave them out.
    pub groups_endpoint: Option<Url>,
}

impl Default for OpenIdRules {
    fn default() -> Self {
        Self {
            discovery_url: None,
            endpoints: None,
            secret_in_body: None,
            allowed_tenants: Vec::new(),
            hosted_domain: None,
            subject: "sub".to_owned(),
            verified_claim: EMAIL_VERIFIED.to_owned(),
            groups_endpoint: None,
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
    /// Where the groups of a person are asked for if the claims leave them out.
    pub groups: Option<GroupsEndpoint>,
    /// The parameters of its authorization requests.
    pub request: RequestOptions,
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
        let rules = &settings.rules;
        let source = match (&rules.endpoints, &rules.discovery_url) {
            (Some(endpoints), _) => MetadataSource::Configured(endpoints.clone()),
            (None, Some(place)) => MetadataSource::Document(place.clone()),
            (None, None) => MetadataSource::of_issuer(&settings.issuer).ok_or(HttpError::Scheme)?,
        };
        for url in source.urls() {
            client.check(url)?;
        }
        if let Some(groups) = &settings.groups {
            client.check(&groups.url)?;
        }
        Ok(Self {
            issuer: IssuerRule {
                issuer: settings.issuer.clone(),
                tenants: settings.rules.allowed_tenants.clone(),
            },
            metadata: MetadataCache::new(settings.issuer.clone(), source, clock.clone()),
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
            secret_in_body: self.settings.rules.secret_in_body.unwrap_or(metadata.secret_in_body),
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
        let token = SignedToken::parse(token, &metadata.algorithms)?;
        let issuer = self.issuer.expected(token.unverified())?;
        let expected = Expected {
            issuer: &issuer,
            client_id: &self.settings.client_id,
            nonce: &pending.nonce,
            code,
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let verified = self.with_keys(metadata, |metadata| {
            id_token::verify(&token, &self.keys(metadata, &token, &issuer), &expected)
        });
        Ok((verified?, issuer))
    }

    /// Verifies with the known keys, and once more with newly fetched ones if none fits.
    fn with_keys<T>(
        &self,
        metadata: &Metadata,
        verify: impl Fn(&Metadata) -> Result<T, TokenDefect>,
    ) -> Result<T, ProviderError> {
        match verify(metadata) {
            Err(TokenDefect::UnknownKey) => match self.metadata.renew_keys(metadata, &self.client)? {
                Some(renewed) => Ok(verify(&renewed)?),
                None => Err(TokenDefect::UnknownKey.into()),
            },
            verdict => Ok(verdict?),
        }
    }

    /// Returns the keys that may sign for an issuer.
    fn keys(&self, metadata: &Metadata, token: &SignedToken<'_>, issuer: &str) -> CoreJsonWebKeySet {
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

    /// Adds the claims from userinfo that the ID token lacks. Claims of the ID token win.
    fn add_userinfo(
        &self,
        claims: &mut Map<String, Value>,
        issuer: &str,
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
        let mut more = match calls::ask_userinfo(&self.client, endpoint, &tokens.access_token)? {
            Userinfo::Plain(claims) => claims,
            Userinfo::Signed(token) => self.verify_userinfo(&token, issuer, metadata)?,
        };
        judge_email(&mut more, &self.settings.rules.verified_claim);
        merge(claims, more)
    }

    /// Verifies a signed userinfo answer (OpenID Connect Core §5.3.2) and returns its claims.
    fn verify_userinfo(
        &self,
        token: &str,
        issuer: &str,
        metadata: &Metadata,
    ) -> Result<Map<String, Value>, ProviderError> {
        // The algorithms of the ID token say nothing about userinfo.
        let token = SignedToken::parse(token, &ALGORITHMS).map_err(|_| TokenDefect::Userinfo)?;
        let verified = self.with_keys(metadata, |metadata| {
            let keys = self.keys(metadata, &token, issuer);
            token.verify(&keys).map(|(claims, _)| claims.clone())
        });
        let claims = verified.map_err(|error| match error {
            ProviderError::Token(_) => TokenDefect::Userinfo.into(),
            other => other,
        })?;
        id_token::check_userinfo(&claims, (issuer, &self.settings.client_id), self.clock.now())?;
        Ok(claims)
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
        for (name, value) in self.settings.request.parameters(hint) {
            query.append_pair(name, &value);
        }
        if let Some(max_age) = hint.max_age {
            query.append_pair("max_age", &max_age.as_secs().to_string());
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
        judge_email(&mut claims, &self.settings.rules.verified_claim);
        self.add_userinfo(&mut claims, &issuer, &tokens, &metadata)?;
        if let Some(groups) = &self.settings.groups {
            groups.complete(&mut claims, &self.client, &tokens.access_token);
        }
        Ok(Identity {
            issuer,
            subject,
            claims,
            token: tokens.id_token.as_deref().and_then(ProviderToken::new),
        })
    }

    fn logout(&self, request: &LogoutRequest<'_>) -> Result<Option<Url>, ProviderError> {
        let metadata = self.metadata.get(&self.client)?;
        let Some(mut url) = metadata.end_session_endpoint.clone() else {
            return Ok(None);
        };
        self.client.check(&url)?;
        let mut query = url.query_pairs_mut();
        if let Some(token) = request.token {
            query.append_pair("id_token_hint", token.expose());
        }
        query
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", request.back.as_str())
            .append_pair("state", request.state);
        drop(query);
        Ok(Some(url))
    }
}
