//! A user who is deactivated or deleted through SCIM loses all access at once, in every process, and stays locked out.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};
use vestibule::app::App;
use vestibule::config::Config;
use vestibule::domain::login::{Authentication, AuthorizationRequest};
use vestibule::domain::patch::PatchOperation;
use vestibule::domain::path::Path;
use vestibule::domain::{Actor, Change, Kind, Link, Operation, Precondition, Principal, ResourceId, Secret, StoreName};
use vestibule::federation::LoginError;
use vestibule::federation::account::SessionSelection;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::login::step::LoginStep;
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::federation::removal::ProviderRemover;
use vestibule::oidc::{Authorized, ClientFailure};
use vestibule::scim::{Caller, RequestOptions, ResourceRef, ScimClient};
use vestibule::storage::identity_locks::{self, IdentityLock};
use vestibule::storage::{SqlConnection, StorageError, links};

const PASSWORD: &str = "correct horse battery staple";
const RETURN: &str = "https://wiki.example/callback";
/// The example of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A running application and its user Ann.
struct World {
    app: App,
    config: Config,
    ann: ResourceId,
    folder: Arc<tempfile::TempDir>,
}

/// The credentials that Ann has after a login.
struct Belongings {
    session: String,
    unused_code: String,
    access_token: String,
    refresh_token: String,
}

/// The ways to end a user's access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Off {
    /// By a PATCH of `active`.
    Deactivated,
    /// By a PUT with `active` false.
    Replaced,
    Deleted,
    /// By an administrator, without SCIM.
    ByAdministrator,
    PasswordChanged,
    /// By locking one of the identities that are linked to the account.
    IdentityLocked,
    /// By the user, on the account page.
    SignedOut,
    /// By unlinking the identity that the login came with.
    Unlinked,
    /// By removing the identity provider that the login came through.
    ProviderRemoved,
}

impl Off {
    const ALL: [Self; 7] = [
        Self::Deactivated,
        Self::Replaced,
        Self::Deleted,
        Self::ByAdministrator,
        Self::PasswordChanged,
        Self::IdentityLocked,
        Self::SignedOut,
    ];

    /// Whether the user stays locked out until access is restored.
    fn lasts(self) -> bool {
        !matches!(self, Self::PasswordChanged | Self::SignedOut)
    }
}

impl World {
    fn new() -> Self {
        Self::with("")
    }

