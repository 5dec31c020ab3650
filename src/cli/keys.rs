//! `vestibule keys`.

use clap::Subcommand;
use serde_json::json;

use super::Failure;
use crate::app::App;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make new signing keys. They are published at once and sign as soon as every reader has had time to see them;
    /// the old ones stay published until nothing that they signed is valid any more.
    Rotate,
}

pub(super) fn run(Command::Rotate: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    App::rotate_keys(config)?;
    if json {
        println!("{}", json!({ "rotated": true }));
    } else {
        println!(
            "New signing keys are published. They sign in ten minutes; the old ones stay published while they are needed."
        );
    }
    Ok(())
}
