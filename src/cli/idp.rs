//! `vestibule idp`: removes an identity provider with the accounts and links that came from it.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::text::printable;
use super::{CommandError, operations, progress};
use crate::config::Config;
use crate::domain::IdentityProviderName;
use crate::federation::removal::{Affected, RemovalEffect};
use crate::operations::{Context, providers};
use crate::storage::removals::Removal;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the effects of removing an identity provider. Nothing is changed.
    Preview(Preview),
    /// Remove an identity provider: logins through it are refused, and the accounts that came only from it are disabled
    /// or deleted, here and at the targets. Continues where it was interrupted.
    Remove(Remove),
    /// List the removals and their progress.
    Removals,
    /// Allow logins through a removed identity provider again. Accounts stay as they are.
    Restore(ProviderArgs),
}

#[derive(Debug, Args)]
pub(super) struct ProviderArgs {
    /// The identity provider's name in the configuration.
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Preview {
    #[command(flatten)]
    which: ProviderArgs,
    /// List every affected account and link.
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    #[command(flatten)]
    which: ProviderArgs,
    /// Disable the accounts, and keep them and all links. They can be deleted later.
    #[arg(long, conflicts_with = "delete", required_unless_present = "delete")]
    disable: bool,
    /// Delete the accounts, and the links of the accounts that stay.
    #[arg(long)]
    delete: bool,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    match command {
        Command::Preview(arguments) => preview(&context, arguments, json),
        Command::Remove(arguments) => remove(&context, arguments, json),
        Command::Removals => {
            let removals = providers::list(&context)?;
            if json {
                println!("{}", json!(removals.iter().map(as_json).collect::<Vec<_>>()));
            } else if removals.is_empty() {
                println!("No identity provider has been removed.");
            } else {
                for removal in &removals {
                    println!("{}", sentence(removal));
                }
            }
            Ok(())
        }
        Command::Restore(which) => {
            let name = IdentityProviderName::new(which.name.clone());
            providers::restore(&context, &name)?;
            if json {
                println!("{}", json!({ "identity_provider": name, "removed": false }));
            } else {
                println!(
                    "People can sign in with {name} again. Disabled accounts stay disabled until an administrator enables them."
                );
            }
            Ok(())
        }
    }
}

/// The number of accounts and links by their fate.
#[derive(Default)]
struct RemovalCounts {
    accounts: u64,
    links: [(u64, &'static str); 5],
}

impl RemovalCounts {
    fn add(&mut self, fate: RemovalEffect) {
        let (place, why) = match fate {
            RemovalEffect::Account => {
                self.accounts += 1;
                return;
            }
            RemovalEffect::OtherIdentity => (0, "have another identity"),
            RemovalEffect::Password => (1, "have a password"),
            RemovalEffect::Administrator => (2, "are administrators"),
            RemovalEffect::OtherSource => (3, "were created by another source"),
            RemovalEffect::Gone => (4, "no longer exist"),
        };
        self.links[place].0 += 1;
        self.links[place].1 = why;
    }
}

fn preview(context: &Context, arguments: &Preview, json: bool) -> Result<(), CommandError> {
    let name = IdentityProviderName::new(arguments.which.name.clone());
    let (mut counts, mut listed) = (RemovalCounts::default(), Vec::new());
    let tell = |affected: Affected| {
        counts.add(affected.fate);
        match (arguments.list, json) {
            (false, _) => {}
            (true, true) => listed.push(one_as_json(&affected)),
            (true, false) => println!("{}", line(&affected)),
        }
    };
    providers::preview(context, &name, tell)?;
    if json {
        let links: u64 = counts.links.iter().map(|(count, _)| count).sum();
        println!(
            "{}",
            json!({ "accounts": counts.accounts, "links": links, "list": listed })
        );
        return Ok(());
    }
    println!(
        "{} accounts came only from {name} and would be disabled or deleted.",
        counts.accounts
    );
    for (count, why) in counts.links.iter().filter(|(count, _)| *count > 0) {
        println!("{count} would lose only the link: they {why}.");
    }
    Ok(())
}

fn remove(context: &Context, arguments: &Remove, json: bool) -> Result<(), CommandError> {
    let name = IdentityProviderName::new(arguments.which.name.clone());
    confirm(arguments, &name)?;
    providers::begin(context, &name, arguments.delete)?;
    let progress = progress::spinner(json);
    let mut last = None;
    loop {
        let Some(removal) = providers::step(context, &name)? else {
            return Err(CommandError::Failed(
                "The identity provider was restored in the meantime.".to_owned(),
            ));
        };
        if removal.finished.is_some() {
            progress.finish_and_clear();
            if json {
                println!("{}", as_json(&removal));
            } else {
                println!("{}", sentence(&removal));
                println!("Remove it from the configuration now.");
            }
            return Ok(());
        }
        let so_far = (removal.accounts, removal.links);
        if last == Some(so_far) {
            // Another process is carrying out the removal.
            std::thread::sleep(Duration::from_millis(200));
        }
        if progress.is_hidden() && !json && last != Some(so_far) {
            eprintln!("{}", sentence(&removal));
        }
        progress.set_message(sentence(&removal));
        last = Some(so_far);
    }
}

fn confirm(arguments: &Remove, name: &IdentityProviderName) -> Result<(), CommandError> {
    if arguments.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CommandError::Usage(format!(
            "Check the effects with `vestibule idp preview {name}`, then run this command with --yes."
        )));
    }
    eprint!("Type the name of the identity provider to confirm: ");
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(CommandError::failed)?;
    if line.trim() == name.as_str() {
        Ok(())
    } else {
        Err(CommandError::Failed("Nothing was changed.".to_owned()))
    }
}

fn sentence(removal: &Removal) -> String {
    let what = if removal.deletes { "deleted" } else { "disabled" };
    let end = removal.finished.map_or_else(
        || "in progress.".to_owned(),
        |at| format!("finished at {at}. Logins through it are refused."),
    );
    format!(
        "{}: {} accounts {what}, {} links removed; {end}",
        removal.identity_provider, removal.accounts, removal.links
    )
}

fn as_json(removal: &Removal) -> Value {
    json!({
        "identity_provider": removal.identity_provider,
        "action": if removal.deletes { "delete" } else { "disable" },
        "started": removal.started.to_string(),
        "finished": removal.finished.map(|at| at.to_string()),
        "accounts": removal.accounts,
        "links": removal.links,
    })
}

fn line(affected: &Affected) -> String {
    let fate = match affected.fate {
        RemovalEffect::Account => "account",
        RemovalEffect::Gone => "gone",
        _ => "link",
    };
    format!(
        "{fate:8} {}  {}",
        printable(&affected.link.link.subject),
        printable(&affected.username)
    )
}

fn one_as_json(affected: &Affected) -> Value {
    let fate = match affected.fate {
        RemovalEffect::Account => "account",
        RemovalEffect::OtherIdentity => "link: has another identity",
        RemovalEffect::Password => "link: has a password",
        RemovalEffect::Administrator => "link: is an administrator",
        RemovalEffect::OtherSource => "link: made by somebody else",
        RemovalEffect::Gone => "gone",
    };
    json!({
        "subject": affected.link.link.subject,
        "user": affected.link.resource_id,
        "userName": affected.username,
        "fate": fate,
    })
}
