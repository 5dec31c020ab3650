//! The command line: what it takes and what it prints.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::{Core, StartError};
use crate::config::{Config, Problem};

mod approvals;
mod check;
mod demo;
mod dialects;
mod health;
mod identity;
mod idp;
mod keys;
mod log_format;
mod rehearse;
mod serve;
mod targets;
mod token;
mod user;
mod userstore;

/// One door for people into your applications, and one pipe that passes them on.
///
/// Vestibule is a SCIM 2.0 server with a federated just-in-time front door. Try `vestibule demo` first: it needs no
/// configuration.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "config.toml",
        env = "VESTIBULE_CONFIG"
    )]
    config: PathBuf,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the database up to date, then serve until told to stop.
    Serve,
    /// Show the whole thing on this machine: three Vestibules, a wiki, a two-minute tour.
    Demo(demo::Arguments),
    /// Check the configuration and tell every problem.
    Check(check::Arguments),
    /// Show what a login would do: the account, its changes, the pages, the requests to targets. Nothing is changed.
    Rehearse(rehearse::Arguments),
    /// Bearer tokens for the SCIM clients of a service provider.
    #[command(subcommand)]
    Token(token::Command),
    /// People with a password of ours.
    #[command(subcommand)]
    User(user::Command),
    /// Directories that people live in.
    #[command(subcommand)]
    Userstore(userstore::Command),
    /// Identity providers and everybody who is linked to them.
    #[command(subcommand)]
    Idp(idp::Command),
    /// External identities of people.
    #[command(subcommand)]
    Identity(identity::Command),
    /// People whose first login waits for a decision.
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Downstream targets and what is on its way to them.
    #[command(subcommand)]
    Targets(targets::Command),
    /// What SCIM clients do outside the standard, at most a minute old.
    Dialects(dialects::Arguments),
    /// Keys that sign ID tokens.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Bring the database up to date.
    Migrate,
    /// Ask the running server whether it is ready.
    Health(HealthArguments),
}

#[derive(Debug, Args)]
struct HealthArguments {
    /// Where the server is; from the configuration if not given.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration has problems (exit status 2).
    Configuration(Vec<Problem>),
    /// The command line asks for something that cannot be (exit status 2).
    Usage(String),
    /// It went wrong (exit status 1).
    Failed(String),
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Schema(_) => Self::Usage(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command to its end and tells how it went.
pub fn run(cli: Cli) -> ExitCode {
    let Err(failure) = execute(&cli) else {
        return ExitCode::SUCCESS;
    };
    match failure {
        Failure::Configuration(problems) => {
            eprintln!("The configuration {} cannot be used:", cli.config.display());
            for problem in problems {
                eprintln!("  {problem}");
            }
            ExitCode::from(2)
        }
        Failure::Usage(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
        Failure::Failed(message) => {
            eprintln!("{message}");
            ExitCode::from(1)
        }
    }
}

fn execute(cli: &Cli) -> Result<(), Failure> {
    if let Command::Demo(arguments) = &cli.command {
        return demo::run(arguments);
    }
    let config = Config::load(&cli.config).map_err(Failure::Configuration)?;
    log_format::start(&config.log);
    match &cli.command {
        Command::Serve => serve::run(&config),
        Command::Demo(_) => Ok(()),
        Command::Check(arguments) => check::run(arguments, &config, &cli.config, cli.json),
        Command::Rehearse(arguments) => rehearse::run(arguments, &config, cli.json),
        Command::Token(command) => token::run(command, &config, cli.json),
        Command::Idp(command) => idp::run(command, &config, cli.json),
        Command::Identity(command) => identity::run(command, &config, cli.json),
        Command::Approvals(command) => approvals::run(command, &config, cli.json),
        Command::User(command) => user::run(command, &config, cli.json),
        Command::Userstore(command) => userstore::run(command, &config, cli.json),
        Command::Targets(command) => targets::run(command, &config, cli.json),
        Command::Dialects(arguments) => dialects::run(arguments, &config, cli.json),
        Command::Keys(command) => keys::run(command, &config, cli.json),
        Command::Migrate => migrate(&config, cli.json),
        Command::Health(arguments) => health::run(&config, arguments.url.as_deref(), cli.json),
    }
}

fn migrate(config: &Config, json: bool) -> Result<(), Failure> {
    let applied = Core::migrate(config)?;
    if json {
        println!("{}", serde_json::json!({ "applied": applied }));
    } else if applied.is_empty() {
        println!("The database is up to date.");
    } else {
        println!(
            "Applied {}: {}.",
            plural(applied.len(), "migration"),
            applied.join(", ")
        );
    }
    Ok(())
}

/// `1 token`, `2 tokens`.
fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
