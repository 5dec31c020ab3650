//! `vestibule user`: manages users. Each change goes through the change pipeline.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use crate::app::Core;
use crate::config::Config;
use crate::directory::{Directory, DirectoryError};
use crate::domain::password::{PasswordDefect, PasswordPolicy};
use crate::domain::patch::PatchOperation;
use crate::domain::path::Path;
use crate::domain::{
    Actor, Attributes, Change, Kind, Operation, Precondition, Resource, StoreName, change, provenance,
};
use crate::storage::{SqlConnection, StorageError, factors};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user. With --password-stdin the first line of standard input is the password.
    Create(Create),
    /// Set a user's password; it is read from standard input.
    Password(Whom),
    /// Unlock an account that was locked after wrong passwords.
    Unlock(Whom),
    /// Remove a user's second factor and recovery codes. The user sets up a new one at the next login.
    ResetFactor(Whom),
    /// Transfer the ownership of values from an identity provider to the administrator, so that logins no longer
    /// overwrite them; or return it with --back-to.
    Transfer(Transfer),
}

#[derive(Debug, Args)]
pub(super) struct Transfer {
    #[command(flatten)]
    whom: Whom,
    /// An attribute, such as name.givenName or emails; may be repeated. By default all.
    #[arg(long, value_name = "PATH")]
    attribute: Vec<String>,
    /// Return the values to this identity provider.
    #[arg(long, value_name = "PROVIDER")]
    back_to: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    whom: Whom,
    /// The given name.
    #[arg(long)]
    given_name: Option<String>,
    /// The family name.
    #[arg(long)]
    family_name: Option<String>,
    /// The work e-mail address.
    #[arg(long)]
    email: Option<String>,
    /// Read a password from standard input.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct Whom {
    /// The userName.
    user_name: String,
    /// The userstore.
    #[arg(long, default_value = "PRIMARY")]
    store: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    let (user, what) = match command {
        Command::Transfer(arguments) => {
            let (user, what) = transfer(&core.directory, arguments, config)?;
            told(&user, &what, json);
            return Ok(());
        }
        Command::Create(arguments) => (create(&core.directory, arguments, config.passwords)?, "created"),
        Command::Password(whom) => (
            set_password(&core.directory, whom, config.passwords)?,
            "has a new password",
        ),
        Command::Unlock(whom) => {
            let user = find(&core.directory, whom)?;
            core.directory.unlock(&user.store, &user.id).map_err(failed)?;
            (user, "is unlocked")
        }
        Command::ResetFactor(whom) => {
            let user = find(&core.directory, whom)?;
            let id = user.id.clone();
            let forget = move |connection: &mut SqlConnection| Ok(factors::delete_of_user(connection, &id)?);
            let count = core
                .database
                .write::<_, StorageError>(forget)
                .map_err(Failure::failed)?;
            let what = if count > 0 {
                "no longer has a second factor"
            } else {
                "had no second factor"
            };
            (user, what)
        }
    };
    told(&user, what, json);
    Ok(())
}

fn told(user: &Resource, what: &str, json: bool) {
    let name = user
        .document
        .attributes()
        .get("userName")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if json {
        println!("{}", json!({ "id": user.id, "userName": name, "store": user.store }));
    } else {
        println!("User {name} ({}) {what}.", user.id);
    }
}

