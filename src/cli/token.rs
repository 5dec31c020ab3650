//! `vestibule token`: manages SCIM tokens. A token is shown once, and only its hash is stored.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{CommandError, operations, plural};
use crate::config::{Config, parse_span};
use crate::operations::tokens::{self, CreatedToken};
use crate::storage::scim_tokens::ScimToken;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token. It is printed once, alone on the last line.
    Create {
        /// The service provider whose SCIM client will use it.
        #[arg(long, value_name = "NAME")]
        service_provider: String,
        /// The lifetime, such as 30s, 10m, 12h or 90d.
        #[arg(long, value_name = "SPAN", default_value = "365d", value_parser = span)]
        expires: Duration,
        /// Let the token read users and groups, and change nothing.
        #[arg(long)]
        read_only: bool,
    },
    /// List the tokens, without their secrets.
    List,
    /// Revoke a token. It stops working at once.
    Revoke {
        /// The token's id, from `token list`.
        id: String,
    },
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| "use a number and s, m, h or d, such as 90d".to_owned())
}

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), CommandError> {
    match command {
        Command::Create {
            service_provider,
            expires,
            read_only,
        } => create(config, service_provider, (*expires, *read_only), json),
        Command::List => list(config, json),
        Command::Revoke { id } => revoke(config, id, json),
    }
}

fn create(
    config: &Config,
    service_provider: &str,
    (lifetime, read_only): (Duration, bool),
    json: bool,
) -> Result<(), CommandError> {
    let created = tokens::create(&operations(config)?, service_provider, lifetime, read_only)?;
    let CreatedToken { id, expires, token, .. } = created;
    if json {
        let line = json!({
            "id": id,
            "service_provider": service_provider,
            "expires": expires.to_string(),
            "read_only": read_only,
            "token": token.expose(),
        });
        println!("{line}");
    } else {
        println!("Token {id} for {service_provider}, expires {expires}. It is shown only once:");
        println!("{}", token.expose());
    }
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    let listed = tokens::list(&context)?;
    let now = context.clock.now();
    let state = |token: &ScimToken| match token.revoked {
        Some(_) => "revoked",
        None if token.is_good(now) => "good",
        None => "expired",
    };
    if json {
        let listed: Vec<_> = listed
            .iter()
            .map(|token| {
                json!({
                    "id": token.id,
                    "service_provider": token.service_provider,
                    "state": state(token),
                    "read_only": token.read_only,
                    "created": token.created.to_string(),
                    "expires": token.expires.to_string(),
                    "last_used": token.last_used.map(|at| at.to_string()),
                })
            })
            .collect();
        println!("{}", json!(listed));
        return Ok(());
    }
    println!("{}.", plural(listed.len(), "token"));
    for token in &listed {
        let (name, expires) = (&token.service_provider, token.expires);
        let used = token.last_used.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let access = if token.read_only { "read only" } else { "read and write" };
        println!(
            "{}  {name}  {}  {access}  expires {expires}  last used {used}",
            token.id,
            state(token)
        );
    }
    Ok(())
}

fn revoke(config: &Config, id: &str, json: bool) -> Result<(), CommandError> {
    tokens::revoke(&operations(config)?, id)?;
    if json {
        println!("{}", json!({ "revoked": id }));
    } else {
        println!("Token {id} is revoked.");
    }
    Ok(())
}
