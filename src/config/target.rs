//! Reads a `[[targets]]` table: what every target has, and the keys of its connector.

use std::time::Duration;

use super::reader::TableReader;
use super::sections::{Environment, check_slug, secret_needed};
use crate::provisioning::{Auth, ConnectorSettings, Deprovision, Profile, ScimTargetSettings, TargetSettings, Verb};

/// Reads the keys of one kind of connector.
type ReadConnector = for<'a> fn(&mut TableReader, Environment<'a>) -> Option<ConnectorSettings>;

/// The kinds of connector by their word in `connector`.
const CONNECTORS: [(&str, ReadConnector); 1] = [("scim", scim)];

pub(super) fn target(mut r: TableReader, environment: Environment<'_>) -> Option<TargetSettings> {
    let name = r.needed("name");
    check_slug(&r, &name);
    let read_connector = r.word("connector", &CONNECTORS);
    let connector = read_connector(&mut r, environment);
    let profile = Profile {
        deprovision: r.word(
            "deprovision",
            &[("delete", Deprovision::Delete), ("deactivate", Deprovision::Deactivate)],
        ),
        forbidden: r.texts("forbidden"),
    };
    let concurrency = r.number("concurrency", 4, 64);
    let max_deletes = r.number("max_deletes_per_hour", 100, 1_000_000);
    r.done();
    Some(TargetSettings {
        profile,
        concurrency: u16::try_from(concurrency).unwrap_or(u16::MAX),
        max_deletes,
        ..TargetSettings::new(name, connector?)
    })
}

fn scim(r: &mut TableReader, environment: Environment<'_>) -> Option<ConnectorSettings> {
    let (base_url, auth) = (r.url("base_url"), scim_auth(r, environment));
    let verb = r.word(
        "update",
        &[("auto", None), ("patch", Some(Verb::Patch)), ("put", Some(Verb::Put))],
    );
    let members_per_request = r.number("members_per_request", 100, 10_000) as usize;
    let allow_private_network = r.flag("allow_private_network", false);
    let timeout = r.span("timeout", Duration::from_secs(30));
    Some(ConnectorSettings::Scim(ScimTargetSettings {
        allow_private_network,
        timeout,
        user_verb: verb,
        group_verb: verb,
        members_per_request,
        ..ScimTargetSettings::new(base_url.parse().ok()?, auth?)
    }))
}

fn scim_auth(r: &mut TableReader, environment: Environment<'_>) -> Option<Auth> {
    if !r.has("auth") {
        r.problem("auth", "is missing; such as auth = { bearer = { env = \"NAME\" } }");
        return None;
    }
    let mut auth = r.table("auth");
    let read = match (auth.has("bearer"), auth.has("username"), auth.has("header")) {
        (true, false, false) => auth.secret("bearer", environment).map(Auth::Bearer),
        (false, true, false) => {
            let user = auth.needed("username");
            secret_needed(&mut auth, "password", environment).map(|password| Auth::Basic { user, password })
        }
        (false, false, true) => {
            let name = auth.needed("header");
            secret_needed(&mut auth, "value", environment).map(|value| Auth::Header { name, value })
        }
        _ => {
            r.problem(
                "auth",
                "must contain bearer, or username and password, or header and value",
            );
            return None;
        }
    };
    auth.done();
    read
}
