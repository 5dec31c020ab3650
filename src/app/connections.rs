//! Connects to everything that a configuration names, and says what cannot be used: directories, identity providers,
//! targets and the mail server. Changes nothing there.

use std::sync::Arc;

use super::{StartError, Surroundings, database, federation_config, registry, userstores};
use crate::config::Config;
use crate::domain::Clock;
use crate::federation::idp::provider::{LoginHint, LogoutRequest};
use crate::federation::{FederationConfig, Upstream};
use crate::provisioning::ScimConnector;
use crate::provisioning::settings::ConnectorSettings;
use crate::provisioning::{Connector, PushError};
use crate::userstore::ldap::{Finding, LdapUserstore};
use crate::userstore::{PasswordHasher, Userstore};

/// The findings about one party.
pub(crate) struct CheckedConnection {
    /// The kind of party: `userstore`, `identity provider`, `target` or `mail server`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// The findings.
    pub(crate) findings: Vec<Finding>,
}

/// Connects to every party of a configuration.
pub(crate) fn check(config: &Config) -> Result<Vec<CheckedConnection>, StartError> {
    let mut checked = Vec::new();
    for store in ldap_stores(config)? {
        checked.push(CheckedConnection {
            kind: "userstore",
            name: store.name().to_string(),
            findings: store.check(),
        });
    }
    let federation = federation_config(config, &Surroundings::default())?;
    for upstream in &federation.upstreams {
        let name = &upstream.settings.name;
        let begun = upstream.begin(&federation.callback_url(name), &LoginHint::default());
        let mut findings = vec![Finding {
            what: format!("{} can be used for logins", upstream.settings.issuer),
            problem: begun.err().map(|error| error.to_string()),
        }];
        findings.extend(logout_finding(&federation, upstream));
        checked.push(CheckedConnection {
            kind: "identity provider",
            name: name.to_string(),
            findings,
        });
    }
    for target in &config.targets {
        let ConnectorSettings::Scim(settings) = &target.connector;
        let probed = ScimConnector::new(settings, 1, Clock::system())
            .and_then(|connector| connector.probe().map_err(|error: PushError| error.to_string()));
        checked.push(CheckedConnection {
            kind: "target",
            name: target.name.to_string(),
            findings: vec![Finding {
                what: "answers, and accepts the credentials".to_owned(),
                problem: probed.err(),
            }],
        });
    }
    if let Some(mail) = &federation.mail {
        checked.push(CheckedConnection {
            kind: "mail server",
            name: config.mail.as_ref().map_or_else(String::new, |mail| mail.host.clone()),
            findings: vec![Finding {
                what: "greets, and accepts the credentials".to_owned(),
                problem: mail.mailer.check().err().map(|error| error.to_string()),
            }],
        });
    }
    Ok(checked)
}

/// Whether people can be signed out at a provider, if the configuration says that they are.
fn logout_finding(federation: &FederationConfig, upstream: &Upstream) -> Option<Finding> {
    let request = LogoutRequest {
        token: None,
        back: &federation.after_logout_url(&upstream.settings.name),
        state: "",
    };
    upstream.settings.logout.then(|| Finding {
        what: "signs people out there too".to_owned(),
        problem: match upstream.logout(&request) {
            Ok(Some(_)) => None,
            Ok(None) => Some("its metadata name no end_session_endpoint: remove logout, or set it".to_owned()),
            Err(error) => Some(error.to_string()),
        },
    })
}

fn ldap_stores(config: &Config) -> Result<Vec<Arc<LdapUserstore>>, StartError> {
    let shared = (
        database(config)?,
        Arc::new(registry(config)?),
        PasswordHasher::new(),
        Clock::system(),
    );
    Ok(userstores::open(config, &shared)?.1)
}
