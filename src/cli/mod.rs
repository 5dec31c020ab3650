//! The command line: arguments, output and exit status.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::{Core, StartError};
use crate::config::{Config, ConfigProblem};
use crate::operations::{Administrator, Context, OperationError};

mod approvals;
mod check;
mod demo;
mod dialects;
mod health;
mod identity;
mod idp;
mod journal;
mod keys;
mod log_format;
mod progress;
mod rehearse;
mod serve;
mod targets;
mod text;
mod token;
mod user;
mod userstore;

/// One sign-in for your applications, and automatic provisioning of their user accounts.
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
    /// Migrate the database, then serve until stopped.
    Serve,
    /// Run a demonstration on this machine: three Vestibules, a wiki, a two-minute tour.
    Demo(demo::Arguments),
    /// Check the configuration and report every problem.
    Check(check::Arguments),
    /// Show the effects of a login: the account, its changes, the pages, the requests to targets. Nothing is changed.
    Rehearse(rehearse::Arguments),
    /// Manage the bearer tokens of SCIM clients.
    #[command(subcommand)]
    Token(token::Command),
    /// Manage users in the userstores.
    #[command(subcommand)]
    User(user::Command),
    /// Manage userstores that are LDAP directories.
    #[command(subcommand)]
    Userstore(userstore::Command),
    /// Remove or restore identity providers.
    #[command(subcommand)]
    Idp(idp::Command),
    /// Link, unlink, lock or unlock external identities.
    #[command(subcommand)]
    Identity(identity::Command),
    /// Approve or refuse first logins that wait for a decision.
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Manage outbound targets and their queues.
    #[command(subcommand)]
    Targets(targets::Command),
    /// Show what SCIM clients do outside the standard. The counts are at most a minute old.
    Dialects(dialects::Arguments),
    /// Show who got in, who was refused, and what was changed, by whom and from where
    Journal(journal::Arguments),
    /// Manage the keys that sign ID tokens.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Migrate the database.
    Migrate,
    /// Ask the running server whether it is ready.
    Health(HealthArguments),
}

#[derive(Debug, Args)]
struct HealthArguments {
    /// The URL of the server. By default from the configuration.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// The error of a command.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The configuration has problems (exit status 2).
    Configuration(Vec<ConfigProblem>),
    /// The arguments are invalid (exit status 2).
    Usage(String),
    /// The command failed (exit status 1).
    Failed(String),
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Schema(_) | StartError::AttributePath(_) | StartError::IdentityProvider(..) => {
                Self::Usage(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<OperationError> for CommandError {
    fn from(error: OperationError) -> Self {
        let message = error.to_string();
        if error.is_usage() {
            Self::Usage(message)
        } else {
            Self::Failed(message)
        }
    }
}

impl CommandError {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs a command and returns its exit status.
pub fn run(cli: Cli) -> ExitCode {
    let Err(failure) = execute(&cli) else {
        return ExitCode::SUCCESS;
    };
    match failure {
        CommandError::Configuration(problems) => {
            eprintln!("The configuration {} cannot be used:", cli.config.display());
            for problem in problems {
                eprintln!("  {problem}");
            }
            ExitCode::from(2)
        }
        CommandError::Usage(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
        CommandError::Failed(message) => {
            eprintln!("{message}");
            ExitCode::from(1)
        }
    }
}

fn execute(cli: &Cli) -> Result<(), CommandError> {
    if let Command::Demo(arguments) = &cli.command {
        return demo::run(arguments);
    }
    let config = Config::load(&cli.config).map_err(CommandError::Configuration)?;
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
        Command::Journal(arguments) => journal::run(arguments, &config, cli.json),
        Command::Keys(command) => keys::run(command, &config, cli.json),
        Command::Migrate => migrate(&config, cli.json),
        Command::Health(arguments) => health::run(&config, arguments.url.as_deref(), cli.json),
    }
}

fn migrate(config: &Config, json: bool) -> Result<(), CommandError> {
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

/// Opens what operations work on, on behalf of the person at the shell.
fn operations(config: &Config) -> Result<Context, CommandError> {
    operations_by(config, None)
}

/// The same, on behalf of a person whose name was given.
fn operations_by(config: &Config, name: Option<&str>) -> Result<Context, CommandError> {
    let user = std::env::var("USER").ok().filter(|name| !name.is_empty());
    let name = name.map(str::to_owned).or(user);
    let name = name.unwrap_or_else(|| "unknown (command line)".to_owned());
    Ok(Core::open(config)?.operations(config, Administrator::at_the_shell(name)))
}

/// Formats a count with its noun: `1 token`, `2 tokens`.
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
