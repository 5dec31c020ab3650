//! What a target's answer means.

use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;

use crate::domain::Timestamp;

use super::connector::PushError;

/// The longest wait that a target can ask for.
const LONGEST_WAIT: Duration = Duration::from_hours(24);
/// How much of a target's own words is kept.
const DETAIL: usize = 300;

/// An HTTP answer, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// How long the target asks us to wait.
    pub(super) retry_after: Option<Duration>,
    /// Where a new resource is.
    pub(super) location: Option<String>,
    /// Its body.
    pub(super) body: Body,
}

/// A body as far as it can be understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    /// Nothing.
    Empty,
    /// JSON.
    Json(Value),
    /// Anything else, such as a page of a proxy.
    Foreign,
}

impl Answer {
    /// An attribute of the answer's top level.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        match &self.body {
            Body::Json(value) => value.get(name),
            Body::Empty | Body::Foreign => None,
        }
    }

    /// Goes on with a success, else says what went wrong.
    pub(super) fn judge(self) -> Result<Self, PushError> {
        let foreign = self.body == Body::Foreign;
        match self.status {
            200..=299 if !foreign => Ok(self),
            200..=299 => Err(PushError::unreachable(
                "the answer is not SCIM: check base_url, and what stands between",
            )),
            300..=399 => Err(PushError::unreachable(
                "the target redirects elsewhere: base_url must be the final address",
            )),
            401 | 403 => Err(PushError::Unauthorized { status: self.status }),
            404 if foreign => Err(PushError::unreachable(
                "nothing SCIM answers there (404): check base_url",
            )),
            404 | 410 => Err(PushError::Gone),
            409 => Err(PushError::Conflict),
            408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Err(self.later()),
            _ => Err(PushError::Refused {
                status: self.status,
                detail: self.detail(),
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

    /// The target's own words, if they are a SCIM error (RFC 7644 §3.12); other bodies may hold anything.
    fn detail(&self) -> String {
        let words: Vec<&str> = ["scimType", "detail"]
            .iter()
            .filter_map(|name| self.get(name)?.as_str())
            .collect();
        let text: String = words
            .join(": ")
            .chars()
            .filter(|character| !character.is_control())
            .take(DETAIL)
            .collect();
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
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
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

    fn answer(status: u16, body: Body) -> Answer {
        Answer {
            status,
            retry_after: None,
            location: None,
            body,
        }
    }

    #[test]
    fn every_status_says_what_to_do_next() {
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
            let verdict = match answer(status, body.clone()).judge() {
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
    fn a_wait_is_given_in_seconds_or_as_a_date() {
        let now = Timestamp::parse("2026-11-23T08:00:00Z").unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_mins(2)));
        assert_eq!(
            retry_after("Mon, 23 Nov 2026 08:00:07 GMT", now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retry_after("Mon, 23 Nov 2026 07:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("99999999999", now), Some(LONGEST_WAIT));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn a_refusal_quotes_scim_errors_alone_and_only_so_much() {
        let refused = |body| match answer(400, body).judge() {
            Err(PushError::Refused { detail, .. }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(Body::Json(json!({"scimType": "invalidValue", "detail": "no\n!"}))),
            "invalidValue: no!"
        );
        assert_eq!(refused(Body::Json(json!({"detail": "x".repeat(5000)}))).len(), DETAIL);
        assert_eq!(refused(Body::Foreign), "it gave no reason");
        assert_eq!(refused(Body::Json(json!({"user": "alice"}))), "it gave no reason");
    }
}
