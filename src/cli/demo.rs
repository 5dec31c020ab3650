//! `vestibule demo`: starts the demonstration.

use clap::Args;

use super::CommandError;
use crate::config::Log;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Run the tour without a browser, one line per step, and exit.
    #[arg(long)]
    script: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let quiet = Log {
        json: false,
        filter: "error".to_owned(),
    };
    super::log_format::start(&quiet);
    crate::demo::run(arguments.script).map_err(CommandError::failed)
}
