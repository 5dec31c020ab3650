//! The shipped binary with a folder of schemas, and its SCIM clients.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::Client;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// A running server and one of its clients.
pub(crate) struct Server {
    process: Arc<Process>,
    http: Client,
    token: String,
}

struct Process {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Expects a status.
    pub(crate) fn gives(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// Expects a SCIM error.
    pub(crate) fn refuses(self, status: u16, scim_type: &str) -> Self {
        assert_eq!(
            (self.status, self.body["scimType"].as_str()),
            (status, Some(scim_type)),
            "{}",
            self.body
        );
        self
    }
}

fn vestibule(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.arg("--config").arg(folder.join("config.toml")).args(arguments);
    command
        .env_remove("RUST_LOG")
        .env_remove("VESTIBULE_CONFIG")
        .stdin(Stdio::null());
    command
}

fn configure(folder: &Path, port: u16, schemas: &Path) {
    let text = format!(
        r#"
        [server]
        listen = "127.0.0.1:{port}"
        public_url = "http://127.0.0.1:{port}"
        [database]
        url = "sqlite:{folder}/test.db"
        [security]
        master_key = {{ file = "{folder}/master.key" }}
        [scim]
        schemas = "{schemas}"
        [[userstores]]
        name = "PRIMARY"
        [[userstores]]
        name = "BRANCH"
        [[service_providers]]
        name = "assets"
        [[service_providers]]
        name = "branch"
        inbound_userstore = "BRANCH"
        "#,
        folder = folder.display(),
        schemas = schemas.display(),
    );
    std::fs::write(folder.join("config.toml"), text).unwrap();
}

/// Runs `vestibule check` with one schema file; returns the exit status and standard error.
pub(crate) fn check(schema_file: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let schemas = folder.path().join("schemas");
    std::fs::create_dir(&schemas).unwrap();
    std::fs::write(schemas.join("bad.json"), schema_file).unwrap();
    configure(folder.path(), 1, &schemas);
    let output = vestibule(folder.path(), &["check"]).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

impl Server {
    /// A server with the schemas in the `schemas` folder, and the client of `assets`, which works in PRIMARY.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/own_types/schemas");
        configure(folder.path(), port, &schemas);
        let mut child = vestibule(folder.path(), &["serve"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "the server ended while it started");
            std::thread::sleep(Duration::from_millis(100));
        }
        let process = Arc::new(Process { child, folder, port });
        Self::with(process, "assets")
    }

    /// The same server, with the client of another service provider.
    pub(crate) fn as_client_of(&self, service_provider: &str) -> Self {
        Self::with(Arc::clone(&self.process), service_provider)
    }

    fn with(process: Arc<Process>, service_provider: &str) -> Self {
        let output = vestibule(
            process.folder.path(),
            &["token", "create", "--service-provider", service_provider, "--json"],
        )
        .output()
        .unwrap();
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let http = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let token = made["token"].as_str().unwrap().to_owned();
        Self { process, http, token }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(body))
    }

    /// A GET with query parameters.
    pub(crate) fn query(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        self.get(&format!("{path}?{query}"))
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let url = format!("http://127.0.0.1:{}/scim/v2{path}", self.process.port);
        let mut request = self
            .http
            .request(Method::from_bytes(method.as_bytes()).unwrap(), url)
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/scim+json")
                .body(body.to_string());
        }
        let answer = request.send().unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = serde_json::from_str(&answer.text().unwrap()).unwrap_or(Value::Null);
        Reply { status, headers, body }
    }
}
