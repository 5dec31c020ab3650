//! Deviations of clients from the standard, counted per client and rule.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Scim;
use crate::domain::{Actor, ServiceProviderName};
use crate::storage::{StorageError, dialects};

/// Counts tolerated deviations by service provider and rule.
#[derive(Default)]
pub struct DialectReport(Mutex<ReportState>);

#[derive(Default)]
struct ReportState {
    /// The counts since the process started.
    all: DialectCounts,
    /// The part of these that is not yet in the database.
    unkept: DialectCounts,
}

/// (service provider, rule) → requests.
type DialectCounts = BTreeMap<(ServiceProviderName, &'static str), u64>;

impl DialectReport {
    /// Counts the rules that one request needed, each once.
    pub fn count(&self, actor: &Actor, rules: &[&'static str]) {
        if rules.is_empty() {
            return;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in rules {
            let key = (actor.service_provider.clone(), *rule);
            *state.unkept.entry(key.clone()).or_default() += 1;
            *state.all.entry(key).or_default() += 1;
        }
    }

    /// The counts since the process started.
    pub(crate) fn snapshot(&self) -> DialectCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }
}

impl Scim {
    /// Adds the counts since the last call to the database, where `vestibule dialects` reads them.
    pub(crate) fn keep_report(&self) -> Result<(), StorageError> {
        let lock = || self.report.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unkept = std::mem::take(&mut lock().unkept);
        if unkept.is_empty() {
            return Ok(());
        }
        let (counts, now) = (unkept.clone(), self.directory.clock().now());
        let kept = self.database.write::<_, StorageError>(move |connection| {
            for ((service_provider, rule), requests) in &counts {
                let requests = i64::try_from(*requests).unwrap_or(i64::MAX);
                dialects::add(connection, service_provider, rule, requests, now)?;
            }
            Ok(())
        });
        if kept.is_err() {
            let mut state = lock();
            for (key, requests) in unkept {
                *state.unkept.entry(key).or_default() += requests;
            }
        }
        kept
    }
}
