//! `vestibule identity`: locks external identities, by identity provider and subject.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use crate::app::Core;
use crate::config::Config;
use crate::domain::{IdentityProviderName, Link};
use crate::storage::identity_locks::{self, IdentityLock};
use crate::storage::{SqlConnection, StorageError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lock an identity: its user cannot sign in by any method, and all their sessions end.
    Lock(Lock),
    /// Unlock an identity.
    Unlock(Which),
    /// List the locked identities.
    Locks,
}

#[derive(Debug, Args)]
pub(super) struct Which {
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
pub(super) struct Lock {
    #[command(flatten)]
    which: Which,
    /// A reason that the person sees with the refusal.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    match command {
        Command::Lock(arguments) => {
            if arguments.reason.len() > 500 || arguments.reason.contains(char::is_control) {
                return Err(Failure::Usage(
                    "The reason must be one line of at most 500 characters.".to_owned(),
                ));
            }
            let lock = IdentityLock {
                identity: identity(&arguments.which, config)?,
                reason: arguments.reason.clone(),
                at: core.clock.now(),
            };
            let user = write(&core, move |connection| Ok(identity_locks::lock(connection, &lock)?))?;
            if json {
                println!("{}", json!({ "locked": true, "user": user }));
            } else if let Some(user) = user {
                println!("The identity is locked. User {user} is signed out and cannot sign in.");
            } else {
                println!("The identity is locked. It has no account here.");
            }
        }
        Command::Unlock(which) => {
            let identity = identity(which, config)?;
            if !write(&core, move |connection| {
                Ok(identity_locks::unlock(connection, &identity)?)
            })? {
                return Err(Failure::Failed("This identity is not locked.".to_owned()));
            }
            if json {
                println!("{}", json!({ "locked": false }));
            } else {
                println!("The identity is unlocked.");
            }
        }
        Command::Locks => show(&core, json)?,
    }
    Ok(())
}

fn show(core: &Core, json: bool) -> Result<(), Failure> {
    let locks = core
        .database
        .read::<_, StorageError>(identity_locks::all)
        .map_err(Failure::failed)?;
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
            println!("{identity_provider}  {subject}  since {}  {}", lock.at, lock.reason);
        }
    }
    Ok(())
}

fn identity(which: &Which, config: &Config) -> Result<Link, Failure> {
    let name = IdentityProviderName::new(&*which.idp);
    let known = config.identity_providers.iter().find(|provider| provider.name == name);
    let issuer = which
        .issuer
        .clone()
        .or_else(|| known.map(|provider| provider.issuer.clone()));
    let issuer = issuer.ok_or_else(|| {
        Failure::Usage(format!(
            "No identity provider is called {name}. Use a name of the configuration, or give --issuer."
        ))
    })?;
    Ok(Link {
        identity_provider: name,
        issuer,
        subject: which.subject.clone(),
    })
}

fn write<T: Send + 'static>(
    core: &Core,
    work: impl Fn(&mut SqlConnection) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Failure> {
    core.database.write(work).map_err(Failure::failed)
}
