//! How a directory is reached, and what in it means what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::flavour::Flavour;
use super::name::Dn;
use crate::domain::{Secret, ServiceProviderName, StoreName};

/// The settings of one LDAP userstore.
#[derive(Clone, Debug)]
pub struct LdapSettings {
    /// The store's name.
    pub name: StoreName,
    /// The servers, `ldap://` or `ldaps://`; the first that answers is used.
    pub urls: Vec<String>,
    /// Whether a plain connection turns to TLS before anything else is said (RFC 4511 §4.14).
    pub start_tls: bool,
    /// Certificates to trust in place of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Whom to bind as.
    pub bind_dn: String,
    /// The password to bind with.
    pub bind_password: Secret,
    /// What people are below.
    pub user_base: Dn,
    /// What groups are below.
    pub group_base: Dn,
    /// The kind of server.
    pub flavour: Flavour,
    /// Whether entries may be written.
    pub writable: bool,
    /// What becomes of values that entries have no place for.
    pub unmapped: Unmapped,
    /// The attribute that names new people's entries, if it is not the flavour's.
    pub user_rdn: Option<String>,
    /// The object classes of new people's entries, if they are not the flavour's.
    pub user_object_classes: Option<Vec<String>>,
    /// The object classes of new groups' entries, if they are not the flavour's.
    pub group_object_classes: Option<Vec<String>>,
    /// LDAP attributes for paths of people, beside or instead of the flavour's; an empty one takes a path out.
    pub user_attributes: BTreeMap<String, String>,
    /// The same for groups.
    pub group_attributes: BTreeMap<String, String>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Connections at most.
    pub connections: u32,
    /// How often to look for changes that others make.
    pub watch: Duration,
    /// On whose behalf others change it: the targets of this service provider learn of that.
    pub service_provider: ServiceProviderName,
}

/// What becomes of values that LDAP has no place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// They are kept in our own database.
    Keep,
    /// They are refused.
    Refuse,
}
