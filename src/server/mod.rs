//! The HTTP layer on actix: routes, extractors, pages, and errors as responses. It makes no decisions.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App as Service, HttpRequest, HttpResponse, HttpServer};

pub mod account;
pub mod assets;
pub mod blocking;
mod body;
mod csrf;
mod guesses;
pub mod headers;
mod health;
pub mod href;
pub mod language;
pub mod login;
pub mod mail_text;
pub mod messages;
pub mod metrics;
pub mod oidc;
pub mod onward;
pub mod page;
pub(crate) mod request_id;
pub mod scim;
mod scim_options;
mod sent_cookies;
mod source;

use crate::app::App;
use metrics::Metrics;

/// The time that running requests have to finish when the server stops.
const SHUTDOWN: u64 = 30;
/// The timeout for a client to send the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Threads for blocking work, per worker: a request holds one while it waits for the database. More than the queues of
/// [`blocking`] and all userstores of other servers let in together, so that some are always left.
const BLOCKING_THREADS: usize = 256;

/// Serves the application on an address until the process is told to stop.
pub fn serve(app: &App, listen: SocketAddr) -> std::io::Result<Server> {
    on(app, TcpListener::bind(listen)?, true)
}

/// Serves the application on a socket; `signals` says whether SIGTERM and SIGINT stop it.
pub fn on(app: &App, listener: TcpListener, signals: bool) -> std::io::Result<Server> {
    let state = AppState::of(app);
    let https = app.public_url.starts_with("https://");
    let server = HttpServer::new(move || {
        let state = state.clone();
        Service::new()
            .wrap(from_fn(body::in_time))
            .wrap(headers::defaults(https))
            .wrap(from_fn(metrics::observe))
            .wrap(from_fn(request_id::assign))
            .wrap(from_fn(language::assign))
            .configure(move |config| state.mount(config))
    })
    .client_request_timeout(HEAD)
    .worker_max_blocking_threads(BLOCKING_THREADS)
    .shutdown_timeout(SHUTDOWN);
    let server = if signals { server } else { server.disable_signals() };
    Ok(server.listen(listener)?.run())
}

/// The state that the handlers share.
#[derive(Clone)]
struct AppState {
    scim: Data<crate::scim::Scim>,
    oidc: Data<crate::oidc::Oidc>,
    login_data: Data<login::LoginData>,
    metrics: Data<Metrics>,
    health: Data<health::Health>,
    home: Data<page::Home>,
    proxies: Data<source::TrustedProxies>,
}

impl AppState {
    fn of(app: &App) -> Self {
        let login_data = login::LoginData {
            federation: app.federation.clone(),
            complete: oidc::completes(app.oidc.clone()),
            cancel: oidc::cancels(app.oidc.clone()),
            session_cookie: oidc::cookie_name(&app.oidc),
        };
        Self {
            scim: Data::from(app.scim.clone()),
            oidc: Data::from(app.oidc.clone()),
            login_data: Data::new(login_data),
            metrics: Data::new(Metrics::new(
                app.scim.clone(),
                app.engine.clone(),
                app.federation.login.ignored_claims().clone(),
            )),
            health: Data::new(health::Health::new(app.directory.clone(), app.database.clone())),
            home: Data::new(page::Home {
                public_url: app.public_url.clone(),
            }),
            proxies: Data::new(source::TrustedProxies(app.trusted_proxies.clone())),
        }
    }

    fn mount(self, config: &mut web::ServiceConfig) {
        config
            .app_data(self.scim)
            .app_data(self.oidc)
            .app_data(self.login_data)
            .app_data(self.metrics)
            .app_data(self.proxies)
            .app_data(self.health)
            .app_data(self.home)
            .configure(scim::routes)
            .configure(oidc::routes)
            .configure(login::routes)
            .configure(account::routes)
            .configure(health::routes)
            .configure(metrics::routes)
            .configure(assets::routes)
            .route("/", web::get().to(home))
            .default_service(web::to(not_found));
    }
}

async fn home(home: Data<page::Home>) -> HttpResponse {
    page::respond(actix_web::http::StatusCode::OK, home.render(), &[])
}

async fn not_found(_request: HttpRequest) -> HttpResponse {
    page::respond(actix_web::http::StatusCode::NOT_FOUND, page::NotFound.render(), &[])
}
