//! Exponential backoff: waits that double with each failure, up to a cap.

use std::time::Duration;

/// Waits that double with each failure, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Backoff {
    /// Waits from `base` to `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The wait after the `failures`-th failure in a row, counted from 1.
    pub fn wait(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.base.saturating_mul(doubled).min(self.cap)
    }

    /// The same wait, shortened by up to a half. `dice` (0 to 255) decides, so that work that failed together is not
    /// retried together.
    pub(crate) fn jittered(&self, failures: u32, dice: u8) -> Duration {
        self.wait(failures).mul_f64(1.0 - f64::from(dice) / 510.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_double_up_to_the_cap() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
        let waits = [0, 1, 2, 3, 6, 7, 1000].map(|failures| backoff.wait(failures).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn jitter_shortens_a_wait_by_half_at_most() {
        let backoff = Backoff::new(Duration::from_secs(8), Duration::from_mins(1));
        assert_eq!(backoff.jittered(1, 0), Duration::from_secs(8));
        assert_eq!(backoff.jittered(1, 255), Duration::from_secs(4));
    }
}
