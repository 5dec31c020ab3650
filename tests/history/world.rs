//! The world of a run: a database, server processes on it, a target, and the faults.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vestibule::storage::{Database, DatabaseUrl, StorageError, random};

use crate::fixtures::fake_target::FakeTarget;

/// The server processes and what they stand on.
pub(crate) struct World {
    pub(crate) target: FakeTarget,
    pub(crate) servers: Vec<Server>,
    pub(crate) database: Database,
    /// Cuts connections to PostgreSQL; none for SQLite.
    pub(crate) cutter: Option<Arc<Cutter>>,
    pub(crate) token: String,
    folder: tempfile::TempDir,
}

impl World {
    /// Starts `processes` servers on an empty database: SQLite, or a new schema of a PostgreSQL server.
    pub(crate) fn start(postgres: Option<&str>, processes: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let target = FakeTarget::start();
        target.with(|state| {
            state.trusting = true;
            state.patch_supported = Some(true);
        });
        let (direct, seen_by_servers, cutter) = match postgres {
            None => {
                let url = format!("sqlite:{}/test.db", folder.path().display());
                (url.clone(), url, None)
            }
            Some(server) => {
                let schema = format!("history_{}", &random::fingerprint(&random::token())[..16]);
                let admin = Database::open(&DatabaseUrl::parse(server).unwrap()).unwrap();
                execute(&admin, &format!("CREATE SCHEMA {schema}"));
                let cutter = Cutter::start(server);
                let through = url::Url::parse(server).map(|mut url| {
                    url.set_port(Some(cutter.port)).unwrap();
                    url
                });
                let options = format!("?options=-csearch_path%3D{schema}");
                (
                    format!("{server}{options}"),
                    format!("{}{options}", through.unwrap()),
                    Some(cutter),
                )
            }
        };
        let mut servers: Vec<Server> = (0..processes)
            .map(|number| Server::new(folder.path(), number, &seen_by_servers, &target))
            .collect();
        for server in &mut servers {
            server.start();
        }
        let token = servers[0].token();
        Self {
            database: Database::open(&DatabaseUrl::parse(&direct).unwrap()).unwrap(),
            target,
            servers,
            cutter,
            token,
            folder,
        }
    }

    /// Keeps the folder with the logs and the database for a look at what went wrong.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

pub(crate) fn execute(database: &Database, statements: &str) {
    use diesel::connection::SimpleConnection;
    database
        .read::<_, StorageError>(|connection| connection.batch_execute(statements))
        .unwrap();
}

/// One server process.
pub(crate) struct Server {
    pub(crate) url: String,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Server {
    fn new(folder: &Path, number: usize, database: &str, target: &FakeTarget) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (config, log) = (
            folder.join(format!("config-{number}.toml")),
            folder.join(format!("server-{number}.log")),
        );
        let (folder, target_url) = (folder.display(), &target.url);
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:{port}"
            public_url = "http://127.0.0.1:{port}"
            [database]
            url = "{database}"
            [security]
            master_key = {{ file = "{folder}/master.key" }}
            [[userstores]]
            name = "PRIMARY"
            [[service_providers]]
            name = "wiki"
            [[service_providers.outbound]]
            target = "copy"
            [[targets]]
            name = "copy"
            connector = "scim"
            base_url = "{target_url}"
            auth = {{ bearer = "copy-token" }}
            allow_private_network = true
            max_deletes_per_hour = 1000000
            "#
        );
        std::fs::write(&config, text).unwrap();
        Self {
            url: format!("http://127.0.0.1:{port}"),
            config,
            log,
            process: None,
        }
    }

    /// Starts the process and waits until it is ready.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let child = Command::new(binary())
            .args(["serve", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        let client = reqwest::blocking::Client::new();
        let began = Instant::now();
        loop {
            let ready = client.get(format!("{}/readyz", self.url)).send();
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < Duration::from_mins(1),
                "the server did not start: {}",
                std::fs::read_to_string(&self.log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The lines of the log that report a server error.
    pub(crate) fn errors(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
            .map(str::to_owned)
            .collect()
    }

    fn token(&self) -> String {
        let made = Command::new(binary())
            .args(["token", "create", "--service-provider", "wiki", "--config"])
            .arg(&self.config)
            .output()
            .unwrap();
        let out = String::from_utf8(made.stdout).unwrap();
        let problem = String::from_utf8_lossy(&made.stderr);
        out.lines()
            .last()
            .unwrap_or_else(|| panic!("no token: {problem}"))
            .trim()
            .to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A relay before PostgreSQL that cuts connections: before a COMMIT reaches the server, or after it and before the
/// answer comes back, or anywhere.
pub(crate) struct Cutter {
    pub(crate) port: u16,
    /// In 10,000 messages of clients, how many are cut; 0 while there are no faults.
    rate: AtomicU32,
    dice: AtomicU64,
    pub(crate) commits_cut: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
}

impl Cutter {
    fn start(server: &str) -> Arc<Self> {
        let url = url::Url::parse(server).unwrap();
        let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cutter = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            rate: AtomicU32::new(0),
            dice: AtomicU64::new(0x9E37_79B9_7F4A_7C15),
            commits_cut: AtomicU32::new(0),
            open: Mutex::default(),
        });
        let relay = Arc::clone(&cutter);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&address) else {
                    continue;
                };
                relay.open.lock().unwrap().push(client.try_clone().unwrap());
                relay.relay(client, server);
            }
        });
        cutter
    }

    /// Cuts this many of 10,000 messages from now on; COMMITs a hundred times as often.
    pub(crate) fn cut(&self, rate: u32) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// Cuts every open connection.
    pub(crate) fn cut_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn roll(&self, of: u32) -> u32 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let last = self
            .dice
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)));
        u32::try_from(step(last.unwrap_or(1)) >> 33).unwrap_or(0) % of
    }

    fn relay(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_server, &mut to_client);
            let _ = to_client.shutdown(Shutdown::Both);
        });
        let cutter = Arc::clone(self);
        std::thread::spawn(move || {
            let (mut from_client, mut to_server) = (client, server);
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = from_client.read(&mut buffer) {
                let message = &buffer[..length];
                let rate = cutter.rate.load(Ordering::Relaxed);
                let is_commit = message.windows(6).any(|part| part == b"COMMIT");
                let odds = if is_commit { rate * 100 } else { rate };
                if rate > 0 && cutter.roll(10_000) < odds {
                    cutter.commits_cut.fetch_add(u32::from(is_commit), Ordering::Relaxed);
                    let reaches = cutter.roll(3) > 0;
                    let _ = from_client.shutdown(Shutdown::Both);
                    if reaches {
                        let _ = to_server.write_all(message);
                        std::thread::sleep(Duration::from_millis(u64::from(cutter.roll(30))));
                    }
                    let _ = to_server.shutdown(Shutdown::Both);
                    return;
                }
                if to_server.write_all(message).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        });
    }
}

/// The program that is tried; `VESTIBULE_BIN` names another one.
fn binary() -> String {
    std::env::var("VESTIBULE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_vestibule").to_owned())
}
