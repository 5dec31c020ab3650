//! A server in this process, and its callers.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::Client;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use vestibule::app::App;
use vestibule::config::Config;
use vestibule::domain::{ServiceProviderName, Timestamp};
use vestibule::server;
use vestibule::storage::{StorageError, scim_tokens};

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub(crate) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub(crate) const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
pub(crate) const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The server that all tests share.
pub(crate) struct TestApp {
    pub(crate) app: Arc<App>,
    pub(crate) port: u16,
    http: Client,
    wiki: String,
    chat: String,
}

static APP: LazyLock<TestApp> = LazyLock::new(TestApp::start);
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
static NAMES: AtomicU64 = AtomicU64::new(0);

/// The running server.
pub(crate) fn app() -> &'static TestApp {
    &APP
}

/// The client of the service provider `wiki`, which works in PRIMARY.
pub(crate) fn wiki() -> Caller {
    Caller {
        token: Some(app().wiki.clone()),
    }
}

/// The client of the service provider `chat`, which works in a store of its own.
pub(crate) fn chat() -> Caller {
    Caller {
        token: Some(app().chat.clone()),
    }
}

/// The client of any configured service provider.
pub(crate) fn client_of(service_provider: &str) -> Caller {
    Caller::with_token(&app().token(service_provider, Duration::from_hours(1)).1)
}

/// A caller without a token.
pub(crate) fn anonymous() -> Caller {
    Caller { token: None }
}

