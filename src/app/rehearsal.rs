//! Rehearses a login over copies of the data it needs, in a temporary database.

mod copy;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::copy::{copy_identity, copy_user, place};
use super::surroundings::Surroundings;
use super::{Core, StartError, federation_config, ownership};
use crate::config::Config;
use crate::directory::{Directory, DirectoryError};
use crate::domain::change::{Action, JournalPosition, JournalRecord};
use crate::domain::{
    Attributes, Clock, IdentityProviderName, Kind, Link, Relations, ResourceId, ServiceProviderName, StoreName,
};
use crate::federation::idp::provider::Identity;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::settings::IdentityProviderSettings;
use crate::federation::rehearsal::{self, RehearsalEnding};
use crate::federation::{Federation, FederationConfig, FederationError, Upstream};
use crate::provisioning::TargetSettings;
use crate::provisioning::preview::{self, NEW_ID, PlannedRequest, RemoteState};
use crate::storage::{Database, DatabaseUrl, SecretBox, StorageError, journal, links, migrate, outbound, random};
use crate::userstore::mirror::Mirror;
use crate::userstore::sql::SqlUserstore;
use crate::userstore::{PasswordHasher, StoreError, Userstore};

/// The error of a rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The temporary application could not be set up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The login failed for a technical reason.
    #[error(transparent)]
    Login(#[from] FederationError),
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A name is not in the configuration.
    #[error("{0}")]
    Unknown(String),
    /// An existing account that was given cannot be created.
    #[error("the existing accounts that were given cannot be created: {0}")]
    Existing(String),
}

/// A login to rehearse.
#[derive(Clone, Debug)]
pub struct RehearsedLogin {
    /// The identity provider.
    pub identity_provider: IdentityProviderName,
    /// The application; by default the first one that accepts the identity provider.
    pub service_provider: Option<ServiceProviderName>,
    /// The claims of the ID token and of the userinfo response.
    pub claims: Map<String, Value>,
}

/// The data that a rehearsal starts from.
pub enum RehearsalBase<'a> {
    /// The data of this installation.
    Here(&'a Core),
    /// Only these people, each an object with `attributes`, `made_by` and `linked`.
    Given(&'a [Value]),
}

/// Rehearses a login. Returns JSON with `outcome`, `pages`, `account`, `groups`, `requests` and `unused_claims`.
pub fn rehearse(config: &Config, login: &RehearsedLogin, before: &RehearsalBase<'_>) -> Result<Value, RehearsalError> {
    let stage = RehearsalSetup::set(config, login, before)?;
    let start = stage.position()?;
    let course = rehearsal::rehearse(
        &stage.federation.login,
        &login.identity_provider,
        &stage.service_provider,
    )?;
    let records = stage
        .database
        .read::<_, StorageError>(|connection| journal::after(connection, start, 1000))?;
    let outcome = match &course.ending {
        RehearsalEnding::In => json!({ "let_in": true }),
        RehearsalEnding::Stands => {
            json!({ "let_in": false, "stands_at": course.pages.last().map(|page| page["page"].clone()) })
        }
        RehearsalEnding::Refused(denial) => refusal(denial),
    };
    Ok(json!({
        "outcome": outcome,
        "application": stage.service_provider,
        "pages": course.pages,
        "account": stage.account(&records)?,
        "groups": stage.groups(&records)?,
        "requests": stage.requests(&records, before)?,
        "unused_claims": unused(login, config),
    }))
}

fn refusal(denial: &Denial) -> Value {
    json!({ "let_in": false, "refused": denial.code(), "why": denial.to_string() })
}

/// A temporary folder, removed with the rehearsal.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            log::warn!(
                "the rehearsal folder {} could not be removed: {error}",
                self.0.display()
            );
        }
    }
}

struct RehearsalSetup {
    federation: Federation,
    directory: Arc<Directory>,
    database: Database,
    service_provider: ServiceProviderName,
    link: Link,
    targets: Vec<TargetSettings>,
    _folder: Folder,
}

impl RehearsalSetup {
    fn set(config: &Config, login: &RehearsedLogin, before: &RehearsalBase<'_>) -> Result<Self, RehearsalError> {
        let settings = config
            .identity_providers
            .iter()
            .find(|known| known.name == login.identity_provider)
            .ok_or_else(|| {
                RehearsalError::Unknown(format!("No identity provider is called {}.", login.identity_provider))
            })?;
        let identity = identity(&login.claims, settings)?;
        let link = Link {
            identity_provider: settings.name.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
        };
        let service_provider = application(config, login)?;
        let folder = folder()?;
        let database = Database::open(&DatabaseUrl::Sqlite(folder.0.join("rehearsal.db")))?;
        migrate::run(&database).map_err(StartError::from)?;
        let directory = Arc::new(directory(config, &database, before)?);
        copy_identity(&database, before, &link)?;
        if let RehearsalBase::Given(people) = before {
            people.iter().try_for_each(|person| place(&directory, &link, person))?;
        }
        let upstream = rehearsal::upstream(settings.clone(), identity);
        let federation_config = rehearsal_config(config, upstream, directory.clock())?;
        let secrets = SecretBox::ephemeral().map_err(StartError::from)?;
        let federation = Federation::new(
            Arc::clone(&directory),
            database.clone(),
            Arc::new(secrets),
            federation_config,
        );
        Ok(Self {
            federation,
            directory,
            database,
            link,
            targets: targets(config, &service_provider),
            service_provider,
            _folder: folder,
        })
    }

