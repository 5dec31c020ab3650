//! Test fixtures: an OpenID provider on a temporary database, with clients and a user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::http_client::{HttpClients, HttpError, HttpRequest, HttpResponse};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::token::TokenResponse;
use super::{Authorized, Client, ClientKeys, Dependencies, Endpoint, Entries, Lifetimes, Oidc, Settings, Users};
use crate::domain::login::{Authentication, Entry, EntryPurpose};
use crate::domain::{Clock, Document, Kind, Resource, Secret, StoreName, Timestamp, Version};
use crate::jose::Algorithm;
use crate::jose::read_set;
use crate::jose::signing_key::{SigningKey, generate};
use crate::storage::signing_keys::{self, SigningKeyRecord};
use crate::storage::{Database, SecretBox, SqlConnection, StorageError, migrate, test_database};

/// The example of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const START: Timestamp = Timestamp(1_790_000_000_000);

pub(crate) fn confidential() -> Client {
    Client {
        name: "wiki".into(),
        client_id: "wiki".to_owned(),
        secret: Some(Secret::new("s3cret")),
        keys: None,
        redirect_uris: vec!["https://app.example/cb".to_owned()],
        post_logout_redirect_uris: vec!["https://app.example/bye".to_owned()],
        backchannel_logout: Some(endpoint("https://app.example/logout")),
        id_token_alg: Algorithm::Rs256,
        require_pkce: false,
        require_pushed_requests: false,
        scim_tokens: None,
        lifetimes: Lifetimes::default(),
    }
}

pub(crate) fn public() -> Client {
    Client {
        name: "phone".into(),
        client_id: "phone".to_owned(),
        secret: None,
        redirect_uris: vec!["http://127.0.0.1/cb".to_owned(), "com.example.app:/cb".to_owned()],
        id_token_alg: Algorithm::Es256,
        ..confidential()
    }
}

/// A second client, which must push its requests.
pub(crate) fn service() -> Client {
    Client {
        name: "service".into(),
        client_id: "service".to_owned(),
        secret: Some(Secret::new("s3rvice")),
        require_pushed_requests: true,
        ..confidential()
    }
}

/// The signing key of the client `robot`.
pub(in crate::oidc) fn robot_key() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::read(Algorithm::Es256, &generate(Algorithm::Es256).unwrap()).unwrap())
}

/// A client that authenticates with `private_key_jwt`.
pub(crate) fn robot() -> Client {
    Client {
        name: "robot".into(),
        client_id: "robot".to_owned(),
        secret: None,
        scim_tokens: Some(Duration::from_mins(10)),
        keys: Some(ClientKeys::Inline(
            read_set(&json!({ "keys": [robot_key().jwk()] })).unwrap(),
        )),
        ..confidential()
    }
}

/// Like `robot`, but with its key published at a URL.
pub(crate) fn publisher() -> Client {
    Client {
        name: "publisher".into(),
        client_id: "publisher".to_owned(),
        secret: None,
        keys: Some(ClientKeys::Published(endpoint("https://robot.example/jwks"))),
        ..confidential()
    }
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint {
        url: url.to_owned(),
        allow_private_network: false,
    }
}

/// The outgoing requests, and the answer that they get.
#[derive(Default)]
pub(crate) struct Outside {
    /// The URL and body of each request.
    pub(crate) calls: Mutex<Vec<(String, String)>>,
    /// The status and body of each answer; `None` makes every request fail.
    pub(crate) answer: Mutex<Option<(u16, String)>>,
}

impl Outside {
    fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (url, body) = (
            request.uri().to_string(),
            String::from_utf8(request.into_body()).unwrap(),
        );
        self.calls.lock().unwrap().push((url, body));
        let answer = self.answer.lock().unwrap().clone();
        let (status, body) = answer.ok_or_else(|| HttpError::Unreachable("no answer".into()))?;
        Ok(http::Response::builder()
            .status(status)
            .body(body.into_bytes())
            .unwrap())
    }

    pub(crate) fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = Some((status, body.to_owned()));
    }
}

