//! The addresses of service providers that we call: for their keys, and to tell them of a logout.

use std::error::Error;

/// An address of a service provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// Whether it may be on loopback or a private network.
    pub allow_private_network: bool,
}

/// Why a call brought no usable answer.
pub(super) type CallError = Box<dyn Error + Send + Sync>;
