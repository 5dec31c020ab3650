//! Signing out at the identity provider too (OpenID Connect RP-Initiated Logout).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::Login;
use crate::domain::IdentityProviderName;
use crate::domain::login::ProviderToken;
use crate::federation::idp::provider::LogoutRequest;

/// The purpose that the way on is sealed for.
const WAY_ON: &str = "way on after a logout";

/// How long a browser may stay at the provider before it comes back.
const PATIENCE: Duration = Duration::from_mins(10);

impl Login {
    /// Returns the URL that ends the browser's session at an identity provider, if signing out here does that. Afterwards
    /// the browser comes back, and goes on to `next` if it is given. A provider that does not answer holds up no logout.
    pub fn logout_at(
        &self,
        provider: &IdentityProviderName,
        token: Option<&ProviderToken>,
        next: Option<&str>,
    ) -> Option<Url> {
        let upstream = self
            .config
            .upstream(provider)
            .filter(|upstream| upstream.settings.logout)?;
        let until = self.directory.clock().now().plus(PATIENCE);
        let way_on = format!("{} {}", until.0, next.unwrap_or_default());
        let state = self.transactions.secrets.seal(WAY_ON, way_on.as_bytes());
        let url = upstream.logout(&LogoutRequest {
            token,
            back: &self.config.after_logout_url(provider),
            state: &URL_SAFE_NO_PAD.encode(state),
        });
        match url {
            Ok(Some(url)) => Some(url),
            Ok(None) => {
                log::warn!("{provider} publishes no end_session_endpoint: the session there goes on");
                None
            }
            Err(error) => {
                log::warn!("the session at {provider} could not be ended: {error}");
                None
            }
        }
    }

    /// Returns where a browser goes on that comes back from the logout at an identity provider with this state.
    pub fn after_logout(&self, state: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(state).ok()?;
        let plain = self.transactions.secrets.open(WAY_ON, &sealed).ok()?;
        let text = String::from_utf8(plain).ok()?;
        let (until, next) = text.split_once(' ')?;
        let is_valid = self.directory.clock().now().0 <= until.parse().ok()?;
        (is_valid && !next.is_empty()).then(|| next.to_owned())
    }
}
