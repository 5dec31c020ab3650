//! `vestibule userstore`: manages userstores that are LDAP directories.

use clap::Subcommand;
use serde_json::json;

use super::Failure;
use crate::app::Core;
use crate::config::Config;
use crate::userstore::{StoreError, Userstore};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Accept the current content of a directory, including any number of deletions. A running server does so by itself
    /// unless too many entries are gone at once.
    Accept {
        /// The userstore.
        name: String,
    },
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let Command::Accept { name } = command;
    let core = Core::open(config)?;
    let store = core.ldap_stores.iter().find(|store| store.name().as_str() == name);
    let store =
        store.ok_or_else(|| Failure::Usage(format!("{name} is not an LDAP userstore of the configuration.")))?;
    store.accept().map_err(|error| match error {
        StoreError::Unavailable(cause) => Failure::Failed(format!("The userstore {name} does not answer: {cause}.")),
        error => Failure::failed(error),
    })?;
    if json {
        println!("{}", json!({ "store": name, "accepted": true }));
    } else {
        println!("The current content of the userstore {name} is accepted.");
    }
    Ok(())
}
