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
use super::session::{self, LdapSession};
use super::settings::LdapSettings;
use crate::domain::backoff::Backoff;
use crate::userstore::StoreError;

/// The pauses after failures in a row.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));

/// The reason why a directory did not carry out a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum LdapFailure {
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

impl From<LdapFailure> for StoreError {
    fn from(fault: LdapFailure) -> Self {
        match fault {
            LdapFailure::Refused {
                code:
                    session::UNDEFINED_TYPE
                    | session::WRONG_MATCHING
                    | session::CONSTRAINT_VIOLATION
                    | session::WRONG_SYNTAX
                    | session::WRONG_DN_SYNTAX
                    | session::NAMING_VIOLATION
                    | session::OBJECT_CLASS_VIOLATION,
                text,
            } => Self::Refused { reason: text },
            fault => Self::Unavailable(fault.into()),
        }
    }
}

impl From<LdapError> for LdapFailure {
    fn from(error: LdapError) -> Self {
        match error {
            LdapError::LdapResult { result }
                if !matches!(result.rc, session::BUSY | session::UNAVAILABLE | session::SERVER_DOWN) =>
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
pub(super) struct PooledConnection {
    connection: LdapConn,
    broken: bool,
}

/// Opens connections and binds them.
struct LdapConnector {
    settings: LdapSettings,
    tls: Arc<ClientConfig>,
    health: Arc<ServerHealth>,
}

/// Whether the servers answer.
#[derive(Default)]
struct ServerHealth {
    outage: Mutex<Option<Outage>>,
    /// Whether a background task checks the servers; then no other caller waits for a server that did not answer.
    is_looked_after: AtomicBool,
}

struct Outage {
    cause: String,
    failures: u32,
    rest_until: Instant,
}

impl ServerHealth {
    /// Refuses attempts during the pause, and lets one through after it.
    fn check(&self, attempt: Duration) -> Result<(), LdapFailure> {
        let is_looked_after = self.is_looked_after.load(Ordering::Relaxed);
        match &mut *self.outage() {
            Some(outage) if is_looked_after || outage.rest_until > Instant::now() => {
                Err(LdapFailure::NotTried(outage.cause.clone()))
            }
            Some(outage) => {
                outage.rest_until = Instant::now() + attempt;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn failed(&self, name: &str, cause: &str) {
        let mut outage = self.outage();
        let failures = outage.as_ref().map_or(0, |outage| outage.failures) + 1;
        if failures == 1 {
            log::warn!("userstore {name} does not answer: {cause}");
        }
        *outage = Some(Outage {
            cause: cause.to_owned(),
            failures,
            rest_until: Instant::now() + PAUSES.wait(failures),
        });
    }

    fn answered(&self, name: &str) {
        if self.outage().take().is_some() {
            log::info!("userstore {name} answers again");
        }
    }

    fn cause(&self) -> Option<String> {
        self.outage().as_ref().map(|outage| outage.cause.clone())
    }

    fn failures(&self) -> u32 {
        self.outage().as_ref().map_or(0, |outage| outage.failures)
    }

    fn outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LdapConnector {
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

impl r2d2::ManageConnection for LdapConnector {
    type Connection = PooledConnection;
    type Error = LdapError;

    fn connect(&self) -> Result<PooledConnection, LdapError> {
        match self.bound() {
            Ok(connection) => Ok(PooledConnection {
                connection,
                broken: false,
            }),
            Err(error) => {
                self.health.failed(self.settings.name.as_str(), &words(&error));
                Err(error)
            }
        }
    }

    fn is_valid(&self, _line: &mut PooledConnection) -> Result<(), LdapError> {
        Ok(())
    }

    fn has_broken(&self, pooled: &mut PooledConnection) -> bool {
        pooled.broken || pooled.connection.is_closed()
    }
}

/// Returns the text of an error, with advice for common ones.
fn words(error: &LdapError) -> String {
    match error {
        LdapError::LdapResult { result } if result.rc == session::INVALID_CREDENTIALS => {
            "the directory rejects bind_dn and bind_password".to_owned()
        }
        LdapError::Io { source } => format!("cannot connect: {source}"),
        LdapError::Timeout { .. } => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Discards the errors that r2d2 reports, since [`ServerHealth`] has reported them already.
#[derive(Debug)]
struct IgnorePoolErrors;

impl<E> r2d2::HandleError<E> for IgnorePoolErrors {
    fn handle_error(&self, _error: E) {}
}

/// The connections of one store.
pub(super) struct Connections {
    pool: r2d2::Pool<LdapConnector>,
    connector: LdapConnector,
    health: Arc<ServerHealth>,
}

impl Connections {
    /// Creates the pool without connecting.
    pub(super) fn new(settings: &LdapSettings) -> Result<Self, String> {
        let (tls, health) = (tls(settings)?, Arc::new(ServerHealth::default()));
        let connector = || LdapConnector {
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
            .error_handler(Box::new(IgnorePoolErrors))
            .build_unchecked(connector());
        Ok(Self {
            pool,
            connector: connector(),
            health,
        })
    }

    /// Runs idempotent work; if the connection turns out to be dead, runs it again on a new one.
    pub(super) fn read<T>(
        &self,
        work: impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>,
    ) -> Result<T, LdapFailure> {
        match self.attempt(&work) {
            Err(LdapFailure::Unreachable(_)) if self.health.cause().is_none() => self.attempt(&work),
            settled => settled,
        }
        .inspect_err(|fault| self.note(fault))
    }

    /// Runs work that must not run twice, on a connection that was just checked.
    pub(super) fn write<T>(
        &self,
        work: impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>,
    ) -> Result<T, LdapFailure> {
        let alive = |session: &mut LdapSession<'_>| Ok(session.connection().extended(WhoAmI).map(|_| ())?);
        let mut pooled = self.checkout()?;
        if self.with(&mut pooled, &alive).is_err() {
            drop(pooled);
            pooled = self.checkout()?;
            self.with(&mut pooled, &alive).map_err(|fault| {
                self.note(&fault);
                LdapFailure::NotTried(fault.to_string())
            })?;
        }
        self.with(&mut pooled, &work).inspect_err(|fault| self.note(fault))
    }

    /// Runs work on an anonymous connection outside the pool.
    pub(super) fn unpooled<T>(
        &self,
        work: impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>,
    ) -> Result<T, LdapFailure> {
        self.health.check(self.connector.settings.timeout)?;
        self.on_new_connection(work)
    }

    /// Checks whether the servers answer. From the first call on, only this method tries servers that are down.
    pub(super) fn probe(&self) -> Result<(), LdapFailure> {
        self.health.is_looked_after.store(true, Ordering::Relaxed);
        if self.health.cause().is_none() {
            return Ok(());
        }
        self.on_new_connection(|session| {
            let settings = &self.connector.settings;
            session
                .bind(&Dn::new(&settings.bind_dn), settings.bind_password.expose())
                .map_err(|fault| LdapFailure::Unreachable(fault.to_string()))
        })
    }

    fn on_new_connection<T>(
        &self,
        work: impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>,
    ) -> Result<T, LdapFailure> {
        let opened = self
            .connector
            .open()
            .map_err(|error| LdapFailure::Unreachable(words(&error)));
        let done = opened.and_then(|connection| {
            let mut pooled = PooledConnection {
                connection,
                broken: false,
            };
            let done = self.with(&mut pooled, &work);
            let _ = pooled.connection.unbind();
            done
        });
        done.inspect_err(|fault| self.note(fault))
    }

    /// The reason why the servers do not answer; `None` if they do.
    pub(super) fn outage(&self) -> Option<String> {
        self.health.cause()
    }

    fn note(&self, fault: &LdapFailure) {
        if let LdapFailure::Unreachable(cause) = fault {
            self.health.failed(self.connector.settings.name.as_str(), cause);
        }
    }

    fn attempt<T>(&self, work: &impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>) -> Result<T, LdapFailure> {
        let mut pooled = self.checkout()?;
        self.with(&mut pooled, work)
    }

    /// Takes a connection from the pool. Waiting callers fail as soon as a new connection attempt has failed.
    fn checkout(&self) -> Result<r2d2::PooledConnection<LdapConnector>, LdapFailure> {
        const GLANCE: Duration = Duration::from_millis(50);
        let timeout = self.connector.settings.timeout;
        self.health.check(timeout)?;
        let begun = Instant::now();
        let before = self.health.failures();
        loop {
            match self.pool.get_timeout(GLANCE) {
                Ok(pooled) => return Ok(pooled),
                Err(_) if self.health.failures() > before => {
                    return Err(LdapFailure::NotTried(self.health.cause().unwrap_or_default()));
                }
                Err(_) if begun.elapsed() > timeout => {
                    return Err(LdapFailure::NotTried("all connections are busy".to_owned()));
                }
                Err(_) => {}
            }
        }
    }

    fn with<T>(
        &self,
        pooled: &mut PooledConnection,
        work: &impl Fn(&mut LdapSession<'_>) -> Result<T, LdapFailure>,
    ) -> Result<T, LdapFailure> {
        let done = work(&mut LdapSession::new(&mut pooled.connection, &self.connector.settings));
        match &done {
            Err(LdapFailure::Unreachable(_)) => pooled.broken = true,
            _ => self.health.answered(self.connector.settings.name.as_str()),
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
