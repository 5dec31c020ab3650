//! The configuration: `config.toml`, overridden by the environment, read strictly.
//!
//! `VESTIBULE_SERVER__LISTEN=…` overrides `server.listen`; entries of lists go by their place, counted from 0
//! (`VESTIBULE_TARGETS__0__BASE_URL`). Unknown keys are mistakes, and all mistakes are told at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use crate::domain::password::PasswordPolicy;
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::federation::jit::purpose::Purpose;
use crate::federation::jit::settings::IdentityProviderSettings;
use crate::mail::MailSettings;
use crate::oidc::Client;
use crate::provisioning::{OutboundRule, TargetSettings};
use crate::storage::DatabaseUrl;

mod identity_provider;
mod mail;
mod reader;
mod sections;
mod service_providers;
mod userstores;

pub use reader::{Problem, parse_span};
pub use userstores::{Place, UserstoreSettings};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: DatabaseUrl,
    /// `[security]`: where the master key comes from.
    pub master_key: MasterKey,
    /// `[security]`: what passwords must be like that people choose here.
    pub passwords: PasswordPolicy,
    /// `[scim]`
    pub scim: Scim,
    /// `[log]`
    pub log: Log,
    /// `[mail]`: the server that codes go out through.
    pub mail: Option<MailSettings>,
    /// `[[userstores]]`
    pub userstores: Vec<UserstoreSettings>,
    /// `[[purposes]]`
    pub purposes: Vec<Purpose>,
    /// `[[identity_providers]]`
    pub identity_providers: Vec<IdentityProviderSettings>,
    /// `[[service_providers]]`
    pub service_providers: Vec<ServiceProvider>,
    /// `[[targets]]`
    pub targets: Vec<TargetSettings>,
}

/// Where we listen and how the world calls us.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port.
    pub listen: std::net::SocketAddr,
    /// The base of every URL that we hand out, without a trailing slash.
    pub public_url: String,
}

/// What SCIM is like for every client.
#[derive(Clone, Debug)]
pub struct Scim {
    /// The folder of further schema files.
    pub schemas: Option<PathBuf>,
    /// How long a cursor can be used.
    pub cursor_lifetime: Duration,
    /// Whether `STORE/name` as `userName` of a new user names the userstore that it goes to.
    pub userstore_in_username: bool,
}

/// Where the master key comes from.
#[derive(Clone, Debug)]
pub enum MasterKey {
    /// A file, made on first start.
    File(PathBuf),
    /// The key itself, from the environment or inline.
    Given(Secret),
}

/// How the log looks.
#[derive(Clone, Debug)]
pub struct Log {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// What is logged, in `env_logger` syntax; `RUST_LOG` overrides it.
    pub filter: String,
}

/// An application: what it may at the front door, as an OAuth client, and who learns of its changes.
#[derive(Clone, Debug)]
pub struct ServiceProvider {
    /// What its people may log in with, and the store that its SCIM client works in.
    pub policy: ServiceProviderPolicy,
    /// What its SCIM client may do.
    pub scim: ScimClient,
    /// Its OAuth client; none if it only syncs through SCIM.
    pub client: Option<Client>,
    /// Which targets learn of its changes.
    pub outbound: Vec<OutboundRule>,
}

/// `[service_providers.scim]`: how one SCIM client is treated.
#[derive(Clone, Debug)]
pub struct ScimClient {
    /// Whether requests that only our tolerances understand are refused.
    pub strict: bool,
    /// The identity provider whose accounts it may take over.
    pub adopts: Option<IdentityProviderName>,
    /// The attribute that tells which account; without one the subject does.
    pub adopts_by: Option<String>,
}

impl Config {
    /// Reads a file and the environment.
    pub fn load(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot be read: {error}. Name another file with --config");
            vec![Problem {
                key: path.display().to_string(),
                message,
            }]
        })?;
        Self::read(&text, &std::env::vars().collect::<Vec<_>>())
    }

    /// Reads a text and the given environment.
    pub fn read(text: &str, environment: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            vec![Problem {
                key: format!("line {line}"),
                message: error.message().to_owned(),
            }]
        })?;
        let mut problems = Vec::new();
        for (name, value) in environment {
            if let Err(message) = overlay(&mut table, name, value) {
                problems.push(Problem {
                    key: name.clone(),
                    message,
                });
            }
        }
        let lookup = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let (config, found) = sections::read(table, &lookup);
        problems.extend(found);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }

    /// The service provider with this name.
    pub fn service_provider(&self, name: &ServiceProviderName) -> Option<&ServiceProvider> {
        self.service_providers
            .iter()
            .find(|provider| provider.policy.name == *name)
    }
}

/// Puts one environment variable into its place, if it names one.
fn overlay(table: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let Some(rest) = name.strip_prefix("VESTIBULE_").filter(|rest| rest.contains("__")) else {
        return Ok(());
    };
    let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
    let Some((last, way)) = keys.split_last() else {
        return Ok(());
    };
    let mut place = table;
    let mut steps = way.iter().peekable();
    while let Some(step) = steps.next() {
        let entry = place.entry(step.clone()).or_insert_with(|| Value::Table(Table::new()));
        place = match entry {
            Value::Table(inner) => inner,
            Value::Array(list) => {
                let at = steps
                    .next()
                    .and_then(|at| at.parse::<usize>().ok())
                    .ok_or("names no entry of the list")?;
                list.get_mut(at)
                    .and_then(Value::as_table_mut)
                    .ok_or("names an entry that the list does not have")?
            }
            _ => return Err("names no table".to_owned()),
        };
    }
    // Always a text, whatever it looks like: a secret may be all digits. Whoever wants a number or a flag reads it.
    place.insert(last.clone(), Value::String(value.to_owned()));
    Ok(())
}