    /// Like `new`, with additional settings of the wiki.
    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!(
            r#"
            server = {{ listen = "127.0.0.1:1", public_url = "http://127.0.0.1:1" }}
            database.url = "sqlite:{path}/vestibule.db"
            security.master_key = {{ file = "{path}/master.key" }}
            userstores = [{{ name = "PRIMARY", kind = "sql" }}]
            [[service_providers]]
            name = "wiki"
            client_id = "wiki"
            client_secret = "wiki-secret-0123456789abcdef"
            redirect_uris = ["{RETURN}"]
            local_login = true
            inbound_userstore = "PRIMARY"
            {more}
            "#
        );
        let config = Config::read(&text, &[]).unwrap();
        let app = App::start(&config).unwrap();
        let body = json!({"schemas": [USER], "userName": "ann", "password": PASSWORD}).to_string();
        let made = app
            .scim
            .create(&caller(), &Kind::USER, body.as_bytes(), &RequestOptions::default());
        let made: Value = serde_json::from_str(&made.unwrap().body.unwrap()).unwrap();
        let ann = made["id"].as_str().unwrap().into();
        Self {
            app,
            config,
            ann,
            folder: Arc::new(folder),
        }
    }

    /// Sets `active` through SCIM.
    fn set_active(&self, active: bool) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{"op": "replace", "path": "active", "value": active}],
        });
        let (caller, body) = (caller(), body.to_string());
        let patched = self
            .app
            .scim
            .patch(&caller, &self.target(), body.as_bytes(), &RequestOptions::default());
        patched.unwrap();
    }

    fn put_out(&self, how: Off) {
        match how {
            Off::Deactivated => self.set_active(false),
            Off::Replaced => {
                let body = json!({"schemas": [USER], "userName": "ann", "active": false}).to_string();
                let scim = &self.app.scim;
                let replaced = scim.replace(&caller(), &self.target(), body.as_bytes(), &RequestOptions::default());
                replaced.unwrap();
            }
            Off::Deleted => {
                let deleted = self
                    .app
                    .scim
                    .delete(&caller(), &self.target(), &RequestOptions::default());
                deleted.unwrap();
            }
            Off::ByAdministrator => self.by_hand("active", false.into()),
            Off::PasswordChanged => self.by_hand("password", "another correct horse".into()),
            Off::IdentityLocked => {
                let lock = IdentityLock {
                    identity: identity(),
                    reason: String::new(),
                    at: self.app.directory.clock().now(),
                };
                let database = &self.app.database;
                let locked = database.write::<_, StorageError>(move |c| Ok(identity_locks::lock(c, &lock)?));
                assert_eq!(locked.unwrap().as_ref(), Some(&self.ann));
            }
            Off::Unlinked => {
                let visitor = SignedInUser {
                    authentication: self.login().1,
                    session: String::new(),
                };
                self.app.federation.account.unlink(&visitor, &identity()).unwrap();
            }
            Off::ProviderRemoved => {
                let remover = ProviderRemover::new(Arc::clone(&self.app.directory), self.app.database.clone());
                remover.begin(&"google".into(), false).unwrap();
            }
            Off::SignedOut => {
                let visitor = SignedInUser {
                    authentication: self.login().1,
                    session: String::new(),
                };
                self.app
                    .federation
                    .account
                    .sign_out(&visitor, SessionSelection::All)
                    .unwrap();
            }
        }
    }

    fn by_hand(&self, path: &str, value: Value) {
        let users = self.app.directory.registry().resource_type(&Kind::USER).unwrap();
        let operation = Operation::Patch {
            kind: Kind::USER,
            id: self.ann.clone(),
            operations: vec![PatchOperation::replace(Path::parse(path, users).unwrap(), value)],
            precondition: Precondition::None,
        };
        let change = Change {
            actor: Actor::administrator("test"),
            operation,
            side_records: Vec::new(),
        };
        self.app.directory.apply(change).unwrap();
    }

    /// Links Ann's account to an identity of an identity provider.
    fn link(&self) {
        let (user, now) = (self.ann.clone(), self.app.directory.clock().now());
        let link = move |c: &mut _| Ok(links::insert(c, &identity(), &StoreName::PRIMARY, &user, now)?);
        self.app.database.write::<_, StorageError>(link).unwrap();
    }

    /// The same database in another process.
    fn elsewhere(&self) -> Self {
        Self {
            app: App::start(&self.config).unwrap(),
            config: self.config.clone(),
            ann: self.ann.clone(),
            folder: Arc::clone(&self.folder),
        }
    }

    fn target(&self) -> ResourceRef {
        ResourceRef {
            kind: Kind::USER,
            id: self.ann.clone(),
        }
    }

    /// Sends an authorization request of the wiki, in a browser with this session.
    fn authorize(&self, session: Option<&str>) -> Authorized {
        let parameters = pairs(&[
            ("response_type", "code"),
            ("client_id", "wiki"),
            ("redirect_uri", RETURN),
            ("scope", "openid offline_access"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ]);
        self.app.oidc.authorize(&parameters, session).unwrap()
    }

    /// Starts a login, up to the page that asks for name and password.
    fn begin(&self) -> String {
        let Authorized::Login(request) = self.authorize(None) else {
            panic!("not at the login");
        };
        self.app
            .federation
            .login
            .start(*request, &"wiki".into())
            .unwrap()
            .handle
    }

    fn enter_password(&self, handle: &str) -> Result<LoginStep, LoginError> {
        self.app
            .federation
            .login
            .password(handle, "ann", &Secret::new(PASSWORD))
    }

    fn login(&self) -> (AuthorizationRequest, Authentication) {
        match self.enter_password(&self.begin()) {
            Ok(LoginStep::Complete(request, authentication)) => (*request, authentication),
            other => panic!("not let in: {other:?}"),
        }
    }

    /// A login through google, as it is after the return from there.
    fn federated(&self) -> (AuthorizationRequest, Authentication) {
        let (request, authentication) = self.login();
        let authentication = Authentication {
            amr: vec!["fed".to_owned()],
            identity_provider: Some("google".into()),
            ..authentication
        };
        (request, authentication)
    }

    fn belongings(&self) -> Belongings {
        self.belongings_of(self.login())
    }

    fn belongings_of(&self, (request, authentication): (AuthorizationRequest, Authentication)) -> Belongings {
        let oidc = &self.app.oidc;
        let session = oidc.open_session(&authentication, None, None).unwrap();
        let code = parameter(
            &oidc.complete(&request, &authentication, &session).unwrap().location(),
            "code",
        )
        .unwrap();
        let tokens = self.redeem(&code).unwrap();
        let Authorized::Answer(response) = self.authorize(Some(&session)) else {
            panic!("a session needs no login");
        };
        Belongings {
            unused_code: parameter(&response.location(), "code").unwrap(),
            session,
            access_token: tokens["access_token"].as_str().unwrap().to_owned(),
            refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
        }
    }

    fn redeem(&self, code: &str) -> Result<Value, &'static str> {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", RETURN),
            ("code_verifier", VERIFIER),
        ])
    }

    fn refresh(&self, token: &str) -> Result<Value, &'static str> {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn token(&self, form: &[(&str, &str)]) -> Result<Value, &'static str> {
        let client = [("client_id", "wiki"), ("client_secret", "wiki-secret-0123456789abcdef")];
        let form = pairs(&[form, &client].concat());
        let tokens = self.app.oidc.token(None, &form).map_err(|failure| code_of(&failure))?;
        Ok(serde_json::to_value(tokens).unwrap())
    }

    fn userinfo(&self, token: &str) -> Result<(), &'static str> {
        let answer = self.app.oidc.userinfo(Some(&format!("Bearer {token}")), &[]);
        answer.map(drop).map_err(|failure| code_of(&failure))
    }

    fn introspected(&self, token: &str) -> Value {
        let client = [("client_id", "wiki"), ("client_secret", "wiki-secret-0123456789abcdef")];
        let form = pairs(&[&[("token", token)][..], &client].concat());
        self.app.oidc.introspect(None, &form).unwrap().into()
    }

    /// Checks that none of Ann's credentials works.
    fn assert_all_dead(&self, had: &Belongings, when: &str) {
        assert_eq!(self.app.oidc.session(&had.session).unwrap(), None, "{when}");
        let asked = self.authorize(Some(&had.session));
        assert!(matches!(asked, Authorized::Login(_)), "{when}: {asked:?}");
        assert_eq!(self.redeem(&had.unused_code), Err("invalid_grant"), "{when}");
        assert_eq!(self.refresh(&had.refresh_token), Err("invalid_grant"), "{when}");
        assert_eq!(self.userinfo(&had.access_token), Err("invalid_token"), "{when}");
        assert_eq!(self.introspected(&had.access_token), json!({"active": false}), "{when}");
        assert_eq!(
            self.introspected(&had.refresh_token),
            json!({"active": false}),
            "{when}"
        );
    }
}

