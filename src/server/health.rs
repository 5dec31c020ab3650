//! `/healthz` (liveness) and `/readyz` (readiness; `degraded` if a userstore does not answer).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;
use tokio::sync::Mutex;

use super::blocking;
use crate::directory::Directory;
use crate::storage::Database;

/// How long an answer holds: many probes at the same time cause one check.
const FRESH: Duration = Duration::from_secs(1);

/// The dependencies that readiness checks.
pub(super) struct Health {
    directory: Arc<Directory>,
    database: Database,
    /// The last answer and its time. Held during a check, so that other probes wait for it without a thread.
    checked: Mutex<Option<(Instant, Vec<Check>)>>,
}

/// The name of a dependency, and whether it answers.
type Check = (String, bool);

impl Health {
    pub(super) fn new(directory: Arc<Directory>, database: Database) -> Self {
        Self {
            directory,
            database,
            checked: Mutex::default(),
        }
    }

    fn check(&self) -> Vec<Check> {
        let database = ("database".to_owned(), self.database.ping().is_ok());
        let stores = self
            .directory
            .stores()
            .iter()
            .map(|store| (format!("userstore {}", store.name()), store.ping().is_ok()));
        std::iter::once(database).chain(stores).collect()
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(alive))
        .route("/readyz", web::get().to(ready));
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

async fn ready(health: Data<Health>) -> HttpResponse {
    let mut checked = health.checked.lock().await;
    let checks = match &*checked {
        Some((at, checks)) if at.elapsed() < FRESH => checks.clone(),
        _ => {
            let inner = health.clone().into_inner();
            let checks = blocking::run(move || inner.check()).await.unwrap_or_default();
            *checked = Some((Instant::now(), checks.clone()));
            checks
        }
    };
    drop(checked);
    // A failing userstore affects only its own users; taking this server out of rotation would affect all.
    let ready = checks.first().is_some_and(|(_, good)| *good);
    let whole = checks.iter().all(|(_, good)| *good);
    let word = |good| if good { "ok" } else { "down" };
    let status = if ready && !whole { "degraded" } else { word(ready) };
    let checks: serde_json::Map<_, _> = checks
        .into_iter()
        .map(|(name, good)| (name, word(good).into()))
        .collect();
    let body = json!({ "status": status, "checks": checks });
    if ready {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
