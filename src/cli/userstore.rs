//! `vestibule userstore`: manages userstores that are LDAP directories.

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, operations};
use crate::config::Config;
use crate::domain::StoreName;
use crate::operations::userstores;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Accept the current content of a directory, including any number of deletions. A running server does so by itself
    /// unless too many entries are gone at once.
    Accept {
        /// The userstore.
        name: String,
    },
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let Command::Accept { name } = command;
    userstores::accept(&operations(config)?, &StoreName::new(name))?;
    if json {
        println!("{}", json!({ "store": name, "accepted": true }));
    } else {
        println!("The current content of the userstore {name} is accepted.");
    }
    Ok(())
}
