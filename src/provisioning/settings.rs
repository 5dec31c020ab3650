//! The settings of targets, and the rules that route changes to them.

use std::time::Duration;

use super::scim::ScimTargetSettings;
use crate::domain::backoff::Backoff;
use crate::domain::{ServiceProviderName, TargetName};

/// The settings of the engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The targets.
    pub targets: Vec<TargetSettings>,
    /// The rules that route changes of service providers to targets.
    pub rules: Vec<OutboundRule>,
    /// How long an idle thread sleeps before it checks for work.
    pub poll: Duration,
    /// How long a worker holds the rows that it claimed. The rows of a dead worker are released after that.
    pub lease: Duration,
    /// The number of rows that a worker claims at once.
    pub batch: u16,
}

impl Settings {
    /// Returns settings with the default timing: a check twice a second, leases of 20 seconds, batches of 32.
    pub fn new(targets: Vec<TargetSettings>, rules: Vec<OutboundRule>) -> Self {
        Self {
            targets,
            rules,
            poll: Duration::from_millis(500),
            lease: Duration::from_secs(20),
            batch: 32,
        }
    }
}

/// A rule that routes the changes of a service provider to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRule {
    /// The service provider.
    pub service_provider: ServiceProviderName,
    /// The target.
    pub target: TargetName,
    /// Whether changes by logins are sent as well.
    pub jit: bool,
}

/// One downstream system.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Its name.
    pub name: TargetName,
    /// The kind of its connector, with the connector's own settings.
    pub connector: ConnectorSettings,
    /// The attributes that it never gets, and whether deleted users are deleted or deactivated there.
    pub profile: Profile,
    /// The number of concurrent requests.
    pub concurrency: u16,
    /// The wait of a resource after a failed push.
    pub backoff: Backoff,
    /// The number of accounts that may be removed or deactivated in an hour before the target pauses until an
    /// administrator resumes it.
    pub max_deletes: u32,
}

/// The kinds of connectors. A further kind is a further variant, and an arm in `kinds.rs`.
#[derive(Clone, Debug)]
pub enum ConnectorSettings {
    /// SCIM 2.0.
    Scim(ScimTargetSettings),
}

impl TargetSettings {
    /// Returns a target with the default limits: 4 concurrent requests, 100 removals an hour.
    pub fn new(name: impl Into<TargetName>, connector: ConnectorSettings) -> Self {
        Self {
            name: name.into(),
            connector,
            profile: Profile::default(),
            concurrency: 4,
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_hours(1)),
            max_deletes: 100,
        }
    }
}

/// The rules for every kind of target: attributes that it never gets, and what becomes of deleted users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The handling of an account whose user was deleted here.
    pub deprovision: Deprovision,
    /// Attributes that are never sent, compared without case: those that the target refuses, and those that the schema
    /// never returns.
    pub forbidden: Vec<String>,
}

/// The handling of an account at the target whose user was deleted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deprovision {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, with `active` set to false.
    Deactivate,
}
