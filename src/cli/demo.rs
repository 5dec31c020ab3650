//! `vestibule demo`.

use clap::Args;

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Walk the tour without a person, one line a step, and end.
    #[arg(long)]
    script: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    crate::demo::run(arguments.script).map_err(Failure::failed)
}
