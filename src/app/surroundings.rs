//! The parts of an application that a simulation replaces by models.

use crate::domain::Clock;
use crate::federation::Upstream;
use crate::federation::jit::settings::IdentityProviderSettings;
use crate::http_client::HttpError;

/// Opens the adapter of an identity provider.
pub type OpenProvider = Box<dyn Fn(IdentityProviderSettings, Clock) -> Result<Upstream, HttpError>>;

/// The clock and the identity providers of an application.
pub struct Surroundings {
    /// The clock.
    pub clock: Clock,
    /// Opens the adapter of an identity provider.
    pub open_provider: OpenProvider,
}

impl Surroundings {
    /// The real providers, at the time of a clock.
    pub(crate) fn at(clock: Clock) -> Self {
        Self {
            clock,
            open_provider: Box::new(Upstream::open),
        }
    }
}

impl Default for Surroundings {
    fn default() -> Self {
        Self::at(Clock::system())
    }
}