fn identity() -> Link {
    Link {
        identity_provider: "google".into(),
        issuer: "https://idp.example".to_owned(),
        subject: "ann".to_owned(),
    }
}

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn caller() -> Caller {
    let principal = Principal::Client {
        token: "test".into(),
        store: Some(StoreName::PRIMARY),
    };
    Caller {
        actor: Actor {
            principal,
            service_provider: "wiki".into(),
        },
        read_only: false,
        client: ScimClient {
            store: Some(StoreName::PRIMARY),
            strict: false,
            adoption: None,
            token_client: None,
        },
    }
}

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    parameters.iter().map(owned).collect()
}

fn parameter(location: &str, name: &str) -> Option<String> {
    let url = url::Url::parse(location).unwrap();
    let found = url.query_pairs().find(|(key, _)| key == name)?;
    Some(found.1.into_owned())
}

fn code_of(failure: &ClientFailure) -> &'static str {
    match failure {
        ClientFailure::Refused(error) => error.code.as_str(),
        ClientFailure::Failed(error) => panic!("{error}"),
    }
}

#[test]
fn nothing_that_a_login_gave_outlives_the_account() {
    for how in [Off::Deactivated, Off::Deleted] {
        let world = World::new();
        let had = world.belongings();
        assert_eq!(world.userinfo(&had.access_token), Ok(()));
        world.put_out(how);
        world.assert_all_dead(&had, &format!("{how:?}"));
    }
}

#[test]
fn deactivation_takes_effect_at_once_in_every_process() {
    for how in Off::ALL {
        let world = World::new();
        world.link();
        let elsewhere = world.elsewhere();
        let had = [world.belongings(), elsewhere.belongings()];
        let asked = world.begin();
        let (request, authentication) = world.login();
        assert_eq!(elsewhere.introspected(&had[0].access_token)["active"], true);
        world.put_out(how);
        for (place, had) in [(&elsewhere, &had[0]), (&world, &had[1])] {
            place.assert_all_dead(had, &format!("{how:?}"));
        }
        if !how.lasts() {
            continue;
        }
        for place in [&elsewhere, &world] {
            let step = place.enter_password(&asked);
            assert!(
                !matches!(step, Ok(LoginStep::Complete(..))),
                "{how:?}, with a login under way: {step:?}"
            );
            // A login that was proved before the end opens no session, or an invalid one.
            let Ok(session) = place.app.oidc.open_session(&authentication, None, None) else {
                continue;
            };
            assert_eq!(
                place.app.oidc.session(&session).unwrap(),
                None,
                "{how:?}, a moment later"
            );
            let location = place
                .app
                .oidc
                .complete(&request, &authentication, &session)
                .unwrap()
                .location();
            assert_eq!(parameter(&location, "code"), None, "{how:?}, a moment later");
        }
    }
}

