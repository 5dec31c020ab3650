//! `vestibule user`: manages users. Each change goes through the change pipeline.

use std::io::{BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{CommandError, operations};
use crate::config::Config;
use crate::domain::{Resource, Secret, StoreName};
use crate::operations::Context;
use crate::operations::people::{self, NewUser, Transferred, UserRef};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user. With --password-stdin the first line of standard input is the password.
    Create(Create),
    /// Set a user's password; it is read from standard input.
    Password(UserArgs),
    /// Unlock an account that was locked after wrong passwords.
    Unlock(UserArgs),
    /// Remove a user's second factor and recovery codes. The user sets up a new one at the next login.
    ResetFactor(UserArgs),
    /// Transfer the ownership of values from an identity provider to the administrator, so that logins no longer
    /// overwrite them; or return it with --back-to.
    Transfer(Transfer),
}

#[derive(Debug, Args)]
pub(super) struct Transfer {
    #[command(flatten)]
    whom: UserArgs,
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
    whom: UserArgs,
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
pub(super) struct UserArgs {
    /// The userName.
    user_name: String,
    /// The userstore.
    #[arg(long, default_value = "PRIMARY")]
    store: String,
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    let (user, what) = match command {
        Command::Transfer(arguments) => transfer(&context, arguments)?,
        Command::Create(arguments) => {
            let new = NewUser {
                given_name: arguments.given_name.clone(),
                family_name: arguments.family_name.clone(),
                email: arguments.email.clone(),
                password: arguments.password_stdin.then(password).transpose()?,
            };
            let user = people::create(&context, &arguments.whom.user(), &new)?;
            (user, "created".to_owned())
        }
        Command::Password(whom) => {
            let user = people::set_password(&context, &whom.user(), &password()?)?;
            (user, "has a new password".to_owned())
        }
        Command::Unlock(whom) => (people::unlock(&context, &whom.user())?, "is unlocked".to_owned()),
        Command::ResetFactor(whom) => {
            let (user, had_factor) = people::reset_factor(&context, &whom.user())?;
            let what = if had_factor {
                "no longer has a second factor"
            } else {
                "had no second factor"
            };
            (user, what.to_owned())
        }
    };
    told(&user, &what, json);
    Ok(())
}

impl UserArgs {
    fn user(&self) -> UserRef {
        UserRef {
            store: StoreName::new(&*self.store),
            user_name: self.user_name.clone(),
        }
    }
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
fn transfer(context: &Context, arguments: &Transfer) -> Result<(Resource, String), CommandError> {
    let back_to = arguments.back_to.as_deref();
    let Transferred { user, paths } = people::transfer(context, &arguments.whom.user(), &arguments.attribute, back_to)?;
    if paths.is_empty() {
        return Ok((user, "has no such value to transfer".to_owned()));
    }
    let whose = back_to.map_or_else(
        || "now belong to the administrator and are not overwritten by logins".to_owned(),
        |name| format!("belong to {name} again"),
    );
    Ok((user, format!("has values that {whose}: {}", paths.join(", "))))
}

/// Reads a password from standard input.
fn password() -> Result<Secret, CommandError> {
    if std::io::stdin().is_terminal() {
        eprint!("Password (visible as you type; pipe it in to hide it): ");
        let _ = std::io::stderr().flush();
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(CommandError::failed)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n'])))
}
