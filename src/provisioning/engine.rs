//! The provisioning engine: starts and stops each target's threads, and reports on the targets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::domain::{Clock, TargetName, Timestamp};
use crate::storage::outbound::OutboundRow;
use crate::storage::{Database, StorageError, outbound, targets};

use super::circuit_breaker::{CircuitBreaker, WINDOW};
use super::connector::Connector;
use super::kinds;
use super::lease::LeaseRenewer;
use super::metrics::{Counters, TargetMetrics};
use super::operate::{self, ReplayScope, TargetStatus};
use super::settings::{Settings, TargetSettings};
use super::source::Source;
use super::target_context::{Notifier, Pacing, TargetContext};
use super::{consume, worker};

/// How long a stop waits for running requests. Their rows are released when their leases expire.
const STOP: Duration = Duration::from_secs(10);

/// The reason why an engine operation failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No target has this name.
    #[error("there is no target named {0}")]
    NoTarget(TargetName),
    /// The settings of a target are invalid.
    #[error("target {target}: {problem}")]
    Settings {
        /// The target.
        target: TargetName,
        /// The problem.
        problem: String,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Creates the connector of a target, or returns what is wrong with its settings.
pub type Connect<'a> = dyn Fn(&TargetSettings) -> Result<Arc<dyn Connector>, String> + 'a;

/// Keeps targets in sync with the journal until it is stopped.
pub struct Engine {
    contexts: Vec<Arc<TargetContext>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stopping: Arc<AtomicBool>,
}

impl Engine {
    /// Starts one reader and several workers for each target. Blocks briefly, so it must not be
    /// called from asynchronous code.
    pub fn start(settings: Settings, source: Source, database: Database, clock: Clock) -> Result<Self, EngineError> {
        let connector_clock = clock.clone();
        let connect = move |target: &TargetSettings| kinds::connect(target, &connector_clock);
        Self::start_with(settings, &connect, source, database, clock)
    }

    /// Like [`Engine::start`], with connectors made by `connect`.
    pub(crate) fn start_with(
        settings: Settings,
        connect: &Connect<'_>,
        source: Source,
        database: Database,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let pace = Pacing {
            poll: settings.poll,
            lease: settings.lease,
            batch: settings.batch.max(1),
        };
        let (stopping, keeper) = (Arc::new(AtomicBool::new(false)), Arc::new(LeaseRenewer::default()));
        let mut contexts = Vec::new();
        for target in settings.targets {
            let connector = connect(&target).map_err(|problem| EngineError::Settings {
                target: target.name.clone(),
                problem,
            })?;
            contexts.push(Arc::new(TargetContext {
                rules: settings
                    .rules
                    .iter()
                    .filter(|rule| rule.target == target.name)
                    .cloned()
                    .collect(),
                connector,
                source: source.clone(),
                breaker: breaker(&database, &target, clock.now())?,
                database: database.clone(),
                clock: clock.clone(),
                counters: Counters::default(),
                keeper: Arc::clone(&keeper),
                news: Notifier::default(),
                jobs: Notifier::default(),
                pace,
                stopping: Arc::clone(&stopping),
                paused: AtomicBool::new(false),
                backlog: Mutex::default(),
                settings: target,
            }));
        }
        let engine = Self {
            contexts,
            threads: Mutex::default(),
            stopping,
        };
        engine.start_threads(&keeper)?;
        Ok(engine)
    }

    fn start_threads(&self, keeper: &Arc<LeaseRenewer>) -> Result<(), EngineError> {
        for context in &self.contexts {
            let name = context.target().as_str();
            let reader = Arc::clone(context);
            self.spawn(format!("reads for {name}"), move || consume::consume(&reader))?;
            for _ in 0..context.settings.concurrency.max(1) {
                let worker = Arc::clone(context);
                self.spawn(format!("pushes to {name}"), move || worker::work(&worker))?;
            }
        }
        // One keeper serves all targets: it uses only the database, so no target can delay it.
        if let Some(context) = self.contexts.first().map(Arc::clone) {
            let keeper = Arc::clone(keeper);
            self.spawn("leases".to_owned(), move || keep(&context, &keeper))?;
        }
        Ok(())
    }

    fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let thread = Builder::new().name(name).spawn(work)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Wakes the readers. It is cheap and must be called after each change.
    pub fn wake(&self) {
        self.contexts.iter().for_each(|context| context.news.notify());
    }

    /// Stops all threads and releases the rows that they have not started. Returns after ten seconds at the latest.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for context in &self.contexts {
            context.news.notify();
            context.jobs.notify();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let begun = Instant::now();
        while begun.elapsed() < STOP && threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            // A panic was logged when it happened.
            let _ = thread.join();
        }
    }

    fn context(&self, target: &TargetName) -> Result<&TargetContext, EngineError> {
        let context = self.contexts.iter().find(|context| context.target() == target);
        context
            .map(AsRef::as_ref)
            .ok_or_else(|| EngineError::NoTarget(target.clone()))
    }

    /// Returns the status of every target.
    pub fn status(&self) -> Result<Vec<TargetStatus>, StorageError> {
        self.contexts
            .iter()
            .map(|context| operate::status(&context.database, context.target()))
            .collect()
    }

    /// Returns the metrics of every target.
    pub fn metrics(&self) -> Result<Vec<TargetMetrics>, StorageError> {
        let read = |context: &Arc<TargetContext>| {
            let now = context.clock.now();
            let backlog = context.backlog(now)?;
            let lag = backlog.oldest.map_or(0, |oldest| now.0 - oldest.0);
            Ok(context.counters.read(
                context.target(),
                u64::try_from(backlog.rows).unwrap_or(0),
                u64::try_from(lag).unwrap_or(0),
            ))
        };
        self.contexts.iter().map(read).collect()
    }

    /// Returns whether a target is up to date: the journal is read and no row is waiting.
    pub fn is_idle(&self, target: &TargetName) -> Result<bool, EngineError> {
        let context = self.context(target)?;
        Ok(context.database.read::<_, StorageError>(|connection| {
            Ok(!targets::has_unread(connection, target)? && !outbound::is_waiting(connection, target)?)
        })?)
    }

    /// Returns the failed resources of a target, at most `limit`.
    pub fn failed(&self, target: &TargetName, limit: u16) -> Result<Vec<OutboundRow>, EngineError> {
        Ok(operate::failed(&self.context(target)?.database, target, limit)?)
    }

    /// Pushes the chosen resources again, in full. Returns their number.
    pub fn replay(&self, target: &TargetName, which: ReplayScope) -> Result<usize, EngineError> {
        let context = self.context(target)?;
        let count = operate::replay(&context.database, target, which, context.clock.now())?;
        context.jobs.notify();
        Ok(count)
    }

    /// Pauses a target, for a reason that the console shows. Changes wait meanwhile.
    pub fn pause(&self, target: &TargetName, reason: &str) -> Result<(), EngineError> {
        Ok(self.context(target)?.pause(reason.to_owned())?)
    }

    /// Resumes a target at once. If its delete limit was reached, this confirms the removals: none is counted in the
    /// next hour.
    pub fn resume(&self, target: &TargetName) -> Result<(), EngineError> {
        let context = self.context(target)?;
        operate::resume(&context.database, target)?;
        context.breaker.reset(context.clock.now());
        context.jobs.notify();
        Ok(())
    }

    /// Checks that a target answers and accepts the credentials.
    pub fn probe(&self, target: &TargetName) -> Result<Result<(), super::PushError>, EngineError> {
        Ok(self.context(target)?.connector.probe())
    }
}