#[test]
fn whatever_ends_a_federated_login_ends_all_that_it_gave() {
    for how in Off::ALL.into_iter().chain([Off::Unlinked, Off::ProviderRemoved]) {
        let world = World::with(
            "identity_providers = [\"google\"]\n[[identity_providers]]\nname = \"google\"\n\
             issuer = \"https://idp.example\"\nclient_id = \"us\"\n",
        );
        world.link();
        let had = world.belongings_of(world.federated());
        world.put_out(how);
        world.assert_all_dead(&had, &format!("{how:?}"));
    }
}

#[test]
fn switching_an_account_on_again_brings_nothing_back() {
    let world = World::new();
    let had = world.belongings();
    world.put_out(Off::Deactivated);
    world.set_active(true);
    world.assert_all_dead(&had, "after the account was switched on again");
    world.login();
}

#[test]
fn a_login_under_way_does_not_lead_in() {
    for how in [Off::Deactivated, Off::Deleted] {
        let world = World::new();
        let handle = world.begin();
        world.put_out(how);
        let step = world.enter_password(&handle);
        match (how, &step) {
            (Off::Deactivated, Err(LoginError::Denied(denial, _))) => assert_eq!(*denial, Denial::AccountDisabled),
            // The page does not reveal whether the account exists.
            (Off::Deleted, Ok(LoginStep::Show(_))) => {}
            _ => panic!("{how:?}: {step:?}"),
        }
    }
}

#[test]
fn a_login_that_was_proved_a_moment_before_gets_no_code() {
    for how in [Off::Deactivated, Off::Deleted] {
        let world = World::new();
        let (request, authentication) = world.login();
        world.put_out(how);
        let opened = world.app.oidc.open_session(&authentication, None, None);
        if how == Off::Deactivated {
            assert!(opened.is_err(), "the proof is of earlier credentials");
            continue;
        }
        let session = opened.unwrap();
        let location = world
            .app
            .oidc
            .complete(&request, &authentication, &session)
            .unwrap()
            .location();
        assert_eq!(
            parameter(&location, "error").as_deref(),
            Some("access_denied"),
            "{how:?}"
        );
        assert_eq!(parameter(&location, "code"), None, "{how:?}");
        assert_eq!(world.app.oidc.session(&session).unwrap(), None, "{how:?}");
    }
}

/// A back-channel logout endpoint of an application, and the forms that it receives.
fn listener() -> (String, Receiver<String>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/logout", socket.local_addr().unwrap());
    let (sender, posted) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            while !request.contains("logout_token=") {
                let mut part = [0; 8192];
                let length = stream.read(&mut part).unwrap();
                request.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            let _ = sender.send(request);
        }
    });
    (address, posted)
}

#[test]
fn applications_are_told_within_seconds() {
    for how in [Off::Deactivated, Off::Deleted] {
        let (address, posted) = listener();
        let world = World::with(&format!(
            "backchannel_logout_uri = \"{address}\"\nallow_private_network = true"
        ));
        world.belongings();
        world.put_out(how);
        let request = posted.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(request.starts_with("POST /logout HTTP/1.1"), "{how:?}: {request}");
        world.app.stop();
    }
}

/// O25: addresses that a service provider configures must be public, unless its settings allow a private network.
#[test]
fn back_channel_logout_is_not_sent_to_private_networks() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = format!("https://{}/logout", socket.local_addr().unwrap());
    let world = World::with(&format!("backchannel_logout_uri = \"{address}\""));
    world.belongings();
    world.put_out(Off::Deactivated);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(socket.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    world.app.stop();
}

