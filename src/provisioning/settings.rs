//! The settings of targets, and the rules that route changes to them.

use std::time::Duration;

use url::Url;

use crate::domain::{Secret, ServiceProviderName, TargetName};

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
    /// The base URL of its SCIM endpoints, such as `https://chat.example.com/scim/v2`.
    pub base_url: Url,
    /// The authentication of requests.
    pub auth: Auth,
    /// Its deviations from the defaults.
    pub profile: Profile,
    /// Whether it may have a loopback or private address.
    pub allow_private_network: bool,
    /// The number of concurrent requests.
    pub concurrency: u16,
    /// The timeout of one request.
    pub timeout: Duration,
    /// The wait of a resource after a failed push.
    pub backoff: Backoff,
    /// The number of accounts that may be removed or deactivated in an hour before the target pauses until an
    /// administrator resumes it.
    pub max_deletes: u32,
}

impl TargetSettings {
    /// Returns a target with the default limits: 4 concurrent requests, 30 seconds each, 100 removals an hour, public
    /// addresses only.
    pub fn new(name: impl Into<TargetName>, base_url: Url, auth: Auth) -> Self {
        Self {
            name: name.into(),
            base_url,
            auth,
            profile: Profile::default(),
            allow_private_network: false,
            concurrency: 4,
            timeout: Duration::from_secs(30),
            backoff: Backoff::default(),
            max_deletes: 100,
        }
    }
}

/// The authentication of requests to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// No authentication.
    None,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(Secret),
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A custom header, such as an API key.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

/// The deviations of a target from the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How users are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub user_verb: Option<Verb>,
    /// How groups are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub group_verb: Option<Verb>,
    /// How many members one request may add or remove.
    pub members_per_request: usize,
    /// The handling of an account whose user was deleted here.
    pub deprovision: Deprovision,
    /// Attributes that are never sent, compared without case: those that the target refuses, and those that the schema
    /// never returns.
    pub forbidden: Vec<String>,
    /// The page size of searches.
    pub page: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            user_verb: None,
            group_verb: None,
            members_per_request: 100,
            deprovision: Deprovision::Delete,
            forbidden: Vec::new(),
            page: 100,
        }
    }
}

/// The HTTP method of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// PATCH with the changes only (RFC 7644 §3.5.2).
    Patch,
    /// PUT with the complete resource (RFC 7644 §3.5.1).
    Put,
}

/// The handling of an account at the target whose user was deleted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deprovision {
    /// It is deleted.
    Delete,
    /// It stays, with `active` set to false.
    Deactivate,
}

/// Exponential backoff: waits that double with each try, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first try.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_hours(1),
        }
    }
}

impl Backoff {
    /// Returns the wait after the `attempt`-th try, counted from 1. `dice` (0 to 255) shortens it by up to a half, so
    /// that pushes that failed together are not retried together.
    pub fn delay(&self, attempt: u32, dice: u8) -> Duration {
        let whole = self
            .base
            .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(31)))
            .min(self.cap);
        whole.mul_f64(1.0 - f64::from(dice) / 510.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_double_up_to_the_cap() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            cap: Duration::from_mins(1),
        };
        let delays: Vec<u64> = [1, 2, 3, 6, 7, 1000]
            .map(|attempt| backoff.delay(attempt, 0).as_secs())
            .to_vec();
        assert_eq!(delays, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn jitter_shortens_a_wait_by_half_at_most() {
        let backoff = Backoff {
            base: Duration::from_secs(8),
            cap: Duration::from_mins(1),
        };
        assert_eq!(backoff.delay(1, 255), Duration::from_secs(4));
    }
}
