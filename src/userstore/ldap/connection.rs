//! Connections to a directory: several servers in turn, TLS, a pool and a circuit breaker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ldap3::exop::WhoAmI;
use ldap3::{LdapConn, LdapConnSettings, LdapError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::name::Dn;
use super::settings::LdapSettings;
use super::wire::{self, Wire};
use crate::userstore::StoreError;

/// The pause after a first failure; doubled with each further one, up to [`LONGEST_REST`].
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The reason why a directory did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The server cannot be reached, or did not answer in time. The request may or may not have been carried out.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing was sent.
    #[error("{0}")]
    NotTried(String),
    /// The server refused: its result code (RFC 4511 §4.1.9) and diagnostic message.
    #[error("result {code}: {text}")]
    Refused {
        /// The result code.
        code: u32,
        /// The server's diagnostic message.
        text: String,
    },
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused {
                code:
                    wire::UNDEFINED_TYPE
                    | wire::WRONG_MATCHING
                    | wire::CONSTRAINT_VIOLATION
                    | wire::WRONG_SYNTAX
                    | wire::WRONG_DN_SYNTAX
                    | wire::NAMING_VIOLATION
                    | wire::OBJECT_CLASS_VIOLATION,
                text,
            } => Self::Refused { reason: text },
            fault => Self::Unavailable(fault.into()),
        }
    }
}

impl From<LdapError> for Fault {
    fn from(error: LdapError) -> Self {
        match error {
            LdapError::LdapResult { result }
                if !matches!(result.rc, wire::BUSY | wire::UNAVAILABLE | wire::SERVER_DOWN) =>
            {
                Self::Refused {
                    code: result.rc,
                    text: result.text,
                }
            }
            other => Self::Unreachable(other.to_string()),
        }
    }
}

/// A connection, and whether it is broken and must not be used again.
pub(super) struct Line {
    connection: LdapConn,
    spoilt: bool,
}

/// Opens connections and binds them.
struct Dial {
    settings: LdapSettings,
    tls: Arc<ClientConfig>,
    health: Arc<Health>,
}

/// Whether the servers answer.
#[derive(Default)]
struct Health {
    trouble: Mutex<Option<Trouble>>,
    /// Whether a background task checks the servers; then no other caller waits for a server that did not answer.
    is_looked_after: AtomicBool,
}

struct Trouble {
    cause: String,
    failures: u32,
    rest_until: Instant,
}

