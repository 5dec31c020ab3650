//! The identity providers and applications of the front door, and how they are looked up.

use std::time::Duration;

use serde_json::{Map, Value};
use url::Url;

use super::idp::claim;
use super::idp::groups_endpoint::GroupsEndpoint;
use super::idp::metadata::too_many_wait;
use super::idp::oauth2::{OAuth2Provider, OAuth2Settings};
use super::idp::openid::{OpenIdProvider, OpenIdRules, OpenIdSettings};
use super::idp::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, LogoutRequest,
    ProviderError,
};
use super::idp::userinfo_claims;
use super::jit::attribute_path::WritablePath;
use super::jit::claim_mapping::{self, ClaimMapping};
use super::jit::denial::Denial;
use super::jit::policy::{JitMode, SecondFactor, ServiceProviderPolicy, StoreRule, SyncMode, UsernameRule};
use super::jit::purpose::Purpose;
use super::jit::settings::{IdentityProviderSettings, ProviderKind, TrustedScimSource};
use crate::domain::email::Email;
use crate::domain::password::PasswordPolicy;
use crate::domain::{Clock, IdentityProviderName, ServiceProviderName};
use crate::gate::{Full, Gate};
use crate::http_client::HttpError;
use crate::mail::{MailMessage, Mailer};

/// An identity provider, ready for logins.
pub struct Upstream {
    pub(crate) settings: IdentityProviderSettings,
    pub(crate) claims: Vec<ClaimMapping>,
    pub(crate) provider: Box<dyn IdentityProvider>,
    /// Bounds the requests that wait for it, so that one that does not answer holds up nobody else.
    pub(crate) gate: Gate,
}

/// The most logins that ask one identity provider at one time.
const ASKING: usize = 16;
/// The most further logins that wait for their turn, and the longest wait.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(3);

impl Upstream {
    /// Begins a login at the provider, unless too many wait for it.
    pub(crate) fn begin(&self, callback: &Url, hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        let _pass = self.gate.enter().map_err(|Full| too_many_wait())?;
        self.provider.begin(callback, hint)
    }

    /// Ends a login with the provider's answer, unless too many wait for it.
    pub(crate) fn finish(
        &self,
        parameters: &CallbackParameters,
        state: &LoginSecret,
    ) -> Result<Identity, ProviderError> {
        let _pass = self.gate.enter().map_err(|Full| too_many_wait())?;
        self.provider.finish(parameters, state)
    }

    /// Returns the URL that ends a session at the provider, unless too many wait for it.
    pub(crate) fn logout(&self, request: &LogoutRequest<'_>) -> Result<Option<Url>, ProviderError> {
        let _pass = self.gate.enter().map_err(|Full| too_many_wait())?;
        self.provider.logout(request)
    }

    /// Builds the adapter for the settings. Nothing is fetched yet.
    pub fn open(settings: IdentityProviderSettings, clock: Clock) -> Result<Self, HttpError> {
        let provider: Box<dyn IdentityProvider> = match &settings.kind {
            ProviderKind::Oidc(rules) => Box::new(OpenIdProvider::new(
                OpenIdSettings {
                    issuer: settings.issuer.clone(),
                    client_id: settings.client_id.clone(),
                    client_secret: settings.client_secret.clone(),
                    scopes: settings.scopes.clone(),
                    allow_private_network: settings.allow_private_network,
                    wanted_claims: wanted_claims(&settings, rules),
                    groups: groups_endpoint(&settings, rules),
                    request: settings.request.clone(),
                    rules: rules.as_ref().clone(),
                },
                clock,
            )?),
            ProviderKind::OAuth2(rules) => Box::new(OAuth2Provider::new(OAuth2Settings {
                issuer: settings.issuer.clone(),
                client_id: settings.client_id.clone(),
                client_secret: settings.client_secret.clone(),
                scopes: settings.scopes.clone(),
                allow_private_network: settings.allow_private_network,
                request: settings.request.clone(),
                rules: rules.as_ref().clone(),
            })?),
        };
        Ok(Self::new(settings, provider))
    }

    /// Uses the given adapter, and maps its claims by `settings`.
    pub fn new(settings: IdentityProviderSettings, provider: Box<dyn IdentityProvider>) -> Self {
        let claims = mappings(&settings);
        Self {
            settings,
            claims,
            provider,
            gate: Gate::new(ASKING, WAITING, PATIENCE),
        }
    }

    /// Returns the display name.
    pub fn display_name(&self) -> String {
        self.settings
            .display_name
            .clone()
            .unwrap_or_else(|| self.settings.name.to_string())
    }
}

