//! `/healthz` (liveness) and `/readyz` (readiness; `degraded` if a userstore does not answer).

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use serde_json::json;

use super::blocking;
use crate::directory::Directory;
use crate::storage::Database;

/// The dependencies that readiness checks.
pub(super) struct Health {
    pub(super) directory: Arc<Directory>,
    pub(super) database: Database,
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
    let checks = blocking::run(move || {
        let database = ("database".to_owned(), health.database.ping().is_ok());
        let stores = health
            .directory
            .stores()
            .iter()
            .map(|store| (format!("userstore {}", store.name()), store.ping().is_ok()));
        std::iter::once(database).chain(stores).collect::<Vec<_>>()
    })
    .await
    .unwrap_or_default();
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
