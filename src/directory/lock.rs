//! Serialises changes of one resource within this process.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::ResourceId;

/// Far more than the threads that write at a time, so that two resources rarely share a lock and a slow directory
/// server delays few other writes.
const STRIPES: usize = 4096;

/// A fixed set of locks over all resources. Correctness does not depend on it: writes name the version that they
/// started from, across processes too. It only avoids retries within this process.
pub(super) struct Locks {
    stripes: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Locks {
    fn default() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Locks {
    /// Waits for the lock of the resource.
    pub(super) fn hold(&self, id: &ResourceId) -> MutexGuard<'_, ()> {
        let stripe = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or_default();
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