/// The configuration of federated login.
pub struct FederationConfig {
    /// The address under which browsers reach the server.
    pub public_url: Url,
    /// The identity providers.
    pub upstreams: Vec<Upstream>,
    /// The applications.
    pub service_providers: Vec<ServiceProviderPolicy>,
    /// The SCIM clients whose `externalId` is the subject at an identity provider.
    pub trusted_sources: Vec<TrustedScimSource>,
    /// The purposes that attributes may be kept for.
    pub purposes: Vec<Purpose>,
    /// The rules for passwords.
    pub passwords: PasswordPolicy,
    /// The changes that people may make to their ways to sign in.
    pub account: AccountRules,
    /// Sends codes by e-mail; none without an SMTP server.
    pub mail: Option<MailSender>,
}

/// The changes that people may make to their ways to sign in, on the account page. Where an account must stay its identity
/// provider's, they may neither link another identity nor set a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRules {
    /// Whether they may link further identities.
    pub linking: bool,
    /// Whether they may set a password.
    pub passwords: bool,
}

impl Default for AccountRules {
    fn default() -> Self {
        Self {
            linking: true,
            passwords: true,
        }
    }
}

/// Sends codes by e-mail.
pub struct MailSender {
    /// Hands mail to the SMTP server.
    pub mailer: Mailer,
    /// Writes the text in the language of the person.
    pub compose: Box<dyn Fn(&MailCode<'_>) -> MailMessage + Send + Sync>,
}

/// A code to be sent by e-mail.
#[derive(Clone, Copy)]
pub struct MailCode<'a> {
    /// The display name of the application that the person signs in to.
    pub application: &'a str,
    /// The languages that the application asks for, best first.
    pub ui_locales: &'a [String],
    /// The code, in groups.
    pub code: &'a str,
}

impl FederationConfig {
    /// Adds an identity provider, or replaces the one of the same name.
    pub fn replace(&mut self, upstream: Upstream) {
        self.upstreams
            .retain(|known| known.settings.name != upstream.settings.name);
        self.upstreams.push(upstream);
    }

    /// Adds the account page as an application: every way to sign in is allowed, and no account is created.
    pub(crate) fn with_account_page(mut self) -> Self {
        let policy = ServiceProviderPolicy {
            name: ServiceProviderName::RESIDENT,
            display_name: String::new(),
            identity_providers: self
                .upstreams
                .iter()
                .map(|upstream| upstream.settings.name.clone())
                .collect(),
            local_login: self.service_providers.iter().any(|policy| policy.local_login),
            inbound_userstore: None,
            jit_mode: Some(JitMode::Off),
            purposes: Vec::new(),
            mfa: SecondFactor::None,
        };
        self.service_providers.push(policy);
        self
    }

    /// The policy of an application; none if it is not configured.
    pub(crate) fn policy(&self, name: &ServiceProviderName) -> Option<&ServiceProviderPolicy> {
        self.service_providers.iter().find(|policy| policy.name == *name)
    }

    /// The display name of an application; its name if it is not configured any more.
    pub(crate) fn application(&self, name: &ServiceProviderName) -> String {
        let policy = self.policy(name);
        policy.map_or_else(|| name.to_string(), |policy| policy.display_name.clone())
    }

