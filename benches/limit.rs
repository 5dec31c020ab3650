//! The limit of the benchmark: a bare actix server with diesel that does the same work as Vestibule without any
//! protocol.
//!
//! `limit --serve PORT DATABASE_URL ROWS`; `scripts/bench` runs it. It keeps ready-made documents in one table, reads them by
//! primary key or by name, and writes them durably: on SQLite through one writer with group commit, on PostgreSQL from a pool.
//! Under `/scim/v2` it is a target for outbound provisioning that answers at once.

#![expect(missing_docs, reason = "diesel writes undocumented items for the table")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use actix_web::{App, HttpResponse, HttpServer, web};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use tokio::sync::oneshot;

diesel::table! {
    bench_rows (id) {
        id -> Text,
        name -> Text,
        body -> Text,
    }
}

const PRAGMAS: &str =
    "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;";
const CREATE: &str = "CREATE TABLE bench_rows (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, body TEXT NOT NULL)";
const PAGE: i64 = 100;
/// The maximum number of writes in one commit, as in Vestibule.
const GROUP: usize = 128;

type SqlitePool = Pool<ConnectionManager<SqliteConnection>>;
type PostgresPool = Pool<ConnectionManager<PgConnection>>;
type Reply = oneshot::Sender<bool>;

#[derive(Clone)]
enum Store {
    Sqlite(SqlitePool, mpsc::Sender<(Write, Reply)>),
    Postgres(PostgresPool),
}

enum Write {
    Insert { id: String, body: String },
    Activate { id: String, active: bool },
}

/// Runs one expression on a connection from the pool of the store.
macro_rules! on {
    ($store:expr, $connection:ident => $run:expr) => {
        match $store {
            Store::Sqlite(pool, _) => {
                let $connection = &mut *pool.get().expect("the pool has a connection");
                $run
            }
            Store::Postgres(pool) => {
                let $connection = &mut *pool.get().expect("the pool has a connection");
                $run
            }
        }
    };
}

/// Carries out a write on a connection of either database.
macro_rules! perform {
    ($write:expr, $connection:expr) => {
        match $write {
            Write::Insert { id, body } => diesel::insert_into(bench_rows::table)
                .values((
                    bench_rows::id.eq(id),
                    bench_rows::name.eq(id),
                    bench_rows::body.eq(body),
                ))
                .execute($connection),
            Write::Activate { id, active } => bench_rows::table
                .find(id)
                .select(bench_rows::body)
                .first::<String>($connection)
                .and_then(|body| {
                    let body = with_active(&body, *active);
                    diesel::update(bench_rows::table.find(id))
                        .set(bench_rows::body.eq(body))
                        .execute($connection)
                }),
        }
    };
}

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection
            .batch_execute(PRAGMAS)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

fn document(id: &str, name: &str) -> String {
    format!(
        r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"{id}","userName":"{name}","name":{{"familyName":"Adams","givenName":"Ann","formatted":"Ann Adams"}},"displayName":"Ann Adams","title":"Site Reliability Engineer","locale":"en-US","timezone":"Europe/Berlin","active":true,"emails":[{{"value":"{name}","type":"work","primary":true}}],"phoneNumbers":[{{"value":"+49-30-1234567","type":"work"}},{{"value":"+49-171-7654321","type":"mobile"}}],"addresses":[{{"type":"work","streetAddress":"12 Main Street","locality":"Berlin","postalCode":"10115","country":"DE"}}],"meta":{{"resourceType":"User","location":"http://127.0.0.1/scim/v2/Users/{id}","version":"W/\"1\""}}}}"#
    )
}

fn with_active(body: &str, active: bool) -> String {
    let mut value: serde_json::Value = serde_json::from_str(body).expect("the document was written by this program");
    value["active"] = active.into();
    value.to_string()
}

/// The writer thread: every commit carries the writes that are waiting.
fn writer(mut connection: SqliteConnection, queue: &mpsc::Receiver<(Write, Reply)>) {
    while let Ok(first) = queue.recv() {
        let mut answers = Vec::new();
        let committed = connection.immediate_transaction(|connection| {
            let mut next = Some(first);
            while let Some((write, reply)) = next {
                answers.push((perform!(&write, connection).is_ok(), reply));
                next = if answers.len() < GROUP {
                    queue.try_recv().ok()
                } else {
                    None
                };
            }
            Ok::<_, diesel::result::Error>(())
        });
        for (done, reply) in answers {
            // The client may have gone.
            let _ = reply.send(done && committed.is_ok());
        }
    }
}

fn open(url: &str) -> Store {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let manager = ConnectionManager::<SqliteConnection>::new(path);
        let pool = Pool::builder()
            .max_size(8)
            .test_on_check_out(false)
            .connection_customizer(Box::new(Pragmas));
        let pool = pool.build(manager).expect("the database opens");
        let mut connection = SqliteConnection::establish(path).expect("the database opens");
        connection.batch_execute(PRAGMAS).expect("the settings are known");
        let (jobs, queue) = mpsc::channel();
        std::thread::spawn(move || writer(connection, &queue));
        return Store::Sqlite(pool, jobs);
    }
    let pool = Pool::builder().max_size(8).test_on_check_out(false);
    Store::Postgres(
        pool.build(ConnectionManager::<PgConnection>::new(url))
            .expect("the database answers"),
    )
}

