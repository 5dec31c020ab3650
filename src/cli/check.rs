//! `vestibule check`: reaching this point, the configuration was read without a problem; what it refers to is looked at.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Failure, plural, rehearse};
use crate::app;
use crate::config::Config;
use crate::federation::policy::SecondFactor;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Replay the recorded logins of this folder, and tell which would end otherwise now.
    #[arg(long, value_name = "FOLDER")]
    golden: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, config: &Config, path: &Path, json: bool) -> Result<(), Failure> {
    let registry = app::registry(config)?;
    let replayed = arguments
        .golden
        .as_deref()
        .map(|folder| rehearse::replay(folder, config));
    let replayed = replayed.transpose()?;
    if json {
        let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
        println!("{}", json!({ "ok": true, "resource_types": types }));
        return Ok(());
    }
    println!("{} is fine.", path.display());
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
    let by_mail = config.identity_providers.iter().map(|provider| provider.mfa);
    let by_mail = by_mail.chain(config.service_providers.iter().map(|provider| provider.policy.mfa));
    if by_mail.into_iter().any(SecondFactor::mails) {
        println!(
            "Note: a code by e-mail is no strong second factor (NIST SP 800-63B does not allow it as one). Where it \
             matters, ask for mfa = \"totp\"."
        );
    }
    Ok(())
}
