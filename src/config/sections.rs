//! Reads the sections of the configuration, then checks the references between them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::{Table, Value};
use url::Url;

use super::identity_provider::identity_provider;
use super::mail::mail;
use super::reader::{ConfigProblem, TableReader};
use super::service_providers::service_provider;
use super::target::target;
use super::userstores::{UserstoreKind, userstore};
use super::{Config, Log, MasterKey, ScimSettings, Server};
use crate::domain::password::PasswordPolicy;
use crate::domain::{Secret, ServiceProviderName};
use crate::federation::AccountRules;
use crate::federation::idp::tenant::PLACEHOLDER;
use crate::federation::jit::policy::SecondFactor;
use crate::storage::DatabaseUrl;

pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads all sections. Returns no configuration if a setting without a default is unreadable.
pub(super) fn read(table: Table, environment: Environment<'_>) -> (Option<Config>, Vec<ConfigProblem>) {
    let mut root = TableReader::new(table);
    let server = server(root.table("server"));
    let database = database(root.table("database"));
    let (master_key, passwords) = security(root.table("security"), environment);
    let account = account(root.table("account"));
    let scim = scim(root.table("scim"));
    let log = log(root.table("log"));
    let mail = root.has("mail").then(|| mail(root.table("mail"), environment));
    let userstores = root
        .tables("userstores")
        .into_iter()
        .map(|r| userstore(r, environment))
        .collect();
    let purposes = root.list("purposes");
    let identity_providers = root
        .tables("identity_providers")
        .into_iter()
        .map(|r| identity_provider(r, environment))
        .collect();
    let service_providers = root
        .tables("service_providers")
        .into_iter()
        .map(|r| service_provider(r, environment))
        .collect();
    let targets = root
        .tables("targets")
        .into_iter()
        .filter_map(|r| target(r, environment))
        .collect();
    let config = server.zip(database).map(|(server, database)| Config {
        server,
        database,
        master_key,
        passwords,
        account,
        scim,
        log,
        mail,
        userstores,
        purposes,
        identity_providers,
        service_providers,
        targets,
    });
    if let Some(config) = &config {
        cross_check(&root, config);
    }
    (config, root.done())
}

fn server(mut r: TableReader) -> Option<Server> {
    let listen = r.needed("listen");
    let address = listen.parse().ok();
    if !listen.is_empty() && address.is_none() {
        r.problem(
            "listen",
            "must be an address and a port, such as 127.0.0.1:8080 or [::]:8080",
        );
    }
    let public_url = r.url("public_url").trim_end_matches('/').to_owned();
    if Url::parse(&public_url).is_ok_and(|url| url.path() != "/" || url.query().is_some()) {
        r.problem(
            "public_url",
            "must name a whole host, without a path or query, such as https://id.example.com",
        );
    }
    let trusted_proxies = trusted_proxies(&mut r);
    let events_kept = r.span("events_kept", Duration::from_hours(90 * 24));
    r.done();
    address.map(|listen| Server {
        listen,
        public_url,
        trusted_proxies,
        events_kept,
    })
}

/// Reads the addresses and networks of reverse proxies.
fn trusted_proxies(r: &mut TableReader) -> Option<Vec<IpNet>> {
    if !r.has("trusted_proxies") {
        return None;
    }
    let mut networks = Vec::new();
    for text in r.texts("trusted_proxies") {
        match text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => r.problem(
                "trusted_proxies",
                format!("{text:?} must be an address or a network, such as 10.0.0.2 or 10.0.0.0/24"),
            ),
        }
    }
    Some(networks)
}

fn database(mut r: TableReader) -> Option<DatabaseUrl> {
    let text = r.text("url").unwrap_or_else(|| "sqlite:data/vestibule.db".to_owned());
    let url = DatabaseUrl::parse(&text);
    if let Err(message) = &url {
        r.problem("url", message.as_str());
    }
    r.done();
    url.ok()
}

fn security(mut r: TableReader, environment: Environment<'_>) -> (MasterKey, PasswordPolicy) {
    const DEFAULT: &str = "data/master.key";
    let key = match r.raw("master_key") {
        None => MasterKey::File(PathBuf::from(DEFAULT)),
        // A missing key file is created later, so it is not read here.
        Some(Value::Table(table)) if table.len() == 1 && table.get("file").is_some_and(Value::is_str) => {
            MasterKey::File(PathBuf::from(table["file"].as_str().unwrap_or(DEFAULT)))
        }
        Some(other) => {
            let mut single = Table::new();
            single.insert("master_key".to_owned(), other);
            match r.with(single).secret("master_key", environment) {
                Some(secret) => MasterKey::Given(secret),
                None => MasterKey::File(PathBuf::from(DEFAULT)),
            }
        }
    };
    let usual = u32::try_from(PasswordPolicy::default().min_length).unwrap_or(u32::MAX);
    let passwords = PasswordPolicy {
        min_length: r.number("password_min_length", usual, 128) as usize,
    };
    r.done();
    (key, passwords)
}

fn account(mut r: TableReader) -> AccountRules {
    let rules = AccountRules {
        linking: r.flag("linking", true),
        passwords: r.flag("passwords", true),
    };
    r.done();
    rules
}

fn scim(mut r: TableReader) -> ScimSettings {
    let usual = PathBuf::from("schemas");
    let scim = ScimSettings {
        schemas: r.path("schemas").or_else(|| usual.is_dir().then_some(usual)),
        cursor_lifetime: r.span("cursor_lifetime", Duration::from_hours(1)),
        userstore_in_username: r.flag("userstore_in_username", false),
    };
    r.done();
    scim
}

