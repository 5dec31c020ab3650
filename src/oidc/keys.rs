//! The signing keys: their creation, publication, rotation and removal.
//!
//! They are created at the first start, published before they sign and after they retire, and shared by all processes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::{Clock, Timestamp};
use crate::jose::Algorithm;
use crate::jose::jws::{self, Compact};
use crate::jose::signing_key::{BadKey, SigningKey, generate};
use crate::storage::secret_box::Unsealable;
use crate::storage::signing_keys::{self, SigningKeyRecord};
use crate::storage::{Database, SecretBox, SqlConnection, StorageError};

/// How long a process caches the keys.
const FRESH: Duration = Duration::from_secs(1);

/// How long others may cache the published keys (`Cache-Control: max-age` of the JWKS).
pub(crate) const PUBLISHED_FRESH: Duration = Duration::from_mins(5);

/// How long a new key is published before it signs: twice the time that others may cache the old set.
const AHEAD: Duration = Duration::from_mins(10);

/// The reason why no signing key is available.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The master key does not open the sealed keys.
    #[error("the signing keys cannot be opened: is this the master key that sealed them?")]
    Sealed(#[from] Unsealable),
    /// A stored key is invalid.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// No key exists for this algorithm.
    #[error("there is no {0} signing key: run `vestibule keys rotate`")]
    Missing(&'static str),
}

/// The published keys.
pub(super) struct KeySet(Vec<Published>);

struct Published {
    key: Arc<SigningKey>,
    signs_from: Timestamp,
}

impl KeySet {
    pub(super) fn by_kid(&self, kid: &str) -> Option<&SigningKey> {
        self.0
            .iter()
            .map(|published| &*published.key)
            .find(|key| key.kid() == kid)
    }

    /// The JWK set (RFC 7517 §5).
    pub(super) fn jwks(&self) -> Value {
        json!({ "keys": self.0.iter().map(|published| published.key.jwk()).collect::<Vec<_>>() })
    }

    /// Returns the newest key that already signs. The set is sorted by `signs_from`, latest first.
    fn signer(&self, algorithm: Algorithm, now: Timestamp) -> Option<Arc<SigningKey>> {
        self.0
            .iter()
            .find(|published| published.key.algorithm() == algorithm && published.signs_from <= now)
            .map(|published| Arc::clone(&published.key))
    }
}

/// The signing keys of this installation, with a cache.
pub(super) struct Keys {
    database: Database,
    secret_box: Arc<SecretBox>,
    clock: Clock,
    /// How long a retired key stays published.
    kept: Duration,
    cache: Mutex<Option<(Timestamp, Arc<KeySet>)>>,
}

impl Keys {
    /// Reads the keys, and generates them if there are none. If several processes start at once, one generates them.
    pub(super) fn open(
        database: Database,
        secret_box: Arc<SecretBox>,
        clock: Clock,
        kept: Duration,
    ) -> Result<Self, KeysError> {
        let keys = Self {
            database,
            secret_box,
            clock,
            kept,
            cache: Mutex::new(None),
        };
        let now = keys.clock.now();
        for algorithm in Algorithm::ALL {
            if keys.set()?.signer(algorithm, now).is_none() {
                keys.add_first(algorithm, now)?;
            }
        }
        Ok(keys)
    }

    /// Generates a new key for each algorithm. It is published at once and signs after ten minutes; then the old ones
    /// retire.
    pub(super) fn rotate(&self) -> Result<(), KeysError> {
        let signs_from = self.clock.now().plus(AHEAD);
        self.succeed(signs_from, move |connection| {
            Ok(signing_keys::retire_all(connection, signs_from)?)
        })
    }

    /// Replaces every key at once. What they signed is worth nothing from now on, and the new ones sign at once: clients
    /// that cached the old set must fetch the new one.
    pub(super) fn replace(&self) -> Result<(), KeysError> {
        self.succeed(self.clock.now(), |connection| {
            signing_keys::delete_all(connection)?;
            Ok(())
        })
    }

    /// Generates a new key for each algorithm, in one transaction with the end of the old ones.
    fn succeed(
        &self,
        signs_from: Timestamp,
        end_old: impl Fn(&mut SqlConnection) -> Result<(), StorageError> + Send + Sync + 'static,
    ) -> Result<(), KeysError> {
        let now = self.clock.now();
        let records = Algorithm::ALL.map(|algorithm| self.make(algorithm, now, signs_from));
        let records: Vec<SigningKeyRecord> = records.into_iter().collect::<Result<_, _>>()?;
        self.database.write::<_, StorageError>(move |connection| {
            signing_keys::lock(connection)?;
            end_old(connection)?;
            for record in &records {
                signing_keys::insert(connection, record)?;
            }
            Ok(())
        })?;
        self.forget();
        Ok(())
    }

    /// Removes the keys that retired so long ago that no token signed by them is still valid.
    pub(super) fn sweep(&self) -> Result<usize, KeysError> {
        let before = self.clock.now().minus(self.kept);
        let removed = self
            .database
            .write::<_, StorageError>(move |connection| Ok(signing_keys::delete_retired(connection, before)?))?;
        self.forget();
        Ok(removed)
    }

    /// Returns the key that signs now.
    pub(super) fn signer(&self, algorithm: Algorithm) -> Result<Arc<SigningKey>, KeysError> {
        self.set()?
            .signer(algorithm, self.clock.now())
            .ok_or(KeysError::Missing(algorithm.name()))
    }

    /// Returns the keys, at most a second old. If the database does not answer, returns the last known ones.
    pub(super) fn set(&self) -> Result<Arc<KeySet>, KeysError> {
        let now = self.clock.now();
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((read, set)) = &cached
            && now >= *read
            && now < read.plus(FRESH)
        {
            return Ok(Arc::clone(set));
        }
        let known = cached.map(|(_, set)| set);
        // No lock is held while the database answers: several callers may read the keys at the same time.
        match (self.load(known.as_deref()), known) {
            (Ok(set), _) => {
                let set = Arc::new(set);
                *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&set)));
                Ok(set)
            }
            (Err(KeysError::Storage(error)), Some(set)) => {
                log::warn!("could not reload the signing keys, using the cached ones: {error}");
                Ok(set)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn load(&self, known: Option<&KeySet>) -> Result<KeySet, KeysError> {
        let known: HashMap<&str, &Arc<SigningKey>> = known
            .iter()
            .flat_map(|set| &set.0)
            .map(|published| (published.key.kid(), &published.key))
            .collect();
        let records = self.database.read::<_, KeysError>(signing_keys::all)?;
        let mut published = Vec::with_capacity(records.len());
        for record in records {
            let key = match known.get(record.kid.as_str()) {
                Some(key) => Arc::clone(key),
                None => Arc::new(self.unseal(&record)?),
            };
            published.push(Published {
                key,
                signs_from: record.signs_from,
            });
        }
        Ok(KeySet(published))
    }

    fn unseal(&self, record: &SigningKeyRecord) -> Result<SigningKey, KeysError> {
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == record.algorithm)
            .ok_or(BadKey)?;
        let der = self.secret_box.open(&context(&record.kid), &record.sealed)?;
        Ok(SigningKey::read(algorithm, &der)?)
    }

    fn make(
        &self,
        algorithm: Algorithm,
        created: Timestamp,
        signs_from: Timestamp,
    ) -> Result<SigningKeyRecord, BadKey> {
        let der = generate(algorithm)?;
        let kid = SigningKey::read(algorithm, &der)?.kid().to_owned();
        let sealed = self.secret_box.seal(&context(&kid), &der);
        Ok(SigningKeyRecord {
            kid,
            algorithm: algorithm.name().to_owned(),
            sealed,
            created,
            signs_from,
            retired: None,
        })
    }

    /// Adds the first key for an algorithm. It signs at once, because no older set can be cached. Does nothing if
    /// another process was faster.
    fn add_first(&self, algorithm: Algorithm, now: Timestamp) -> Result<(), KeysError> {
        let record = self.make(algorithm, now, now)?;
        self.database.write::<_, StorageError>(move |connection| {
            signing_keys::lock(connection)?;
            let there = signing_keys::all(connection)?;
            if !there
                .iter()
                .any(|key| key.algorithm == record.algorithm && key.signs_from <= now)
            {
                signing_keys::insert(connection, &record)?;
            }
            Ok(())
        })?;
        self.forget();
        Ok(())
    }

    fn forget(&self) {
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Returns the context that binds a sealed key to its row.
fn context(kid: &str) -> String {
    format!("signing_keys/{kid}")
}

/// Returns the claims of an ID token that one of this server's keys signed. Its times and its audience are not checked.
pub(super) fn claims_of_id_token(keys: &KeySet, token: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let token = Compact::read(token)?;
    let key = keys.by_kid(token.header.get("kid")?.as_str()?)?;
    // The key determines the algorithm; the header must agree.
    let genuine = *token.header.get("typ")? == jws::ID_TOKEN
        && *token.header.get("alg")? == key.algorithm().name()
        && key.verify(token.signed.as_bytes(), &token.signature);
    genuine.then_some(token.claims)
}
