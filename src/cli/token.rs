//! `vestibule token`: manages SCIM tokens. A token is shown once, and only its hash is stored.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{Failure, plural};
use crate::app::Core;
use crate::config::{Config, parse_span};
use crate::domain::ServiceProviderName;
use crate::storage::{StorageError, scim_tokens};

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

pub(super) fn run(command: &Command, config: &Config, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create {
            service_provider,
            expires,
        } => create(config, service_provider, *expires, json),
        Command::List => list(config, json),
        Command::Revoke { id } => revoke(config, id, json),
    }
}

fn create(config: &Config, service_provider: &str, expires: Duration, json: bool) -> Result<(), Failure> {
    let name = ServiceProviderName::new(service_provider);
    if config.service_provider(&name).is_none() {
        let known: Vec<&str> = config
            .service_providers
            .iter()
            .map(|provider| provider.policy.name.as_str())
            .collect();
        let known = if known.is_empty() {
            "none is configured".to_owned()
        } else {
            format!("there is {}", known.join(", "))
        };
        return Err(Failure::Usage(format!(
            "No service provider is called {service_provider}: {known}."
        )));
    }
    let core = Core::open(config)?;
    let now = core.clock.now();
    let until = now.plus(expires);
    let (id, token) = core
        .database
        .write::<_, StorageError>(move |connection| Ok(scim_tokens::create(connection, &name, now, until)?))
        .map_err(Failure::failed)?;
    if json {
        let line =
            json!({ "id": id, "service_provider": service_provider, "expires": until.to_string(), "token": token });
        println!("{line}");
    } else {
        println!("Token {id} for {service_provider}, expires {until}. It is shown only once:");
        println!("{token}");
    }
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    let tokens = core
        .database
        .read::<_, StorageError>(scim_tokens::list)
        .map_err(Failure::failed)?;
    let now = core.clock.now();
    let state = |token: &scim_tokens::ScimToken| match token.revoked {
        Some(_) => "revoked",
        None if token.is_good(now) => "good",
        None => "expired",
    };
    let moment = |at: Option<crate::domain::Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    if json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| {
                json!({
                    "id": token.id,
                    "service_provider": token.service_provider,
                    "state": state(token),
                    "created": token.created.to_string(),
                    "expires": token.expires.to_string(),
                    "last_used": token.last_used.map(|at| at.to_string()),
                })
            })
            .collect();
        println!("{}", json!(tokens));
        return Ok(());
    }
    println!("{}.", plural(tokens.len(), "token"));
    for token in &tokens {
        let (name, expires, used) = (&token.service_provider, token.expires, moment(token.last_used));
        println!(
            "{}  {name}  {}  expires {expires}  last used {used}",
            token.id,
            state(token)
        );
    }
    Ok(())
}

fn revoke(config: &Config, id: &str, json: bool) -> Result<(), Failure> {
    let core = Core::open(config)?;
    let (wanted, now) = (id.to_owned(), core.clock.now());
    let revoked = core
        .database
        .write::<_, StorageError>(move |connection| Ok(scim_tokens::revoke(connection, &wanted, now)?))
        .map_err(Failure::failed)?;
    if !revoked {
        return Err(Failure::Failed(format!(
            "No valid token has the id {id}. See `vestibule token list`."
        )));
    }
    if json {
        println!("{}", json!({ "revoked": id }));
    } else {
        println!("Token {id} is revoked.");
    }
    Ok(())
}
