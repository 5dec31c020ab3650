//! A person with a session, as the account page sees them.

use serde::{Deserialize, Serialize};

use crate::domain::login::Authentication;

/// A person with a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInUser {
    /// The login that the session came from.
    pub authentication: Authentication,
    /// The hash of the session's cookie.
    pub session: String,
}