/// Transfers the ownership of values. Returns the user and a description of the result.
fn transfer(directory: &Directory, arguments: &Transfer, config: &Config) -> Result<(Resource, String), Failure> {
    let mut user = find(directory, &arguments.whom)?;
    let to = match &arguments.back_to {
        Some(name)
            if config
                .identity_providers
                .iter()
                .any(|known| known.name.as_str() == name) =>
        {
            provenance::of_provider(&name.clone().into())
        }
        Some(name) => return Err(Failure::Usage(format!("No identity provider is called {name}."))),
        None => provenance::HELD.to_owned(),
    };
    let is_meant = |path: &str| {
        let base = path.split('[').next().unwrap_or(path);
        arguments.attribute.is_empty()
            || arguments
                .attribute
                .iter()
                .any(|wanted| wanted == base || wanted == path)
    };
    let is_given = |writer: &str| match arguments.back_to {
        Some(_) => writer == provenance::HELD,
        None => provenance::provider(writer).is_some(),
    };
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, writer) in user.writers.writers() {
        if is_meant(&path) && is_given(&writer) {
            owners.entry(writer).or_default().push(path);
        }
    }
    if owners.is_empty() {
        return Ok((user, "has no such value to transfer".to_owned()));
    }
    let paths: Vec<String> = owners.values().flatten().cloned().collect();
    for (from, paths) in owners {
        let (kind, id, to) = (Kind::USER, user.id.clone(), to.clone());
        let transfer = change::Transfer { from, paths, to };
        user = apply(directory, Operation::Transfer { kind, id, transfer })?;
    }
    let whose = arguments.back_to.as_ref().map_or_else(
        || "now belong to the administrator and are not overwritten by logins".to_owned(),
        |name| format!("belong to {name} again"),
    );
    Ok((user, format!("has values that {whose}: {}", paths.join(", "))))
}

fn create(directory: &Directory, arguments: &Create, policy: PasswordPolicy) -> Result<Resource, Failure> {
    let mut attributes = Attributes::new();
    attributes.insert("userName".to_owned(), arguments.whom.user_name.clone().into());
    let mut name = Attributes::new();
    for (key, value) in [
        ("givenName", &arguments.given_name),
        ("familyName", &arguments.family_name),
    ] {
        if let Some(value) = value {
            name.insert(key.to_owned(), value.clone().into());
        }
    }
    if !name.is_empty() {
        attributes.insert("name".to_owned(), name.into());
    }
    if let Some(email) = &arguments.email {
        attributes.insert(
            "emails".to_owned(),
            json!([{ "value": email, "type": "work", "primary": true }]),
        );
    }
    if arguments.password_stdin {
        attributes.insert("password".to_owned(), password(policy, &arguments.whom)?.into());
    }
    let store = StoreName::new(&*arguments.whom.store);
    apply(
        directory,
        Operation::Create {
            store,
            kind: Kind::USER,
            attributes,
        },
    )
}

fn set_password(directory: &Directory, whom: &Whom, policy: PasswordPolicy) -> Result<Resource, Failure> {
    let user = find(directory, whom)?;
    let path = directory
        .registry()
        .resource_type(&Kind::USER)
        .and_then(|users| Path::parse("password", users).ok())
        .ok_or_else(|| Failure::failed("the User schema has no password"))?;
    let operation = PatchOperation::replace(path, password(policy, whom)?.into());
    let operations = vec![operation];
    apply(
        directory,
        Operation::Patch {
            kind: Kind::USER,
            id: user.id,
            operations,
            precondition: Precondition::None,
        },
    )
}

fn apply(directory: &Directory, operation: Operation) -> Result<Resource, Failure> {
    let change = Change {
        actor: Actor::administrator(),
        operation,
        companions: Vec::new(),
    };
    Ok(directory.apply(change).map_err(failed)?.into_resource())
}

fn find(directory: &Directory, whom: &Whom) -> Result<Resource, Failure> {
    let store = StoreName::new(&*whom.store);
    let found = directory.named(&store, &Kind::USER, &whom.user_name).map_err(failed)?;
    found.ok_or_else(|| Failure::Failed(format!("The userstore {store} has no user called {}.", whom.user_name)))
}

fn password(policy: PasswordPolicy, whom: &Whom) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        eprint!("Password (visible as you type; pipe it in to hide it): ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::failed)?;
    let password = line.trim_end_matches(['\r', '\n']);
    match policy.check(password, &whom.user_name) {
        Ok(()) => Ok(password.to_owned()),
        Err(PasswordDefect::Short) => Err(Failure::Usage(format!(
            "A password needs at least {} characters.",
            policy.min_length
        ))),
        Err(defect) => Err(Failure::Usage(format!("Choose another password: {defect}."))),
    }
}

fn failed(error: DirectoryError) -> Failure {
    Failure::Failed(format!("{error}."))
}
