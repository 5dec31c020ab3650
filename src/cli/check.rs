//! `vestibule check`: checks what a valid configuration refers to, such as schemas and userstores.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{CommandError, plural, rehearse};
use crate::app::connections::{self, CheckedConnection};
use crate::app::{self, Core};
use crate::config::Config;
use crate::domain::schema::Registry;
use crate::federation::jit::policy::SecondFactor;
use crate::userstore::ldap::Finding;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Replay the golden logins in this folder and report those with another outcome.
    #[arg(long, value_name = "FOLDER")]
    golden: Option<PathBuf>,
    /// Connect to every LDAP userstore, identity provider, target and the mail server, and say what cannot be used.
    #[arg(long)]
    connect: bool,
}

pub(super) fn run(arguments: &Arguments, config: &Config, path: &Path, json: bool) -> Result<(), CommandError> {
    let registry = app::registry(config)?;
    app::check_federation(config)?;
    let replayed = arguments
        .golden
        .as_deref()
        .map(|folder| rehearse::replay(folder, config));
    let replayed = replayed.transpose()?;
    let connected = if arguments.connect {
        connections::check(config)?
    } else {
        Vec::new()
    };
    let rebuilt = if arguments.connect {
        Core::pending_indexes(config).unwrap_or_default()
    } else {
        Vec::new()
    };
    let bad = connected
        .iter()
        .flat_map(|checked| &checked.findings)
        .filter(|finding| finding.problem.is_some())
        .count();
    if json {
        let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
        let of_kind = |wanted: bool| -> Vec<Value> {
            let checked = connected
                .iter()
                .filter(|checked| (checked.kind == "userstore") == wanted);
            checked.map(in_json).collect()
        };
        println!(
            "{}",
            json!({
                "ok": bad == 0, "resource_types": types, "userstores": of_kind(true), "connections": of_kind(false),
                "addresses": addresses(config), "indexes_to_rebuild": rebuilt,
            })
        );
        return outcome(bad);
    }
    println!("{} is valid.", path.display());
    connected.iter().for_each(tell);
    tell_indexes(&rebuilt);
    if let Some(count) = replayed {
        println!(
            "{} as before.",
            if count == 1 {
                "1 golden login ends".to_owned()
            } else {
                format!("{count} golden logins end")
            }
        );
    }
    tell_contents(config, &registry);
    note_weak_factors(config);
    outcome(bad)
}

/// Says how much is configured, and the addresses that others need.
fn tell_contents(config: &Config, registry: &Registry) {
    println!(
        "{}, {}, {}, {}; {} and {}.",
        plural(config.userstores.len(), "userstore"),
        plural(config.identity_providers.len(), "identity provider"),
        plural(config.service_providers.len(), "service provider"),
        plural(config.targets.len(), "target"),
        plural(registry.types().len(), "resource type"),
        plural(registry.schemas().len(), "schema"),
    );
    for (purpose, address) in addresses(config) {
        println!("{address}  {purpose}");
    }
}

fn note_weak_factors(config: &Config) {
    let by_mail = config.identity_providers.iter().map(|provider| provider.mfa);
    let by_mail = by_mail.chain(config.service_providers.iter().map(|provider| provider.policy.mfa));
    if by_mail.into_iter().any(SecondFactor::mails) {
        println!(
            "Note: a code by e-mail is a weak second factor (NIST SP 800-63B does not allow it as one). For stronger \
             protection, set mfa = \"totp\"."
        );
    }
}

fn outcome(bad: usize) -> Result<(), CommandError> {
    match bad {
        0 => Ok(()),
        _ => Err(CommandError::Failed(format!("{} found.", plural(bad, "problem")))),
    }
}

fn tell_indexes(rebuilt: &[String]) {
    if !rebuilt.is_empty() {
        println!(
            "Indexes that a start rebuilds in the background, with slower filters meanwhile: {}.",
            rebuilt.join(", ")
        );
    }
}

fn tell(checked: &CheckedConnection) {
    let mut kind = checked.kind.to_owned();
    kind[..1].make_ascii_uppercase();
    println!("{kind} {}:", checked.name);
    for finding in &checked.findings {
        match &finding.problem {
            None => println!("  ok    {}", finding.what),
            Some(problem) => println!("  WRONG {}: {problem}", finding.what),
        }
    }
}

fn in_json(checked: &CheckedConnection) -> Value {
    let finding = |one: &Finding| json!({ "what": one.what, "problem": one.problem });
    let findings: Vec<Value> = checked.findings.iter().map(finding).collect();
    json!({ "kind": checked.kind, "store": checked.name, "name": checked.name, "findings": findings })
}

/// Returns the addresses that identity providers and applications need, each with its purpose.
fn addresses(config: &Config) -> Vec<(String, String)> {
    let public_url = config.server.public_url.trim_end_matches('/');
    let callbacks = config.identity_providers.iter().map(|provider| {
        let name = &provider.name;
        let purpose = format!("redirect URI to register at the identity provider {name}");
        (purpose, format!("{public_url}/federation/{name}/callback"))
    });
    let with_logout = config.identity_providers.iter().filter(|provider| provider.logout);
    let logouts = with_logout.map(|provider| {
        let name = &provider.name;
        let purpose = format!("post-logout redirect URI to register at the identity provider {name}");
        (purpose, format!("{public_url}/federation/{name}/logout"))
    });
    let has_clients = config
        .service_providers
        .iter()
        .any(|provider| provider.client.is_some());
    let issuer = has_clients.then(|| ("issuer for applications".to_owned(), public_url.to_owned()));
    let scim = ("base URL for SCIM clients".to_owned(), format!("{public_url}/scim/v2"));
    callbacks.chain(logouts).chain(issuer).chain([scim]).collect()
}
