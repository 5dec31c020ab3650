//! `vestibule check`: checks what a valid configuration refers to, such as schemas and userstores.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{CommandError, plural, rehearse};
use crate::app::{self, Core};
use crate::config::Config;
use crate::domain::StoreName;
use crate::federation::jit::policy::SecondFactor;
use crate::userstore::ldap::Finding;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Replay the golden logins in this folder and report those with another outcome.
    #[arg(long, value_name = "FOLDER")]
    golden: Option<PathBuf>,
    /// Connect to every LDAP userstore and check access, permissions and attribute mappings.
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Config, path: &Path, json: bool) -> Result<(), CommandError> {
    let registry = app::registry(config)?;
    app::check_federation(config)?;
    let replayed = arguments
        .golden
        .as_deref()
        .map(|folder| rehearse::replay(folder, config));
    let replayed = replayed.transpose()?;
    let connected = if arguments.connect {
        Core::check_connections(config)?
    } else {
        Vec::new()
    };
    let rebuilt = if arguments.connect {
        Core::pending_indexes(config).unwrap_or_default()
    } else {
        Vec::new()
    };
    let bad = connected
        .iter()
        .flat_map(|(_, findings)| findings)
        .filter(|finding| finding.problem.is_some())
        .count();
    if json {
        let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
        let userstores: Vec<Value> = connected.iter().map(in_json).collect();
        println!(
            "{}",
            json!({ "ok": bad == 0, "resource_types": types, "userstores": userstores, "indexes_to_rebuild": rebuilt })
        );
        return outcome(bad);
    }
    println!("{} is valid.", path.display());
    connected.iter().for_each(tell);
    tell_indexes(&rebuilt);
    if let Some(count) = replayed {
        println!(
            "{} as before.",
            if count == 1 {
                "1 golden login ends".to_owned()
            } else {
                format!("{count} golden logins end")
            }
        );
    }
    println!(
        "{}, {}, {}, {}; {} and {}.",
        plural(config.userstores.len(), "userstore"),
        plural(config.identity_providers.len(), "identity provider"),
        plural(config.service_providers.len(), "service provider"),
        plural(config.targets.len(), "target"),
        plural(registry.types().len(), "resource type"),
        plural(registry.schemas().len(), "schema"),
    );
    note_weak_factors(config);
    outcome(bad)
}

fn note_weak_factors(config: &Config) {
    let by_mail = config.identity_providers.iter().map(|provider| provider.mfa);
    let by_mail = by_mail.chain(config.service_providers.iter().map(|provider| provider.policy.mfa));
    if by_mail.into_iter().any(SecondFactor::mails) {
        println!(
            "Note: a code by e-mail is a weak second factor (NIST SP 800-63B does not allow it as one). For stronger \
             protection, set mfa = \"totp\"."
        );
    }
}

fn outcome(bad: usize) -> Result<(), CommandError> {
    match bad {
        0 => Ok(()),
        _ => Err(CommandError::Failed(format!("{} found.", plural(bad, "problem")))),
    }
}

fn tell_indexes(rebuilt: &[String]) {
    if !rebuilt.is_empty() {
        println!(
            "Indexes that a start rebuilds in the background, with slower filters meanwhile: {}.",
            rebuilt.join(", ")
        );
    }
}

fn tell((store, findings): &(StoreName, Vec<Finding>)) {
    println!("Userstore {store}:");
    for finding in findings {
        match &finding.problem {
            None => println!("  ok    {}", finding.what),
            Some(problem) => println!("  WRONG {}: {problem}", finding.what),
        }
    }
}

fn in_json((store, findings): &(StoreName, Vec<Finding>)) -> Value {
    let finding = |one: &Finding| json!({ "what": one.what, "problem": one.problem });
    json!({ "store": store, "findings": findings.iter().map(finding).collect::<Vec<_>>() })
}
