//! What is slow holds up nothing else: an identity provider that never answers, many passwords, slow bodies.
//! The tests count what waits on what, on a real server process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

/// A server process of its own.
struct Server {
    process: Child,
    url: String,
    token: String,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts a server whose application `wiki` signs people in through the identity provider `slow`.
    #[expect(clippy::too_many_lines, reason = "a configuration and a start in order")]
    fn start(issuer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (path, config) = (folder.path().display(), folder.path().join("config.toml"));
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:{port}"
            public_url = "http://127.0.0.1:{port}"
            [database]
            url = "sqlite:{path}/test.db"
            [security]
            master_key = {{ file = "{path}/master.key" }}
            [[userstores]]
            name = "PRIMARY"
            [[identity_providers]]
            name = "slow"
            issuer = "{issuer}"
            client_id = "us"
            allow_private_network = true
            [[service_providers]]
            name = "wiki"
            client_id = "wiki"
            client_secret = "wiki-secret-0123456789abcdef"
            redirect_uris = ["http://127.0.0.1:1/callback"]
            identity_providers = ["slow"]
            "#
        );
        std::fs::write(&config, text).unwrap();
        let program = env!("CARGO_BIN_EXE_vestibule");
        let process = Command::new(program)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let began = Instant::now();
        while !reqwest::blocking::get(format!("{url}/readyz")).is_ok_and(|answer| answer.status().is_success()) {
            assert!(began.elapsed() < Duration::from_mins(1), "the server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let made = Command::new(program)
            .args(["token", "create", "--service-provider", "wiki", "--config"])
            .arg(&config)
            .output()
            .unwrap();
        let token = String::from_utf8(made.stdout)
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .trim()
            .to_owned();
        Self {
            process,
            url,
            token,
            _folder: folder,
        }
    }

    fn create(&self, client: &reqwest::blocking::Client, name: &str, password: Option<&str>) -> u16 {
        let mut user = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name});
        if let Some(password) = password {
            user["password"] = json!(password);
        }
        let request = client
            .post(format!("{}/scim/v2/Users", self.url))
            .bearer_auth(&self.token)
            .header("Content-Type", "application/scim+json")
            .body(user.to_string());
        request.send().unwrap().status().as_u16()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client whose requests may take long.
fn patient() -> reqwest::blocking::Client {
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_mins(2));
    client.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[test]
fn a_provider_that_never_answers_holds_up_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            open.push(stream);
        }
    });
    let server = Server::start(&issuer);
    let (open, client) = (AtomicUsize::new(0), patient());
    let authorize = format!(
        "{}/oauth2/authorize?response_type=code&client_id=wiki&scope=openid&state=s\
         &redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcallback\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
        server.url
    );
    std::thread::scope(|scope| {
        for _ in 0..160 {
            scope.spawn(|| {
                open.fetch_add(1, Ordering::SeqCst);
                let answer = client.get(&authorize).send();
                open.fetch_sub(1, Ordering::SeqCst);
                // A redirect to the login page, or a page that says that the provider does not answer.
                assert!(answer.unwrap().status().as_u16() < 505);
            });
        }
        let began = Instant::now();
        while connections.load(Ordering::SeqCst) == 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "nobody asked the provider");
            std::thread::sleep(Duration::from_millis(5));
        }
        let plain = patient();
        for number in 0..20 {
            assert_eq!(server.create(&plain, &format!("user{number}"), None), 201);
        }
        let keys = plain.get(format!("{}/oauth2/jwks", server.url)).send().unwrap();
        assert_eq!(keys.status(), 200);
        assert!(open.load(Ordering::SeqCst) > 0, "the provider was waited for meanwhile");
        assert!(connections.load(Ordering::SeqCst) <= 16, "few ask at one time");
    });
}

#[test]
fn many_passwords_hold_up_nothing_else() {
    let server = Server::start("http://127.0.0.1:9");
    let (done, refused, client) = (AtomicUsize::new(0), AtomicUsize::new(0), patient());
    std::thread::scope(|scope| {
        for number in 0..150 {
            let (server, done, refused, client) = (&server, &done, &refused, &client);
            scope.spawn(move || {
                let status = server.create(client, &format!("secret{number}"), Some("correct horse battery"));
                assert!(matches!(status, 201 | 503), "{status}");
                refused.fetch_add(usize::from(status == 503), Ordering::SeqCst);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let plain = patient();
        for number in 0..20 {
            assert_eq!(server.create(&plain, &format!("user{number}"), None), 201);
        }
        assert!(done.load(Ordering::SeqCst) < 150, "passwords were still waiting");
    });
    assert_eq!(refused.load(Ordering::SeqCst), 0, "all of them had their turn");
}

#[test]
fn a_body_that_is_sent_slowly_is_given_up() {
    let server = Server::start("http://127.0.0.1:9");
    let waiting: Vec<_> = ["/oauth2/token", "/login/password", "/account", "/scim/v2/Users"]
        .map(|path| {
            let (address, token) = (server.url.trim_start_matches("http://").to_owned(), server.token.clone());
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(&address).unwrap();
                let (authorization, media_type) = if path.starts_with("/scim") {
                    (format!("Authorization: Bearer {token}\r\n"), "application/scim+json")
                } else {
                    (String::new(), "application/x-www-form-urlencoded")
                };
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Content-Type: {media_type}\r\nContent-Length: 1000\r\n\r\na="
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
                let mut answer = [0; 12];
                let _ = stream.read_exact(&mut answer);
                String::from_utf8_lossy(&answer).into_owned()
            })
        })
        .into_iter()
        .collect();
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), "HTTP/1.1 408");
    }
}
