//! `vestibule keys`: rotates the signing keys.

use clap::Subcommand;
use serde_json::json;

use super::Failure;
use crate::app::App;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create new signing keys. They are published at once and used when every client has had time to fetch them;
    /// the old keys stay published until all tokens that they signed have expired.
    Rotate,
}

pub(super) fn run(Command::Rotate: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    App::rotate_keys(config)?;
    if json {
        println!("{}", json!({ "rotated": true }));
    } else {
        println!(
            "New signing keys are published. They are used after ten minutes; the old keys stay published while they are needed."
        );
    }
    Ok(())
}
