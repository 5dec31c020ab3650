//! `vestibule targets`: shows, pauses, resumes and replays outbound provisioning.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{CommandError, operations, plural};
use crate::config::Config;
use crate::domain::{ResourceId, TargetName};
use crate::operations::Context;
use crate::operations::targets::{self, TargetReport};
use crate::provisioning::ReplayScope;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the state of each target and its failures.
    Status,
    /// Send failed changes again.
    Replay(Replay),
    /// Pause a target. Changes wait until it is resumed.
    Pause {
        /// The target.
        name: String,
        /// The reason, shown in the status.
        #[arg(long, default_value = "paused manually")]
        reason: String,
    },
    /// Resume a paused target. If the delete limit paused it, this confirms the deletes.
    Resume {
        /// The target.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The target. By default all targets.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only this resource, by its id in Vestibule.
    #[arg(long, value_name = "ID", conflicts_with = "everything")]
    resource: Option<String>,
    /// All resources that are or were provisioned, not only failed ones.
    #[arg(long)]
    everything: bool,
    /// Show what would be sent again, without sending it.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    match command {
        Command::Status => status(&context, json)?,
        Command::Replay(arguments) => replay(&context, arguments, json)?,
        Command::Pause { name, reason } => print_state(targets::pause(&context, name, reason)?, "paused", json),
        Command::Resume { name } => print_state(targets::resume(&context, name)?, "running", json),
    }
    Ok(())
}

fn print_state(target: &TargetName, state: &str, json: bool) {
    if json {
        println!("{}", json!({ "target": target, "state": state }));
    } else {
        println!("Target {target} is {state}.");
    }
}

fn status(context: &Context, json: bool) -> Result<(), CommandError> {
    let reports = targets::status(context)?;
    if json {
        println!("{}", json!(reports.iter().map(as_json).collect::<Vec<_>>()));
    } else if reports.is_empty() {
        println!("No target is configured.");
    } else {
        reports.iter().for_each(print);
    }
    Ok(())
}

fn as_json(TargetReport { status, failures }: &TargetReport) -> Value {
    let counts: Map<String, Value> = status
        .counts
        .iter()
        .map(|(state, count)| (state.as_str().to_owned(), (*count).into()))
        .collect();
    let failed: Vec<_> = failures
        .iter()
        .map(|row| json!({ "resource": row.resource_id.to_string(), "error": row.last_error.as_deref().unwrap_or_default() }))
        .collect();
    json!({
        "target": status.target,
        "paused": status.paused,
        "counts": counts,
        "oldest_change": status.oldest_change.map(|at| at.to_string()),
        "parked": status.parked,
        "failed": failed,
    })
}

fn print(TargetReport { status, failures }: &TargetReport) {
    let counts: Vec<String> = status
        .counts
        .iter()
        .map(|(state, count)| format!("{count} {}", state.as_str()))
        .collect();
    let counts = if counts.is_empty() {
        "no resources yet".to_owned()
    } else {
        counts.join(", ")
    };
    println!("{}: {counts}", status.target);
    if let Some(reason) = &status.paused {
        println!("  paused: {reason}");
    }
    if let Some(oldest) = status.oldest_change {
        println!("  waiting since {oldest}");
    }
    if status.parked > 0 {
        let records = plural(usize::try_from(status.parked).unwrap_or_default(), "change");
        println!("  set aside: {records} that could not be recorded for it (the log has the causes)");
    }
    for row in failures {
        println!(
            "  failed: {}: {}",
            row.resource_id,
            row.last_error.as_deref().unwrap_or_default()
        );
    }
}

fn replay(context: &Context, arguments: &Replay, json: bool) -> Result<(), CommandError> {
    let scope = match &arguments.resource {
        Some(id) => ReplayScope::Resource(ResourceId::new(id.as_str())),
        None if arguments.everything => ReplayScope::Everything,
        None => ReplayScope::Failed,
    };
    let target = arguments.target.as_deref();
    let total = if arguments.dry_run {
        let mut total = 0;
        for (target, rows) in targets::preview_replay(context, target, &scope)? {
            for row in &rows {
                eprintln!("{target}: {} {}", row.kind, row.resource_id);
            }
            total += rows.len();
        }
        total
    } else {
        targets::replay(context, target, &scope)?
    };
    if json {
        println!("{}", json!({ "resources": total, "dry_run": arguments.dry_run }));
    } else if arguments.dry_run {
        println!("{} would be sent again.", plural(total, "resource"));
    } else {
        println!(
            "{} will be sent again by the running server.",
            plural(total, "resource")
        );
    }
    Ok(())
}
