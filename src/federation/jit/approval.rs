//! Requests for approval of first logins: filing, answers and expiry.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use serde_json::{Map, Value};

use super::policy::{ApprovalRule, Condition};
use super::wildcard;
use crate::audit;
use crate::domain::{Clock, Link, SecurityEvent, SecurityEventKind, ServiceProviderName};
use crate::federation::error::FederationError;
use crate::federation::idp::claim::{lookup, top_level};
use crate::storage::approvals::{self, Approval, Ruling, Verdict};
use crate::storage::{Database, SecretBox, StorageError, links, random, sweep};

/// The most first logins of one identity provider that wait for approval.
const MOST_WAITING: i64 = 10_000;

/// How long it is remembered that an external subject had an account that was deleted here.
const FORMER_KEPT: Duration = Duration::from_hours(2 * 365 * 24);

impl Condition {
    fn is_true(&self, claims: &Map<String, Value>) -> bool {
        let pattern = self.like.to_lowercase();
        let is_like = |value: &Value| match value {
            Value::String(text) => wildcard::matches(&pattern, &text.to_lowercase()),
            Value::Bool(_) | Value::Number(_) => wildcard::matches(&pattern, &value.to_string()),
            _ => false,
        };
        match lookup(claims, &self.claim) {
            Some(Value::Array(values)) => values.iter().any(is_like),
            Some(value) => is_like(value),
            None => false,
        }
    }
}

impl ApprovalRule {
    /// Whether a first login with these claims waits for approval.
    pub(crate) fn applies(&self, claims: &Map<String, Value>) -> bool {
        let any = |conditions: &[Condition]| conditions.iter().any(|condition| condition.is_true(claims));
        match self {
            Self::None => false,
            Self::Always => true,
            Self::When(conditions) => any(conditions),
            Self::Unless(conditions) => !any(conditions),
        }
    }

    /// Returns the top-level claims that the rule reads.
    pub(crate) fn claims(&self) -> Vec<String> {
        match self {
            Self::None | Self::Always => Vec::new(),
            Self::When(conditions) | Self::Unless(conditions) => {
                conditions.iter().map(|condition| top_level(&condition.claim)).collect()
            }
        }
    }
}

/// The name under which an approver sees the user name that a person chose.
pub(crate) const CHOSEN: &str = "chosen user name";

/// The details of a first login that an approver sees.
pub(crate) struct ShownToApprover<'a> {
    /// The claims.
    pub(crate) asserted: &'a Map<String, Value>,
    /// The user name that the person chose, if the login got so far.
    pub(crate) chosen: Option<&'a str>,
    /// The earlier approval, which was of something else.
    pub(crate) outdated: Option<&'a str>,
}

impl ShownToApprover<'_> {
    fn claims(&self) -> Map<String, Value> {
        let mut claims = self.asserted.clone();
        claims.remove(CHOSEN);
        claims.extend(self.chosen.map(|chosen| (CHOSEN.to_owned(), chosen.into())));
        claims
    }
}

/// The requests for approval. Methods block.
pub struct Approvals {
    clock: Clock,
    database: Database,
    secrets: Arc<SecretBox>,
}

impl Approvals {
    /// Keeps requests in this database; claims are sealed.
    pub fn new(database: Database, secrets: Arc<SecretBox>, clock: Clock) -> Self {
        Self {
            clock,
            database,
            secrets,
        }
    }

    /// Returns the answer to a request, if what was shown to the approver is what the login would make now. An approval of
    /// something else is returned by its id: it must be asked again.
    pub(crate) fn status(
        &self,
        approval: Approval,
        is_same: impl Fn(&Map<String, Value>, Option<&str>) -> bool,
    ) -> (ApprovalStatus, Option<String>) {
        if approval.ruling.verdict != Verdict::Approved {
            return (status(approval), None);
        }
        let mut claims = claims_of(&approval, &self.secrets);
        let chosen = claims.remove(CHOSEN);
        if is_same(&claims, chosen.as_ref().and_then(Value::as_str)) {
            return (ApprovalStatus::Granted, None);
        }
        log::info!(
            "{} was approved for another account than this login would make",
            approval.id
        );
        (ApprovalStatus::None, Some(approval.id))
    }

