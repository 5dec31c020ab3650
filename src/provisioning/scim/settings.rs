//! The settings of the SCIM connector.

use std::time::Duration;

use url::Url;

use crate::domain::Secret;

/// The settings of one SCIM target.
#[derive(Clone, Debug)]
pub struct ScimTargetSettings {
    /// The base URL of its SCIM endpoints, such as `https://chat.example.com/scim/v2`.
    pub base_url: Url,
    /// The authentication of requests.
    pub auth: Auth,
    /// Whether it may have a loopback or private address.
    pub allow_private_network: bool,
    /// The timeout of one request.
    pub timeout: Duration,
    /// How users are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub user_verb: Option<Verb>,
    /// How groups are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub group_verb: Option<Verb>,
    /// The number of members that one request may add or remove.
    pub members_per_request: usize,
    /// The page size of searches.
    pub page: u32,
}

impl ScimTargetSettings {
    /// Returns settings with the defaults: 30 seconds for a request, public addresses only, 100 members in a request.
    pub fn new(base_url: Url, auth: Auth) -> Self {
        Self {
            base_url,
            auth,
            allow_private_network: false,
            timeout: Duration::from_secs(30),
            user_verb: None,
            group_verb: None,
            members_per_request: 100,
            page: 100,
        }
    }
}

/// The authentication of requests to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No authentication.
    None,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(Secret),
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A custom header, such as an API key.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

/// The HTTP method of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// PATCH with the changes only (RFC 7644 §3.5.2).
    Patch,
    /// PUT with the complete resource (RFC 7644 §3.5.1).
    Put,
}
