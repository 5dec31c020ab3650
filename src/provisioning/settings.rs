//! What the configuration says about targets and about which changes go where.

use std::time::Duration;

use url::Url;

use crate::domain::{Secret, ServiceProviderName, TargetName};

/// Everything that the engine is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The targets.
    pub targets: Vec<TargetSettings>,
    /// Which service provider's changes go to which target.
    pub rules: Vec<OutboundRule>,
    /// How long an idle thread sleeps before it looks again by itself.
    pub poll: Duration,
    /// For how long a worker holds the rows that it took; a dead worker's rows are free again after that.
    pub lease: Duration,
    /// How many rows a worker takes at once.
    pub batch: u16,
}

impl Settings {
    /// The usual pace: looks twice a second, leases of 20 seconds, batches of 32.
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

/// A service provider lists a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRule {
    /// The service provider.
    pub service_provider: ServiceProviderName,
    /// The target.
    pub target: TargetName,
    /// Whether what logins change goes there too.
    pub jit: bool,
}

/// One downstream system.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// Its name.
    pub name: TargetName,
    /// Where its SCIM endpoints are, such as `https://chat.example.com/scim/v2`.
    pub base_url: Url,
    /// How we prove who we are.
    pub auth: Auth,
    /// How it differs from the usual.
    pub profile: Profile,
    /// Whether it may be on loopback or a private address.
    pub allow_private_network: bool,
    /// How many requests are under way at once.
    pub concurrency: u16,
    /// How long one request may take.
    pub timeout: Duration,
    /// How long a resource waits after a push that went wrong.
    pub backoff: Backoff,
    /// How many accounts may be removed or deactivated in an hour before the target pauses and asks a person.
    pub max_deletes: u32,
}

impl TargetSettings {
    /// A target with the usual limits: 4 requests at once, 30 seconds each, 100 removals an hour, public addresses only.
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

/// How requests to a target are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer(Secret),
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A header of the target's own, such as an API key.
    Header {
        /// The header's name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

/// How a target differs from the usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How users are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub user_verb: Option<Verb>,
    /// How groups are updated; `None`: as the target's `ServiceProviderConfig` says.
    pub group_verb: Option<Verb>,
    /// How many members one request may add or remove.
    pub members_per_request: usize,
    /// What becomes of an account whose owner was deleted here.
    pub deprovision: Deprovision,
    /// Attributes that are never sent, in any case of letters: those that the target refuses, and those that the schema
    /// never returns.
    pub forbidden: Vec<String>,
    /// How many resources a search asks for.
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

/// The method of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Only what changed (RFC 7644 §3.5.2).
    Patch,
    /// The whole resource (RFC 7644 §3.5.1).
    Put,
}

/// What becomes of an account at the target when its owner is deleted here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deprovision {
    /// It is deleted.
    Delete,
    /// It stays, with `active` set to false.
    Deactivate,
}

/// Waiting times that double with each try, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first try.
    pub base: Duration,
    /// The longest.
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
    /// How long to wait after the `attempt`-th try, counted from 1. `dice` (0 to 255) shortens it by up to a half, so that
    /// what failed together does not come back together.
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
    fn chance_takes_away_half_of_a_waiting_time_at_most() {
        let backoff = Backoff {
            base: Duration::from_secs(8),
            cap: Duration::from_mins(1),
        };
        assert_eq!(backoff.delay(1, 255), Duration::from_secs(4));
    }
}
