//! Periodic tasks, such as removing expired logins, sessions, grants, tokens and retired keys.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The interval for removing expired records: short, so that strangers cannot fill the disk with them.
pub(super) const EVERY: Duration = Duration::from_secs(30);

/// The pause between two steps of rebuilding indexes, in which waiting writes have their turn.
pub(super) const REBUILD_PAUSE: Duration = Duration::from_millis(5);

/// The interval for looking whether indexes must be rebuilt.
pub(super) const REBUILD_EVERY: Duration = Duration::from_secs(1);

/// How often the log tells that long work goes on.
pub(super) const TELL_EVERY: Duration = Duration::from_secs(10);

/// The interval for checking leases.
pub(super) const LEASES_EVERY: Duration = Duration::from_hours(1);

/// The interval for storing the dialect report.
pub(super) const REPORT_EVERY: Duration = Duration::from_mins(1);

/// The interval for looking for unfinished removals of identity providers.
pub(super) const REMOVALS_EVERY: Duration = Duration::from_secs(20);

/// The interval for looking for memberships that an interrupted end of an identity left.
pub(super) const MEMBERSHIPS_EVERY: Duration = Duration::from_mins(10);

/// The interval for looking for logouts to send to service providers.
pub(super) const LOGOUTS_EVERY: Duration = Duration::from_secs(1);

/// The number of threads that send logouts: a service provider that does not answer blocks one for a while.
pub(super) const LOGOUT_TELLERS: usize = 3;

/// A thread that repeats a task. It ends when this is stopped or dropped.
pub(super) struct PeriodicTask(Mutex<Option<(Sender<()>, JoinHandle<()>)>>);

impl PeriodicTask {
    /// Runs the task at once and then at the interval `every`.
    pub(super) fn start(every: Duration, sweep: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        Self::at_its_own_pace(move || {
            sweep();
            every
        })
    }

    /// Runs the task at once and then after the delay that each run returns.
    pub(super) fn at_its_own_pace(sweep: impl Fn() -> Duration + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            loop {
                let pause = sweep();
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("sweeper".to_owned()).spawn(run)?;
        Ok(Self(Mutex::new(Some((stop, thread)))))
    }

    /// Waits for the current run and ends the thread. A second call does nothing.
    pub(super) fn stop(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            if thread.join().is_err() {
                log::error!("a periodic task ended with a panic");
            }
        }
    }
}

impl Drop for PeriodicTask {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::app::App;
    use crate::config::Config;
    use crate::domain::login::Authentication;
    use crate::domain::{Actor, Change, Kind, Link, Operation, Principal, Relations, SideRecord, Timestamp};
    use crate::storage::{Database, DatabaseUrl, StorageError, links, login_transactions, migrate, sessions};

    fn eventually(probe: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if probe() {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn settings(folder: &Path) -> String {
        let path = folder.display();
        format!(
            "[server]\nlisten = \"127.0.0.1:1\"\npublic_url = \"http://127.0.0.1:1\"\n[database]\nurl = \"sqlite:{path}/a.db\"\n[security]\nmaster_key = {{ file = \"{path}/key\" }}\n\
             [[userstores]]\nname = \"PRIMARY\"\nkind = \"sql\"\n"
        )
    }

    #[test]
    fn a_task_runs_at_once_and_again_until_it_is_stopped() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let sweep = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let sweeper = PeriodicTask::start(Duration::from_millis(5), sweep).unwrap();
        assert!(eventually(|| count.load(Ordering::SeqCst) >= 3));
        sweeper.stop();
        let at_the_end = count.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(count.load(Ordering::SeqCst), at_the_end);
    }

    #[test]
    fn stopping_does_not_wait_for_the_next_sweep() {
        let sweeper = PeriodicTask::start(EVERY, || {}).unwrap();
        let began = Instant::now();
        sweeper.stop();
        sweeper.stop();
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn expired_logins_and_sessions_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let text = settings(folder.path());
        let database = Database::open(&DatabaseUrl::Sqlite(folder.path().join("a.db"))).unwrap();
        migrate::run(&database).unwrap();
        let login = Authentication {
            store: "PRIMARY".into(),
            user: "u".into(),
            amr: Vec::new(),
            identity_provider: None,
            at: Timestamp(0),
            authenticated_at: Some(Timestamp(0)),
            credentials: 0,
            provider_token: None,
        };
        let over = move |connection: &mut _| {
            login_transactions::insert(connection, "t", b"x", Timestamp(0), Timestamp(1))?;
            sessions::insert(connection, "s", &login, Timestamp(0), Timestamp(1))
        };
        database
            .write::<_, StorageError>(move |connection| Ok(over(connection)?))
            .unwrap();
        let app = App::start(&Config::read(&text, &[]).unwrap()).unwrap();
        let left = || {
            let look = |connection: &mut _| {
                let login = login_transactions::find(connection, "t", Timestamp(0))?.is_some();
                let session = sessions::find(connection, "s", Timestamp(0))?.is_some();
                Ok((login, session))
            };
            database.read::<_, StorageError>(look).unwrap()
        };
        assert!(eventually(|| left() == (false, false)), "{:?}", left());
        app.stop();
    }

    #[test]
    fn accounts_with_expired_leases_are_disabled() {
        let folder = tempfile::tempdir().unwrap();
        let lease = "[[identity_providers]]\nname = \"google\"\nissuer = \"https://g.example\"\nclient_id = \"us\"\n\
             [identity_providers.jit]\nlease_days = 30\n";
        let config = Config::read(&format!("{}{lease}", settings(folder.path())), &[]).unwrap();
        let link = Link {
            identity_provider: "google".into(),
            issuer: "https://g.example".to_owned(),
            subject: "sub-bob".to_owned(),
        };
        let login = Change {
            actor: Actor {
                principal: Principal::Login {
                    identity_provider: "google".into(),
                },
                service_provider: "wiki".into(),
            },
            operation: Operation::Create {
                store: "PRIMARY".into(),
                kind: Kind::USER,
                attributes: [("userName".to_owned(), "bob".into())].into_iter().collect(),
                typed: Vec::new(),
            },
            side_records: vec![SideRecord::Link(link.clone())],
        };
        let app = App::start(&config).unwrap();
        let user = app.directory.apply(login).unwrap().resource().id.clone();
        app.database
            .write::<_, StorageError>(move |connection| Ok(links::touch(connection, &link, None, Timestamp(0))?))
            .unwrap();
        app.stop();
        let app = App::start(&config).unwrap();
        let is_off = || {
            let user = app.directory.get(&Kind::USER, &user, Relations::NONE).unwrap();
            user.is_some_and(|user| !user.is_active())
        };
        assert!(eventually(is_off));
        app.stop();
    }
}
