//! The request id, which every log line of a request carries.
//!
//! Async code keeps it in a task-local, blocking code in a thread-local that the bridge sets.

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

/// The id of the current request, if there is one.
pub(crate) fn current() -> Option<String> {
    IN_TASK
        .try_with(String::clone)
        .ok()
        .or_else(|| IN_THREAD.with_borrow(Option::clone))
}

/// Runs work on a blocking thread with the id of a request.
pub(super) fn with<T>(id: Option<String>, work: impl FnOnce() -> T) -> T {
    /// Clears the id, also when the work panics: the thread serves other requests.
    struct ClearOnDrop;
    impl Drop for ClearOnDrop {
        fn drop(&mut self) {
            IN_THREAD.set(None);
        }
    }
    let _forget = ClearOnDrop;
    IN_THREAD.set(id);
    work()
}

/// Middleware: assigns an id to the request and returns it to the client.
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
