//! When a person proved who they are, if they came from an identity provider.

use std::time::Duration;

use serde_json::Value;

use super::Login;
use crate::domain::Timestamp;
use crate::domain::login::AuthorizationRequest;
use crate::federation::config::Upstream;
use crate::federation::idp::provider::{Identity, LoginHint};
use crate::federation::jit::settings::ProviderKind;

/// Accepted difference between our clock and a provider's.
const SKEW: Duration = Duration::from_mins(1);

impl Login {
    /// Returns the hints for an identity provider: the likely user name, and how recent the proof must be.
    pub(super) fn hint(&self, request: &AuthorizationRequest) -> LoginHint {
        let now = self.directory.clock().now();
        LoginHint {
            login: request.login_hint.clone(),
            reauthenticate: request.reauthenticate,
            max_age: request.fresh_since.map(|since| now.since(since)),
        }
    }

    /// Returns when a person proved who they are at an identity provider (`auth_time`, OpenID Connect Core §2); none if
    /// it does not say.
    pub(super) fn authenticated_at(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        request: &AuthorizationRequest,
    ) -> Option<Timestamp> {
        if !matches!(upstream.settings.kind, ProviderKind::Oidc(_)) {
            return None;
        }
        let seconds = identity.claims.get("auth_time").and_then(Value::as_i64)?;
        let told = Timestamp(seconds.checked_mul(1000)?).min(self.directory.clock().now());
        // Whole seconds of another clock: a time within the skew is as recent as was asked.
        let asked = request.fresh_since.filter(|since| told.plus(SKEW) >= *since);
        Some(asked.map_or(told, |since| told.max(since)))
    }
}
