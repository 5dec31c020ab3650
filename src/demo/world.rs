//! The three Vestibules and the wiki of the demonstration: configurations, users and tokens.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde_json::json;

use super::DemoError;
use super::wiki::{self, WikiSettings};
use crate::app::App;
use crate::config::Config;
use crate::domain::{Actor, Attributes, Change, Kind, Operation, Secret, ServiceProviderName, StoreName};
use crate::server;
use crate::storage::{StorageError, random, scim_tokens};

/// The lifetime of the demonstration's tokens.
const A_DAY: Duration = Duration::from_hours(24);

/// The running servers of the demonstration.
pub(super) struct DemoWorld {
    folder: PathBuf,
    sites: Vec<Site>,
    wiki: WikiSettings,
    tour: Tour,
}

/// One Vestibule.
struct Site {
    app: App,
    listener: TcpListener,
}

/// The addresses and credentials for the tour.
#[derive(Clone, Debug)]
pub(super) struct Tour {
    pub(super) folder: PathBuf,
    pub(super) acme: String,
    pub(super) hub: String,
    pub(super) saas: String,
    pub(super) wiki: String,
    /// The token of the wiki's SCIM client at the hub.
    pub(super) hub_token: String,
    /// The token with which the hub pushes to saas.
    pub(super) saas_token: String,
    pub(super) people: Vec<DemoUser>,
}

/// A user at acme.
#[derive(Clone, Debug)]
pub(super) struct DemoUser {
    pub(super) user_name: &'static str,
    pub(super) given_name: &'static str,
    pub(super) family_name: &'static str,
    pub(super) password: String,
}

impl DemoWorld {
    /// Makes the folder, the configurations, the databases, the people and the tokens.
    pub(super) fn build() -> Result<Self, DemoError> {
        let folder = std::env::temp_dir().join(format!("vestibule-demo-{}", &random::token()[..8]));
        let (acme_at, hub_at, saas_at) = (listen()?, listen()?, listen()?);
        let wiki_at = port(&listen()?)?;
        // Browsers keep cookies by host, not by port: under one name acme and hub would overwrite each other's.
        let acme_url = format!("http://localhost:{}", port(&acme_at)?.port());
        let (hub_url, saas_url) = (
            format!("http://{}", port(&hub_at)?),
            format!("http://{}", port(&saas_at)?),
        );
        let wiki_url = format!("http://{wiki_at}");
        let (hub_secret, wiki_secret) = (random::token(), random::token());

        let acme = start(&folder, "acme", &acme_url, &acme_config(&hub_secret, &hub_url))?;
        let people = people(&acme)?;
        let saas = start(&folder, "saas", &saas_url, "[[service_providers]]\nname = \"hub\"\n")?;
        let saas_token = token(&saas, "hub")?;
        let config = hub_config(&Neighbours {
            acme_url: &acme_url,
            saas_url: &saas_url,
            wiki_url: &wiki_url,
            hub_secret: &hub_secret,
            wiki_secret: &wiki_secret,
            saas_token: &saas_token,
        });
        let hub = start(&folder, "hub", &hub_url, &config)?;
        let hub_token = token(&hub, "wiki")?;
        let wiki = WikiSettings {
            listen: wiki_at,
            issuer: hub_url.clone(),
            client_id: "wiki".to_owned(),
            client_secret: Secret::new(wiki_secret),
            public_url: wiki_url.clone(),
        };
        let tour = Tour {
            folder: folder.clone(),
            acme: acme_url,
            hub: hub_url,
            saas: saas_url,
            wiki: wiki_url,
            hub_token,
            saas_token,
            people,
        };
        let sites = [(acme, acme_at), (hub, hub_at), (saas, saas_at)];
        let sites = sites
            .into_iter()
            .map(|(app, listener)| Site { app, listener })
            .collect();
        Ok(Self {
            folder,
            sites,
            wiki,
            tour,
        })
    }

    /// Starts all servers on the current runtime.
    pub(super) fn serve(&self) -> Result<Vec<ServerHandle>, DemoError> {
        let mut handles = Vec::new();
        for site in &self.sites {
            let listener = site.listener.try_clone().map_err(DemoError::start)?;
            let server = server::on(&site.app, listener, false).map_err(DemoError::start)?;
            handles.push(server.handle());
            actix_web::rt::spawn(server);
        }
        let server = wiki::server(self.wiki.clone()).map_err(DemoError::start)?;
        handles.push(server.handle());
        actix_web::rt::spawn(server);
        Ok(handles)
    }