/// A name that no other test uses.
pub(crate) fn unique(stem: &str) -> String {
    format!("{stem}-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// The log so far, at `info` and above.
pub(crate) fn logged() -> String {
    LOG.lock().unwrap().join("\n")
}

/// The names of the clients whose transcripts are replayed, in order.
pub(crate) fn transcripts() -> impl Iterator<Item = String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients")).unwrap();
    let names: BTreeSet<String> = folder
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.into_iter()
}

/// Configuration of a service provider with its own userstore.
fn tenant(name: &str) -> String {
    format!(
        "\n[[userstores]]\nname = \"{name}\"\n[[service_providers]]\nname = \"{name}\"\ninbound_userstore = \"{name}\"\n"
    )
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            LOG.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Service providers that only send SCIM requests.
const SCIM_CLIENTS: &str = r#"
[[service_providers]]
name = "chat"
inbound_userstore = "CHAT"
[[service_providers]]
name = "strict"
inbound_userstore = "STRICT"
scim = { strict = true }
[[service_providers]]
name = "hr"
inbound_userstore = "PRIMARY"
scim = { adopts = "google" }
[[service_providers]]
name = "partner"
inbound_userstore = "PRIMARY"
scim = { adopts = "corp" }
[[service_providers]]
name = "payroll"
inbound_userstore = "PRIMARY"
scim = { adopts = "google", adopts_by = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber" }
"#;

fn settings(port: u16, folder: &Path) -> String {
    format!(
        r#"
            [server]
            listen = "127.0.0.1:{port}"
            public_url = "http://127.0.0.1:{port}"
            [database]
            url = "sqlite:{folder}/test.db"
            [security]
            master_key = {{ file = "{folder}/master.key" }}
            [[userstores]]
            name = "PRIMARY"
            [[userstores]]
            name = "CHAT"
            [[userstores]]
            name = "STRICT"
            [[identity_providers]]
            name = "google"
            kind = "oidc"
            issuer = "https://accounts.google.com"
            client_id = "vestibule"
            [[identity_providers]]
            name = "corp"
            issuer = "https://corp.example"
            client_id = "vestibule"
            [[service_providers]]
            name = "wiki"
            inbound_userstore = "PRIMARY"
            [[service_providers]]
            name = "robot"
            client_id = "robot"
            client_secret = "robot-secret-0123456789"
            client_credentials = true
            inbound_userstore = "CHAT"
            [[service_providers]]
            name = "desk"
            client_id = "desk"
            client_secret = "desk-secret-0123456789"
            redirect_uris = ["https://desk.example/callback"]
            local_login = true
            [[service_providers]]
            name = "chat-desk"
            client_id = "chat-desk"
            client_secret = "chat-desk-secret-0123456789"
            redirect_uris = ["https://chat.example/callback"]
            local_login = true
            inbound_userstore = "CHAT"
            "#,
        folder = folder.display()
    ) + SCIM_CLIENTS
}

impl TestApp {
    fn start() -> Self {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(log::LevelFilter::Info);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("api");
        // Left by an earlier run.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tenants: String = transcripts().map(|name| tenant(&name)).collect();
        let config =
            Config::read(&(settings(port, &folder) + &tenants), &[]).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let app = Arc::new(App::start(&config).unwrap());
        let (served, (send, receive)) = (Arc::clone(&app), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = server::on(&served, listener, false).unwrap();
                send.send(()).unwrap();
                server.await.unwrap();
            });
        });
        receive.recv().unwrap();
        let http = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let mut this = Self {
            app,
            port,
            http,
            wiki: String::new(),
            chat: String::new(),
        };
        this.wiki = this.token("wiki", Duration::from_hours(1)).1;
        this.chat = this.token("chat", Duration::from_hours(1)).1;
        this
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.app.directory.clock().now()
    }

    /// Creates a token; returns its id and the token.
    pub(crate) fn token(&self, service_provider: &str, lifetime: Duration) -> (String, String) {
        let (name, now) = (ServiceProviderName::new(service_provider), self.now());
        self.app
            .database
            .write::<_, StorageError>(move |c| Ok(scim_tokens::create(c, &name, now, now.plus(lifetime))?))
            .unwrap()
    }

    /// Creates a token that may read only.
    pub(crate) fn read_only_token(&self, service_provider: &str) -> String {
        let now = self.now();
        let new = scim_tokens::NewScimToken {
            service_provider: ServiceProviderName::new(service_provider),
            client_id: None,
            created: now,
            expires: now.plus(Duration::from_hours(1)),
            read_only: true,
        };
        let issue = move |connection: &mut _| Ok(scim_tokens::issue(connection, &new)?);
        self.app.database.write::<_, StorageError>(issue).unwrap().1
    }

    pub(crate) fn revoke(&self, id: &str) {
        let (id, now) = (id.to_owned(), self.now());
        let revoked = self
            .app
            .database
            .write::<_, StorageError>(move |c| Ok(scim_tokens::revoke(c, &id, now)?));
        assert!(revoked.unwrap());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sends raw bytes, for requests that no library would send. Returns the status and the whole response.
    pub(crate) fn raw(&self, request: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // The server may respond and close before it has read everything.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        (status, answer)
    }
}

/// An API client with or without a token.
#[derive(Clone)]
pub(crate) struct Caller {
    token: Option<String>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null if it is not JSON.
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn id(&self) -> String {
        self.body["id"]
            .as_str()
            .unwrap_or_else(|| panic!("no id in {self:?}"))
            .to_owned()
    }

    /// Expects a status.
    pub(crate) fn gives(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Expects a SCIM error.
    pub(crate) fn refuses(self, status: u16, scim_type: Option<&str>) -> Self {
        assert_eq!(
            (self.status, self.body["scimType"].as_str()),
            (status, scim_type),
            "{}",
            self.text
        );
        assert_eq!(self.body["schemas"], json!([ERROR]), "{}", self.text);
        assert_eq!(self.body["status"], json!(status.to_string()));
        assert!(!self.body["detail"].as_str().unwrap_or_default().is_empty());
        self
    }
}

impl Caller {
    pub(crate) fn with_token(token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
        }
    }

    pub(crate) fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_default()
    }

    /// Sends any request; a `content-type` among the headers replaces the default.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<String>) -> Reply {
        let mut request = app()
            .http
            .request(Method::from_bytes(method.as_bytes()).unwrap(), app().url(path))
            .body(body.into());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            request = request.header("content-type", "application/scim+json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().unwrap();
        Reply {
            status,
            headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string())
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, &[], body.to_string())
    }

    /// Sends a PATCH with these operations.
    pub(crate) fn patch(&self, path: &str, operations: &Value) -> Reply {
        let body = json!({ "schemas": [PATCH_OP], "Operations": operations });
        self.send("PATCH", path, &[], body.to_string())
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], "")
    }

    /// Creates a user and returns its path.
    pub(crate) fn user(&self, name: &str) -> String {
        let made = self
            .post("/scim/v2/Users", &json!({ "schemas": [USER], "userName": name }))
            .gives(201);
        format!("/scim/v2/Users/{}", made.id())
    }

    /// Creates a user with more attributes and returns its path.
    pub(crate) fn user_with(&self, name: &str, more: &Value) -> String {
        let mut body = json!({ "schemas": [USER], "userName": name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format!("/scim/v2/Users/{}", self.post("/scim/v2/Users", &body).gives(201).id())
    }

    /// Creates a group with these member ids and returns its path.
    pub(crate) fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        format!(
            "/scim/v2/Groups/{}",
            self.post("/scim/v2/Groups", &body).gives(201).id()
        )
    }

    /// Lists the resources that match a filter.
    pub(crate) fn find(&self, endpoint: &str, filter: &str) -> Reply {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("filter", filter)
            .finish();
        self.get(&format!("/scim/v2/{endpoint}?{query}"))
    }

    /// The ids of a group's members.
    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        let body = self.get(group).gives(200).body;
        let members = body["members"].as_array().cloned().unwrap_or_default();
        members
            .iter()
            .map(|member| member["value"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The last segment of a path.
pub(crate) fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}
