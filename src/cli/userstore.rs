//! `vestibule userstore`: directories that people live in.

use clap::Subcommand;
use serde_json::json;

use super::Failure;
use crate::app::Core;
use crate::config::Config;
use crate::userstore::{StoreError, Userstore};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take a directory as it is now, however many people and groups are gone from it. A running server does so by itself,
    /// unless too many are gone at once.
    Accept {
        /// The userstore.
        name: String,
    },
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let Command::Accept { name } = command;
    let core = Core::open(config)?;
    let store = core.ldap_stores.iter().find(|store| store.name().as_str() == name);
    let store = store.ok_or_else(|| Failure::Usage(format!("No userstore called {name} is a directory.")))?;
    store.accept().map_err(|error| match error {
        StoreError::Unavailable(cause) => Failure::Failed(format!("The userstore {name} does not answer: {cause}.")),
        error => Failure::failed(error),
    })?;
    if json {
        println!("{}", json!({ "store": name, "accepted": true }));
    } else {
        println!("The userstore {name} is taken as its directory is now.");
    }
    Ok(())
}
