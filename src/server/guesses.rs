//! Limits guesses by the address that they come from: of passwords and codes, client secrets, and SCIM tokens. A right one
//! costs nothing.

use std::sync::LazyLock;

use actix_web::HttpRequest;

use super::source;
use crate::gate::Allowances;

/// Wrong guesses that one address may make at once, and per second in the long run. Many people can share an address.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 1.0;

static LEFT: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST, PER_SECOND));

/// One guess, which counts as wrong until it is known to be right.
pub(super) struct Guess(Option<String>);

impl Guess {
    /// Begins a guess; none if the address of the request has made too many wrong ones.
    pub(super) fn begin(request: &HttpRequest) -> Option<Self> {
        let Some(source) = source::of(request) else {
            return Some(Self(None));
        };
        if LEFT.take(&source) {
            return Some(Self(Some(source)));
        }
        log::warn!("too many wrong passwords, secrets or tokens come from {source}; one is turned away");
        None
    }

    /// Ends a guess that was right, or was none: it is not counted.
    pub(super) fn forgive(self) {
        if let Some(source) = self.0 {
            LEFT.give_back(&source);
        }
    }
}
