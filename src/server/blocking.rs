//! The bridge from async actix handlers to the blocking core.
//!
//! A worker has a limited number of threads for blocking work. Work that may take long waits in a queue of its kind,
//! where it holds no thread, so that it never takes all of them from other requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::language;
use crate::audit::origin;

/// The steps of logins: they may ask an identity provider, a userstore or a mail server.
pub static LOGINS: Queue = Queue::new(48, 512);
/// Checking and hashing passwords: each takes a processor for some milliseconds.
pub static PASSWORDS: Queue = Queue::new(8, 256);

/// How long work waits in a queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// A queue for one kind of work.
pub struct Queue {
    turns: Semaphore,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Queue {
    const fn new(at_one_time: usize, most_waiting: usize) -> Self {
        Self {
            turns: Semaphore::const_new(at_one_time),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }

    /// Runs work when it is its turn. `None` if too much waits already or the turn does not come in time, and as for
    /// [`run`].
    pub async fn run<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self.turns.try_acquire() {
            Ok(turn) => run_during(turn, work).await,
            Err(_) => self.wait(work).await,
        }
    }

    async fn wait<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = Place::take(self)?;
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await;
        drop(place);
        let Ok(Ok(turn)) = turn else {
            log::warn!("a request has waited too long for its turn");
            return None;
        };
        run_during(turn, work).await
    }
}

/// Runs work that ends its turn itself, since it goes on when the client goes away.
async fn run_during<T: Send + 'static>(
    turn: SemaphorePermit<'static>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    run(move || {
        let _turn = turn;
        work()
    })
    .await
}

/// The most logins that one identity provider may hold up at a time. The others go on while it does not answer.
const MOST_AT_ONE_PROVIDER: usize = 20;

/// The turns of each identity provider that was asked, by name. Only names of configured providers get here.
static PROVIDERS: LazyLock<Mutex<HashMap<String, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Runs a step of a login that asks an identity provider. It waits for its turn without holding a thread. `None` as for
/// [`Queue::run`].
pub(super) async fn at_provider<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turns = {
        let mut providers = PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = providers.entry(name.to_owned());
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(MOST_AT_ONE_PROVIDER))))
    };
    let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turns.acquire_owned()).await else {
        log::warn!("a login has waited too long for the identity provider {name}");
        return None;
    };
    LOGINS
        .run(move || {
            let _turn = turn;
            work()
        })
        .await
}

/// A place in a queue; given up when dropped, also when the client goes away.
struct Place(&'static Queue);

impl Place {
    fn take(queue: &'static Queue) -> Option<Self> {
        if queue.waiting.fetch_add(1, Ordering::AcqRel) < queue.most_waiting {
            return Some(Self(queue));
        }
        queue.waiting.fetch_sub(1, Ordering::AcqRel);
        log::warn!("too many requests wait for their turn; one is turned away");
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs blocking work on the blocking pool, with the id and language of the current request. `None` if the work
/// panicked or the pool is gone, which happens only while the server stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (origin, language) = (origin::current(), language::current());
    match web::block(move || language::with(language, || origin::with(origin, work))).await {
        Ok(value) => Some(value),
        Err(error) => {
            log::error!("blocking work did not end: {error}");
            None
        }
    }
}

/// How long a client waits for an answer; the database and the userstores have shorter limits of their own, but a connection
/// may hang without a sign.
pub const LIMIT: Duration = Duration::from_mins(1);
/// How long a client waits for the answer to a bulk request.
pub const BULK_LIMIT: Duration = Duration::from_mins(10);

/// Waits for work no longer than a limit. `None` if it has not ended by then; it goes on.
pub async fn in_time<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let ended = tokio::time::timeout(limit, work).await;
    if ended.is_err() {
        log::error!("the answer took too long; the work goes on without its client");
    }
    ended.ok()
}

/// Runs a small read: on the current thread if the caller knows that it will not block (`quick`: SQLite with a free
/// connection), else on the blocking pool. The hop to the pool costs as much as such a read itself.
pub async fn read<T: Send + 'static>(quick: bool, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if quick { Some(work()) } else { run(work).await }
}
