//! Identity providers and applications as the front door knows them.

use url::Url;

use super::claims::{self, ClaimMapping};
use super::fetch::FetchError;
use super::mail::{Letter, Mailer};
use super::oauth2::{OAuth2Provider, OAuth2Settings};
use super::openid::{self, OpenIdProvider, OpenIdRules, OpenIdSettings};
use super::policy::{IdentityProviderSettings, ProviderKind, ServiceProviderPolicy, StoreRule, SyncMode, UsernameRule};
use super::provider::{Identity, IdentityProvider};
use super::purpose::{AttributePath, Purpose};
use super::step::Standing;
use crate::domain::password::PasswordPolicy;
use crate::domain::{Clock, IdentityProviderName, ServiceProviderName, StoreName};

/// An identity provider that is ready to be asked.
pub struct Upstream {
    pub(super) settings: IdentityProviderSettings,
    pub(super) claims: Vec<ClaimMapping>,
    pub(super) provider: Box<dyn IdentityProvider>,
}

impl Upstream {
    /// Makes the adapter that the settings ask for. Nothing is fetched yet.
    pub fn open(settings: IdentityProviderSettings, clock: Clock) -> Result<Self, FetchError> {
        let provider: Box<dyn IdentityProvider> = match &settings.kind {
            ProviderKind::Oidc(rules) => Box::new(OpenIdProvider::new(
                OpenIdSettings {
                    issuer: settings.issuer.clone(),
                    client_id: settings.client_id.clone(),
                    client_secret: settings.client_secret.clone(),
                    scopes: settings.scopes.clone(),
                    allow_private_network: settings.allow_private_network,
                    wanted_claims: wanted_claims(&settings, rules),
                    rules: rules.clone(),
                },
                clock,
            )?),
            ProviderKind::OAuth2(rules) => Box::new(OAuth2Provider::new(OAuth2Settings {
                issuer: settings.issuer.clone(),
                client_id: settings.client_id.clone(),
                client_secret: settings.client_secret.clone(),
                scopes: settings.scopes.clone(),
                allow_private_network: settings.allow_private_network,
                rules: rules.as_ref().clone(),
            })?),
        };
        Ok(Self::new(settings, provider))
    }

    /// Takes another adapter of the seam, and reads its claims as `settings` say.
    pub fn new(settings: IdentityProviderSettings, provider: Box<dyn IdentityProvider>) -> Self {
        let claims = mappings(&settings);
        Self {
            settings,
            claims,
            provider,
        }
    }

    /// What people call it.
    pub fn display_name(&self) -> String {
        self.settings
            .display_name
            .clone()
            .unwrap_or_else(|| self.settings.name.to_string())
    }
}

/// A SCIM client whose `externalId` is the subject at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// The client.
    pub client: ServiceProviderName,
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// Where the client's people are.
    pub store: StoreName,
}

/// Who may come in, and how.
pub struct FrontDoor {
    /// The address under which browsers reach us.
    pub public_url: Url,
    /// The identity providers.
    pub upstreams: Vec<Upstream>,
    /// The applications.
    pub service_providers: Vec<ServiceProviderPolicy>,
    /// The SCIM clients that know people by their subjects at an identity provider.
    pub ties: Vec<Tie>,
    /// What attributes may be kept for.
    pub purposes: Vec<Purpose>,
    /// What passwords must be like.
    pub passwords: PasswordPolicy,
    /// How codes go out by e-mail, if they can.
    pub post: Option<Post>,
}

/// How codes go out by e-mail.
pub struct Post {
    /// Hands them over.
    pub mailer: Mailer,
    /// Words them in the language of the person.
    pub words: Box<dyn Fn(&MailCode<'_>) -> Letter + Send + Sync>,
}

/// What a mail with a code tells.
#[derive(Clone, Copy)]
pub struct MailCode<'a> {
    /// The application that the person is on the way to.
    pub standing: &'a Standing,
    /// The code, in groups.
    pub code: &'a str,
}

impl FrontDoor {
    /// Puts an identity provider in the place of its namesake.
    pub fn replace(&mut self, upstream: Upstream) {
        self.upstreams
            .retain(|known| known.settings.name != upstream.settings.name);
        self.upstreams.push(upstream);
    }

    /// What the people of an identity provider agree to on the way to an application.
    pub(super) fn purposes(
        &self,
        upstream: &Upstream,
        service_provider: &ServiceProviderPolicy,
        identity: &Identity,
    ) -> Vec<Purpose> {
        let names = upstream.settings.jit.purposes.iter().chain(&service_provider.purposes);
        let mut purposes: Vec<Purpose> = Vec::new();
        for name in names {
            let known = self.purposes.iter().find(|purpose| purpose.name == *name);
            purposes.extend(known.filter(|known| !purposes.contains(known)).cloned());
        }
        if purposes.is_empty() {
            purposes.push(Purpose::account(&upstream.claims, &identity.claims));
        }
        purposes
    }
}

/// What an identity provider keeps in step at every login.
pub fn kept_attributes(settings: &IdentityProviderSettings) -> Vec<AttributePath> {
    if settings.jit.sync == SyncMode::None {
        return Vec::new();
    }
    let mappings = mappings(settings);
    let kept = mappings.iter().filter(|mapping| mapping.is_kept());
    kept.filter_map(ClaimMapping::path).collect()
}

/// The claims that a login of this provider reads.
pub fn read_claims(settings: &IdentityProviderSettings) -> Vec<String> {
    let rules = match &settings.kind {
        ProviderKind::Oidc(rules) => rules.clone(),
        ProviderKind::OAuth2(_) => OpenIdRules::default(),
    };
    wanted_claims(settings, &rules)
}

/// The claims that a login needs.
fn wanted_claims(settings: &IdentityProviderSettings, rules: &OpenIdRules) -> Vec<String> {
    let mut wanted: Vec<String> = mappings(settings).iter().flat_map(ClaimMapping::claims).collect();
    if let UsernameRule::Claim(claim) = &settings.jit.username {
        wanted.push(claim.clone());
    }
    if let StoreRule::Claim { claim, .. } = &settings.jit.userstore {
        wanted.push(claim.clone());
    }
    wanted.extend(settings.jit.approval.claims());
    let groups = settings.jit.groups.iter();
    wanted.extend(groups.map(|groups| claims::top_level(&groups.claim)));
    if wanted.iter().any(|claim| claim == "email") && rules.verified_claim == openid::EMAIL_VERIFIED {
        wanted.push(rules.verified_claim.clone());
    }
    wanted
}

fn mappings(settings: &IdentityProviderSettings) -> Vec<ClaimMapping> {
    if settings.claims.is_empty() {
        claims::standard()
    } else {
        settings.claims.clone()
    }
}
