//! The settings of an LDAP userstore.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::flavour::Flavour;
use super::name::Dn;
use crate::domain::{Secret, ServiceProviderName, StoreName};

/// The settings of one LDAP userstore.
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// The name of the store.
    pub name: StoreName,
    /// The servers, `ldap://` or `ldaps://`; the first that answers is used.
    pub urls: Vec<String>,
    /// Whether to start TLS on a plain connection before any other operation (RFC 4511 §4.14).
    pub start_tls: bool,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The DN to bind as.
    pub bind_dn: String,
    /// The password to bind with.
    pub bind_password: Secret,
    /// The base DN of users.
    pub user_base: Dn,
    /// The base DN of groups.
    pub group_base: Dn,
    /// The kind of server.
    pub flavour: Flavour,
    /// Whether entries may be written.
    pub writable: bool,
    /// The handling of values that entries have no attribute for.
    pub unmapped: UnmappedValues,
    /// The naming attribute of new user entries, if not the flavour's.
    pub user_rdn: Option<String>,
    /// The object classes of new user entries, if not the flavour's.
    pub user_object_classes: Option<Vec<String>>,
    /// The object classes of new group entries, if not the flavour's.
    pub group_object_classes: Option<Vec<String>>,
    /// LDAP attributes for paths of users, in addition to or instead of the flavour's; an empty one removes a path.
    pub user_attributes: BTreeMap<String, String>,
    /// LDAP attributes for paths of groups, likewise.
    pub group_attributes: BTreeMap<String, String>,
    /// The timeout of one answer.
    pub timeout: Duration,
    /// The maximum number of connections.
    pub connections: u32,
    /// The interval at which changes made by others are looked for.
    pub watch: Duration,
    /// The service provider that changes made in the directory are attributed to; its targets receive them.
    pub service_provider: ServiceProviderName,
}

/// The handling of values that LDAP has no attribute for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmappedValues {
    /// They are stored in our own database.
    Keep,
    /// They are rejected.
    Refuse,
}