    /// Files a request for an identity and returns its reference. An open request is kept.
    pub(crate) fn request(
        &self,
        identity: Link,
        shown: &ShownToApprover<'_>,
        span: Duration,
        service_provider: &ServiceProviderName,
    ) -> Result<String, FederationError> {
        let now = self.clock.now();
        let id = new_id();
        let plain = serde_json::to_vec(&shown.claims()).unwrap_or_default();
        let outdated = shown.outdated.map(str::to_owned);
        let provider = identity.identity_provider.clone();
        let new = Approval {
            sealed: self.secrets.seal(&context(&id), &plain),
            id: id.clone(),
            identity,
            service_provider: service_provider.clone(),
            ruling: Ruling::NONE,
            asked: now,
            expires: now.plus(span),
        };
        let kept = self.database.write::<_, StorageError>(move |connection| {
            if approvals::are_waiting(connection, &new.identity.identity_provider, MOST_WAITING)? {
                return Ok(approvals::of_identity(connection, &new.identity, now)?);
            }
            if let Some(outdated) = &outdated {
                approvals::delete(connection, outdated)?;
            }
            approvals::ask(connection, &new)?;
            let kept = approvals::of_identity(connection, &new.identity, now)?;
            Ok(kept)
        })?;
        let Some(kept) = kept else {
            log::warn!(
                "a first login through {provider} cannot wait for approval now: {MOST_WAITING} others wait, or it changed meanwhile"
            );
            return Err(FederationError::Contended);
        };
        if kept.id == id {
            let event = SecurityEvent {
                identity_provider: Some(provider),
                service_provider: Some(service_provider.clone()),
                reason: Some("asked".to_owned()),
                object: Some(id),
                ..SecurityEvent::new(SecurityEventKind::Approval, now)
            };
            audit::record(&self.database, event);
        }
        Ok(kept.id)
    }

    /// Removes expired requests, and what is remembered of deleted accounts for long enough. Returns the number of requests.
    pub fn sweep(&self) -> Result<usize, StorageError> {
        let now = self.clock.now();
        let before = now.minus(FORMER_KEPT);
        sweep::in_steps(&self.database, move |connection, limit| {
            links::delete_former(connection, before, limit)
        })?;
        sweep::in_steps(&self.database, move |connection, limit| {
            approvals::delete_expired(connection, now, limit)
        })
    }
}

/// Returns the claims of a person who waits, for the approver; empty if they cannot be opened.
pub(crate) fn claims_of(approval: &Approval, secrets: &SecretBox) -> Map<String, Value> {
    let plain = secrets.open(&context(&approval.id), &approval.sealed);
    let claims = plain.ok().and_then(|plain| serde_json::from_slice(&plain).ok());
    claims.unwrap_or_default()
}

/// Returns the answer to a request, as the login decision needs it.
fn status(approval: Approval) -> ApprovalStatus {
    match approval.ruling.verdict {
        Verdict::Waiting => ApprovalStatus::None,
        Verdict::Approved => ApprovalStatus::Granted,
        Verdict::Refused => ApprovalStatus::Refused {
            reason: approval.ruling.reason,
        },
    }
}

/// The answer to a request for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ApprovalStatus {
    /// No answer yet, or no request.
    #[default]
    None,
    /// The login is approved.
    Granted,
    /// The login is refused.
    Refused {
        /// A reason that is shown to the person; may be empty.
        reason: String,
    },
}

fn context(id: &str) -> String {
    format!("approvals/{id}")
}

/// Returns 40 random bits in a form that is easy to read out on the telephone.
fn new_id() -> String {
    let text = BASE32_NOPAD.encode(&random::bytes::<5>());
    format!("{}-{}", &text[..4], &text[4..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(rule: Value) -> ApprovalRule {
        serde_json::from_value(rule).unwrap()
    }

    fn applies(given: &ApprovalRule, claims: Value) -> bool {
        let Value::Object(claims) = claims else {
            panic!("not an object")
        };
        given.applies(&claims)
    }

    #[test]
    fn without_conditions_claims_do_not_matter() {
        assert!(!applies(&rule(json!("none")), json!({"a": "b"})));
        assert!(applies(&rule(json!("always")), json!({})));
        assert_eq!(ApprovalRule::default(), rule(json!("none")));
    }

    #[test]
    fn first_logins_that_meet_a_condition_wait() {
        let outside = rule(json!({"when": [
            {"claim": "email", "like": "*@partner.example"},
            {"claim": "/org/groups", "like": "contractor-*"},
            {"claim": "guest", "like": "true"},
        ]}));
        for claims in [
            json!({"email": "Ann@Partner.Example"}),
            json!({"org": {"groups": ["staff", "contractor-7"]}}),
            json!({"guest": true}),
        ] {
            assert!(applies(&outside, claims.clone()), "{claims}");
        }
        for claims in [
            json!({}),
            json!({"email": "ann@partner.example.org"}),
            json!({"org": {"groups": "staff"}, "guest": false}),
            json!({"email": ["x"], "guest": null}),
        ] {
            assert!(!applies(&outside, claims.clone()), "{claims}");
        }
    }

    #[test]
    fn a_missing_claim_never_exempts_from_approval() {
        let staff = rule(json!({"unless": [{"claim": "hd", "like": "example.com"}]}));
        assert!(!applies(&staff, json!({"hd": "example.com"})));
        for claims in [json!({}), json!({"hd": null}), json!({"hd": "example.com.evil"})] {
            assert!(applies(&staff, claims.clone()), "{claims}");
        }
    }

    #[test]
    fn malformed_approval_rules_are_refused() {
        for bad in [
            json!("sometimes"),
            json!({"when": "email"}),
            json!({"when": [{"claim": "email"}]}),
            json!({"when": [{"claim": "a", "like": "b", "also": "c"}]}),
        ] {
            assert!(serde_json::from_value::<ApprovalRule>(bad.clone()).is_err(), "{bad}");
        }
    }
}
