//! Reads `[[userstores]]`: where people and groups live.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use url::Url;

use super::reader::TableReader;
use super::sections::{Environment, check_slug, secret_needed};
use crate::domain::{Secret, ServiceProviderName, StoreName};
use crate::userstore::ldap::{Dn, Flavour, LdapSettings, UnmappedValues};

/// A userstore.
#[derive(Clone, Debug)]
pub struct UserstoreSettings {
    /// Its name.
    pub name: StoreName,
    /// Its backend.
    pub place: UserstoreKind,
}

/// The backend of a userstore.
#[derive(Clone, Debug)]
pub enum UserstoreKind {
    /// Vestibule's own database.
    Sql,
    /// An LDAP directory.
    Ldap(Box<LdapSettings>),
}

/// The longest allowed timeout for one response of a directory, because a person waits for it.
const LONGEST: Duration = Duration::from_mins(1);

pub(super) fn userstore(mut r: TableReader, environment: Environment<'_>) -> UserstoreSettings {
    let name = r.needed("name");
    check_slug(&r, &name);
    let name = StoreName::new(name);
    let is_ldap = r.word("kind", &[("sql", false), ("ldap", true)]);
    let place = if is_ldap {
        UserstoreKind::Ldap(Box::new(ldap(&mut r, name.clone(), environment)))
    } else {
        UserstoreKind::Sql
    };
    r.done();
    UserstoreSettings { name, place }
}

fn ldap(r: &mut TableReader, name: StoreName, environment: Environment<'_>) -> LdapSettings {
    let urls: Vec<String> = std::iter::once(r.needed("url"))
        .chain(r.texts("failover_urls"))
        .collect();
    let start_tls = r.flag("start_tls", false);
    for url in urls.iter().filter(|url| !url.is_empty()) {
        if let Err(message) = check_url(url, start_tls) {
            r.problem("url", message);
        }
    }
    let flavours = [
        ("openldap", Flavour::OpenLdap),
        ("389ds", Flavour::Ds389),
        ("active_directory", Flavour::ActiveDirectory),
    ];
    let timeout = r.span("timeout", Duration::from_secs(5));
    if timeout > LONGEST {
        r.problem("timeout", "must be at most 1m, because people wait for it");
    }
    LdapSettings {
        name,
        urls,
        start_tls,
        ca_file: r.path("ca_file"),
        bind_dn: r.needed("bind_dn"),
        bind_password: secret_needed(r, "bind_password", environment).unwrap_or_else(|| Secret::new("")),
        user_base: dn(r, "user_base"),
        group_base: dn(r, "group_base"),
        flavour: r.word("flavour", &flavours),
        writable: r.flag("writable", true),
        unmapped: r.word(
            "unmapped",
            &[("keep", UnmappedValues::Keep), ("refuse", UnmappedValues::Refuse)],
        ),
        user_rdn: r.text("user_rdn"),
        user_object_classes: some(r.texts("user_object_classes")),
        group_object_classes: some(r.texts("group_object_classes")),
        user_attributes: attributes(r, "user_attributes"),
        group_attributes: attributes(r, "group_attributes"),
        timeout,
        connections: r.number("connections", 8, 100),
        watch: r.span("watch", Duration::from_secs(5)),
        service_provider: r
            .text("service_provider")
            .map_or(ServiceProviderName::RESIDENT, Into::into),
    }
}

/// Requires TLS unless the server is on this machine, because passwords go over this connection.
fn check_url(text: &str, start_tls: bool) -> Result<(), String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "ldap" | "ldaps") && url.has_host());
    let Some(url) = url else {
        return Err(format!(
            "{text} must be such as ldaps://ldap.example.com or ldap://127.0.0.1:389"
        ));
    };
    if url.scheme() == "ldaps" && start_tls {
        return Err(format!(
            "{text} is under TLS already; leave start_tls out, or write ldap://"
        ));
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_near = match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if url.scheme() == "ldap" && !start_tls && !is_near {
        return Err(format!(
            "{text} would send passwords in clear: write ldaps://, or set start_tls = true"
        ));
    }
    Ok(())
}

fn dn(r: &mut TableReader, key: &str) -> Dn {
    let dn = Dn::new(r.needed(key));
    if !dn.is_well_formed() {
        r.problem(key, "must be a distinguished name, such as ou=people,dc=example,dc=com");
    }
    dn
}

fn some(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then_some(list)
}

fn attributes(r: &mut TableReader, key: &str) -> BTreeMap<String, String> {
    r.parsed(key)
}
