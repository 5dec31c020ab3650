//! The bridge from async actix handlers to the blocking core.

use actix_web::web;

use super::{language, request_id};

/// Runs blocking work on the blocking pool, with the id and language of the current request. `None` if the work
/// panicked or the pool is gone, which happens only while the server stops.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (id, language) = (request_id::current(), language::current());
    match web::block(move || language::with(language, || request_id::with(id, work))).await {
        Ok(value) => Some(value),
        Err(error) => {
            log::error!("blocking work did not end: {error}");
            None
        }
    }
}

/// Runs a small read: on the current thread if the caller knows that it will not block (`quick`: SQLite with a free
/// connection), else on the blocking pool. The hop to the pool costs as much as such a read itself.
pub async fn read<T: Send + 'static>(quick: bool, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if quick { Some(work()) } else { run(work).await }
}