    fn position(&self) -> Result<JournalPosition, RehearsalError> {
        let records = self
            .database
            .read::<_, StorageError>(|connection| journal::after(connection, JournalPosition::default(), 10_000))?;
        Ok(records.last().map(|record| record.position).unwrap_or_default())
    }

    /// The account that the login would have, and its changes.
    fn account(&self, records: &[JournalRecord]) -> Result<Value, RehearsalError> {
        let Link {
            identity_provider,
            issuer,
            subject,
        } = &self.link;
        let link = self
            .database
            .read::<_, StorageError>(|connection| links::find(connection, identity_provider, issuer, subject))?;
        let Some(link) = link else { return Ok(Value::Null) };
        let Some(user) = self.directory.get(&Kind::USER, &link.resource_id, Relations::NONE)? else {
            return Ok(Value::Null);
        };
        let own = || records.iter().filter(|record| record.id == user.id);
        let mut changes = Attributes::new();
        for record in own() {
            changes.extend(record.diff.as_object().cloned().unwrap_or_default());
        }
        let is_new = own().any(|record| record.action == Action::Create);
        let is_linked_now =
            link.created == link.last_login && link.created >= self.directory.clock().now().minus(RECENT);
        Ok(json!({
            "id": if is_new { Value::Null } else { json!(user.id) },
            "userName": user.document.attributes().get("userName"),
            "store": user.store,
            "new": is_new,
            "newly_linked": is_linked_now && !is_new,
            "changes": changes,
        }))
    }

    /// The groups that would be joined, left or created.
    fn groups(&self, records: &[JournalRecord]) -> Result<Value, RehearsalError> {
        let mut joined = Vec::new();
        let mut left = Vec::new();
        for record in records.iter().filter(|record| record.kind == Kind::GROUP) {
            let name = self.name(&record.id)?;
            joined.extend(record.members.joined.iter().map(|_| name.clone()));
            left.extend(record.members.left.iter().map(|_| name.clone()));
        }
        Ok(json!({ "joined": joined, "left": left }))
    }

    fn name(&self, group: &ResourceId) -> Result<Value, RehearsalError> {
        let group = self.directory.get(&Kind::GROUP, group, Relations::NONE)?;
        Ok(group
            .and_then(|group| group.document.attributes().get("displayName").cloned())
            .unwrap_or_default())
    }

    /// The requests that each target would receive.
    fn requests(&self, records: &[JournalRecord], before: &RehearsalBase<'_>) -> Result<Value, RehearsalError> {
        let mut told = Vec::new();
        for target in &self.targets {
            let mut requests = Vec::new();
            let mut seen: Vec<&ResourceId> = Vec::new();
            for record in records {
                let known = remote_state(before, target, &record.id)?;
                if !seen.contains(&&record.id) {
                    seen.push(&record.id);
                    if let Some(resource) = self.directory.get(&record.kind, &record.id, Relations::NONE)? {
                        requests.extend(preview::requests(target, known.as_ref(), &resource));
                    }
                }
                let group = known.map_or_else(|| NEW_ID.to_owned(), |known| known.id);
                let moved = record.members.joined.iter().map(|member| (member, true));
                for (member, joins) in moved.chain(record.members.left.iter().map(|member| (member, false))) {
                    let member =
                        remote_state(before, target, member)?.map_or_else(|| NEW_ID.to_owned(), |known| known.id);
                    requests.push(preview::membership(target, &group, &member, joins));
                }
            }
            let shown = |request: &PlannedRequest| json!({ "method": request.method, "url": request.url, "body": request.body });
            told.push(json!({ "target": target.name, "requests": requests.iter().map(shown).collect::<Vec<_>>() }));
        }
        Ok(told.into())
    }
}

/// The names of the claims that no setting reads.
fn unused(login: &RehearsedLogin, config: &Config) -> Vec<String> {
    const KNOWN: [&str; 12] = [
        "sub",
        "iss",
        "aud",
        "azp",
        "exp",
        "iat",
        "nbf",
        "auth_time",
        "nonce",
        "at_hash",
        "email",
        "email_verified",
    ];
    let settings = config
        .identity_providers
        .iter()
        .find(|known| known.name == login.identity_provider);
    let read = settings.map(crate::federation::read_claims).unwrap_or_default();
    let unused = login
        .claims
        .keys()
        .filter(|name| !KNOWN.contains(&name.as_str()) && !read.contains(name));
    unused.cloned().collect()
}

