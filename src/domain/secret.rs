//! A text that must not be shown.

use std::fmt;
use std::hint::black_box;

use serde::Deserialize;

/// A secret: it prints as `[hidden]`, only [`Secret::expose`] gives the text, and two are compared in constant time.
#[derive(Clone, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        // Every byte is looked at, whatever the first difference is; the length is no secret.
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        let differences = one
            .iter()
            .zip(other)
            .fold(0, |all, (one, other)| black_box(all | (one ^ other)));
        one.len() == other.len() && differences == 0
    }
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_if_their_texts_are() {
        let is_equal = |one: &str, other: &str| Secret::new(one) == Secret::new(other);
        assert!(is_equal("", "") && is_equal("hunter2", "hunter2"));
        assert!(!is_equal("hunter2", "hunter3") && !is_equal("hunter2", "hunter") && !is_equal("", "h"));
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some([hidden])");
    }
}
