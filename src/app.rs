//! The composition root: builds the application from its configuration and all adapters.

mod attribute_paths;
pub(crate) mod connections;
mod periodic_task;
pub mod rehearsal;
pub mod surroundings;
mod tasks;
mod userstores;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::audit;
use crate::config::{Config, MasterKey, ServiceProvider};
use crate::directory::Directory;
use crate::domain::login::Entry;
use crate::domain::ownership::Ownership;
use crate::domain::schema::{Registry, SchemaError};
use crate::domain::{Clock, IdentityProviderName, StoreName};
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::settings::TrustedScimSource;
use crate::federation::login::Login;
use crate::federation::removal::ProviderRemover;
use crate::federation::{Federation, FederationConfig, FederationError, MailSender, kept_attributes};
use crate::http_client::{HttpClients, HttpError};
use crate::mail::{MailError, MailSettings, Mailer};
use crate::oidc::{self, Oidc, OidcError};
use crate::operations::{self, Administrator, ConfiguredNames};
use crate::provisioning::engine::EngineError;
use crate::provisioning::{self, Engine, Source};
use crate::scim::{self, Adoption, Scim, ScimClient, ScimClients};
use crate::server::mail_text;
use crate::storage::migrate::MigrateError;
use crate::storage::secret_box::KeyError;
use crate::storage::{Database, SecretBox, StorageError, migrate};
use crate::userstore::PasswordHasher;
use crate::userstore::ldap::LdapUserstore;
use crate::userstore::sql::reindex::{self, IndexForm};
use periodic_task::PeriodicTask;
use surroundings::Surroundings;
use url::Url;

