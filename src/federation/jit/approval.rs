//! First logins that wait for somebody's approval: which do, and how they are asked for.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use serde_json::{Map, Value};

use super::policy::{ApprovalRule, Condition};
use super::wildcard;
use crate::domain::{Clock, Link, ServiceProviderName};
use crate::federation::error::FederationError;
use crate::federation::idp::claim::{lookup, top_level};
use crate::storage::approvals::{self, Approval, Ruling, Verdict};
use crate::storage::{Database, SecretBox, StorageError, random};

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
    /// Whether somebody with these claims waits.
    pub fn applies(&self, claims: &Map<String, Value>) -> bool {
        let any = |conditions: &[Condition]| conditions.iter().any(|condition| condition.is_true(claims));
        match self {
            Self::None => false,
            Self::Always => true,
            Self::When(conditions) => any(conditions),
            Self::Unless(conditions) => !any(conditions),
        }
    }

    /// The claims that it looks at.
    pub(crate) fn claims(&self) -> Vec<String> {
        match self {
            Self::None | Self::Always => Vec::new(),
            Self::When(conditions) | Self::Unless(conditions) => {
                conditions.iter().map(|condition| top_level(&condition.claim)).collect()
            }
        }
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

    /// Files a request for an identity, and gives its reference. A request that stands already is kept.
    pub(crate) fn request(
        &self,
        identity: Link,
        claims: &Map<String, Value>,
        span: Duration,
        service_provider: &ServiceProviderName,
    ) -> Result<String, FederationError> {
        let now = self.clock.now();
        let id = new_id();
        let plain = serde_json::to_vec(claims).unwrap_or_default();
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
            approvals::ask(connection, &new)?;
            let kept = approvals::of_identity(connection, &new.identity, now)?;
            Ok(kept)
        })?;
        let Some(kept) = kept else {
            return Err(FederationError::Contended);
        };
        if kept.id == id {
            log::info!("a first login through {provider} waits for approval: {id}");
        }
        Ok(kept.id)
    }

    /// Removes the requests that have expired; returns how many.
    pub fn sweep(&self) -> Result<usize, StorageError> {
        let now = self.clock.now();
        self.database
            .write(move |connection| approvals::delete_expired(connection, now).map_err(StorageError::from))
    }
}

/// What the identity provider said of somebody who waits, for whoever decides; empty if it cannot be opened.
pub fn claims_of(approval: &Approval, secrets: &SecretBox) -> Map<String, Value> {
    let plain = secrets.open(&context(&approval.id), &approval.sealed);
    let claims = plain.ok().and_then(|plain| serde_json::from_slice(&plain).ok());
    claims.unwrap_or_default()
}

/// What became of a request, as the decision needs it.
pub(crate) fn status(approval: Approval) -> ApprovalStatus {
    match approval.ruling.verdict {
        Verdict::Waiting => ApprovalStatus::None,
        Verdict::Approved => ApprovalStatus::Granted,
        Verdict::Refused => ApprovalStatus::Refused {
            reason: approval.ruling.reason,
        },
    }
}

/// What somebody answered to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// Nothing yet, or nobody was asked.
    #[default]
    None,
    /// The person may come in.
    Granted,
    /// The person may not.
    Refused {
        /// What they are told besides; empty for nothing.
        reason: String,
    },
}

fn context(id: &str) -> String {
    format!("approvals/{id}")
}

/// 40 random bits that can be told on the telephone.
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
    fn none_or_all_wait_whatever_the_claims_say() {
        assert!(!applies(&rule(json!("none")), json!({"a": "b"})));
        assert!(applies(&rule(json!("always")), json!({})));
        assert_eq!(ApprovalRule::default(), rule(json!("none")));
    }

    #[test]
    fn those_wait_of_whom_a_condition_is_true() {
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
    fn a_claim_that_is_not_there_exempts_nobody() {
        let staff = rule(json!({"unless": [{"claim": "hd", "like": "example.com"}]}));
        assert!(!applies(&staff, json!({"hd": "example.com"})));
        for claims in [json!({}), json!({"hd": null}), json!({"hd": "example.com.evil"})] {
            assert!(applies(&staff, claims.clone()), "{claims}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
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
