//! The request id, which every log line of a request carries, and the address of its sender.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;

use super::source;
use crate::audit::origin;
use crate::domain::RequestOrigin;
use crate::storage::random;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the current request, if there is one.
pub(crate) fn current() -> Option<String> {
    origin::current().request_id
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
    let origin = RequestOrigin {
        request_id: Some(id.clone()),
        address: source::address(request.request()),
    };
    let mut response = origin::scope(origin, next.call(request)).await?;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    Ok(response)
}
