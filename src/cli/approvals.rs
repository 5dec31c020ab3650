//! `vestibule approvals`: first logins that wait for approval.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::text::printable;
use super::{CommandError, operations, operations_by};
use crate::app;
use crate::config::Config;
use crate::domain::Timestamp;
use crate::federation::jit::approval::CHOSEN;
use crate::operations::approvals::{self, ApprovalRequest};
use crate::storage::approvals::{Approval, Verdict};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List waiting requests, and decided ones whose person has not signed in again yet.
    List,
    /// Approve a request: the next login of the person creates the account.
    Approve(ApprovalArgs),
    /// Refuse a request. The refusal lasts until the request expires.
    Refuse(Refuse),
}

#[derive(Debug, Args)]
pub(super) struct ApprovalArgs {
    /// The reference that the person was shown, such as K7QM-2XPD.
    id: String,
    /// The name of the person who decides, for the record.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown (command line)")]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct Refuse {
    #[command(flatten)]
    which: ApprovalArgs,
    /// A reason that the person sees with the refusal.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    match command {
        Command::List => list(config, json),
        Command::Approve(which) => decide(config, which, (Verdict::Approved, ""), json),
        Command::Refuse(refuse) => decide(config, &refuse.which, (Verdict::Refused, &refuse.reason), json),
    }
}

fn decide(
    config: &Config,
    which: &ApprovalArgs,
    (verdict, reason): (Verdict, &str),
    json: bool,
) -> Result<(), CommandError> {
    let context = operations_by(config, Some(&which.by))?;
    let decided = approvals::decide(&context, &which.id, verdict, reason)?;
    if json {
        println!("{}", json!({ "id": decided.id, "verdict": verdict.to_string() }));
    } else if verdict == Verdict::Approved {
        println!(
            "{} is approved. The account is created at the person's next login. The approval expires at {}.",
            decided.id, decided.expires
        );
    } else {
        println!("{} is refused. The refusal expires at {}.", decided.id, decided.expires);
    }
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), CommandError> {
    let requests = approvals::list(&operations(config)?, &app::secrets(config)?)?;
    if json {
        let shown: Vec<Value> = requests.iter().map(as_json).collect();
        println!("{}", json!(shown));
    } else if requests.is_empty() {
        println!("No requests are waiting.");
    }
    for request in requests.iter().filter(|_| !json) {
        println!("{}", as_line(request));
    }
    Ok(())
}

fn as_line(ApprovalRequest { approval, claims }: &ApprovalRequest) -> String {
    let said = |claim: &str| printable(claims.get(claim).and_then(Value::as_str).unwrap_or_default());
    let Approval { id, identity, .. } = approval;
    let chosen = claims.get(CHOSEN).and_then(Value::as_str);
    let chosen = chosen.map_or_else(String::new, |name| format!(" as {}", printable(name)));
    format!(
        "{id}  {}  {} from {} ({} {}){chosen}  to {}  since {}, expires {}",
        approval.ruling.verdict,
        printable(&identity.subject),
        identity.identity_provider,
        said("name"),
        said("email"),
        approval.service_provider,
        approval.asked,
        approval.expires,
    )
}

fn as_json(ApprovalRequest { approval, claims }: &ApprovalRequest) -> Value {
    let ruling = &approval.ruling;
    let decided = (ruling.verdict != Verdict::Waiting).then_some(ruling.at);
    json!({
        "id": approval.id,
        "verdict": ruling.verdict.to_string(),
        "identity_provider": approval.identity.identity_provider,
        "issuer": approval.identity.issuer,
        "subject": approval.identity.subject,
        "claims": claims,
        "service_provider": approval.service_provider,
        "asked": approval.asked.to_string(),
        "expires": approval.expires.to_string(),
        "reason": ruling.reason,
        "decided_by": ruling.by,
        "decided": decided.map(|at: Timestamp| at.to_string()),
    })
}
