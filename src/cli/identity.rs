//! `vestibule identity`: external identities, by identity provider and subject: their locks and links.

use clap::{Args, Subcommand};
use serde_json::json;

use super::text::printable;
use super::{CommandError, operations};
use crate::config::Config;
use crate::domain::{Link, StoreName};
use crate::operations::identities;
use crate::operations::people::UserRef;
use crate::storage::identity_locks::IdentityLock;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lock an identity: as long as it is linked, its user cannot sign in by any method. All their sessions end.
    Lock(Lock),
    /// Unlock an identity.
    Unlock(IdentityArgs),
    /// List the locked identities.
    Locks,
    /// Link an identity to an account: its person signs in through it from now on.
    Link(LinkArgs),
    /// Unlink an identity from its account, with the memberships and sessions that came with it.
    Unlink(IdentityArgs),
}

#[derive(Debug, Args)]
pub(super) struct IdentityArgs {
    /// The identity provider.
    #[arg(long, value_name = "NAME")]
    idp: String,
    /// The subject at the identity provider: `sub` of its ID tokens.
    #[arg(long)]
    subject: String,
    /// The issuer, if the identity provider has several. By default from the configuration.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LinkArgs {
    #[command(flatten)]
    which: IdentityArgs,
    /// The `userName` of the account.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The userstore of the account.
    #[arg(long, default_value = "PRIMARY")]
    store: String,
}

#[derive(Debug, Args)]
pub(super) struct Lock {
    #[command(flatten)]
    which: IdentityArgs,
    /// A reason that the person sees with the refusal.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    let identity =
        |which: &IdentityArgs| identities::identity(&context, &which.idp, which.issuer.as_deref(), &which.subject);
    match command {
        Command::Lock(arguments) => {
            let user = identities::lock(&context, identity(&arguments.which)?, &arguments.reason)?;
            if json {
                println!("{}", json!({ "locked": true, "user": user }));
            } else if let Some(user) = user {
                println!("The identity is locked. User {user} is signed out and cannot sign in.");
            } else {
                println!("The identity is locked. It has no account here.");
            }
        }
        Command::Unlock(which) => {
            identities::unlock(&context, identity(which)?)?;
            if json {
                println!("{}", json!({ "locked": false }));
            } else {
                println!("The identity is unlocked.");
            }
        }
        Command::Locks => show(&identities::list(&context)?, json),
        Command::Link(arguments) => {
            let user = UserRef {
                store: StoreName::new(arguments.store.clone()),
                user_name: arguments.user.clone(),
            };
            let linked = identities::link(&context, identity(&arguments.which)?, &user)?;
            if json {
                println!("{}", json!({ "linked": true, "user": linked.id }));
            } else {
                println!("The identity is linked to {}, user {}.", arguments.user, linked.id);
            }
        }
        Command::Unlink(which) => {
            let user = identities::unlink(&context, &identity(which)?)?;
            if json {
                println!("{}", json!({ "linked": false, "user": user }));
            } else {
                println!(
                    "The identity is unlinked from user {user}. Without another way in, nobody enters that account."
                );
            }
        }
    }
    Ok(())
}

fn show(locks: &[IdentityLock], json: bool) {
    if json {
        let locks = locks.iter().map(|lock| {
            json!({
                "identity_provider": lock.identity.identity_provider,
                "issuer": lock.identity.issuer,
                "subject": lock.identity.subject,
                "reason": lock.reason,
                "since": lock.at.to_string(),
            })
        });
        println!("{}", json!(locks.collect::<Vec<_>>()));
    } else if locks.is_empty() {
        println!("No identity is locked.");
    } else {
        for lock in locks {
            let Link {
                identity_provider,
                subject,
                ..
            } = &lock.identity;
            let (subject, reason) = (printable(subject), printable(&lock.reason));
            println!("{identity_provider}  {subject}  since {}  {reason}", lock.at);
        }
    }
}
