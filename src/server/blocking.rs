//! The bridge between actix and the blocking core; the only crossing.

use actix_web::web;

use super::{language, request_id};

/// Runs blocking work on the blocking pool, in the name and language of the request at hand. `None` if the work panicked or the pool
/// is gone, which happens only while the server stops.
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

/// Runs a small read where it is cheapest: on this very thread if the caller says that it will not wait there (`quick`:
/// SQLite, with a connection free), else on the blocking pool. The hop to the pool costs as much as such a read itself.
pub async fn read<T: Send + 'static>(quick: bool, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if quick { Some(work()) } else { run(work).await }
}
