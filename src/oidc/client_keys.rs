//! The keys that verify client assertions, from the configuration or a `jwks_uri`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::endpoint::{CallError, Endpoint};
use crate::domain::{Clock, Timestamp};
use crate::gate::Gate;
use crate::http_client::HttpClients;
use crate::jose::{PublicKey, read_set};

/// How long published keys are cached.
const FRESH: Duration = Duration::from_hours(1);

/// The shortest time between two fetches, whatever requests arrive (OpenID Connect Core §10.1.1).
const BETWEEN: Duration = Duration::from_mins(1);
/// The most callers that wait for a fetch, and the longest wait.
const WAITING: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// The source of a client's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientKeys {
    /// In the configuration.
    Inline(Vec<PublicKey>),
    /// At a URL (`jwks_uri`).
    Published(Endpoint),
}

/// A cache of the keys that clients publish.
pub(super) struct PublishedKeys {
    clients: HashMap<String, KeySetCache>,
    http: Arc<HttpClients>,
    clock: Clock,
}

/// One URL, and the keys that were fetched from it.
struct KeySetCache {
    endpoint: Endpoint,
    seen: Mutex<FetchedKeys>,
    /// Entered for a fetch; the others wait outside, a while, and no lock is held meanwhile.
    fetching: Gate,
}

#[derive(Clone, Default)]
struct FetchedKeys {
    keys: Arc<Vec<PublicKey>>,
    read: Option<Timestamp>,
    tried: Option<Timestamp>,
}

impl PublishedKeys {
    pub(super) fn new(clients: &[Client], http: Arc<HttpClients>, clock: Clock) -> Self {
        let place = |client: &Client| match &client.keys {
            Some(ClientKeys::Published(endpoint)) => Some((
                client.client_id.clone(),
                KeySetCache {
                    endpoint: endpoint.clone(),
                    seen: Mutex::default(),
                    fetching: Gate::new(1, WAITING, PATIENCE),
                },
            )),
            _ => None,
        };
        Self {
            clients: clients.iter().filter_map(place).collect(),
            http,
            clock,
        }
    }

    /// Returns the keys of a client that may have signed with this `kid`. An unknown `kid` causes a new fetch, at most
    /// once a minute.
    pub(super) fn of(&self, client: &Client, kid: Option<&str>) -> Arc<Vec<PublicKey>> {
        match (&client.keys, self.clients.get(&client.client_id)) {
            (Some(ClientKeys::Inline(keys)), _) => Arc::new(keys.clone()),
            (Some(ClientKeys::Published(_)), Some(place)) => self.at(place, kid),
            _ => Arc::default(),
        }
    }

    fn at(&self, place: &KeySetCache, kid: Option<&str>) -> Arc<Vec<PublicKey>> {
        let now = self.clock.now();
        let within = |moment: Option<Timestamp>, span| moment.is_some_and(|moment| moment.plus(span) > now);
        let seen = place.seen();
        if within(seen.read, FRESH) && seen.keys.iter().any(|key| key.is_called(kid)) {
            return seen.keys;
        }
        let Ok(_pass) = place.fetching.enter() else {
            return seen.keys;
        };
        let mut seen = place.seen();
        if within(seen.tried, BETWEEN) {
            return seen.keys;
        }
        seen.tried = Some(now);
        match self.fetch(place) {
            Ok(keys) => {
                seen.keys = Arc::new(keys);
                seen.read = Some(now);
            }
            Err(error) => log::warn!("could not fetch the keys of a service provider: {error}"),
        }
        *place.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen.clone();
        seen.keys
    }

    fn fetch(&self, place: &KeySetCache) -> Result<Vec<PublicKey>, CallError> {
        let request = http::Request::get(&place.endpoint.url)
            .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Vec::new())?;
        let answer = self.http.send(request, place.endpoint.allow_private_network)?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("the answer has status {}", answer.status().as_u16()).into());
        }
        let set = serde_json::from_slice(answer.body())?;
        read_set(&set).ok_or_else(|| "the answer is not a JWK set".into())
    }
}

impl KeySetCache {
    fn seen(&self) -> FetchedKeys {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
