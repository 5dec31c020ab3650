//! Requests that we send to service providers: for their keys, and to tell them of a logout.

use std::error::Error;
use std::sync::Arc;

use openidconnect::{HttpRequest, HttpResponse};

/// An address of a service provider that we call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub url: String,
    /// Whether it may be on loopback or a private network.
    pub allow_private_network: bool,
}

/// Why a request brought no answer.
pub type OutgoingError = Box<dyn Error + Send + Sync>;

/// Sends a request through the guard: no redirects, and no private addresses unless the flag allows them.
pub type Outgoing = Arc<dyn Fn(HttpRequest, bool) -> Result<HttpResponse, OutgoingError> + Send + Sync>;
