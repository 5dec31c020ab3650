//! The settings of identity providers, and the SCIM clients that know their subjects.

use serde::Deserialize;

use super::claim_mapping::ClaimMapping;
use super::policy::{JitPolicy, SecondFactor};
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName, StoreName, provenance};
use crate::federation::idp::oauth2::OAuth2Rules;
use crate::federation::idp::openid::OpenIdRules;
use crate::federation::idp::provider::RequestOptions;

/// One identity provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderSettings {
    /// The name in URLs, links and provenance.
    pub name: IdentityProviderName,
    /// The display name on the button; the name if `None`.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The protocol, and its rules.
    #[serde(default)]
    pub kind: ProviderKind,
    /// Its issuer identifier, byte for byte as in its metadata; links are stored under it.
    pub issuer: String,
    /// Our `client_id` there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// The scopes to request.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    /// Whether it may be on a private network and speak plain `http`.
    #[serde(default)]
    pub allow_private_network: bool,
    /// Further parameters of its authorization requests, and how the answer comes back.
    #[serde(default)]
    pub request: RequestOptions,
    /// Whether signing out here signs people out there too.
    #[serde(default)]
    pub logout: bool,
    /// If not empty, the only e-mail domains that it is trusted for. A person with another address is refused, and a
    /// verified address of these domains can link ([`LinkVerifiedEmail`](super::policy::OnConflict::LinkVerifiedEmail)).
    #[serde(default)]
    pub trusted_email_domains: Vec<String>,
    /// The provisioning policy.
    #[serde(default)]
    pub jit: JitPolicy,
    /// The second factor that its people need.
    #[serde(default)]
    pub mfa: SecondFactor,
    /// The claim mapping; the standard one if empty.
    #[serde(default)]
    pub claims: Vec<ClaimMapping>,
}

fn default_scopes() -> Vec<String> {
    ["openid", "email", "profile"].map(str::to_owned).to_vec()
}

/// The protocols of identity providers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenID Connect.
    Oidc(Box<OpenIdRules>),
    /// OAuth 2.0 without OpenID Connect.
    OAuth2(Box<OAuth2Rules>),
}

impl Default for ProviderKind {
    fn default() -> Self {
        Self::Oidc(Box::default())
    }
}

/// A SCIM client whose `externalId` is the subject at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedScimSource {
    /// The client.
    pub client: ServiceProviderName,
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// The userstore of the client's users; any if there is none.
    pub store: Option<StoreName>,
}

impl TrustedScimSource {
    /// The name of the client in provenance.
    pub(crate) fn writer(&self) -> String {
        provenance::of_client(&self.client)
    }
}
