//! Request parameters, which must not repeat; empty ones count as absent (RFC 6749 §3.1, §3.2).

use std::collections::HashMap;

use super::error::{ErrorCode, OAuthError};

/// The parameters of a query or a form body.
pub(super) struct Parameters<'a> {
    values: HashMap<&'a str, &'a str>,
    repeated: Vec<&'a str>,
}

impl<'a> Parameters<'a> {
    pub(super) fn new(pairs: &'a [(String, String)]) -> Self {
        let mut values = HashMap::with_capacity(pairs.len());
        let mut repeated = Vec::new();
        for (name, value) in pairs {
            if values.insert(name.as_str(), value.as_str()).is_some() {
                repeated.push(name.as_str());
            }
        }
        Self { values, repeated }
    }

    /// Returns the value, if there is exactly one and it is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.values
            .get(name)
            .copied()
            .filter(|value| !value.is_empty() && !self.is_repeated(name))
    }

    /// Returns the value, or an error if it is missing.
    pub(super) fn required(&self, name: &str, missing: &'static str) -> Result<&'a str, OAuthError> {
        self.get(name).ok_or(ErrorCode::InvalidRequest.because(missing))
    }

    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.repeated.contains(&name)
    }

    /// Refuses requests with repeated parameters.
    pub(super) fn refuse_repeated(&self) -> Result<(), OAuthError> {
        if self.repeated.is_empty() {
            Ok(())
        } else {
            Err(ErrorCode::InvalidRequest.because("A parameter is repeated."))
        }
    }
}
