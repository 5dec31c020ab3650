//! `/metrics` in the Prometheus text format, for loopback clients only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::web::{self, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::blocking;
use super::page::{NotFound, respond};
use crate::audit;
use crate::federation::IgnoredClaims;
use crate::provisioning::Engine;
use crate::scim::Scim;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    area: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AreaLabels {
    area: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Deviation {
    service_provider: String,
    rule: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClaimLabels {
    identity_provider: String,
    claim: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TargetLabels {
    target: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PushLabels {
    target: String,
    outcome: &'static str,
}

/// Counts requests, and collects the metrics of the application when they are scraped.
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<AreaLabels, Histogram>,
    scim: Arc<Scim>,
    engine: Arc<Engine>,
    ignored_claims: Arc<IgnoredClaims>,
}

impl Metrics {
    /// Metrics of one application.
    pub(crate) fn new(scim: Arc<Scim>, engine: Arc<Engine>, ignored_claims: Arc<IgnoredClaims>) -> Self {
        let buckets = || Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            scim,
            engine,
            ignored_claims,
        }
    }

    fn text(&self) -> String {
        let mut registry = Registry::with_prefix("vestibule");
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("http_request_seconds", "Time to answer", self.seconds.clone());
        let deviations = Family::<Deviation, Counter>::default();
        for ((service_provider, rule), count) in self.scim.report().snapshot() {
            let label = Deviation {
                service_provider: service_provider.to_string(),
                rule,
            };
            deviations.get_or_create(&label).inc_by(count);
        }
        registry.register(
            "scim_deviations",
            "Requests that needed a tolerance, by rule",
            deviations,
        );
        let ignored = Family::<ClaimLabels, Counter>::default();
        for (claim, count) in self.ignored_claims.counts() {
            let labels = ClaimLabels {
                identity_provider: claim.identity_provider,
                claim: claim.claim,
                reason: claim.reason,
            };
            ignored.get_or_create(&labels).inc_by(count);
        }
        registry.register(
            "login_claims_ignored",
            "Claims that were left out of a login, by reason",
            ignored,
        );
        let events = Family::<EventLabels, Counter>::default();
        for ((kind, reason), count) in audit::counts() {
            let labels = EventLabels {
                event: kind.code(),
                reason,
            };
            events.get_or_create(&labels).inc_by(count);
        }
        registry.register("security_events", "Security events, by kind and reason", events);
        self.register_targets(&mut registry);
        let mut text = String::new();
        if encode(&mut text, &registry).is_err() {
            log::error!("metrics could not be written");
        }
        text
    }

    fn register_targets(&self, registry: &mut Registry) {
        let pushes = Family::<PushLabels, Counter<u64, AtomicU64>>::default();
        let (waiting, lag) = (
            Family::<TargetLabels, Gauge>::default(),
            Family::<TargetLabels, Gauge>::default(),
        );
        for target in self.engine.metrics().unwrap_or_default() {
            let name = target.target.to_string();
            for (outcome, count) in [
                ("pushed", target.pushed),
                ("retried", target.retried),
                ("failed", target.failed),
            ] {
                pushes
                    .get_or_create(&PushLabels {
                        target: name.clone(),
                        outcome,
                    })
                    .inc_by(count);
            }
            let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            waiting
                .get_or_create(&TargetLabels { target: name.clone() })
                .set(gauge(target.waiting));
            lag.get_or_create(&TargetLabels { target: name })
                .set(gauge(target.lag_ms));
        }
        registry.register("outbound_pushes", "Pushes to a target, by outcome", pushes);
        registry.register("outbound_waiting", "Resources that wait to be pushed", waiting);
        registry.register(
            "outbound_lag_milliseconds",
            "Age of the oldest change that the target has not got",
            lag,
        );
    }
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/metrics", web::get().to(show));
}

/// Serves loopback clients only. A local proxy is a loopback client too, so it must not forward this path.
async fn show(request: HttpRequest, metrics: Data<Metrics>) -> HttpResponse {
    if !may_read(request.peer_addr()) {
        return respond(StatusCode::NOT_FOUND, NotFound.render(), &[]);
    }
    let text = blocking::run(move || metrics.text()).await.unwrap_or_default();
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text)
}

fn may_read(peer: Option<SocketAddr>) -> bool {
    peer.is_some_and(|peer| peer.ip().is_loopback())
}

/// Middleware: counts the request and logs it without its query, which may hold secrets.
pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let begun = Instant::now();
    let metrics = request.app_data::<Data<Metrics>>().cloned();
    let (method, area) = (request.method().clone(), area(request.path()));
    let path = log::log_enabled!(log::Level::Info).then(|| request.path().to_owned());
    let response = next.call(request).await?;
    let (elapsed, status) = (begun.elapsed(), response.status().as_u16());
    if let Some(metrics) = metrics {
        // Clients choose the method, so unknown ones must not become labels.
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
        let name = if known.contains(&method.as_str()) {
            method.as_str()
        } else {
            "OTHER"
        };
        metrics
            .requests
            .get_or_create(&RequestLabels {
                method: name.to_owned(),
                area,
                status,
            })
            .inc();
        metrics
            .seconds
            .get_or_create(&AreaLabels { area })
            .observe(elapsed.as_secs_f64());
    }
    if let Some(path) = path {
        log::info!(
            "{method} {} {status} {:.1} ms",
            path.escape_debug(),
            elapsed.as_secs_f64() * 1000.0
        );
    }
    Ok(response)
}

/// The part of the application that a path belongs to.
fn area(path: &str) -> &'static str {
    match path.split('/').nth(1) {
        Some("scim") => "scim",
        Some("oauth2" | ".well-known") => "oidc",
        Some("login" | "federation") => "federation",
        Some("assets" | "favicon.ico") => "assets",
        Some("healthz" | "readyz" | "metrics") => "operations",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_only_on_loopback() {
        for (peer, may) in [
            ("127.0.0.1:9", true),
            ("[::1]:9", true),
            ("192.0.2.1:9", false),
            ("10.0.0.1:9", false),
        ] {
            assert_eq!(may_read(Some(peer.parse().unwrap())), may, "{peer}");
        }
        assert!(!may_read(None));
    }
}
