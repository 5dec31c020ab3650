//! Reads `[[service_providers]]`: applications, as OAuth clients and as SCIM clients.

use std::time::Duration;

use toml::Value;

use super::reader::TableReader;
use super::sections::{Environment, check_slug};
use super::{ScimClientSettings, ServiceProvider};
use crate::domain::StoreName;
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::jose::{Algorithm, read_set};
use crate::oidc::{Client, ClientKeys, Endpoint, Lifetimes};
use crate::provisioning::OutboundRule;

/// The lifetime of a SCIM token from the client credentials grant.
const SCIM_TOKENS: Duration = Duration::from_mins(10);

pub(super) fn service_provider(mut r: TableReader, environment: Environment<'_>) -> ServiceProvider {
    let name = r.needed("name");
    check_slug(&r, &name);
    let policy = ServiceProviderPolicy {
        display_name: r.text("display_name").unwrap_or_else(|| name.clone()),
        identity_providers: r.texts("identity_providers").into_iter().map(Into::into).collect(),
        local_login: r.flag("local_login", false),
        inbound_userstore: r.text("inbound_userstore").map(StoreName::new),
        jit_mode: r.has("jit_mode").then(|| r.parsed("jit_mode")),
        purposes: r.texts("purposes"),
        mfa: r.parsed("mfa"),
        name: name.into(),
    };
    let outbound = r.tables("outbound").into_iter().map(|r| outbound(r, &policy)).collect();
    let client = client(&mut r, &policy, environment);
    let scim = scim_client(r.table("scim"));
    r.done();
    ServiceProvider {
        policy,
        scim,
        client,
        outbound,
    }
}

fn scim_client(mut r: TableReader) -> ScimClientSettings {
    let client = ScimClientSettings {
        strict: r.flag("strict", false),
        adopts: r.text("adopts").map(Into::into),
        adopts_by: r.text("adopts_by"),
    };
    if client.adopts_by.is_some() && client.adopts.is_none() {
        r.problem("adopts_by", "requires adopts, which is not set");
    }
    r.done();
    client
}

/// The OAuth client, if the service provider is one.
fn client(r: &mut TableReader, policy: &ServiceProviderPolicy, environment: Environment<'_>) -> Option<Client> {
    let client_id = r.text("client_id");
    let allow_private_network = r.flag("allow_private_network", false);
    let client = Client {
        name: policy.name.clone(),
        client_id: client_id.clone().unwrap_or_default(),
        secret: r.secret("client_secret", environment),
        keys: client_keys(r, allow_private_network),
        redirect_uris: r.texts("redirect_uris"),
        post_logout_redirect_uris: r.texts("post_logout_redirect_uris"),
        backchannel_logout: endpoint(r, "backchannel_logout_uri", allow_private_network),
        id_token_alg: r.word(
            "id_token_alg",
            &[("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256)],
        ),
        require_pkce: r.flag("require_pkce", false),
        require_pushed_requests: r.flag("require_pushed_authorization_requests", false),
        scim_tokens: r.flag("client_credentials", false).then_some(SCIM_TOKENS),
        lifetimes: Lifetimes::default(),
    };
    if client_id.is_some() {
        for (setting, problem) in client.problems() {
            r.problem(setting, problem);
        }
        if policy.identity_providers.is_empty() && !policy.local_login && !client.redirect_uris.is_empty() {
            r.problem(
                "client_id",
                "has no sign-in method: list identity_providers or set local_login = true",
            );
        }
        return Some(client);
    }
    if client.secret.is_some() || client.keys.is_some() || !client.redirect_uris.is_empty() {
        r.problem(
            "client_id",
            "is missing, but client_secret, keys or redirect_uris are set",
        );
    }
    None
}

/// The keys of `private_key_jwt`: a JWK set, as a table or as JSON in a text, or the address of one.
fn client_keys(r: &mut TableReader, allow_private_network: bool) -> Option<ClientKeys> {
    let set = match r.raw("jwks") {
        Some(Value::String(text)) => Some(serde_json::from_str(&text).unwrap_or_default()),
        Some(other) => Some(serde_json::to_value(other).unwrap_or_default()),
        None => None,
    };
    let place = endpoint(r, "jwks_uri", allow_private_network);
    match (set, place) {
        (Some(_), Some(_)) => {
            r.problem("jwks_uri", "cannot be combined with jwks");
            None
        }
        (Some(set), None) if holds_private_part(&set) => {
            r.problem("jwks", "contains a private key: use only the public part");
            None
        }
        (Some(set), None) => {
            let keys = read_set(&set);
            if keys.is_none() {
                r.problem("jwks", "must be a JWK set, such as { keys = [{ kty = \"OKP\", … }] }");
            }
            keys.map(ClientKeys::Inline)
        }
        (None, place) => place.map(ClientKeys::Published),
    }
}

/// An endpoint that the server calls, if it is set.
fn endpoint(r: &mut TableReader, key: &str, allow_private_network: bool) -> Option<Endpoint> {
    if !r.has(key) {
        return None;
    }
    let url = r.url(key);
    if url.starts_with("http://") && !allow_private_network {
        r.problem(key, "must begin with https://, unless allow_private_network = true");
    }
    Some(Endpoint {
        url,
        allow_private_network,
    })
}

fn holds_private_part(set: &serde_json::Value) -> bool {
    let keys = set.get("keys").and_then(serde_json::Value::as_array);
    keys.is_some_and(|keys| keys.iter().any(|key| key.get("d").is_some() || key.get("k").is_some()))
}

fn outbound(mut r: TableReader, policy: &ServiceProviderPolicy) -> OutboundRule {
    let rule = OutboundRule {
        service_provider: policy.name.clone(),
        target: r.needed("target").into(),
        jit: r.flag("jit", false),
    };
    r.done();
    rule
}
