//! Reads the HTTP answers of targets: success, or the error that decides what to do next.

use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;

use crate::domain::Timestamp;

use crate::provisioning::connector::PushError;

/// The longest wait that a `Retry-After` can cause.
const LONGEST_WAIT: Duration = Duration::from_hours(24);
/// The number of characters that are kept of a target's error text.
const DETAIL: usize = 300;

/// A parsed HTTP answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TargetResponse {
    /// Its status.
    pub(super) status: u16,
    /// How long the target asks us to wait.
    pub(super) retry_after: Option<Duration>,
    /// The `Location` of a new resource.
    pub(super) location: Option<String>,
    /// Its body.
    pub(super) body: Body,
}

/// The parsed body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// No body.
    Empty,
    /// JSON.
    Json(Value),
    /// Anything else, such as the error page of a proxy.
    Foreign,
}

impl TargetResponse {
    /// Returns a top-level attribute of the answer.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        match &self.body {
            Body::Json(value) => value.get(name),
            Body::Empty | Body::Foreign => None,
        }
    }

    /// Returns a successful answer, or the error. `redact` removes the credentials from the target's error text.
    pub(super) fn judge(self, redact: impl FnOnce(&str) -> String) -> Result<Self, PushError> {
        let foreign = self.body == Body::Foreign;
        match self.status {
            200..=299 if !foreign => Ok(self),
            200..=299 => Err(PushError::unreachable(
                "the answer is not SCIM: check base_url and any proxy in between",
            )),
            300..=399 => Err(PushError::unreachable(
                "the target redirects: set base_url to the final address",
            )),
            401 | 403 => Err(PushError::Unauthorized { status: self.status }),
            404 if foreign => Err(PushError::unreachable(
                "there is no SCIM endpoint at this address (404): check base_url",
            )),
            404 | 410 => Err(PushError::Gone),
            409 => Err(PushError::Conflict),
            408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Err(self.later()),
            _ => Err(PushError::Refused {
                status: self.status,
                detail: self.detail(redact),
            }),
        }
    }

    fn later(&self) -> PushError {
        let unreachable = matches!(self.status, 502 | 504) || (self.status == 503 && self.retry_after.is_none());
        PushError::Retry {
            after: self.retry_after,
            unreachable,
            cause: format!("the target answered {}", self.status),
        }
    }

    /// Returns the target's error text, if the body is a SCIM error (RFC 7644 §3.12). Other bodies may contain
    /// anything. It is cut after `redact`, which would not know a part of a credential.
    fn detail(&self, redact: impl FnOnce(&str) -> String) -> String {
        let words: Vec<&str> = ["scimType", "detail"]
            .iter()
            .filter_map(|name| self.get(name)?.as_str())
            .collect();
        let printable = words.join(": ").replace(char::is_control, "");
        let text: String = redact(&printable).chars().take(DETAIL).collect();
        if text.is_empty() {
            "it gave no reason".to_owned()
        } else {
            text
        }
    }
}

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are the longest wait too.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let until = DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
        Duration::from_millis(u64::try_from(until - now.0).unwrap_or(0))
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Body) -> TargetResponse {
        TargetResponse {
            status,
            retry_after: None,
            location: None,
            body,
        }
    }

    #[test]
    fn each_status_maps_to_its_result() {
        for (status, body, expected) in [
            (200, Body::Empty, "ok"),
            (201, Body::Json(json!({})), "ok"),
            (204, Body::Empty, "ok"),
            (200, Body::Foreign, "unreachable"),
            (307, Body::Empty, "unreachable"),
            (400, Body::Empty, "refused"),
            (401, Body::Empty, "unauthorized"),
            (403, Body::Foreign, "unauthorized"),
            (404, Body::Empty, "gone"),
            (404, Body::Foreign, "unreachable"),
            (409, Body::Empty, "conflict"),
            (410, Body::Empty, "gone"),
            (413, Body::Foreign, "refused"),
            (422, Body::Empty, "refused"),
            (429, Body::Empty, "retry"),
            (500, Body::Foreign, "retry"),
            (501, Body::Empty, "refused"),
            (502, Body::Foreign, "unreachable"),
            (503, Body::Empty, "unreachable"),
            (504, Body::Empty, "unreachable"),
        ] {
            let verdict = match answer(status, body.clone()).judge(str::to_owned) {
                Ok(_) => "ok",
                Err(PushError::Retry { unreachable: true, .. }) => "unreachable",
                Err(PushError::Retry { .. }) => "retry",
                Err(PushError::Refused { .. }) => "refused",
                Err(PushError::Unauthorized { .. }) => "unauthorized",
                Err(PushError::Gone) => "gone",
                Err(PushError::Conflict) => "conflict",
            };
            assert_eq!(verdict, expected, "{status} {body:?}");
        }
    }

    #[test]
    fn retry_after_is_in_seconds_or_a_date() {
        let now = Timestamp::parse("2026-11-23T08:00:00Z").unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(
            retry_after("Mon, 23 Nov 2026 08:00:07 GMT", now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retry_after("Mon, 23 Nov 2026 07:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999", now), Some(LONGEST_WAIT));
        assert_eq!(retry_after("99999999999999999999", now), Some(LONGEST_WAIT));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn refusals_quote_only_scim_errors_and_limit_their_length() {
        let refused = |body| match answer(400, body).judge(|text| text.replace("s3cret", "[hidden]")) {
            Err(PushError::Refused { detail, .. }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(Body::Json(json!({"scimType": "invalidValue", "detail": "no\n!"}))),
            "invalidValue: no!"
        );
        assert_eq!(refused(Body::Json(json!({"detail": "x".repeat(5000)}))).len(), DETAIL);
        let cut_within = format!("{}s3cret", "x".repeat(DETAIL - 3));
        assert!(!refused(Body::Json(json!({ "detail": cut_within }))).contains("s3c"));
        assert_eq!(refused(Body::Foreign), "it gave no reason");
        assert_eq!(refused(Body::Json(json!({"user": "alice"}))), "it gave no reason");
    }
}
