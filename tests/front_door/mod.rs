//! A front door with its own database and an identity provider that asserts the claims that a test gives it.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests"
)]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::Url;
use vestibule::directory::Directory;
use vestibule::domain::filter::Filter;
use vestibule::domain::login::{Authentication, AuthorizationRequest};
use vestibule::domain::ownership::Ownership;
use vestibule::domain::password::PasswordPolicy;
use vestibule::domain::query::Query;
use vestibule::domain::schema::Registry;
use vestibule::domain::{
    Actor, Change, Clock, IdentityProviderName, Kind, Operation, Precondition, Resource, ResourceId, Secret, StoreName,
    Timestamp,
};
use vestibule::federation::idp::provider::{
    AuthorizationStart, CallbackParameters, Identity, IdentityProvider, LoginHint, LoginSecret, ProviderError,
};
use vestibule::federation::jit::attribute_path::WritablePath;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::policy::{SecondFactor, ServiceProviderPolicy};
use vestibule::federation::jit::settings::IdentityProviderSettings;
use vestibule::federation::jit::settings::TrustedScimSource;
use vestibule::federation::login::step::{LoginPage, LoginStep};
use vestibule::federation::{Federation, FederationConfig, LoginError, MailSender, Upstream, kept_attributes};
use vestibule::storage::{Database, DatabaseUrl, SecretBox, migrate, random};
use vestibule::userstore::PasswordHasher;
use vestibule::userstore::sql::SqlUserstore;

pub(crate) const ISSUER: &str = "https://idp.example";

pub(crate) mod smtp;

/// The claims behind each authorization code of the identity provider.
pub(crate) type Codes = Arc<Mutex<HashMap<String, Map<String, Value>>>>;

/// An identity provider without a network.
struct Pretended(Codes);

impl IdentityProvider for Pretended {
    fn begin(&self, _callback: &Url, _hint: &LoginHint) -> Result<AuthorizationStart, ProviderError> {
        let state = random::token();
        let redirect = Url::parse_with_params("https://idp.example/authorize", [("state", &state)]).unwrap();
        Ok(AuthorizationStart {
            redirect,
            state: LoginSecret::new(state),
        })
    }

    fn answers(&self, parameters: &CallbackParameters, state: &LoginSecret) -> bool {
        parameters.get("state") == state.read::<String>().ok().as_deref()
    }

    fn finish(&self, parameters: &CallbackParameters, _state: &LoginSecret) -> Result<Identity, ProviderError> {
        if let Some(error) = parameters.get("error") {
            return Err(ProviderError::from_code(error));
        }
        let code = parameters.get("code").ok_or(ProviderError::NoCode)?;
        let claims = self.0.lock().unwrap().get(code).cloned().ok_or(ProviderError::NoCode)?;
        let subject = claims["sub"].as_str().unwrap().to_owned();
        Ok(Identity {
            issuer: ISSUER.to_owned(),
            subject,
            claims,
        })
    }
}

/// What a step of a login comes to.
pub(crate) type Outcome = Result<LoginStep, LoginError>;

/// A front door and its dependencies.
pub(crate) struct Rig {
    pub(crate) federation: Arc<Federation>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: Clock,
    pub(crate) database: Database,
    pub(crate) codes: Codes,
    folder: Arc<tempfile::TempDir>,
}

impl Rig {
    /// One application, "wiki", which takes logins from "google" with these just-in-time settings.
    pub(crate) fn new(jit: Value) -> Self {
        Self::with(jit, |_| {})
    }

    /// Like `new`, with changes to the application's policy.
    pub(crate) fn with(jit: Value, bend: impl Fn(&mut ServiceProviderPolicy)) -> Self {
        Self::asking(jit, &json!([]), bend)
    }

    /// Like `with`, with consent purposes.
    pub(crate) fn asking(jit: Value, purposes: &Value, bend: impl Fn(&mut ServiceProviderPolicy)) -> Self {
        Self::mailing((&jit, purposes), bend, None)
    }