fn fill(store: &Store, rows: usize) {
    on!(store, c => c.batch_execute(CREATE).expect("the database is empty"));
    for chunk in (0..rows).collect::<Vec<_>>().chunks(1000) {
        let row = |n: &usize| {
            let (id, name) = (format!("{n:036}"), format!("u{n}@example.com"));
            format!("('{id}', '{name}', '{}')", document(&id, &name))
        };
        let values: Vec<String> = chunk.iter().map(row).collect();
        let script = format!("INSERT INTO bench_rows (id, name, body) VALUES {}", values.join(","));
        on!(store, c => c.batch_execute(&script).expect("the rows are new"));
    }
}

fn found(body: Option<String>) -> HttpResponse {
    match body {
        Some(body) => HttpResponse::Ok().content_type("application/scim+json").body(body),
        None => HttpResponse::NotFound().finish(),
    }
}

/// Answers a ready-made document without the database: the limit of actix itself.
async fn fixed() -> HttpResponse {
    found(Some(document("0", "u0@example.com")))
}

async fn by_id(store: web::Data<Store>, id: web::Path<String>) -> HttpResponse {
    let body = web::block(
        move || on!(store.get_ref(), c => bench_rows::table.find(id.as_str()).select(bench_rows::body).first(c).optional()),
    );
    found(body.await.ok().and_then(Result::ok).flatten())
}

async fn by_name(store: web::Data<Store>, name: web::Path<String>) -> HttpResponse {
    let body = web::block(
        move || on!(store.get_ref(), c => bench_rows::table.filter(bench_rows::name.eq(name.as_str())).select(bench_rows::body).first(c).optional()),
    );
    found(body.await.ok().and_then(Result::ok).flatten())
}

/// A page of ready-made documents after a key, and the total.
async fn page(store: web::Data<Store>, after: web::Path<String>) -> HttpResponse {
    let page = web::block(move || {
        on!(store.get_ref(), c => {
            let total: i64 = bench_rows::table.count().get_result(c)?;
            let rows = bench_rows::table.filter(bench_rows::id.gt(after.as_str())).order(bench_rows::id).limit(PAGE);
            let rows: Vec<String> = rows.select(bench_rows::body).load(c)?;
            Ok::<_, diesel::result::Error>(format!(r#"{{"totalResults":{total},"Resources":[{}]}}"#, rows.join(",")))
        })
    });
    found(page.await.ok().and_then(Result::ok))
}

async fn write(store: web::Data<Store>, write: Write) -> HttpResponse {
    let done = if let Store::Sqlite(_, writer) = store.get_ref() {
        let (reply, answer) = oneshot::channel();
        writer.send((write, reply)).is_ok() && answer.await.unwrap_or(false)
    } else {
        let work = web::block(move || on!(store.get_ref(), c => c.transaction(|c| perform!(&write, c))));
        work.await.is_ok_and(|written| written.is_ok())
    };
    if done {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::InternalServerError().finish()
    }
}

async fn insert(store: web::Data<Store>, body: web::Bytes) -> HttpResponse {
    let id = uuid::Uuid::now_v7().to_string();
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) => {
            write(
                store,
                Write::Insert {
                    id,
                    body: value.to_string(),
                },
            )
            .await
        }
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

async fn activate(store: web::Data<Store>, id: web::Path<String>, body: web::Bytes) -> HttpResponse {
    let active =
        serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|patch| patch["Operations"][0]["value"] == true);
    write(
        store,
        Write::Activate {
            id: id.into_inner(),
            active,
        },
    )
    .await
}

static PUSHES: AtomicU64 = AtomicU64::new(0);

/// The outbound target: creates and changes succeed at once, searches find nothing.
async fn target(request: actix_web::HttpRequest) -> HttpResponse {
    if request.method() == actix_web::http::Method::GET {
        return found(Some(
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":0,"Resources":[]}"#
                .to_owned(),
        ));
    }
    let number = PUSHES.fetch_add(1, Ordering::Relaxed);
    let body = format!(r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"{number}"}}"#);
    HttpResponse::Created().content_type("application/scim+json").body(body)
}

async fn pushes() -> String {
    PUSHES.load(Ordering::Relaxed).to_string()
}

fn serve(port: u16, url: &str, rows: usize) -> std::io::Result<()> {
    let store = open(url);
    fill(&store, rows);
    let store = web::Data::new(store);
    let app = move || {
        App::new()
            .app_data(store.clone())
            .route("/fixed", web::get().to(fixed))
            .route("/rows/{id}", web::get().to(by_id))
            .route("/names/{name}", web::get().to(by_name))
            .route("/pages/{after}", web::get().to(page))
            .route("/rows", web::post().to(insert))
            .route("/rows/{id}", web::patch().to(activate))
            .route("/pushes", web::get().to(pushes))
            .service(web::scope("/scim/v2").default_service(web::to(target)))
    };
    actix_web::rt::System::new().block_on(HttpServer::new(app).bind(("127.0.0.1", port))?.run())
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve", port, url, rows] => {
            let number = |text: &str| text.parse().map_err(std::io::Error::other);
            serve(number(port)?, url, rows.parse().map_err(std::io::Error::other)?)
        }
        // `cargo test` and `cargo bench` start every benchmark; this one has nothing to do on its own.
        _ => Ok(()),
    }
}
