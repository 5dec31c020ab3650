//! Reads the bodies of forms in good time: a client that sends its body slowly holds a connection, and no more.

use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

/// The time that a client has to send a body, as for SCIM requests.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the body of a request before it is handled. SCIM requests read theirs themselves, since they authenticate the
/// client first.
pub(super) async fn in_time<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if *request.method() == Method::POST && !request.path().starts_with("/scim") {
        let body = tokio::time::timeout(PATIENCE, request.extract::<web::Bytes>()).await;
        match body {
            Ok(Ok(body)) => request.set_payload(Payload::from(body)),
            Ok(Err(error)) => {
                let refusal = HttpResponse::from_error(error);
                return Ok(request.into_response(refusal).map_into_right_body());
            }
            Err(_) => {
                let refusal = HttpResponse::build(StatusCode::REQUEST_TIMEOUT).force_close().finish();
                return Ok(request.into_response(refusal).map_into_right_body());
            }
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}