/// O12: a revocation that cannot be stored is an error.
#[test]
fn a_revocation_that_cannot_be_written_is_no_success() {
    let world = World::new();
    let had = world.belongings();
    let execute = |statement: &'static str| {
        let run = move |connection: &mut SqlConnection| Ok(connection.batch_execute(statement)?);
        world.app.database.write::<_, StorageError>(run).unwrap();
    };
    let client = [("client_id", "wiki"), ("client_secret", "wiki-secret-0123456789abcdef")];
    let form = pairs(&[&[("token", had.refresh_token.as_str())][..], &client].concat());
    execute("CREATE TRIGGER refuse BEFORE UPDATE ON grants BEGIN SELECT RAISE(ABORT, 'no room'); END");
    let failure = world.app.oidc.revoke(None, &form).unwrap_err();
    assert!(
        matches!(&failure, ClientFailure::Failed(error) if error.code().status() >= 500),
        "{failure:?}"
    );
    execute("DROP TRIGGER refuse");
    world.app.oidc.revoke(None, &form).unwrap();
    assert_eq!(world.refresh(&had.refresh_token), Err("invalid_grant"));
}

/// The role of a table's rows when the access of a person ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtAnEnd {
    /// They let the person in, and are dead afterwards: a column of [`Belongings`] or a row of `pending_steps`.
    Dies,
    /// Every entry is decided on them, at the time of the entry.
    Decides,
    /// They let nobody in.
    LetsNobodyIn,
}

/// Every table with a column that may name a person, a session or a grant.
const TABLES: [(&str, AtAnEnd); 34] = [
    ("access_tokens", AtAnEnd::Dies),
    ("approvals", AtAnEnd::Decides),
    ("attribute_values", AtAnEnd::LetsNobodyIn),
    ("consents", AtAnEnd::Decides),
    ("credential_versions", AtAnEnd::Decides),
    ("credentials", AtAnEnd::Decides),
    ("factors", AtAnEnd::Decides),
    ("former_addresses", AtAnEnd::LetsNobodyIn),
    ("former_links", AtAnEnd::LetsNobodyIn),
    ("grants", AtAnEnd::Dies),
    ("group_grants", AtAnEnd::LetsNobodyIn),
    ("identity_locks", AtAnEnd::Decides),
    ("intents", AtAnEnd::LetsNobodyIn),
    ("journal", AtAnEnd::LetsNobodyIn),
    ("known_browsers", AtAnEnd::LetsNobodyIn),
    ("ldap_entries", AtAnEnd::LetsNobodyIn),
    ("links", AtAnEnd::Decides),
    ("login_transactions", AtAnEnd::Dies),
    ("logouts", AtAnEnd::LetsNobodyIn),
    ("mail_codes", AtAnEnd::LetsNobodyIn),
    ("members", AtAnEnd::LetsNobodyIn),
    ("outbound", AtAnEnd::LetsNobodyIn),
    ("outbound_members", AtAnEnd::LetsNobodyIn),
    ("past_links", AtAnEnd::LetsNobodyIn),
    ("pushed_requests", AtAnEnd::LetsNobodyIn),
    ("recovery_codes", AtAnEnd::Decides),
    ("refresh_tokens", AtAnEnd::Dies),
    ("removals", AtAnEnd::Decides),
    ("resources", AtAnEnd::Decides),
    // A token of an application, not of a person.
    ("scim_tokens", AtAnEnd::LetsNobodyIn),
    ("security_events", AtAnEnd::LetsNobodyIn),
    ("session_clients", AtAnEnd::LetsNobodyIn),
    ("sessions", AtAnEnd::Dies),
    ("unique_values", AtAnEnd::LetsNobodyIn),
];

#[test]
fn every_table_that_names_a_person_is_in_the_matrix() {
    let text = include_str!("../../src/storage/tables.rs");
    let mut found = Vec::new();
    for table in text.split("diesel::table! {").skip(1) {
        let name = table.split_whitespace().next().unwrap();
        let names_a_person = [
            "resource_id",
            "member_id",
            "subject",
            "session_hash",
            "grant_id",
            "token_hash",
            "handle_hash",
            "id_hash",
            "document",
            "identity_provider",
        ];
        let columns = table.lines().filter_map(|line| Some(line.trim().split_once(" ->")?.0));
        if columns.into_iter().any(|column| names_a_person.contains(&column)) {
            found.push(name);
        }
    }
    found.sort_unstable();
    let known: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known, "a new table: what does an end do to its rows?");
    // The matrix has a column for each of these.
    let dies: Vec<&str> = TABLES
        .iter()
        .filter(|(_, end)| *end == AtAnEnd::Dies)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(
        dies,
        [
            "access_tokens",
            "grants",
            "login_transactions",
            "refresh_tokens",
            "sessions"
        ]
    );
    let Belongings {
        session: _,
        unused_code: _,
        access_token: _,
        refresh_token: _,
    } = World::new().belongings();
}
