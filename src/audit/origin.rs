//! The origin of the current request: its id, which every log line carries, and the address of its sender.
//!
//! Async code keeps it in a task-local, blocking code in a thread-local that the bridge sets.

use std::cell::RefCell;

use crate::domain::RequestOrigin;

tokio::task_local! {
    static IN_TASK: RequestOrigin;
}

thread_local! {
    static IN_THREAD: RefCell<RequestOrigin> = RefCell::default();
}

/// The origin of the current request; empty outside of one.
pub(crate) fn current() -> RequestOrigin {
    IN_TASK
        .try_with(RequestOrigin::clone)
        .unwrap_or_else(|_| IN_THREAD.with_borrow(RequestOrigin::clone))
}

/// Runs a future as part of a request.
pub(crate) async fn scope<T>(origin: RequestOrigin, work: impl Future<Output = T>) -> T {
    IN_TASK.scope(origin, work).await
}

/// Runs work on a blocking thread as part of a request.
pub(crate) fn with<T>(origin: RequestOrigin, work: impl FnOnce() -> T) -> T {
    /// Clears the origin, also when the work panics: the thread serves other requests.
    struct ClearOnDrop;
    impl Drop for ClearOnDrop {
        fn drop(&mut self) {
            IN_THREAD.set(RequestOrigin::default());
        }
    }
    let _forget = ClearOnDrop;
    IN_THREAD.set(origin);
    work()
}