/// The maximum age of a link that the rehearsal made.
const RECENT: std::time::Duration = std::time::Duration::from_mins(1);

fn application(config: &Config, login: &RehearsedLogin) -> Result<ServiceProviderName, RehearsalError> {
    let takes = |name: &ServiceProviderName| {
        let mut all = config.service_providers.iter();
        all.any(|known| known.policy.name == *name)
    };
    match &login.service_provider {
        Some(name) if takes(name) => Ok(name.clone()),
        Some(name) => Err(RehearsalError::Unknown(format!(
            "No service provider is called {name}."
        ))),
        None => {
            let mut all = config.service_providers.iter().map(|known| &known.policy);
            let first = all.find(|policy| policy.identity_providers.contains(&login.identity_provider));
            first.map(|policy| policy.name.clone()).ok_or_else(|| {
                RehearsalError::Unknown(format!(
                    "No service provider accepts the identity provider {}.",
                    login.identity_provider
                ))
            })
        }
    }
}

/// The targets that receive changes from logins to an application.
fn targets(config: &Config, service_provider: &ServiceProviderName) -> Vec<TargetSettings> {
    let mut all = config.service_providers.iter();
    let Some(application) = all.find(|known| known.policy.name == *service_provider) else {
        return Vec::new();
    };
    let is_told = |target: &&TargetSettings| {
        let mut rules = application.outbound.iter();
        rules.any(|rule| rule.jit && rule.target == target.name)
    };
    config.targets.iter().filter(is_told).cloned().collect()
}

/// The external identity in the claims.
fn identity(claims: &Map<String, Value>, settings: &IdentityProviderSettings) -> Result<Identity, RehearsalError> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let subject =
        text("sub").ok_or_else(|| RehearsalError::Unknown("The claims have no subject (\"sub\").".to_owned()))?;
    Ok(Identity {
        issuer: text("iss").unwrap_or(&settings.issuer).to_owned(),
        subject: subject.to_owned(),
        claims: claims.clone(),
        token: None,
    })
}

fn folder() -> Result<Folder, RehearsalError> {
    let path = std::env::temp_dir().join(format!("vestibule-rehearsal-{}", random::token()));
    let failed = |cause| StartError::File {
        path: path.display().to_string(),
        cause,
    };
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&path).map_err(failed)?;
    Ok(Folder(path))
}

/// The federation configuration, with this identity provider in place of the configured one.
fn rehearsal_config(config: &Config, upstream: Upstream, clock: &Clock) -> Result<FederationConfig, RehearsalError> {
    let mut federation_config = federation_config(config, &Surroundings::at(clock.clone()))?;
    federation_config.replace(upstream);
    // A rehearsal sends no mail.
    federation_config.mail = None;
    Ok(federation_config)
}

fn directory(config: &Config, database: &Database, before: &RehearsalBase<'_>) -> Result<Directory, RehearsalError> {
    let (registry, hasher) = match before {
        RehearsalBase::Here(core) => (Arc::clone(core.directory.registry()), PasswordHasher::new()),
        RehearsalBase::Given(_) => (Arc::new(super::registry(config)?), PasswordHasher::new()),
    };
    let clock = Clock::system();
    let copy = |name: &StoreName| {
        let parts = (database.clone(), Arc::clone(&registry), hasher.clone(), clock.clone());
        SqlUserstore::new(name.clone(), parts.0, parts.1, parts.2, parts.3)
    };
    let stores: Vec<Arc<dyn Userstore>> = match before {
        RehearsalBase::Given(_) => config
            .userstores
            .iter()
            .map(|store| Arc::new(copy(&store.name)) as Arc<dyn Userstore>)
            .collect(),
        RehearsalBase::Here(core) => core
            .directory
            .stores()
            .iter()
            .map(|origin| {
                let (from, to) = (core.database.clone(), database.clone());
                let copy_records = Box::new(move |user: &ResourceId| Ok::<_, StoreError>(copy_user(&from, &to, user)?));
                let copy = copy(origin.name());
                let mirror = Mirror::new(Arc::clone(origin), copy, Arc::clone(&registry), copy_records);
                Arc::new(mirror) as Arc<dyn Userstore>
            })
            .collect(),
    };
    Ok(Directory::new(stores, registry, hasher, clock).with_ownership(ownership(config)))
}

/// The state of a resource at the real target.
fn remote_state(
    before: &RehearsalBase<'_>,
    target: &TargetSettings,
    id: &ResourceId,
) -> Result<Option<RemoteState>, RehearsalError> {
    let RehearsalBase::Here(core) = before else {
        return Ok(None);
    };
    let row = core
        .database
        .read::<_, StorageError>(|connection| outbound::find(connection, &target.name, id))?;
    Ok(row.and_then(|row| {
        let sent = row
            .sent
            .and_then(|sent| serde_json::from_str(&sent).ok())
            .unwrap_or_default();
        Some(RemoteState {
            id: row.remote_id?,
            sent,
        })
    }))
}
