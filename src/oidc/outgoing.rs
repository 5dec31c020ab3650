//! Requests that we send to service providers: for their keys, and to tell them of a logout.

use std::error::Error;
use std::sync::Arc;

use openidconnect::{HttpRequest, HttpResponse};

/// Why a request brought no answer.
pub type OutgoingError = Box<dyn Error + Send + Sync>;

/// Sends a request through the guard: no redirects, and no private addresses unless the flag allows them.
pub type Outgoing = Arc<dyn Fn(HttpRequest, bool) -> Result<HttpResponse, OutgoingError> + Send + Sync>;