    /// Like `asking`, with a mail sender.
    pub(crate) fn mailing(
        (jit, purposes): (&Value, &Value),
        bend: impl Fn(&mut ServiceProviderPolicy),
        mail: Option<MailSender>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&DatabaseUrl::Sqlite(folder.path().join("test.db"))).unwrap();
        migrate::run(&database).unwrap();
        let clock = Clock::fixed(Timestamp(1_767_225_600_000));
        let (registry, hasher) = (Arc::new(Registry::builtin()), PasswordHasher::new());
        let (store, copy) = (StoreName::PRIMARY, hasher.clone());
        let store = Arc::new(SqlUserstore::new(
            store,
            database.clone(),
            registry.clone(),
            copy,
            clock.clone(),
        ));
        let mut ownership = Ownership::default();
        for name in ["google", "other"] {
            let kept = kept_attributes(&settings(name, jit));
            ownership.keep(name.into(), kept.iter().map(WritablePath::as_str));
        }
        ownership.trust("hr".into(), google());
        let directory = Directory::new(vec![store], registry, hasher, clock.clone());
        let directory = Arc::new(directory.with_ownership(ownership));
        let codes = Codes::default();
        Self {
            federation: federation((&directory, &database, &codes), (jit, purposes), bend, mail),
            directory,
            clock,
            database,
            codes,
            folder: Arc::new(folder),
        }
    }

    /// The same users behind another configuration.
    pub(crate) fn reconfigured(&self, jit: &Value, purposes: &Value) -> Self {
        Self {
            federation: federation(
                (&self.directory, &self.database, &self.codes),
                (jit, purposes),
                |_| {},
                None,
            ),
            directory: Arc::clone(&self.directory),
            clock: self.clock.clone(),
            database: self.database.clone(),
            codes: Arc::clone(&self.codes),
            folder: Arc::clone(&self.folder),
        }
    }

    /// Starts a login and returns its handle.
    pub(crate) fn start(&self) -> String {
        self.federation.login.start(request(), &"wiki".into()).unwrap().handle
    }

    /// Signs in at the identity provider; returns the parameters of the callback.
    pub(crate) fn away(&self, handle: &str, claims: &Value) -> CallbackParameters {
        let url = self.federation.login.choose(handle, &google()).unwrap();
        self.returned(&url, claims)
    }

    /// The parameters of the callback for a login that was sent to this URL.
    pub(crate) fn returned(&self, url: &Url, claims: &Value) -> CallbackParameters {
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .unwrap()
            .1
            .into_owned();
        let code = random::token();
        self.codes
            .lock()
            .unwrap()
            .insert(code.clone(), claims.as_object().unwrap().clone());
        [("code", code), ("state", state)].into_iter().collect()
    }

    pub(crate) fn back(&self, handle: &str, returned: &CallbackParameters) -> Outcome {
        self.federation.login.callback(handle, &google(), returned)
    }

    /// A whole login through the identity provider.
    pub(crate) fn login(&self, claims: &Value) -> Outcome {
        let handle = self.start();
        let returned = self.away(&handle, claims);
        self.back(&handle, &returned)
    }

    /// Creates a local user and returns the id.
    pub(crate) fn user(&self, attributes: &Value) -> ResourceId {
        let operation = Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes: attributes.as_object().unwrap().clone(),
        };
        let change = Change {
            actor: Actor::administrator("test"),
            operation,
            side_records: Vec::new(),
        };
        self.directory.apply(change).unwrap().resource().id.clone()
    }

    /// Replaces a user's attributes, as an administrator.
    pub(crate) fn replace(&self, id: &ResourceId, attributes: &Value) {
        let operation = Operation::Replace {
            kind: Kind::USER,
            id: id.clone(),
            attributes: attributes.as_object().unwrap().clone(),
            precondition: Precondition::None,
        };
        let change = Change {
            actor: Actor::administrator("test"),
            operation,
            side_records: Vec::new(),
        };
        self.directory.apply(change).unwrap();
    }

    pub(crate) fn get(&self, id: &ResourceId) -> Resource {
        self.directory
            .get(&Kind::USER, id, vestibule::domain::Relations::NONE)
            .unwrap()
            .unwrap()
    }

    /// All users.
    pub(crate) fn users(&self) -> Vec<Resource> {
        let none: Option<Filter> = None;
        let query = Query {
            filter: none,
            ..Query::all(Kind::USER, 1000)
        };
        self.directory.find(&StoreName::PRIMARY, &query).unwrap().resources
    }
}

