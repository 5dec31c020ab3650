//! The response to an authorization request, which the browser takes to the client.

use super::redirect;
use crate::domain::login::ResponseMode;

/// The response to an authorization request: a code or an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationResponse {
    /// A registered redirect URI.
    pub redirect_uri: String,
    /// How the parameters get there.
    pub mode: ResponseMode,
    /// The parameters, by name.
    pub parameters: Vec<(&'static str, String)>,
}

impl AuthorizationResponse {
    /// The redirect URI with the parameters in its query.
    pub fn location(&self) -> String {
        let parameters: Vec<(&str, &str)> = self
            .parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        redirect::with_parameters(&self.redirect_uri, &parameters)
    }
}
