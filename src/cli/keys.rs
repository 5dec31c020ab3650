//! `vestibule keys`: rotates the signing keys.

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, operations};
use crate::app::Core;
use crate::config::Config;
use crate::operations::keys;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create new signing keys. They are published at once and used when every client has had time to fetch them;
    /// the old keys stay published until all tokens that they signed have expired.
    Rotate {
        /// The old keys leaked: withdraw them at once. ID tokens that they signed are worth nothing from then on, and
        /// applications that cached the old keys refuse new logins until they fetch the new ones.
        #[arg(long)]
        revoke_now: bool,
    },
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let Command::Rotate { revoke_now } = *command;
    let (context, oidc) = (operations(config)?, Core::open(config)?.oidc(config)?);
    if revoke_now {
        keys::replace(&context, &oidc)?;
    } else {
        keys::rotate(&context, &oidc)?;
    }
    if json {
        println!("{}", json!({ "rotated": true, "revoked": revoke_now }));
    } else if revoke_now {
        println!("The old signing keys are withdrawn. Running servers sign with the new ones within a second.");
    } else {
        println!(
            "New signing keys are published. They are used after ten minutes; the old keys stay published while they are needed."
        );
    }
    Ok(())
}
