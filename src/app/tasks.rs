//! The work that a running server repeats: cleanup, removals, logouts, leases, reports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::periodic_task::{self, PeriodicTask};
use crate::domain::schema::Registry;
use crate::federation::Federation;
use crate::federation::removal::ProviderRemover;
use crate::oidc::Oidc;
use crate::scim::Scim;
use crate::storage::{Database, StorageError};
use crate::userstore::StoreError;
use crate::userstore::sql::reindex::{self, IndexForm, Progress};

/// Starts the tasks that every server repeats.
pub(super) fn start(
    oidc: &Arc<Oidc>,
    federation: &Arc<Federation>,
    scim: &Arc<Scim>,
    remover: ProviderRemover,
    others: impl Fn() -> Result<usize, StorageError> + Send + 'static,
) -> std::io::Result<Vec<PeriodicTask>> {
    let cleanup = cleanup_of(Arc::clone(oidc), Arc::clone(federation), others);
    let report = keep_report_of(Arc::clone(scim));
    let mut tasks = vec![
        PeriodicTask::start(periodic_task::EVERY, cleanup)?,
        PeriodicTask::start(periodic_task::REPORT_EVERY, report)?,
        PeriodicTask::start(periodic_task::MEMBERSHIPS_EVERY, memberships_of(remover.clone()))?,
        PeriodicTask::start(periodic_task::REMOVALS_EVERY, removal_of(remover))?,
    ];
    tasks.extend(logout_senders(oidc)?);
    tasks.extend(lease_keeper(federation)?);
    Ok(tasks)
}

/// Removes expired records once. A failure is logged, and the next run tries again.
fn cleanup_of(
    oidc: Arc<Oidc>,
    federation: Arc<Federation>,
    others: impl Fn() -> Result<usize, StorageError> + Send + 'static,
) -> impl Fn() + Send + 'static {
    move || {
        if let Err(error) = others() {
            log::warn!("rows of removed resources and old security events could not be removed: {error}");
        }
        match oidc.sweep() {
            Ok(count) => log::debug!("{count} expired sessions, grants, tokens and keys removed"),
            Err(error) => log::warn!("expired sessions and tokens could not be removed: {error}"),
        }
        let swept = federation
            .login
            .sweep()
            .and_then(|logins| Ok(logins + federation.approvals.sweep()?));
        match swept {
            Ok(count) => log::debug!("{count} expired logins and approval requests removed"),
            Err(error) => log::warn!("expired logins could not be removed: {error}"),
        }
    }
}

/// Withdraws memberships that identity providers granted to people whose identities have ended.
fn memberships_of(remover: ProviderRemover) -> impl Fn() + Send + 'static {
    move || {
        if let Err(error) = remover.withdraw_memberships() {
            log::warn!("memberships of former identities could not be withdrawn and will be retried: {error}");
        }
    }
}

/// Continues removals of identity providers that another process began and did not finish.
fn removal_of(remover: ProviderRemover) -> impl Fn() + Send + 'static {
    move || {
        if let Err(error) = remover.carry_on() {
            log::warn!("the removal of an identity provider failed and will be retried: {error}");
        }
    }
}

/// Starts the threads that send back-channel logouts, if a service provider has registered for them.
fn logout_senders(oidc: &Arc<Oidc>) -> std::io::Result<Vec<PeriodicTask>> {
    let count = if oidc.has_backchannel_logout() {
        periodic_task::LOGOUT_TELLERS
    } else {
        0
    };
    let start = |_| {
        let oidc = Arc::clone(oidc);
        PeriodicTask::start(periodic_task::LOGOUTS_EVERY, move || {
            if let Err(error) = oidc.send_logouts() {
                log::warn!("logouts could not be sent to service providers and will be retried: {error}");
            }
        })
    };
    (0..count).map(start).collect()
}

/// Starts the thread that disables and removes accounts with expired leases, if there are leases.
fn lease_keeper(federation: &Arc<Federation>) -> std::io::Result<Option<PeriodicTask>> {
    let keep = |federation: Arc<Federation>| {
        PeriodicTask::start(periodic_task::LEASES_EVERY, move || match federation.leases.sweep() {
            Ok(swept) => log::debug!(
                "{} accounts with expired leases disabled, {} removed",
                swept.suspended,
                swept.removed
            ),
            Err(error) => log::warn!("leases could not be checked, retrying later: {error}"),
        })
    };
    (!federation.leases.is_empty())
        .then(|| keep(Arc::clone(federation)))
        .transpose()
}

/// Stores the counts of what SCIM clients did outside the standard.
pub(super) fn keep_report_of(scim: Arc<Scim>) -> impl Fn() + Send + 'static {
    move || {
        if let Err(error) = scim.keep_report() {
            log::warn!("the dialect report could not be stored and will be retried: {error}");
        }
    }
}

/// Looks for resources whose index rows are in another form, rebuilds them step by step, and tells in the log how far it
/// is.
pub(super) fn rebuild_indexes(database: Database, registry: Arc<Registry>) -> impl Fn() -> Duration + Send + 'static {
    let form = IndexForm::of(&registry);
    let began = AtomicBool::new(false);
    let told = Mutex::new(RebuildLog {
        at: Instant::now(),
        done: 0,
        superseded: false,
    });
    move || {
        let step = || {
            if !began.load(Ordering::Relaxed) {
                reindex::take_turn(&database, &form).map_err(StoreError::from)?;
                began.store(true, Ordering::Relaxed);
            }
            reindex::step(&database, &registry, &form)
        };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match step() {
            Ok(progress) => told.tell(&progress, &database),
            Err(error) => {
                log::warn!("indexes could not be rebuilt and will be retried: {error}");
                return periodic_task::REBUILD_EVERY;
            }
        }
        if told.done > 0 {
            periodic_task::REBUILD_PAUSE
        } else {
            periodic_task::REBUILD_EVERY
        }
    }
}

/// The part of a rebuild that is in the log.
struct RebuildLog {
    at: Instant,
    /// The resources that are done since it began.
    done: usize,
    superseded: bool,
}

impl RebuildLog {
    fn tell(&mut self, progress: &Progress, database: &Database) {
        match progress {
            Progress::Done(more) => {
                if self.done == 0 {
                    let unfinished = database.unfinished_indexes().get();
                    let names: Vec<&str> = unfinished.iter().map(String::as_str).collect();
                    if !names.is_empty() {
                        log::info!(
                            "rebuilding the indexes of {}; until then, filters on them take longer",
                            names.join(", ")
                        );
                    }
                    self.at = Instant::now();
                }
                self.done += more;
                if self.at.elapsed() >= periodic_task::TELL_EVERY {
                    log::info!("rebuilding indexes: {} resources are done", self.done);
                    self.at = Instant::now();
                }
            }
            Progress::Idle => {
                if self.done > 0 {
                    log::info!("the indexes are rebuilt: {} resources", self.done);
                }
                (self.done, self.superseded) = (0, false);
            }
            Progress::Superseded => {
                if !self.superseded {
                    log::warn!(
                        "a process with other indexed attributes started later on this database; filters on those that differ take longer. Let all processes use the same schemas"
                    );
                }
                (self.done, self.superseded) = (0, true);
            }
        }
    }
}
