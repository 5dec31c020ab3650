//! Argon2id password hashes; no more than half of the cores compute them at a time, so other work is not starved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::domain::Secret;

/// Memory in KiB and passes: the OWASP minimum, 15 ms on the machine of `docs/performance.md`.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// Makes and checks password hashes.
#[derive(Clone)]
pub struct PasswordHasher {
    argon: Argon2<'static>,
    slots: Arc<(Mutex<usize>, Condvar)>,
    /// A hash to verify against when there is none, so that timing does not reveal that; the answer is always no.
    decoy: Arc<str>,
    compared: Arc<AtomicU64>,
}

impl Default for PasswordHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl PasswordHasher {
    /// Creates a hasher that uses half of the cores, and at least one.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parameters = Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within Argon2's limits");
        let mut hasher = Self {
            argon: Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters),
            slots: Arc::new((Mutex::new(cores.div_ceil(2)), Condvar::new())),
            decoy: "".into(),
            compared: Arc::default(),
        };
        hasher.decoy = hasher.hash(&Secret::new("nobody types this")).into();
        hasher
    }

    /// Returns the hash of a password, in PHC form with its parameters and salt.
    pub fn hash(&self, password: &Secret) -> String {
        let _slot = self.slot();
        self.argon
            .hash_password(password.expose().as_bytes())
            .expect("any bytes can be hashed")
            .to_string()
    }

    /// Returns how many passwords were compared so far, by which a test tells whether two ways do the same work.
    pub fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// Whether `password` matches `hash`. Without a hash the answer is no, after the same time.
    pub fn verify(&self, hash: Option<&str>, password: &Secret) -> bool {
        let _slot = self.slot();
        self.compared.fetch_add(1, Ordering::Relaxed);
        let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&self.decoy)) else {
            return false;
        };
        self.argon
            .verify_password(password.expose().as_bytes(), &parsed)
            .is_ok()
            && hash.is_some()
    }

    fn slot(&self) -> HashPermit<'_> {
        let (free, freed) = &*self.slots;
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            free = freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        HashPermit(self)
    }
}

/// A permit to use the hasher; returned on drop.
struct HashPermit<'a>(&'a PasswordHasher);

impl Drop for HashPermit<'_> {
    fn drop(&mut self) {
        let (free, freed) = &*self.0.slots;
        *free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        freed.notify_one();
    }
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
}
