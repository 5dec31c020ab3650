//! The temporary lock after repeated wrong guesses, such as of a password.

use std::time::Duration;

use super::Timestamp;
use super::backoff::Backoff;

/// Where wrong passwords are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCount {
    /// Against the account, which is locked after too many.
    Account,
    /// By the caller. Whether the account is locked does not count.
    Caller,
}

/// The wrong guess in a row at which locking starts.
const FREE_FAILURES: i32 = 5;
/// The locks: the first one, and the longest.
const LOCKS: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_mins(15));

/// Returns the end of the lock after the `failures`-th wrong guess in a row; a time before `now` if there is no lock.
pub(crate) fn locked_until(failures: i32, now: Timestamp) -> Timestamp {
    if failures < FREE_FAILURES {
        return Timestamp(0);
    }
    let locks = u32::try_from(failures - FREE_FAILURES + 1).unwrap_or_default();
    now.plus(LOCKS.wait(locks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_start_at_the_fifth_failure_and_double_to_15_minutes() {
        let seconds = |failures| locked_until(failures, Timestamp(0)).seconds();
        assert_eq!([4, 5, 6, 9, 10, 99].map(seconds), [0, 30, 60, 480, 900, 900]);
    }
}