impl Health {
    /// Refuses attempts during the pause, and lets one through after it.
    fn check(&self, attempt: Duration) -> Result<(), Fault> {
        let is_looked_after = self.is_looked_after.load(Ordering::Relaxed);
        match &mut *self.trouble() {
            Some(trouble) if is_looked_after || trouble.rest_until > Instant::now() => {
                Err(Fault::NotTried(trouble.cause.clone()))
            }
            Some(trouble) => {
                trouble.rest_until = Instant::now() + attempt;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn failed(&self, name: &str, cause: &str) {
        let mut trouble = self.trouble();
        let failures = trouble.as_ref().map_or(0, |trouble| trouble.failures) + 1;
        if failures == 1 {
            log::warn!("userstore {name} does not answer: {cause}");
        }
        let rest = (REST * 2u32.saturating_pow(failures - 1).min(64)).min(LONGEST_REST);
        *trouble = Some(Trouble {
            cause: cause.to_owned(),
            failures,
            rest_until: Instant::now() + rest,
        });
    }

    fn answered(&self, name: &str) {
        if self.trouble().take().is_some() {
            log::info!("userstore {name} answers again");
        }
    }

    fn cause(&self) -> Option<String> {
        self.trouble().as_ref().map(|trouble| trouble.cause.clone())
    }

    fn failures(&self) -> u32 {
        self.trouble().as_ref().map_or(0, |trouble| trouble.failures)
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dial {
    /// Opens an anonymous connection to the first server that answers.
    fn open(&self) -> Result<LdapConn, LdapError> {
        let mut failure = None;
        for url in &self.settings.urls {
            let settings = LdapConnSettings::new()
                .set_conn_timeout(self.settings.timeout)
                .set_starttls(self.settings.start_tls)
                .set_config(Arc::clone(&self.tls));
            match LdapConn::with_settings(settings, url) {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(LdapError::EndOfStream))
    }

    fn bound(&self) -> Result<LdapConn, LdapError> {
        let mut connection = self.open()?;
        let (who, password) = (&self.settings.bind_dn, self.settings.bind_password.expose());
        connection
            .with_timeout(self.settings.timeout)
            .simple_bind(who, password)?
            .success()?;
        Ok(connection)
    }
}

impl r2d2::ManageConnection for Dial {
    type Connection = Line;
    type Error = LdapError;

    fn connect(&self) -> Result<Line, LdapError> {
        match self.bound() {
            Ok(connection) => Ok(Line {
                connection,
                spoilt: false,
            }),
            Err(error) => {
                self.health.failed(self.settings.name.as_str(), &words(&error));
                Err(error)
            }
        }
    }

    fn is_valid(&self, _line: &mut Line) -> Result<(), LdapError> {
        Ok(())
    }

    fn has_broken(&self, line: &mut Line) -> bool {
        line.spoilt || line.connection.is_closed()
    }
}

/// Returns the text of an error, with advice for common ones.
fn words(error: &LdapError) -> String {
    match error {
        LdapError::LdapResult { result } if result.rc == wire::INVALID_CREDENTIALS => {
            "the directory rejects bind_dn and bind_password".to_owned()
        }
        LdapError::Io { source } => format!("cannot connect: {source}"),
        LdapError::Timeout { .. } => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Discards the errors that r2d2 reports, since [`Health`] has reported them already.
#[derive(Debug)]
struct Silent;

impl<E> r2d2::HandleError<E> for Silent {
    fn handle_error(&self, _error: E) {}
}

/// The connections of one store.
pub(super) struct Connections {
    pool: r2d2::Pool<Dial>,
    dial: Dial,
    health: Arc<Health>,
}

impl Connections {
    /// Creates the pool without connecting.
    pub(super) fn new(settings: &LdapSettings) -> Result<Self, String> {
        let (tls, health) = (tls(settings)?, Arc::new(Health::default()));
        let dial = || Dial {
            settings: settings.clone(),
            tls: Arc::clone(&tls),
            health: Arc::clone(&health),
        };
        let pool = r2d2::Pool::builder()
            .max_size(settings.connections)
            .min_idle(Some(0))
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(Some(Duration::from_mins(5)))
            .error_handler(Box::new(Silent))
            .build_unchecked(dial());
        Ok(Self {
            pool,
            dial: dial(),
            health,
        })
    }

    /// Runs idempotent work; if the connection turns out to be dead, runs it again on a new one.
    pub(super) fn read<T>(&self, work: impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        match self.attempt(&work) {
            Err(Fault::Unreachable(_)) if self.health.cause().is_none() => self.attempt(&work),
            settled => settled,
        }
        .inspect_err(|fault| self.note(fault))
    }

    /// Runs work that must not run twice, on a connection that was just checked.
    pub(super) fn write<T>(&self, work: impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let alive = |wire: &mut Wire<'_>| Ok(wire.line().extended(WhoAmI).map(|_| ())?);
        let mut line = self.line()?;
        if self.with(&mut line, &alive).is_err() {
            drop(line);
            line = self.line()?;
            self.with(&mut line, &alive).map_err(|fault| {
                self.note(&fault);
                Fault::NotTried(fault.to_string())
            })?;
        }
        self.with(&mut line, &work).inspect_err(|fault| self.note(fault))
    }

    /// Runs work on an anonymous connection outside the pool.
    pub(super) fn apart<T>(&self, work: impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.health.check(self.dial.settings.timeout)?;
        self.alone(work)
    }

    /// Checks whether the servers answer. From the first call on, only this method tries servers that are down.
    pub(super) fn knock(&self) -> Result<(), Fault> {
        self.health.is_looked_after.store(true, Ordering::Relaxed);
        if self.health.cause().is_none() {
            return Ok(());
        }
        self.alone(|wire| {
            let settings = &self.dial.settings;
            wire.bind(&Dn::new(&settings.bind_dn), settings.bind_password.expose())
                .map_err(|fault| Fault::Unreachable(fault.to_string()))
        })
    }

    fn alone<T>(&self, work: impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let opened = self.dial.open().map_err(|error| Fault::Unreachable(words(&error)));
        let done = opened.and_then(|connection| {
            let mut line = Line {
                connection,
                spoilt: false,
            };
            let done = self.with(&mut line, &work);
            let _ = line.connection.unbind();
            done
        });
        done.inspect_err(|fault| self.note(fault))
    }

    /// The reason why the servers do not answer; `None` if they do.
    pub(super) fn trouble(&self) -> Option<String> {
        self.health.cause()
    }

    fn note(&self, fault: &Fault) {
        if let Fault::Unreachable(cause) = fault {
            self.health.failed(self.dial.settings.name.as_str(), cause);
        }
    }

    fn attempt<T>(&self, work: &impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut line = self.line()?;
        self.with(&mut line, work)
    }

    /// Takes a connection from the pool. Waiting callers fail as soon as a new connection attempt has failed.
    fn line(&self) -> Result<r2d2::PooledConnection<Dial>, Fault> {
        const GLANCE: Duration = Duration::from_millis(50);
        let timeout = self.dial.settings.timeout;
        self.health.check(timeout)?;
        let begun = Instant::now();
        let before = self.health.failures();
        loop {
            match self.pool.get_timeout(GLANCE) {
                Ok(line) => return Ok(line),
                Err(_) if self.health.failures() > before => {
                    return Err(Fault::NotTried(self.health.cause().unwrap_or_default()));
                }
                Err(_) if begun.elapsed() > timeout => {
                    return Err(Fault::NotTried("all connections are busy".to_owned()));
                }
                Err(_) => {}
            }
        }
    }

    fn with<T>(&self, line: &mut Line, work: &impl Fn(&mut Wire<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let done = work(&mut Wire::new(&mut line.connection, &self.dial.settings));
        match &done {
            Err(Fault::Unreachable(_)) => line.spoilt = true,
            _ => self.health.answered(self.dial.settings.name.as_str()),
        }
        done
    }
}

fn tls(settings: &LdapSettings) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &settings.ca_file {
        let unreadable = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
