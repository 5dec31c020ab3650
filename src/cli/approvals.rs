//! `vestibule approvals`: first logins that wait for approval.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use crate::app::{self, Core};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::federation::jit::approval::claims_of;
use crate::storage::approvals::{self, Approval, Ruling, Verdict};
use crate::storage::{SecretBox, StorageError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List waiting requests, and decided ones whose person has not signed in again yet.
    List,
    /// Approve a request: the next login of the person creates the account.
    Approve(Which),
    /// Refuse a request. The refusal lasts until the request expires.
    Refuse(Refuse),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The reference that the person was shown, such as K7QM-2XPD.
    id: String,
    /// The name of the person who decides, for the record.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown (command line)")]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct Refuse {
    #[command(flatten)]
    which: Which,
    /// A reason that the person sees with the refusal.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    match command {
        Command::List => list(&core, &app::secrets(config)?, json),
        Command::Approve(which) => rule(&core, which, (Verdict::Approved, ""), json),
        Command::Refuse(refuse) => rule(&core, &refuse.which, (Verdict::Refused, &refuse.reason), json),
    }
}

fn rule(core: &Core, which: &Which, (verdict, reason): (Verdict, &str), json: bool) -> Result<(), Failure> {
    if [reason, &which.by]
        .iter()
        .any(|text| text.len() > 500 || text.contains(char::is_control))
    {
        return Err(Failure::Usage(
            "The reason and the name must each be one line of at most 500 characters.".to_owned(),
        ));
    }
    let ruling = Ruling {
        verdict,
        reason: reason.to_owned(),
        by: which.by.clone(),
        at: core.clock.now(),
    };
    let id = which.id.trim().to_ascii_uppercase();
    let found = core
        .database
        .write::<_, StorageError>(move |connection| Ok(approvals::rule(connection, &id, &ruling)?))
        .map_err(Failure::failed)?;
    let Some(found) = found else {
        return Err(Failure::Failed(
            "No request has this reference. It may have expired; see `vestibule approvals list`.".to_owned(),
        ));
    };
    let identity = &found.identity;
    log::info!(
        "approval {} of {} from {} is {verdict} by {}",
        found.id,
        identity.subject,
        identity.identity_provider,
        found.ruling.by
    );
    if json {
        println!("{}", json!({ "id": found.id, "verdict": verdict.to_string() }));
    } else if verdict == Verdict::Approved {
        println!(
            "{} is approved. The account is created at the person's next login. The approval expires at {}.",
            found.id, found.expires
        );
    } else {
        println!("{} is refused. The refusal expires at {}.", found.id, found.expires);
    }
    Ok(())
}

fn list(core: &Core, secrets: &SecretBox, json: bool) -> Result<(), Failure> {
    let now = core.clock.now();
    let approvals = core
        .database
        .read::<_, StorageError>(|connection| approvals::all(connection, now))
        .map_err(Failure::failed)?;
    if json {
        let shown: Vec<Value> = approvals.iter().map(|approval| as_json(approval, secrets)).collect();
        println!("{}", json!(shown));
    } else if approvals.is_empty() {
        println!("No requests are waiting.");
    }
    for approval in approvals.iter().filter(|_| !json) {
        println!("{}", as_line(approval, secrets));
    }
    Ok(())
}

fn as_line(approval: &Approval, secrets: &SecretBox) -> String {
    let claims = claims_of(approval, secrets);
    let said = |claim: &str| {
        let text = claims.get(claim).and_then(Value::as_str).unwrap_or_default();
        // Control characters are removed: claims must not control the terminal.
        text.chars().filter(|sign| !sign.is_control()).collect::<String>()
    };
    let Approval { id, identity, .. } = approval;
    format!(
        "{id}  {}  {} from {} ({} {})  to {}  since {}, expires {}",
        approval.ruling.verdict,
        identity.subject,
        identity.identity_provider,
        said("name"),
        said("email"),
        approval.service_provider,
        approval.asked,
        approval.expires,
    )
}

fn as_json(approval: &Approval, secrets: &SecretBox) -> Value {
    let ruling = &approval.ruling;
    let decided = (ruling.verdict != Verdict::Waiting).then_some(ruling.at);
    json!({
        "id": approval.id,
        "verdict": ruling.verdict.to_string(),
        "identity_provider": approval.identity.identity_provider,
        "issuer": approval.identity.issuer,
        "subject": approval.identity.subject,
        "claims": claims_of(approval, secrets),
        "service_provider": approval.service_provider,
        "asked": approval.asked.to_string(),
        "expires": approval.expires.to_string(),
        "reason": ruling.reason,
        "decided_by": ruling.by,
        "decided": decided.map(|at: Timestamp| at.to_string()),
    })
}
