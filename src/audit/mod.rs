//! Records security events: in the log, in the database and in counts.
//!
//! An event of a change is written in the change's own transaction where there is one ([`append`]); any other is recorded once
//! it has happened ([`record`]).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{SecurityEvent, SecurityEventKind, Timestamp};
use crate::gate::Allowances;
use crate::storage::{Database, SqlConnection, StorageError, security_events, sweep};

pub(crate) mod origin;

/// The most refusals of one address that are stored at once, and in a second in the long run. All are logged and counted, but
/// nobody fills the database by being refused.
const BURST: f64 = 300.0;
const PER_SECOND: f64 = 1.0;
/// The most refusals that are stored of all addresses together.
const BURST_OF_ALL: f64 = 10_000.0;
const PER_SECOND_OF_ALL: f64 = 5.0;

static OF_EACH: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST, PER_SECOND));
static OF_ALL: LazyLock<Allowances> = LazyLock::new(|| Allowances::new(BURST_OF_ALL, PER_SECOND_OF_ALL));
static COUNTS: Mutex<BTreeMap<(SecurityEventKind, String), u64>> = Mutex::new(BTreeMap::new());

/// The number of events of each kind and reason in this process.
pub(crate) fn counts() -> BTreeMap<(SecurityEventKind, String), u64> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Records an event that has happened, with the origin of the current request. That it cannot be stored stops nobody, but it
/// is an error in the log.
pub(crate) fn record(database: &Database, mut event: SecurityEvent) {
    event.origin = origin::current();
    note(&event);
    if !is_stored(&event) {
        return;
    }
    let stored = database.write::<_, StorageError>(move |connection| Ok(security_events::append(connection, &event)?));
    if let Err(error) = stored {
        log::error!("a security event could not be stored: {error}");
    }
}

/// Records an event in the open transaction of what it is about. Its origin is set already: the transaction may run on
/// another thread than the request.
pub(crate) fn append(connection: &mut SqlConnection, event: &SecurityEvent) -> Result<(), StorageError> {
    note(event);
    Ok(security_events::append(connection, event)?)
}

/// Deletes the events that are older than they are kept. Returns their number.
pub(crate) fn sweep(database: &Database, now: Timestamp, kept: Duration) -> Result<usize, StorageError> {
    let before = now.minus(kept);
    sweep::in_steps(database, move |connection, limit| {
        security_events::delete_before(connection, before, limit)
    })
}

/// Says an event in the log, and counts it.
fn note(event: &SecurityEvent) {
    let reason = event.reason.clone().unwrap_or_default();
    *COUNTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry((event.kind, reason))
        .or_default() += 1;
    log::info!(target: "vestibule::audit", "{}", line(event));
}

/// Whether an event is stored: refusals of people who have not proved who they are only up to a bound.
fn is_stored(event: &SecurityEvent) -> bool {
    let is_refusal = matches!(
        event.kind,
        SecurityEventKind::LoginRefused
            | SecurityEventKind::PasswordRefused
            | SecurityEventKind::CodeRefused
            | SecurityEventKind::TokenRefused
    );
    let source = event.origin.address.as_deref().unwrap_or_default();
    !is_refusal || (OF_EACH.take(source) && OF_ALL.take(""))
}

/// The line of an event in the log: its kind, then what is known. The request id is in every line already.
fn line(event: &SecurityEvent) -> String {
    let mut line = format!("security event {}", event.kind.code());
    for (name, value) in event.parts().filter(|(name, _)| *name != "request_id") {
        let _ = write!(line, " {name}={value:?}");
    }
    line
}
