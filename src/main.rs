//! The command line of Vestibule. Exit status: 0 success, 1 failure, 2 wrong usage or configuration.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    vestibule::cli::run(vestibule::cli::Cli::parse())
}
