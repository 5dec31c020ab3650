//! First logins that wait for approval.

use serde_json::{Map, Value};

use super::{Context, OperationError, Right};
use crate::domain::SecurityEventKind;
use crate::federation::jit::approval::claims_of;
use crate::storage::approvals::{self, Approval, Ruling, Verdict};
use crate::storage::{SecretBox, StorageError};

/// The longest reason or name, in bytes.
const LONGEST: usize = 500;

/// A request, with the claims of the identity.
pub struct ApprovalRequest {
    /// The request.
    pub approval: Approval,
    /// The claims; empty if the master key is not the one that sealed them.
    pub claims: Map<String, Value>,
}

/// The requests that wait, and the decided ones whose person has not signed in again yet.
pub fn list(context: &Context, secrets: &SecretBox) -> Result<Vec<ApprovalRequest>, OperationError> {
    context.administrator.must(Right::Read)?;
    let now = context.clock.now();
    let all = context
        .database
        .read::<_, StorageError>(|connection| approvals::all(connection, now))?;
    let with_claims = all.into_iter().map(|approval| ApprovalRequest {
        claims: claims_of(&approval, secrets),
        approval,
    });
    Ok(with_claims.collect())
}

/// Decides on a request. The person sees the reason of a refusal.
pub fn decide(context: &Context, reference: &str, verdict: Verdict, reason: &str) -> Result<Approval, OperationError> {
    context.administrator.must(Right::DecideApprovals)?;
    let by = context.administrator.name();
    let is_unfit = |text: &&str| text.len() > LONGEST || text.contains(char::is_control);
    if [reason, by].iter().any(is_unfit) {
        return Err(OperationError::Invalid(format!(
            "The reason and the name must each be one line of at most {LONGEST} characters."
        )));
    }
    let ruling = Ruling {
        verdict,
        reason: reason.to_owned(),
        by: by.to_owned(),
        at: context.clock.now(),
    };
    let id = reference.trim().to_ascii_uppercase();
    let decided = context
        .database
        .write::<_, StorageError>(move |connection| Ok(approvals::rule(connection, &id, &ruling)?))?;
    let decided = decided.ok_or_else(|| {
        OperationError::NotFound(
            "No request has this reference. It may have expired; see `vestibule approvals list`.".to_owned(),
        )
    })?;
    context.record(&verdict.to_string(), |event| {
        event.kind = SecurityEventKind::Approval;
        event.identity_provider = Some(decided.identity.identity_provider.clone());
        event.object = Some(decided.id.clone());
    });
    Ok(decided)
}
