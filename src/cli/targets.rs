//! `vestibule targets`: shows, pauses, resumes and replays outbound provisioning.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, plural};
use crate::app::Core;
use crate::config::Config;
use crate::domain::{ResourceId, TargetName};
use crate::provisioning::operate;
use crate::provisioning::{TargetStatus, Which};
use crate::storage::Database;

/// The number of failures listed per target.
const SHOWN: u16 = 20;

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

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    match command {
        Command::Status => status(config, &core.database, json),
        Command::Replay(arguments) => replay(config, &core, arguments, json),
        Command::Pause { name, reason } => {
            let target = known(config, name)?;
            operate::pause(&core.database, target, reason).map_err(Failure::failed)?;
            settled(target, "paused", json);
            Ok(())
        }
        Command::Resume { name } => {
            let target = known(config, name)?;
            operate::resume(&core.database, target).map_err(Failure::failed)?;
            settled(target, "running", json);
            Ok(())
        }
    }
}

fn settled(target: &TargetName, state: &str, json: bool) {
    if json {
        println!("{}", json!({ "target": target, "state": state }));
    } else {
        println!("Target {target} is {state}.");
    }
}

fn known<'a>(config: &'a Config, name: &str) -> Result<&'a TargetName, Failure> {
    let found = config
        .targets
        .iter()
        .map(|target| &target.name)
        .find(|target| target.as_str() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
        let names = if names.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("there is {}", names.join(", "))
        };
        Failure::Usage(format!("No target is called {name}: {names}."))
    })
}

fn status(config: &Config, database: &Database, json: bool) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for target in &config.targets {
        let status = operate::status(database, &target.name).map_err(Failure::failed)?;
        let failed = operate::failed(database, &target.name, SHOWN).map_err(Failure::failed)?;
        let failed: Vec<(String, String)> = failed
            .into_iter()
            .map(|row| (row.resource_id.to_string(), row.last_error.unwrap_or_default()))
            .collect();
        if json {
            let counts: serde_json::Map<_, _> = status
                .counts
                .iter()
                .map(|(state, count)| (state.as_str().to_owned(), (*count).into()))
                .collect();
            let failed: Vec<_> = failed
                .iter()
                .map(|(id, error)| json!({ "resource": id, "error": error }))
                .collect();
            lines.push(json!({
                "target": status.target,
                "paused": status.paused,
                "counts": counts,
                "oldest_change": status.oldest_change.map(|at| at.to_string()),
                "failed": failed,
            }));
        } else {
            print(&status, &failed);
        }
    }
    if json {
        println!("{}", json!(lines));
    } else if config.targets.is_empty() {
        println!("No target is configured.");
    }
    Ok(())
}

fn print(status: &TargetStatus, failed: &[(String, String)]) {
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
    for (id, error) in failed {
        println!("  failed: {id}: {error}");
    }
}

fn replay(config: &Config, core: &Core, arguments: &Replay, json: bool) -> Result<(), Failure> {
    let targets = match &arguments.target {
        Some(name) => vec![known(config, name)?],
        None => config.targets.iter().map(|target| &target.name).collect(),
    };
    let which = match &arguments.resource {
        Some(id) => Which::Resource(ResourceId::new(id.as_str())),
        None if arguments.everything => Which::Everything,
        None => Which::Failed,
    };
    let mut total = 0;
    for target in targets {
        total += if arguments.dry_run {
            let rows = operate::preview(&core.database, target, &which, u16::MAX).map_err(Failure::failed)?;
            for row in &rows {
                eprintln!("{target}: {} {}", row.kind, row.resource_id);
            }
            rows.len()
        } else {
            operate::replay(&core.database, target, which.clone(), core.clock.now()).map_err(Failure::failed)?
        };
    }
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
