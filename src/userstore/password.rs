//! Password hashes: Argon2id, as few at a time as there are cores, so that logins starve nobody.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::domain::{Secret, Timestamp};

/// Memory in KiB and passes: the OWASP minimum, 15 ms on the machine of `docs/performance.md`.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// Wrong passwords that an account takes before it locks.
const FREE_FAILURES: i32 = 5;
/// The first lock; each further failure doubles it, up to [`LONGEST_LOCK`].
const FIRST_LOCK: Duration = Duration::from_secs(30);
const LONGEST_LOCK: Duration = Duration::from_mins(15);

/// Makes and checks password hashes.
#[derive(Clone)]
pub struct PasswordHasher {
    argon: Argon2<'static>,
    slots: Arc<(Mutex<usize>, Condvar)>,
    /// A hash that is checked when there is none, so that time does not tell; its answer is always no.
    decoy: Arc<str>,
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl PasswordHasher {
    /// A hasher that works on as many passwords at a time as there are cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parameters = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within Argon2's limits");
        let mut hasher = Self {
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters),
            slots: Arc::new((Mutex::new(cores), Condvar::new())),
            decoy: "".into(),
        };
        hasher.decoy = hasher.hash(&Secret::new("nobody types this")).into();
        hasher
    }

    /// The hash of a password, in PHC form with its parameters and salt.
    pub fn hash(&self, password: &Secret) -> String {
        let _slot = self.slot();
        self.argon
            .hash_password(password.expose().as_bytes())
            .expect("any bytes can be hashed")
            .to_string()
    }

    /// Whether `password` is the one that `hash` was made of. Without a hash the answer is no, after the same time.
    pub fn verify(&self, hash: Option<&str>, password: &Secret) -> bool {
        let _slot = self.slot();
        let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&self.decoy)) else {
            return false;
        };
        self.argon
            .verify_password(password.expose().as_bytes(), &parsed)
            .is_ok()
            && hash.is_some()
    }

    fn slot(&self) -> Slot<'_> {
        let (free, freed) = &*self.slots;
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot(self)
    }
}

/// One of the places at the hasher; given back when dropped.
struct Slot<'a>(&'a PasswordHasher);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let (free, freed) = &*self.0.slots;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
}

/// Until when an account is locked after its `failures`-th wrong password in a row; before `now` if it is not.
pub(super) fn locked_until(failures: i32, now: Timestamp) -> Timestamp {
    if failures < FREE_FAILURES {
        return Timestamp(0);
    }
    let doublings = u32::try_from(failures - FREE_FAILURES).unwrap_or_default().min(10);
    now.plus((FIRST_LOCK * 2_u32.pow(doublings)).min(LONGEST_LOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_its_own_hash_only() {
        let hasher = PasswordHasher::new();
        let hash = hasher.hash(&Secret::new("correct horse"));
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(Some(&hash), &Secret::new("correct horse")));
        assert!(!hasher.verify(Some(&hash), &Secret::new("correct hors")));
        assert!(!hasher.verify(None, &Secret::new("correct horse")));
    }

    #[test]
    fn a_broken_hash_is_a_wrong_password() {
        let hasher = PasswordHasher::new();
        for hash in [
            "",
            "plain",
            "$argon2id$",
            "$2y$10$ünïcode",
            "$argon2id$v=19$m=1,t=1,p=1$x$y",
        ] {
            assert!(!hasher.verify(Some(hash), &Secret::new("x")), "{hash}");
        }
    }

    #[test]
    fn locks_begin_with_the_fifth_failure_and_double_up_to_a_quarter_of_an_hour() {
        let seconds = |failures| locked_until(failures, Timestamp(0)).seconds();
        assert_eq!([4, 5, 6, 9, 10, 99].map(seconds), [0, 30, 60, 480, 900, 900]);
    }
}