    /// The addresses and credentials for the tour.
    pub(super) fn tour(&self) -> Tour {
        self.tour.clone()
    }

    /// Stops the background threads and removes the folder.
    pub(super) fn end(self) {
        for site in &self.sites {
            site.app.stop();
        }
        drop(self.sites);
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            log::warn!("{} could not be removed: {error}", self.folder.display());
        }
    }
}

fn listen() -> Result<TcpListener, DemoError> {
    TcpListener::bind("127.0.0.1:0").map_err(DemoError::start)
}

fn port(listener: &TcpListener) -> Result<SocketAddr, DemoError> {
    listener.local_addr().map_err(DemoError::start)
}

fn start(folder: &std::path::Path, name: &str, url: &str, rest: &str) -> Result<App, DemoError> {
    let data = folder.join(name);
    // `Debug` of a string quotes and escapes it as TOML requires.
    let (database, key) = (
        format!("sqlite:{}", data.join("vestibule.db").display()),
        data.join("master.key").display().to_string(),
    );
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:1\"\npublic_url = {url:?}\n[database]\nurl = {database:?}\n\
         [security]\nmaster_key = {{ file = {key:?} }}\n[[userstores]]\nname = \"PRIMARY\"\n{rest}"
    );
    let config = Config::read(&text, &[]).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        DemoError::start(problems.join("; "))
    })?;
    App::start(&config).map_err(DemoError::start)
}

fn acme_config(hub_secret: &str, hub_url: &str) -> String {
    format!(
        r#"
[[service_providers]]
name = "hub"
display_name = "Hub"
client_id = "hub"
client_secret = "{hub_secret}"
redirect_uris = ["{hub_url}/federation/acme/callback"]
local_login = true
"#
    )
}

/// The part of the hub's configuration about the other servers.
struct Neighbours<'a> {
    acme_url: &'a str,
    saas_url: &'a str,
    wiki_url: &'a str,
    hub_secret: &'a str,
    wiki_secret: &'a str,
    saas_token: &'a str,
}

fn hub_config(neighbours: &Neighbours<'_>) -> String {
    let Neighbours {
        acme_url,
        saas_url,
        wiki_url,
        hub_secret,
        wiki_secret,
        saas_token,
    } = neighbours;
    format!(
        r#"
[[identity_providers]]
name = "acme"
display_name = "Acme Corporation"
issuer = "{acme_url}"
client_id = "hub"
client_secret = "{hub_secret}"
allow_private_network = true
[identity_providers.jit]
mode = "silent"
username = {{ claim = "email" }}

[[service_providers]]
name = "wiki"
display_name = "Team Wiki"
client_id = "wiki"
client_secret = "{wiki_secret}"
redirect_uris = ["{wiki_url}/callback"]
post_logout_redirect_uris = ["{wiki_url}/"]
identity_providers = ["acme"]
local_login = true
outbound = [{{ target = "saas", jit = true }}]

[[targets]]
name = "saas"
base_url = "{saas_url}/scim/v2"
auth = {{ bearer = "{saas_token}" }}
allow_private_network = true
"#
    )
}

/// Creates acme's users through the change pipeline.
fn people(acme: &App) -> Result<Vec<DemoUser>, DemoError> {
    let people = [
        ("ada@acme.example", "Ada", "Lovelace"),
        ("alan@acme.example", "Alan", "Turing"),
    ];
    let people = people.map(|(user_name, given_name, family_name)| DemoUser {
        user_name,
        given_name,
        family_name,
        password: random::token()[..16].to_owned(),
    });
    for person in &people {
        let attributes = json!({
            "userName": person.user_name,
            "name": { "givenName": person.given_name, "familyName": person.family_name },
            "displayName": format!("{} {}", person.given_name, person.family_name),
            "emails": [{ "value": person.user_name, "type": "work", "primary": true }],
            "password": person.password,
        });
        let attributes: Attributes = attributes.as_object().cloned().unwrap_or_default();
        let operation = Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes,
            typed: Vec::new(),
        };
        let change = Change {
            actor: Actor::administrator("test"),
            operation,
            side_records: Vec::new(),
        };
        acme.directory.apply(change).map_err(DemoError::start)?;
    }
    Ok(people.to_vec())
}

fn token(app: &App, service_provider: &str) -> Result<String, DemoError> {
    let (name, now) = (ServiceProviderName::new(service_provider), app.directory.clock().now());
    app.database
        .write::<_, StorageError>(move |connection| Ok(scim_tokens::create(connection, &name, now, now.plus(A_DAY))?))
        .map(|(_, token)| token)
        .map_err(DemoError::start)
}
