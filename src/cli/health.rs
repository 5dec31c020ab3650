//! `vestibule health`: asks the server whether it is ready, for example in a container health check.

use std::time::Duration;

use serde_json::json;

use super::CommandError;
use crate::config::Config;

/// The server itself waits ten seconds for its database.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) fn run(config: &Config, url: Option<&str>, json: bool) -> Result<(), CommandError> {
    let base = url.map_or_else(
        || format!("http://{}", reachable(config.server.listen)),
        |url| url.trim_end_matches('/').to_owned(),
    );
    let client = reqwest::blocking::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .map_err(CommandError::failed)?;
    let answer = client.get(format!("{base}/readyz")).send();
    let ready = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
    if json {
        println!("{}", json!({ "ready": ready, "url": base }));
    } else if ready {
        println!("{base} is ready.");
    }
    match (ready, answer) {
        (true, _) => Ok(()),
        (false, Ok(answer)) => Err(CommandError::Failed(format!(
            "{base} is not ready: it answers {}.",
            answer.status()
        ))),
        (false, Err(_)) => Err(CommandError::Failed(format!(
            "{base} does not answer. Is `vestibule serve` running?"
        ))),
    }
}

/// Returns a reachable address: loopback for a server that listens on all interfaces.
fn reachable(listen: std::net::SocketAddr) -> std::net::SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        address.set_ip(if listen.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}