impl Drop for Engine {
    /// Tells the threads to end without waiting for them; [`Engine::stop`] waits.
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// Returns a target's circuit breaker. It counts the removals of the last hour, so that a restart does not reset the
/// delete limit.
fn breaker(database: &Database, target: &TargetSettings, now: Timestamp) -> Result<CircuitBreaker, StorageError> {
    let name = target.name.clone();
    database.write(move |connection| Ok::<_, StorageError>(targets::ensure(connection, &name)?))?;
    let removed: i64 = database
        .read::<_, StorageError>(|connection| outbound::removed_since(connection, &target.name, now.minus(WINDOW)))?;
    Ok(CircuitBreaker::new(
        target.backoff,
        target.max_deletes,
        usize::try_from(removed).unwrap_or(0),
        now,
    ))
}

/// Renews the leases of every worker until the engine stops.
fn keep(context: &TargetContext, keeper: &LeaseRenewer) {
    let quarter = context.pace.lease / 4;
    let mut renewed = Instant::now();
    while !context.is_stopping() {
        std::thread::sleep(quarter.min(Duration::from_millis(50)));
        if renewed.elapsed() >= quarter {
            renewed = Instant::now();
            if let Err(error) = keeper.renew(&context.database, &context.clock, context.pace.lease) {
                log::warn!("cannot renew leases: {error}");
            }
        }
    }
}
