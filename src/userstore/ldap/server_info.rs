//! The server's properties: its controls, its change counter and the attributes in its schema.

use std::collections::HashSet;

use ldap3::{Scope, SearchEntry};

use super::connection::LdapFailure;
use super::filter::LdapFilter;
use super::flavour::DisableRule;
use super::mapping::Mapping;
use super::session::LdapSession;
use super::settings::LdapSettings;
use crate::domain::Kind;
use crate::domain::schema::Registry;

/// The assertion control: a change is made only while a filter matches (RFC 4528).
const ASSERTION: &str = "1.3.6.1.1.12";

/// The known properties of a server.
pub(super) struct ServerInfo {
    /// Whether the server supports the assertion control.
    pub(super) asserts: bool,
    users: Mapping,
    groups: Mapping,
    /// The entry that holds the change counter, and the prefix of its attributes.
    progress: (String, &'static str),
    /// The attributes in the server's schema, in lower case; empty if it does not publish them.
    pub(super) schema: HashSet<String>,
}

/// Reads the root DSE (RFC 4512 §5.1).
pub(super) fn root(session: &mut LdapSession<'_>) -> Result<SearchEntry, LdapFailure> {
    let attributes = ["*", "+"].map(str::to_owned);
    let found = session
        .search_raw("", Scope::Base, &LdapFilter::All, &attributes)?
        .pop();
    found.ok_or_else(|| LdapFailure::Unreachable("the server does not return its root DSE".to_owned()))
}

fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> &'a [String] {
    let found = entry
        .attrs
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(attribute));
    found.map_or(&[], |(_, values)| values)
}

impl ServerInfo {
    pub(super) fn read(
        session: &mut LdapSession<'_>,
        settings: &LdapSettings,
        registry: &Registry,
    ) -> Result<Self, LdapFailure> {
        let root = root(session)?;
        let schema = match values(&root, "subschemaSubentry").first() {
            Some(dn) => schema(session, dn)?,
            None => HashSet::new(),
        };
        let mapping = |kind: &Kind, make: fn(&LdapSettings, &_) -> Result<Mapping, String>| {
            let resource_type = registry
                .resource_type(kind)
                .ok_or("the resource type does not exist".to_owned());
            resource_type
                .and_then(|resource_type| make(settings, resource_type))
                .map_err(LdapFailure::NotTried)
        };
        let mut users = mapping(&Kind::USER, Mapping::users)?;
        let knows = |attribute: &str| schema.is_empty() || schema.contains(&attribute.to_ascii_lowercase());
        users.switch = users.switch.filter(|switch| match switch {
            DisableRule::Value(attribute, _) | DisableRule::Bit(attribute, _) => knows(attribute),
        });
        let contexts = values(&root, "namingContexts").iter().map(super::name::Dn::new);
        let context = contexts
            .into_iter()
            .find(|context| settings.user_base.is_within(context));
        let (base, attribute) = settings.flavour.progress();
        let own = context.map(|context| context.as_str().to_owned()).unwrap_or_default();
        Ok(Self {
            asserts: values(&root, "supportedControl")
                .iter()
                .any(|control| control == ASSERTION),
            users,
            groups: mapping(&Kind::GROUP, Mapping::groups)?,
            progress: (base.map_or(own, str::to_owned), attribute),
            schema,
        })
    }

    pub(super) fn mapping(&self, kind: &Kind) -> &Mapping {
        if *kind == Kind::GROUP {
            &self.groups
        } else {
            &self.users
        }
    }

    /// The filter that distinguishes resources of a type from other entries.
    pub(super) fn filter(&self, kind: &Kind) -> LdapFilter {
        let mapping = self.mapping(kind);
        let class = LdapFilter::equal("objectClass", mapping.object_class());
        match mapping.flavour.not_people() {
            Some(other) if *kind == Kind::USER => {
                class.and(LdapFilter::Not(Box::new(LdapFilter::equal("objectClass", other))))
            }
            _ => class,
        }
    }

    /// Returns the server's change counter; `None` if it does not publish one.
    pub(super) fn progress(&self, session: &mut LdapSession<'_>) -> Result<Option<String>, LdapFailure> {
        let (base, prefix) = &self.progress;
        let attributes = ["*", "+", *prefix].map(str::to_owned);
        let wanted = if base.is_empty() {
            &attributes[..]
        } else {
            &attributes[2..]
        };
        let Some(entry) = session.search_raw(base, Scope::Base, &LdapFilter::All, wanted)?.pop() else {
            return Ok(None);
        };
        let mut marks: Vec<String> = entry
            .attrs
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().starts_with(&prefix.to_ascii_lowercase()))
            .flat_map(|(name, values)| values.iter().map(move |value| format!("{name}={value}")))
            .collect();
        marks.sort();
        Ok((!marks.is_empty()).then(|| marks.join(" ")))
    }
}

/// Returns the names of the attributes in a schema (RFC 4512 §4.2).
fn schema(session: &mut LdapSession<'_>, dn: &str) -> Result<HashSet<String>, LdapFailure> {
    let found = session.search_raw(dn, Scope::Base, &LdapFilter::All, &["attributeTypes".to_owned()])?;
    let definitions = found.iter().flat_map(|entry| values(entry, "attributeTypes"));
    Ok(definitions.flat_map(|definition| names(definition)).collect())
}

/// Returns the names in `( 2.5.4.3 NAME ( 'cn' 'commonName' ) … )`.
fn names(definition: &str) -> Vec<String> {
    let Some((_, rest)) = definition.split_once(" NAME ") else {
        return Vec::new();
    };
    let rest = rest.trim_start();
    let listed = match rest.strip_prefix('(') {
        Some(list) => list.split(')').next().unwrap_or_default(),
        None => rest.split(' ').next().unwrap_or_default(),
    };
    let quoted = listed.split('\'').skip(1).step_by(2);
    quoted.map(str::to_ascii_lowercase).collect()
}
