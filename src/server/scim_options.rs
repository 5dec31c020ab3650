//! The options of a SCIM request: its headers and its query.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};

use crate::scim::etag::Conditions;
use crate::scim::list::ListParameters;
use crate::scim::{Prefer, RequestOptions, ScimError};

/// Reads the query and the headers of a request.
pub(super) fn terms(request: &HttpRequest) -> Result<RequestOptions, ScimError> {
    Ok(RequestOptions {
        parameters: ListParameters::parse(request.query_string())?,
        conditions: conditions(request.headers()),
        prefer: prefer(request.headers()),
    })
}

/// Reads the `return` preference of a client (RFC 7240 §4.2); the first one wins.
fn prefer(headers: &HeaderMap) -> Option<Prefer> {
    headers
        .get_all("prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, value) = preference.split_once('=')?;
            match (
                name.trim().to_ascii_lowercase().as_str(),
                value.trim().trim_matches('"'),
            ) {
                ("return", "minimal") => Some(Prefer::Minimal),
                ("return", "representation") => Some(Prefer::Representation),
                _ => None,
            }
        })
}

fn conditions(headers: &HeaderMap) -> Conditions {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
            .map(str::to_owned)
    };
    Conditions {
        if_match: text(header::IF_MATCH),
        if_none_match: text(header::IF_NONE_MATCH),
    }
}
