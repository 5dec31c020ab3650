//! The simulated world: two processes of the real server on one database, with models of everything around them.

use std::net::TcpListener;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use serde_json::Value;
use vestibule::app::App;
use vestibule::app::surroundings::Surroundings;
use vestibule::config::Config;
use vestibule::domain::{Clock, Secret};
use vestibule::federation::Upstream;
use vestibule::operations::{self, Administrator, ConfiguredNames, Right};
use vestibule::server;
use vestibule::storage::{Database, DatabaseUrl, SqlConnection, StorageError, each};

use crate::fixtures::smtp::Smtp;
use crate::fixtures::stores::START;

use super::people::Person;
use super::provider::{PROVIDERS, Providers, issuer};
use super::shape::Shape;

/// The address under which browsers know the server.
pub(crate) const ORIGIN: &str = "https://id.example";

/// An answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// The cookies that it sets: name and value, empty to remove one.
    pub(crate) cookies: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: String,
}

/// A process of the server.
struct Process {
    app: Arc<App>,
    port: u16,
    handle: actix_web::dev::ServerHandle,
}

impl Process {
    fn start(config: &Config, clock: &Clock, providers: &Providers) -> Self {
        let models = providers.clone();
        let surroundings = Surroundings {
            clock: clock.clone(),
            open_provider: Box::new(move |settings, _| {
                let adapter = models.adapter(settings.name.as_str());
                Ok(Upstream::new(settings, adapter))
            }),
        };
        let app = Arc::new(App::open(config, surroundings).unwrap_or_else(|error| panic!("no start: {error}")));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = mpsc::channel();
        let served = Arc::clone(&app);
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = server::on(&served, listener, false).unwrap();
                drop(served);
                tell.send(server.handle()).unwrap();
                server.await
            })
        });
        Self {
            app,
            port,
            handle: told.recv().unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        self.app.stop();
    }
}

/// Everything.
pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) clock: Clock,
    pub(crate) providers: Providers,
    pub(crate) smtp: Smtp,
    /// A connection of the simulation itself.
    pub(crate) database: Database,
    /// The tables whose writes fail.
    pub(crate) failing: Option<String>,
    config: Config,
    processes: Vec<Process>,
    http: reqwest::blocking::Client,
    _folder: tempfile::TempDir,
}

impl World {
    /// Starts a world of this shape.
    pub(crate) fn start(shape: Shape, http: reqwest::blocking::Client) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let smtp = Smtp::start();
        let text = shape.configuration(folder.path(), smtp.port());
        let config = Config::read(&text, &[]).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        let (clock, providers) = (Clock::fixed(START), Providers::default());
        for person in Person::all() {
            for provider in 0..PROVIDERS.len() {
                providers
                    .lock()
                    .claims
                    .insert((provider, person), person.claims(provider));
            }
        }
        if shape.okta_is_stubborn {
            providers.lock().stubborn.insert(1);
        }
        super::template::copy_into(folder.path());
        let processes = (0..2).map(|_| Process::start(&config, &clock, &providers)).collect();
        let database = Database::open(&DatabaseUrl::Sqlite(folder.path().join("vestibule.db"))).unwrap();
        Self {
            shape,
            clock,
            providers,
            smtp,
            database,
            failing: None,
            config,
            processes,
            http,
            _folder: folder,
        }
    }

    /// Starts a process again.
    pub(crate) fn restart(&mut self, number: usize) {
        let number = number % self.processes.len();
        self.processes.remove(number);
        let process = Process::start(&self.config, &self.clock, &self.providers);
        self.processes.insert(number, process);
    }

    /// Sends a request to one of the processes.
    pub(crate) fn send(&self, process: usize, request: Request<'_>) -> Answer {
        let port = self.processes[process % self.processes.len()].port;
        let method = request.method.parse().unwrap();
        let url = format!("http://127.0.0.1:{port}{}", request.path);
        let mut sent = self.http.request(method, url).body(request.body);
        for (name, value) in request.headers {
            sent = sent.header(name, value);
        }
        let answer = sent
            .send()
            .unwrap_or_else(|error| panic!("{} was not answered: {error}", request.path));
        let header = |name| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let cookies = answer.headers().get_all("set-cookie").iter();
        let cookies = cookies.filter_map(|cookie| {
            let (name, rest) = cookie.to_str().ok()?.split_once('=')?;
            Some((name.to_owned(), rest.split(';').next()?.to_owned()))
        });
        Answer {
            status: answer.status().as_u16(),
            location: header("location"),
            cookies: cookies.collect(),
            body: answer.text().unwrap_or_default(),
        }
    }

    /// The operations of an administrator at one of the processes.
    pub(crate) fn administrator(&self, process: usize) -> operations::Context {
        let app = self.app(process);
        operations::Context {
            administrator: Administrator::new("root", Right::ALL),
            directory: Arc::clone(&app.directory),
            database: app.database.clone(),
            clock: self.clock.clone(),
            names: ConfiguredNames {
                service_providers: Shape::service_providers(),
                identity_providers: PROVIDERS
                    .iter()
                    .enumerate()
                    .map(|(number, name)| ((*name).into(), issuer(number)))
                    .collect(),
                targets: Vec::new(),
            },
            passwords: self.config.passwords,
        }
    }

    /// The application of a process.
    pub(crate) fn app(&self, process: usize) -> &App {
        &self.processes[process % self.processes.len()].app
    }

    /// A new token of a SCIM client.
    pub(crate) fn scim_token(&self, client: &str) -> Secret {
        let lifetime = Duration::from_hours(24 * 365);
        let created = operations::tokens::create(&self.administrator(0), client, lifetime, false);
        created.unwrap_or_else(|error| panic!("{error}")).token
    }

    /// Lets every write to a table fail, or, without one, no write any more.
    pub(crate) fn fail_writes(&mut self, table: Option<&str>) {
        let mut statements = Vec::new();
        for verb in ["INSERT", "UPDATE", "DELETE"] {
            statements.push(format!("DROP TRIGGER IF EXISTS simulated_{verb};"));
            statements.extend(table.map(|table| {
                format!(
                    "CREATE TRIGGER simulated_{verb} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, 'simulated'); END;"
                )
            }));
        }
        let sql = statements.concat();
        let run = |connection: &mut SqlConnection| Ok(each!(connection, c => c.batch_execute(&sql))?);
        self.database.read::<_, StorageError>(run).unwrap();
        self.failing = table.map(str::to_owned);
    }
}
