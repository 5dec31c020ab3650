//! First logins that wait for somebody's approval: which do, and how they are asked for.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::{self, lookup};
use super::groups::fits;
use super::login::{Federation, FederationError};
use super::policy::JitPolicy;
use super::totp;
use super::transaction::Arriving;
use crate::domain::{Link, ServiceProviderName};
use crate::storage::approvals::{self, Approval, Ruling, Verdict};
use crate::storage::{SecretBox, StorageError, random};

/// Which first logins wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// None.
    #[default]
    None,
    /// All.
    Always,
    /// Those of which one of these is true.
    When(Vec<Condition>),
    /// All but those of which one of these is true.
    Unless(Vec<Condition>),
}

/// What may be true of somebody's claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The claim: a name, or a JSON Pointer.
    pub claim: String,
    /// What its value, or one of its values, is like, in any case; `*` stands for any text.
    pub like: String,
}

impl Condition {
    fn is_true(&self, claims: &Map<String, Value>) -> bool {
        let pattern = self.like.to_lowercase();
        let is_like = |value: &Value| match value {
            Value::String(text) => fits(&pattern, &text.to_lowercase()),
            Value::Bool(_) | Value::Number(_) => fits(&pattern, &value.to_string()),
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
    pub(super) fn claims(&self) -> Vec<String> {
        match self {
            Self::None | Self::Always => Vec::new(),
            Self::When(conditions) | Self::Unless(conditions) => conditions
                .iter()
                .map(|condition| claims::top_level(&condition.claim))
                .collect(),
        }
    }
}

impl Federation {
    /// Asks for somebody to be let in, and gives what the request is called. Whoever asked before is not asked for twice.
    pub(super) fn ask_approval(
        &self,
        arriving: &Arriving,
        jit: &JitPolicy,
        service_provider: &ServiceProviderName,
    ) -> Result<String, FederationError> {
        let identity = Link {
            identity_provider: arriving.provider.clone(),
            issuer: arriving.identity.issuer.clone(),
            subject: arriving.identity.subject.clone(),
        };
        let now = self.directory.clock().now();
        let id = new_id();
        let plain = serde_json::to_vec(&arriving.identity.claims).unwrap_or_default();
        let new = Approval {
            sealed: self.transactions.secrets.seal(&context(&id), &plain),
            id: id.clone(),
            identity,
            service_provider: service_provider.clone(),
            ruling: Ruling::NONE,
            asked: now,
            expires: now.plus(jit.approval_span()),
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
            log::info!("somebody from {} waits for approval: {id}", arriving.provider);
        }
        Ok(kept.id)
    }

    /// Forgets requests that nobody decided on in time.
    pub(super) fn sweep_approvals(&self) -> Result<usize, StorageError> {
        let now = self.directory.clock().now();
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
pub(super) fn answer(approval: Approval) -> Answer {
    match approval.ruling.verdict {
        Verdict::Waiting => Answer::None,
        Verdict::Approved => Answer::Granted,
        Verdict::Refused => Answer::Refused {
            reason: approval.ruling.reason,
        },
    }
}

/// What somebody answered to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
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
    let text = totp::base32(&random::bytes::<5>());
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