/// An error that prevents the start of the application.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A schema file cannot be used.
    #[error("the schemas cannot be used:\n{0}")]
    Schema(#[from] SchemaError),
    /// A folder or file of the configuration cannot be read.
    #[error("{path} cannot be read: {cause}")]
    File {
        /// The path.
        path: String,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The database cannot be reached.
    #[error("the database {url} cannot be opened: {cause}")]
    Database {
        /// Its URL, without the password.
        url: String,
        /// The cause.
        cause: String,
    },
    /// Its schema cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The master key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A userstore is configured wrongly.
    #[error("the userstore {0} cannot be used: {1}")]
    Userstore(StoreName, String),
    /// The OpenID provider cannot start.
    #[error("the OpenID provider cannot start: {0}")]
    Oidc(#[from] OidcError),
    /// An identity provider is configured wrongly.
    #[error("the identity provider {0} cannot be used: {1}")]
    IdentityProvider(IdentityProviderName, HttpError),
    /// The HTTP clients for service providers cannot be set up.
    #[error("requests to service providers cannot be set up: {0}")]
    HttpClient(#[from] HttpError),
    /// The outbound engine cannot start.
    #[error("outbound provisioning cannot start: {0}")]
    Engine(#[from] EngineError),
    /// The thread that removes expired records cannot start.
    #[error("the periodic tasks cannot start: {0}")]
    PeriodicTask(std::io::Error),
    /// Mail cannot be sent.
    #[error("mail cannot be set up: {0}")]
    Mail(#[from] MailError),
    /// An attribute path of the configuration is not in the user schema, or not spelled as there.
    #[error("{0}")]
    AttributePath(String),
    /// The public URL cannot be used.
    #[error("server.public_url cannot be used: {0}")]
    PublicUrl(#[from] url::ParseError),
}

/// The parts that commands need which run beside a server.
pub struct Core {
    /// The database, with its schema up to date.
    pub database: Database,
    /// The door.
    pub directory: Arc<Directory>,
    /// The clock.
    pub clock: Clock,
    /// The userstores that are LDAP directories.
    pub ldap_stores: Vec<Arc<LdapUserstore>>,
}

impl Core {
    /// Opens the database, migrates it and builds the change pipeline over it.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        Self::open_at(config, Clock::system())
    }

    fn open_at(config: &Config, clock: Clock) -> Result<Self, StartError> {
        let registry = Arc::new(registry(config)?);
        let database = database(config)?;
        migrate::run(&database)?;
        reindex::begin(&database, &registry).map_err(MigrateError::from)?;
        let hasher = PasswordHasher::new();
        let shared = (database.clone(), Arc::clone(&registry), hasher.clone(), clock.clone());
        let (stores, ldap_stores) = userstores::open(config, &shared)?;
        let directory = Directory::new(stores, registry, hasher, clock.clone()).with_ownership(ownership(config));
        let directory = Arc::new(directory);
        Ok(Self {
            database,
            directory,
            clock,
            ldap_stores,
        })
    }

    /// Returns the indexes that the next start will rebuild, or that are being rebuilt. Changes nothing.
    pub(crate) fn pending_indexes(config: &Config) -> Result<Vec<String>, StartError> {
        let pending = reindex::pending(&database(config)?, &IndexForm::of(&registry(config)?));
        Ok(pending.map_err(MigrateError::from)?.into_iter().collect())
    }

    /// The stores, services and rights that operations of an administrator use.
    pub fn operations(&self, config: &Config, administrator: Administrator) -> operations::Context {
        let providers = config.identity_providers.iter();
        let service_providers = config.service_providers.iter();
        operations::Context {
            administrator,
            directory: Arc::clone(&self.directory),
            database: self.database.clone(),
            clock: self.clock.clone(),
            names: ConfiguredNames {
                service_providers: service_providers.map(|provider| provider.policy.name.clone()).collect(),
                identity_providers: providers
                    .map(|provider| (provider.name.clone(), provider.issuer.clone()))
                    .collect(),
                targets: config.targets.iter().map(|target| target.name.clone()).collect(),
            },
            passwords: config.passwords,
        }
    }

    /// The OpenID provider, with the master key of the configuration.
    pub fn oidc(&self, config: &Config) -> Result<Oidc, StartError> {
        let secret_box = Arc::new(secret_box(&config.master_key)?);
        // This provider only maintains its records; no login goes through it.
        let entries: oidc::Entries = Arc::new(|_, _, _| Ok(Entry::Login));
        open_oidc(config, (&self.database, &self.directory), secret_box, entries)
    }

    /// Migrates the database and returns the steps that were applied.
    pub fn migrate(config: &Config) -> Result<Vec<String>, StartError> {
        Ok(migrate::run(&database(config)?)?)
    }
}

/// The running application.
pub struct App {
    /// The door.
    pub directory: Arc<Directory>,
    /// The SCIM service.
    pub scim: Arc<Scim>,
    /// The OpenID provider.
    pub oidc: Arc<Oidc>,
    /// The login through identity providers.
    pub federation: Arc<Federation>,
    /// The outbound provisioning engine.
    pub engine: Arc<Engine>,
    /// The database.
    pub database: Database,
    /// The public URL of the server.
    pub public_url: String,
    /// The networks of the reverse proxies that are trusted; see [`crate::config::Server`].
    pub trusted_proxies: Option<Vec<ipnet::IpNet>>,
    /// How long security events are kept.
    pub events_kept: Duration,
    ldap_stores: Vec<Arc<LdapUserstore>>,
    tasks: Vec<PeriodicTask>,
}

impl App {
    /// Builds everything and starts the outbound engine and the periodic tasks. Blocks.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let mut app = Self::open(config, Surroundings::default())?;
        app.tasks = app.start_tasks()?;
        Ok(app)
    }

    /// Builds everything and starts the outbound engine, without the periodic tasks. Blocks.
    pub fn open(config: &Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let Core {
            database,
            directory,
            clock,
            ldap_stores,
        } = Core::open_at(config, surroundings.clock.clone())?;
        let secret_box = Arc::new(secret_box(&config.master_key)?);
        let federation = Federation::new(
            Arc::clone(&directory),
            database.clone(),
            Arc::clone(&secret_box),
            federation_config(config, &surroundings)?,
        );
        let oidc = open_oidc(
            config,
            (&database, &directory),
            Arc::clone(&secret_box),
            entries_of(Arc::clone(&federation.login)),
        )?;
        let settings = scim_settings(config, ldap_stores.is_empty());
        let oidc = Arc::new(oidc);
        let scim = Scim::new(Arc::clone(&directory), database.clone(), secret_box, settings).with_grants({
            let oidc = Arc::clone(&oidc);
            Arc::new(move |grant| Ok(oidc.is_accepted(grant)?))
        });
        let rules = config
            .service_providers
            .iter()
            .flat_map(|provider| provider.outbound.clone())
            .collect();
        let settings = provisioning::Settings::new(config.targets.clone(), rules);
        let source = Source::directory(Arc::clone(&directory));
        let engine = Arc::new(Engine::start(settings, source, database.clone(), clock)?);
        let awake = Arc::downgrade(&engine);
        directory.on_change(move || {
            if let Some(engine) = awake.upgrade() {
                engine.wake();
            }
        });
        Ok(Self {
            directory,
            scim: Arc::new(scim),
            oidc,
            federation: Arc::new(federation),
            engine,
            database,
            public_url: config.server.public_url.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            events_kept: config.server.events_kept,
            ldap_stores,
            tasks: Vec::new(),
        })
    }

    fn start_tasks(&self) -> Result<Vec<PeriodicTask>, StartError> {
        let remover = ProviderRemover::new(Arc::clone(&self.directory), self.database.clone());
        let (rows, clock, kept) = (self.database.clone(), self.directory.clock().clone(), self.events_kept);
        let others = move || {
            let now = clock.now();
            Ok(provisioning::operate::sweep(&rows, now)? + audit::sweep(&rows, now, kept)?)
        };
        let started = tasks::start(&self.oidc, &self.federation, &self.scim, remover, others);
        let mut tasks = started.map_err(StartError::PeriodicTask)?;
        let indexes = tasks::rebuild_indexes(self.database.clone(), Arc::clone(self.directory.registry()));
        tasks.push(PeriodicTask::at_its_own_pace(indexes).map_err(StartError::PeriodicTask)?);
        for store in &self.ldap_stores {
            tasks.push(userstores::watcher(store, &self.engine).map_err(StartError::PeriodicTask)?);
        }
        Ok(tasks)
    }

    /// Stops the outbound engine. Pending work is finished, or continued at the next start.
    pub fn stop(&self) {
        self.tasks.iter().for_each(PeriodicTask::stop);
        tasks::keep_report_of(Arc::clone(&self.scim))();
        self.engine.stop();
    }
}

fn scim_clients(config: &Config) -> ScimClients {
    let issuer = |name: &IdentityProviderName| {
        let known = config.identity_providers.iter().find(|provider| provider.name == *name);
        known.map(|provider| provider.issuer.clone())
    };
    let mut clients = ScimClients::new();
    for provider in &config.service_providers {
        let settings = &provider.scim;
        let adoption = settings.adopts.clone().and_then(|identity_provider| {
            Some(Adoption {
                issuer: issuer(&identity_provider)?,
                identity_provider,
                attribute: settings.adopts_by.clone(),
            })
        });
        let client = ScimClient {
            store: provider.policy.inbound_userstore.clone(),
            strict: settings.strict,
            adoption,
            token_client: provider
                .client
                .as_ref()
                .filter(|client| client.scim_tokens.is_some())
                .map(|client| client.client_id.clone()),
        };
        clients.insert(provider.policy.name.clone(), client);
    }
    clients
}

/// Checks the settings of federated login without any request: the addresses of identity providers, the mail server.
pub(crate) fn check_federation(config: &Config) -> Result<(), StartError> {
    federation_config(config, &Surroundings::default()).map(|_| ())
}

fn federation_config(config: &Config, surroundings: &Surroundings) -> Result<FederationConfig, StartError> {
    let upstreams = config.identity_providers.iter().map(|settings| {
        (surroundings.open_provider)(settings.clone(), surroundings.clock.clone())
            .map_err(|cause| StartError::IdentityProvider(settings.name.clone(), cause))
    });
    Ok(FederationConfig {
        public_url: config.server.public_url.parse()?,
        upstreams: upstreams.collect::<Result<_, _>>()?,
        service_providers: config
            .service_providers
            .iter()
            .map(|provider| provider.policy.clone())
            .collect(),
        trusted_sources: config.service_providers.iter().filter_map(trusted_source).collect(),
        purposes: config.purposes.clone(),
        passwords: config.passwords,
        account: config.account,
        mail: config
            .mail
            .as_ref()
            .map(|settings| mail_sender(config, settings))
            .transpose()?,
    })
}

/// Builds the sender for codes by e-mail.
fn mail_sender(config: &Config, settings: &MailSettings) -> Result<MailSender, StartError> {
    let public_url: Url = config.server.public_url.parse()?;
    Ok(MailSender {
        mailer: Mailer::new(settings, public_url.host_str().unwrap_or("localhost"))?,
        compose: Box::new(mail_text::code),
    })
}

/// The attributes that identity providers own, and the SCIM clients that are fed from the same source.
fn ownership(config: &Config) -> Ownership {
    let mut ownership = Ownership::default();
    for provider in &config.identity_providers {
        let paths = kept_attributes(provider);
        ownership.keep(provider.name.clone(), paths.iter().map(WritablePath::as_str));
    }
    for provider in &config.service_providers {
        if let Some(identity_provider) = provider.scim.adopts.clone() {
            ownership.trust(provider.policy.name.clone(), identity_provider);
            if provider.scim.adopts_by.is_none() {
                ownership.identify(&provider.policy.name);
            }
        }
    }
    ownership
}

/// Returns the trusted SCIM source of a service provider. There is none with `adopts_by`: a login cannot rely on such
/// an attribute, since a claim with the same value may belong to another person.
fn trusted_source(provider: &ServiceProvider) -> Option<TrustedScimSource> {
    let identity_provider = provider.scim.adopts.clone()?;
    provider.scim.adopts_by.is_none().then(|| TrustedScimSource {
        client: provider.policy.name.clone(),
        identity_provider,
        store: provider.policy.inbound_userstore.clone(),
    })
}

fn scim_settings(config: &Config, stores_are_near: bool) -> scim::Settings {
    scim::Settings {
        base_url: format!("{}/scim/v2", config.server.public_url),
        clients: scim_clients(config),
        cursor_lifetime: config.scim.cursor_lifetime,
        stores_are_near,
        userstore_in_username: config.scim.userstore_in_username,
    }
}

/// Returns the decision of the federation on who may enter.
pub fn entries_of(login: Arc<Login>) -> oidc::Entries {
    Arc::new(move |service_provider, authentication, purpose| {
        login
            .entry(service_provider, authentication, purpose)
            .map_err(|error| match error {
                FederationError::Directory(error) => OidcError::Directory(error),
                FederationError::Storage(error) => OidcError::Storage(error),
                other => OidcError::Entry(Box::new(other)),
            })
    })
}

fn open_oidc(
    config: &Config,
    (database, directory): (&Database, &Arc<Directory>),
    secret_box: Arc<SecretBox>,
    entries: oidc::Entries,
) -> Result<Oidc, StartError> {
    let settings = oidc::Settings {
        public_url: config.server.public_url.clone(),
        session_lifetime: oidc::Settings::SESSION_LIFETIME,
        clients: config
            .service_providers
            .iter()
            .filter_map(|provider| provider.client.clone())
            .collect(),
    };
    let dependencies = oidc::Dependencies {
        users: oidc::users_of(Arc::clone(directory)),
        entries,
        http: Arc::new(HttpClients::new()?),
        clock: directory.clock().clone(),
    };
    Ok(Oidc::open(settings, database.clone(), secret_box, dependencies)?)
}

fn database(config: &Config) -> Result<Database, StartError> {
    Database::open(&config.database).map_err(|error| {
        let cause = match &error {
            StorageError::Unavailable(cause) => cause.to_string(),
            other => other.to_string(),
        };
        StartError::Database {
            url: format!("{:?}", config.database),
            cause,
        }
    })
}

/// The secret box that seals and opens values in the database.
pub fn secrets(config: &Config) -> Result<SecretBox, StartError> {
    Ok(secret_box(&config.master_key)?)
}

fn secret_box(key: &MasterKey) -> Result<SecretBox, KeyError> {
    match key {
        MasterKey::File(path) => SecretBox::from_file(path),
        MasterKey::Given(secret) => SecretBox::from_secret(secret),
    }
}

/// The built-in schemas and those of the configured folder.
pub fn registry(config: &Config) -> Result<Registry, StartError> {
    let registry = match &config.scim.schemas {
        Some(folder) => Registry::load(&documents(folder)?)?,
        None => Registry::builtin(),
    };
    attribute_paths::check(config, &registry).map_err(StartError::AttributePath)?;
    Ok(registry)
}

fn documents(folder: &Path) -> Result<Vec<(String, String)>, StartError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |cause| StartError::File { path, cause }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    // A fixed order, independent of the file system.
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::read_to_string(path)
            .map(|text| (name, text))
            .map_err(failed(path))
    };
    paths.iter().map(read).collect()
}