fn federation(
    (directory, database, codes): (&Arc<Directory>, &Database, &Codes),
    (jit, purposes): (&Value, &Value),
    bend: impl Fn(&mut ServiceProviderPolicy),
    mail: Option<MailSender>,
) -> Arc<Federation> {
    let upstream = |name: &str| Upstream::new(settings(name, jit), Box::new(Pretended(Arc::clone(codes))));
    let purpose = |purpose: &Value| serde_json::from_value(purpose.clone()).unwrap();
    let mut wiki = ServiceProviderPolicy {
        name: "wiki".into(),
        display_name: "Wiki".to_owned(),
        identity_providers: vec!["google".into()],
        local_login: true,
        inbound_userstore: None,
        jit_mode: None,
        purposes: Vec::new(),
        mfa: SecondFactor::None,
    };
    bend(&mut wiki);
    let door = FederationConfig {
        public_url: Url::parse("https://id.example").unwrap(),
        upstreams: vec![upstream("google"), upstream("other")],
        service_providers: vec![wiki],
        trusted_sources: vec![TrustedScimSource {
            client: "hr".into(),
            identity_provider: "google".into(),
            store: StoreName::PRIMARY,
        }],
        purposes: purposes.as_array().unwrap().iter().map(purpose).collect(),
        passwords: PasswordPolicy::default(),
        mail,
    };
    let secrets = SecretBox::from_secret(&Secret::new(STANDARD.encode([1; 32]))).unwrap();
    let federation = Federation::new(Arc::clone(directory), database.clone(), Arc::new(secrets), door);
    Arc::new(federation)
}

fn settings(name: &str, jit: &Value) -> IdentityProviderSettings {
    // "other" is trusted for one mail domain.
    let domains = if name == "other" {
        json!(["example.com"])
    } else {
        json!([])
    };
    let settings =
        json!({"name": name, "issuer": ISSUER, "client_id": "us", "jit": jit, "trusted_email_domains": domains});
    serde_json::from_value(settings).unwrap()
}

pub(crate) fn google() -> IdentityProviderName {
    "google".into()
}

/// An authorization request of the wiki.
pub(crate) fn request() -> AuthorizationRequest {
    AuthorizationRequest {
        client_id: "wiki".to_owned(),
        redirect_uri: "https://wiki.example/callback".to_owned(),
        scope: vec!["openid".to_owned()],
        state: Some("their-state".to_owned()),
        nonce: None,
        code_challenge: None,
        idp_hint: None,
        login_hint: None,
        ui_locales: Vec::new(),
        subject: None,
        reauthenticate: false,
    }
}

/// The authentication of a completed step.
pub(crate) fn completed(outcome: Outcome) -> Authentication {
    match outcome {
        Ok(LoginStep::Complete(given, authentication)) => {
            assert_eq!(*given, request());
            authentication
        }
        other => panic!("not let in: {other:?}"),
    }
}

/// The denial of a refused step.
pub(crate) fn refused(outcome: Outcome) -> Denial {
    match outcome {
        Err(LoginError::Denied(denial)) => denial,
        other => panic!("not refused: {other:?}"),
    }
}

/// The page of a step.
pub(crate) fn shown(outcome: Outcome) -> LoginPage {
    match outcome {
        Ok(LoginStep::Show(screen)) => screen.page,
        other => panic!("no page: {other:?}"),
    }
}
