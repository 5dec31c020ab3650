//! Endpoints of service providers that this server calls, for keys and logout notifications.

use std::error::Error;

/// An address of a service provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The URL.
    pub url: String,
    /// Whether it may resolve to loopback or a private network.
    pub allow_private_network: bool,
}

/// The reason why a call gave no usable answer.
pub(super) type CallError = Box<dyn Error + Send + Sync>;
