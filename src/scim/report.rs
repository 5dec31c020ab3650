//! What clients do outside the standard, counted per client and rule.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::{Actor, ServiceProviderName};

/// Counts tolerated deviations by service provider and rule since the process started.
#[derive(Default)]
pub struct DialectReport(Mutex<BTreeMap<(ServiceProviderName, &'static str), u64>>);

impl DialectReport {
    /// Adds what one request needed: each rule once.
    pub fn count(&self, actor: &Actor, rules: &[&'static str]) {
        if rules.is_empty() {
            return;
        }
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in rules {
            *counts.entry((actor.service_provider.clone(), rule)).or_default() += 1;
        }
    }

    /// All counts: (service provider, rule) → requests.
    pub fn snapshot(&self) -> BTreeMap<(ServiceProviderName, &'static str), u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
