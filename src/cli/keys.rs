//! `vestibule keys`: rotates the signing keys.

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, operations};
use crate::app::Core;
use crate::config::Config;
use crate::operations::keys;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create new signing keys. They are published at once and used when every client has had time to fetch them;
    /// the old keys stay published until all tokens that they signed have expired.
    Rotate,
}

pub(super) fn run(Command::Rotate: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let core = Core::open(config)?;
    keys::rotate(&operations(config)?, &core.oidc(config)?)?;
    if json {
        println!("{}", json!({ "rotated": true }));
    } else {
        println!(
            "New signing keys are published. They are used after ten minutes; the old keys stay published while they are needed."
        );
    }
    Ok(())
}