pub(crate) fn authentication() -> Authentication {
    Authentication {
        store: StoreName::PRIMARY,
        user: "u1".into(),
        amr: vec!["pwd".to_owned()],
        identity_provider: None,
        at: START,
        authenticated_at: Some(START),
        credentials: 0,
        provider_token: None,
    }
}

pub(crate) fn user(id: &str, attributes: Value) -> Resource {
    Resource {
        store: StoreName::PRIMARY,
        kind: Kind::USER,
        id: id.into(),
        version: Version::FIRST,
        created: Timestamp(1000),
        modified: Timestamp(2000),
        document: Document::new(attributes.as_object().unwrap()),
        writers: crate::domain::provenance::Provenance::from_text("{}".to_owned()),
        members: Vec::new(),
        groups: Vec::new(),
    }
}

pub(crate) fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Returns parameters with some replaced or added; an empty value removes one.
pub(crate) fn with(parameters: &[(&str, &str)], changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let kept = parameters
        .iter()
        .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    pairs(
        &kept
            .chain(changes.iter().filter(|(_, value)| !value.is_empty()))
            .copied()
            .collect::<Vec<_>>(),
    )
}

pub(crate) const REQUEST: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", "wiki"),
    ("redirect_uri", "https://app.example/cb"),
    ("scope", "openid email offline_access"),
    ("state", "st"),
    ("nonce", "no"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

/// A provider with its database, clock, users and outgoing requests.
pub(crate) struct World {
    pub(crate) oidc: Oidc,
    pub(crate) clock: Clock,
    pub(crate) database: Database,
    pub(crate) outside: Arc<Outside>,
    users: Arc<Mutex<HashMap<String, Resource>>>,
    _folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&test_database::url(&folder)).unwrap();
        migrate::run(&database).unwrap();
        insert_keys(&database);
        let clock = Clock::fixed(START);
        let users = Arc::new(Mutex::new(HashMap::new()));
        let outside = Arc::<Outside>::default();
        let oidc = open(&database, &users, &clock, &outside);
        let world = Self {
            oidc,
            outside,
            clock,
            database,
            users,
            _folder: folder,
        };
        world.put_user(json!({ "userName": "alice", "emails": [{ "value": "alice@example.com" }] }));
        world
    }

    /// Opens a second provider on the same database, like another process.
    pub(crate) fn another(&self) -> Oidc {
        open(&self.database, &self.users, &self.clock, &self.outside)
    }

    pub(crate) fn put_user(&self, attributes: Value) {
        self.users
            .lock()
            .unwrap()
            .insert("u1".to_owned(), user("u1", attributes));
    }

    /// Adds another user, `u2`.
    pub(crate) fn put_somebody_else(&self) {
        let other = user("u2", json!({ "userName": "bob" }));
        self.users.lock().unwrap().insert("u2".to_owned(), other);
    }

    /// Links the user to an identity of a provider.
    pub(crate) fn link(&self, provider: &str) {
        let link = crate::domain::Link {
            identity_provider: provider.to_owned().into(),
            issuer: "https://issuer.example".to_owned(),
            subject: "s".to_owned(),
        };
        let login = authentication();
        self.database
            .write::<_, crate::storage::StorageError>(move |connection| {
                let now = crate::domain::Timestamp(0);
                Ok(crate::storage::links::insert(
                    connection,
                    &link,
                    &login.store,
                    &login.user,
                    now,
                )?)
            })
            .unwrap();
    }

    pub(crate) fn delete_user(&self) {
        self.users.lock().unwrap().clear();
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn login(&self) -> String {
        let authentication = Authentication {
            at: self.clock.now(),
            authenticated_at: Some(self.clock.now()),
            ..authentication()
        };
        self.oidc.open_session(&authentication, None, None).unwrap()
    }

    /// Returns a code for the request with changes, in a session.
    pub(crate) fn code(&self, session: &str, changes: &[(&str, &str)]) -> String {
        let answer = self.oidc.authorize(&with(REQUEST, changes), Some(session)).unwrap();
        parameter(&redirect(answer), "code").expect("a code")
    }

    /// Returns the tokens of a complete login.
    pub(crate) fn tokens(&self) -> TokenResponse {
        let code = self.code(&self.login(), &[]);
        self.redeem(&code, &[]).unwrap()
    }

    /// Redeems a code; returns its tokens or the error code.
    pub(crate) fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Result<TokenResponse, &'static str> {
        let form: &[(&str, &str)] = &[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "https://app.example/cb"),
            ("code_verifier", VERIFIER),
            ("client_id", "wiki"),
            ("client_secret", "s3cret"),
        ];
        self.post(&with(form, changes))
    }

    pub(crate) fn refresh(&self, token: &str, changes: &[(&str, &str)]) -> Result<TokenResponse, &'static str> {
        let form: &[(&str, &str)] = &[
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", "wiki"),
            ("client_secret", "s3cret"),
        ];
        self.post(&with(form, changes))
    }

    fn post(&self, form: &[(String, String)]) -> Result<TokenResponse, &'static str> {
        self.oidc.token(None, form).map_err(|failure| code_of(&failure))
    }

    pub(crate) fn userinfo(&self, access_token: &str) -> Result<Value, &'static str> {
        let header = format!("Bearer {access_token}");
        self.oidc
            .userinfo(Some(&header), &[])
            .map(Value::Object)
            .map_err(|failure| code_of(&failure))
    }
}