fn log(mut r: TableReader) -> Log {
    let json = r.word("format", &[("text", false), ("json", true)]);
    let filter = r.text("level").unwrap_or_else(|| "info".to_owned());
    let is_level = |directive: &str| {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        level.parse::<log::LevelFilter>().is_ok()
    };
    if !filter.split(',').all(is_level) {
        r.problem(
            "level",
            "must be off, error, warn, info, debug or trace, or a list such as warn,vestibule=debug",
        );
    }
    r.done();
    Log { json, filter }
}

pub(super) fn secret_needed(r: &mut TableReader, key: &str, environment: Environment<'_>) -> Option<Secret> {
    if !r.has(key) {
        r.problem(key, "is missing");
    }
    r.secret(key, environment)
}

/// Checks a name, since names appear in URLs and in provenance.
pub(super) fn check_slug(r: &TableReader, name: &str) {
    let good = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && name.len() <= 64;
    if !good {
        r.problem(
            "name",
            "may contain only letters, digits, '-', '_' and '.', at most 64 characters",
        );
    }
}

/// Checks that references between sections exist and that names are unique.
fn cross_check(root: &TableReader, config: &Config) {
    let names = Names::of(config);
    names.check_twins(root);
    if !names.stores.contains(&"PRIMARY") {
        root.problem("userstores", "must contain one named PRIMARY");
    }
    if names.services.contains(&"resident") {
        root.problem(
            "service_providers",
            "resident is reserved for this server; choose another name",
        );
    }
    let known = |key: String, list: &[&str], name: &str| {
        if !list.contains(&name) {
            root.problem(&key, format!("{name} is not configured"));
        }
    };
    let mails = |key: String, mfa: SecondFactor| {
        if mfa.mails() && config.mail.is_none() {
            root.problem(&key, "sends codes by e-mail, but [mail] is not configured");
        }
    };
    owners_of_directories(config).for_each(|(key, name)| known(key, &names.services, name.as_str()));
    for (at, provider) in config.identity_providers.iter().enumerate() {
        mails(format!("identity_providers[{at}].mfa"), provider.mfa);
        for store in provider.jit.userstore.stores() {
            known(
                format!("identity_providers[{at}].jit.userstore"),
                &names.stores,
                store.as_str(),
            );
        }
        for name in &provider.jit.purposes {
            known(format!("identity_providers[{at}].jit.purposes"), &names.purposes, name);
        }
    }
    for (at, provider) in config.service_providers.iter().enumerate() {
        let (key, policy) = (|key: &str| format!("service_providers[{at}].{key}"), &provider.policy);
        mails(key("mfa"), policy.mfa);
        if let Some(store) = &policy.inbound_userstore {
            known(key("inbound_userstore"), &names.stores, store.as_str());
        }
        for name in &policy.identity_providers {
            known(key("identity_providers"), &names.identity_providers, name.as_str());
        }
        for name in &policy.purposes {
            known(key("purposes"), &names.purposes, name);
        }
        if let Some(name) = &provider.scim.adopts {
            known(key("scim.adopts"), &names.identity_providers, name.as_str());
            let adopted = config.identity_providers.iter().find(|known| known.name == *name);
            if adopted.is_some_and(|adopted| adopted.issuer.contains(PLACEHOLDER)) {
                let message = "has a multi-tenant issuer: a SCIM client cannot name the tenant of an account";
                root.problem(&key("scim.adopts"), message);
            }
        }
        for rule in &provider.outbound {
            known(key("outbound"), &names.targets, rule.target.as_str());
        }
    }
}

/// The service providers that external directory changes are attributed to, with their configuration keys.
fn owners_of_directories(config: &Config) -> impl Iterator<Item = (String, &ServiceProviderName)> {
    config
        .userstores
        .iter()
        .enumerate()
        .filter_map(|(at, store)| match &store.place {
            UserstoreKind::Ldap(ldap) if ldap.service_provider != ServiceProviderName::RESIDENT => {
                Some((format!("userstores[{at}].service_provider"), &ldap.service_provider))
            }
            _ => None,
        })
}

/// The names of each section.
struct Names<'a> {
    stores: Vec<&'a str>,
    purposes: Vec<&'a str>,
    identity_providers: Vec<&'a str>,
    services: Vec<&'a str>,
    clients: Vec<&'a str>,
    targets: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(config: &'a Config) -> Self {
        let services = &config.service_providers;
        let clients = services.iter().filter_map(|provider| provider.client.as_ref());
        Self {
            stores: config.userstores.iter().map(|store| store.name.as_str()).collect(),
            purposes: config.purposes.iter().map(|purpose| purpose.name.as_str()).collect(),
            identity_providers: config
                .identity_providers
                .iter()
                .map(|provider| provider.name.as_str())
                .collect(),
            services: services.iter().map(|provider| provider.policy.name.as_str()).collect(),
            clients: clients.map(|client| client.client_id.as_str()).collect(),
            targets: config.targets.iter().map(|target| target.name.as_str()).collect(),
        }
    }

    fn check_twins(&self, root: &TableReader) {
        for (section, what, names) in [
            ("userstores", "name", &self.stores),
            ("purposes", "name", &self.purposes),
            ("identity_providers", "name", &self.identity_providers),
            ("service_providers", "name", &self.services),
            ("service_providers", "client_id", &self.clients),
            ("targets", "name", &self.targets),
        ] {
            if let Some(twice) = twice(names.iter().copied()) {
                root.problem(section, format!("the {what} {twice} occurs twice; each must be unique"));
            }
        }
    }
}

fn twice<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}
