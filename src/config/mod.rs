//! The configuration: `config.toml`, overridden by the environment, read strictly.
//!
//! `VESTIBULE_SERVER__LISTEN=…` overrides `server.listen`; list entries are addressed by index, counted from 0
//! (`VESTIBULE_TARGETS__0__BASE_URL`). Unknown keys are errors, and all errors are reported at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};

use crate::domain::password::PasswordPolicy;
use crate::domain::{IdentityProviderName, Secret, ServiceProviderName};
use crate::federation::AccountRules;
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
mod target;
mod userstores;

pub use reader::ConfigProblem;

pub(crate) use reader::parse_span;
pub(crate) use userstores::{UserstoreKind, UserstoreSettings};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: DatabaseUrl,
    /// `[security]`: the source of the master key.
    pub master_key: MasterKey,
    /// `[security]`: the policy for passwords that people choose here.
    pub passwords: PasswordPolicy,
    /// `[account]`: what people may change of their ways to sign in.
    pub account: AccountRules,
    /// `[scim]`
    pub scim: ScimSettings,
    /// `[log]`
    pub log: Log,
    /// `[mail]`: the SMTP server that sends codes.
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

/// The listening address and the public URL.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port.
    pub listen: std::net::SocketAddr,
    /// The base of every URL that the server issues, without a trailing slash.
    pub public_url: String,
    /// The networks of the reverse proxies whose `X-Forwarded-For` counts. `None`: any peer on this host or in a private
    /// network.
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// How long security events are kept.
    pub events_kept: Duration,
}

/// The SCIM settings for all clients.
#[derive(Clone, Debug)]
pub struct ScimSettings {
    /// The folder of additional schema files.
    pub schemas: Option<PathBuf>,
    /// The lifetime of a cursor.
    pub cursor_lifetime: Duration,
    /// Whether `STORE/name` as `userName` of a new user names the userstore that it goes to.
    pub userstore_in_username: bool,
}

/// The source of the master key.
#[derive(Clone, Debug)]
pub enum MasterKey {
    /// A file, created on first start.
    File(PathBuf),
    /// The key itself, from the environment or inline.
    Given(Secret),
}

/// The log settings.
#[derive(Clone, Debug)]
pub struct Log {
    /// Writes one JSON object per line instead of text.
    pub json: bool,
    /// The log filter, in `env_logger` syntax; `RUST_LOG` overrides it.
    pub filter: String,
}

/// An application: its logins, its SCIM client, its OAuth client, and the targets of its changes.
#[derive(Clone, Debug)]
pub struct ServiceProvider {
    /// The sign-in methods of its users, and the userstore of its SCIM client.
    pub policy: ServiceProviderPolicy,
    /// The settings of its SCIM client.
    pub scim: ScimClientSettings,
    /// Its OAuth client; `None` if it only syncs through SCIM.
    pub client: Option<Client>,
    /// The targets that receive its changes.
    pub outbound: Vec<OutboundRule>,
}

/// `[service_providers.scim]`: the settings of one SCIM client.
#[derive(Clone, Debug)]
pub struct ScimClientSettings {
    /// Whether requests outside the standard are refused instead of tolerated.
    pub strict: bool,
    /// The identity provider whose accounts it may take over.
    pub adopts: Option<IdentityProviderName>,
    /// The attribute that identifies the account; by default the subject does.
    pub adopts_by: Option<String>,
}

impl Config {
    /// Reads a file and the environment.
    pub fn load(path: &Path) -> Result<Self, Vec<ConfigProblem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot be read: {error}. Name another file with --config");
            vec![ConfigProblem {
                key: path.display().to_string(),
                message,
            }]
        })?;
        Self::read(&text, &std::env::vars().collect::<Vec<_>>())
    }

    /// Reads a text and the given environment.
    pub fn read(text: &str, environment: &[(String, String)]) -> Result<Self, Vec<ConfigProblem>> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            vec![ConfigProblem {
                key: format!("line {line}"),
                message: error.message().to_owned(),
            }]
        })?;
        let mut problems = Vec::new();
        for (name, value) in environment {
            if let Err(message) = overlay(&mut table, name, value) {
                problems.push(ConfigProblem {
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

/// Applies one environment variable to the table, if it names a key.
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
                    .ok_or("must use an index for a list entry")?;
                list.get_mut(at)
                    .and_then(Value::as_table_mut)
                    .ok_or("refers to a list entry that does not exist")?
            }
            _ => return Err("does not refer to a table".to_owned()),
        };
    }
    // Always a text, since a secret may be all digits. The reader converts it to a number or a flag.
    place.insert(last.clone(), Value::String(value.to_owned()));
    Ok(())
}