pub(crate) fn secret_box() -> Arc<SecretBox> {
    Arc::new(SecretBox::from_secret(&Secret::new("A".repeat(43) + "=")).unwrap())
}

/// Inserts the same keys into every database, because generating RSA keys is slow.
fn insert_keys(database: &Database) {
    static KEYS: OnceLock<Vec<SigningKeyRecord>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&test_database::url(&folder)).unwrap();
        migrate::run(&database).unwrap();
        open(&database, &Arc::default(), &Clock::fixed(START), &Arc::default());
        database.read::<_, StorageError>(signing_keys::all).unwrap()
    });
    let insert =
        |connection: &mut SqlConnection| Ok(keys.iter().try_for_each(|key| signing_keys::insert(connection, key))?);
    database.write::<_, StorageError>(insert).unwrap();
}

fn open(
    database: &Database,
    users: &Arc<Mutex<HashMap<String, Resource>>>,
    clock: &Clock,
    outside: &Arc<Outside>,
) -> Oidc {
    let outside = Arc::clone(outside);
    let users = Arc::clone(users);
    let users: Users = Arc::new(move |id, _| Ok(users.lock().unwrap().get(id.as_str()).cloned()));
    let settings = Settings {
        public_url: "https://id.example/".to_owned(),
        session_lifetime: Settings::SESSION_LIFETIME,
        clients: vec![confidential(), public(), service(), robot(), publisher()],
    };
    // Every login is enough, as long as it is recent and not from the provider "refused".
    let entries: Entries = Arc::new(|_, login, purpose| {
        let is_fresh = match purpose {
            EntryPurpose::Code { fresh_since, .. } => {
                fresh_since.is_none_or(|since| login.authenticated_at >= Some(since))
            }
            EntryPurpose::Token => true,
        };
        let is_refused = login
            .identity_provider
            .as_ref()
            .is_some_and(|name| name.as_str() == "refused");
        Ok(if is_fresh && !is_refused {
            Entry::Granted
        } else {
            Entry::Login
        })
    });
    let dependencies = Dependencies {
        users,
        entries,
        http: Arc::new(HttpClients::scripted(Box::new(move |request| outside.answer(request)))),
        clock: clock.clone(),
    };
    Oidc::open(settings, database.clone(), secret_box(), dependencies).unwrap()
}

pub(crate) fn code_of(failure: &super::ClientFailure) -> &'static str {
    match failure {
        super::ClientFailure::Refused(error) => error.code.as_str(),
        super::ClientFailure::Failed(error) => error.code().as_str(),
    }
}

pub(crate) fn redirect(answer: Authorized) -> String {
    match answer {
        Authorized::Answer(response) => response.location(),
        Authorized::Login(request) | Authorized::StepUp(request, ..) => panic!("a login is asked for: {request:?}"),
    }
}

/// Returns a query parameter of a URL.
pub(crate) fn parameter(location: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(location).unwrap();
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
