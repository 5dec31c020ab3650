//! The id that every request has, and every line that is logged for it.
//!
//! On the async side it lives in a task-local, on the blocking side in a thread-local that the bridge sets.

use std::cell::RefCell;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;

use crate::storage::random;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static IN_TASK: String;
}

thread_local! {
    static IN_THREAD: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The id of the request at hand, if there is one.
pub fn current() -> Option<String> {
    IN_TASK
        .try_with(String::clone)
        .ok()
        .or_else(|| IN_THREAD.with_borrow(Option::clone))
}

/// Runs work on a blocking thread in the name of a request.
pub(super) fn with<T>(id: Option<String>, work: impl FnOnce() -> T) -> T {
    /// Forgets the id again, also when the work panics: the thread serves other requests.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            IN_THREAD.set(None);
        }
    }
    let _forget = Forget;
    IN_THREAD.set(id);
    work()
}

/// Middleware: gives the request an id and tells the client.
pub(super) async fn assign(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = random::bytes::<8>()
        .iter()
        .fold(String::with_capacity(16), |mut id, byte| {
            use std::fmt::Write;
            let _ = write!(id, "{byte:02x}");
            id
        });
    let mut response = IN_TASK.scope(id.clone(), next.call(request)).await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