    /// An identity provider by name.
    pub(crate) fn upstream(&self, name: &IdentityProviderName) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.settings.name == *name)
    }

    /// The identity provider, if an application lets users sign in through it.
    pub(crate) fn allowed(
        &self,
        name: &IdentityProviderName,
        policy: &ServiceProviderPolicy,
    ) -> Result<&Upstream, Denial> {
        let upstream = self.upstream(name).ok_or(Denial::UnknownProvider)?;
        if policy.identity_providers.contains(name) {
            Ok(upstream)
        } else {
            Err(Denial::ProviderNotAllowed)
        }
    }

    /// The display name of an identity provider; its name if it is not configured any more.
    pub(crate) fn display_name(&self, provider: &IdentityProviderName) -> String {
        self.upstream(provider)
            .map_or_else(|| provider.to_string(), Upstream::display_name)
    }

    /// The JIT mode of logins to an application through an identity provider.
    pub(crate) fn mode(&self, provider: &IdentityProviderName, policy: &ServiceProviderPolicy) -> JitMode {
        self.upstream(provider)
            .map_or(JitMode::Off, |upstream| policy.mode(&upstream.settings.jit))
    }

    /// Returns the redirect URI of an identity provider: one path each, so that an answer of one cannot pass for an
    /// answer of another.
    pub(crate) fn callback_url(&self, provider: &IdentityProviderName) -> Url {
        self.url_of(provider, "callback")
    }

    /// Returns the URL where a browser comes back from the logout at an identity provider.
    pub(crate) fn after_logout_url(&self, provider: &IdentityProviderName) -> Url {
        self.url_of(provider, "logout")
    }

    fn url_of(&self, provider: &IdentityProviderName, page: &str) -> Url {
        let mut url = self.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["federation", provider.as_str(), page]);
        }
        url
    }

    /// The one identity provider of an application that is responsible for the domain of an address.
    pub(crate) fn responsible(&self, address: &str, policy: &ServiceProviderPolicy) -> Option<IdentityProviderName> {
        let email = Email::parse(address.trim())?;
        let mut providers = policy.identity_providers.iter().filter(|name| {
            let domains = self
                .upstream(name)
                .map(|upstream| &upstream.settings.trusted_email_domains);
            domains.is_some_and(|domains| domains.iter().any(|domain| email.is_at(domain)))
        });
        match (providers.next(), providers.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        }
    }

    /// The configured purposes of an identity provider and of an application.
    pub(crate) fn named_purposes(&self, upstream: &Upstream, service_provider: &ServiceProviderPolicy) -> Vec<Purpose> {
        let names = upstream.settings.jit.purposes.iter().chain(&service_provider.purposes);
        let mut purposes: Vec<Purpose> = Vec::new();
        for name in names {
            let known = self.purposes.iter().find(|purpose| purpose.name == *name);
            purposes.extend(known.filter(|known| !purposes.contains(known)).cloned());
        }
        purposes
    }

    /// The purposes that users of an identity provider consent to when they sign in to an application.
    pub(crate) fn purposes(
        &self,
        upstream: &Upstream,
        service_provider: &ServiceProviderPolicy,
        (mappings, claims): (&[ClaimMapping], &Map<String, Value>),
    ) -> Vec<Purpose> {
        let mut purposes = self.named_purposes(upstream, service_provider);
        if purposes.is_empty() {
            purposes.push(claim_mapping::account_purpose(mappings, claims));
        }
        purposes
    }
}

/// Returns the attributes that an identity provider updates at every login.
pub fn kept_attributes(settings: &IdentityProviderSettings) -> Vec<WritablePath> {
    if settings.jit.sync == SyncMode::None {
        return Vec::new();
    }
    let mappings = mappings(settings);
    let kept = mappings.iter().filter(|mapping| mapping.is_kept());
    kept.filter_map(ClaimMapping::path).collect()
}

/// Returns the claims that a login through this provider reads.
pub(crate) fn read_claims(settings: &IdentityProviderSettings) -> Vec<String> {
    let rules = match &settings.kind {
        ProviderKind::Oidc(rules) => rules.as_ref().clone(),
        ProviderKind::OAuth2(_) => OpenIdRules::default(),
    };
    wanted_claims(settings, &rules)
}

/// The claims that a login needs.
fn wanted_claims(settings: &IdentityProviderSettings, rules: &OpenIdRules) -> Vec<String> {
    let mut wanted: Vec<String> = mappings(settings).iter().flat_map(ClaimMapping::claims).collect();
    if let UsernameRule::Claim(claims) = &settings.jit.username {
        wanted.extend(claims.iter().cloned());
    }
    if let StoreRule::Claim { claim, .. } = &settings.jit.userstore {
        wanted.push(claim.clone());
    }
    wanted.extend(settings.jit.approval.claims());
    let groups = settings.jit.groups.iter();
    wanted.extend(groups.map(|groups| claim::top_level(&groups.claim)));
    if wanted.iter().any(|claim| claim == "email") && rules.verified_claim == userinfo_claims::EMAIL_VERIFIED {
        wanted.push(rules.verified_claim.clone());
    }
    wanted
}

/// Where the groups are asked for that the claims leave out, if the provider's groups are used.
fn groups_endpoint(settings: &IdentityProviderSettings, rules: &OpenIdRules) -> Option<GroupsEndpoint> {
    let groups = settings.jit.groups.as_ref()?;
    let url = rules.groups_endpoint.clone()?;
    let claim = groups.claim.clone();
    Some(GroupsEndpoint { claim, url })
}

fn mappings(settings: &IdentityProviderSettings) -> Vec<ClaimMapping> {
    if settings.claims.is_empty() {
        claim_mapping::standard()
    } else {
        settings.claims.clone()
    }
}
