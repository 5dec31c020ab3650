//! Backends for tests: each userstore adapter, with a separate world for each test.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

pub(crate) mod service;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::process::{Command, Stdio};

use vestibule::domain::schema::Registry;
use vestibule::domain::{Clock, Secret, ServiceProviderName, StoreName, Timestamp};
use vestibule::storage::{Database, DatabaseUrl, migrate, random};
use vestibule::userstore::ldap::{Dn, Flavour, LdapSettings, LdapUserstore, UnmappedValues};
use vestibule::userstore::memory::MemoryUserstore;
use vestibule::userstore::sql::SqlUserstore;
use vestibule::userstore::{PasswordHasher, Userstore};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Timestamp = Timestamp(1_767_225_600_000);

/// A store and what a test may want to reach behind it.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Userstore>,
    pub(crate) clock: Clock,
    pub(crate) registry: Arc<Registry>,
    _folder: Option<tempfile::TempDir>,
    /// Held while this world uses a backend that cannot separate worlds.
    turn: Option<MutexGuard<'static, ()>>,
}

impl World {
    /// Whether it is Active Directory.
    pub(crate) fn is_a_domain(&self) -> bool {
        self.turn.is_some()
    }
}

/// Worlds in Active Directory run one at a time: names are unique in the whole domain, whatever their base.
static DOMAIN: Mutex<()> = Mutex::new(());

/// Creates a fresh world.
pub(crate) type Backend = fn() -> World;

pub(crate) fn memory() -> World {
    let clock = Clock::fixed(START);
    let store = Arc::new(MemoryUserstore::new(
        StoreName::PRIMARY,
        PasswordHasher::new(),
        clock.clone(),
    ));
    World {
        store,
        clock,
        registry: Arc::new(Registry::builtin()),
        _folder: None,
        turn: None,
    }
}

pub(crate) fn sqlite() -> World {
    let folder = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(folder.path().join("test.db"));
    sql(&url, StoreName::PRIMARY, Some(folder))
}

pub(crate) fn postgres() -> World {
    let url = DatabaseUrl::parse(&postgres_url().expect("the caller looked first")).unwrap();
    sql(&url, StoreName::new(random::token()), None)
}

/// The PostgreSQL server for tests; without it, tests that need it are ignored.
pub(crate) fn postgres_url() -> Option<String> {
    std::env::var("VESTIBULE_TEST_POSTGRES_URL").ok()
}

fn sql(url: &DatabaseUrl, name: StoreName, folder: Option<tempfile::TempDir>) -> World {
    let database = Database::open(url).unwrap();
    migrate::run(&database).unwrap();
    let (clock, registry) = (Clock::fixed(START), Arc::new(Registry::builtin()));
    let hasher = PasswordHasher::new();
    let store = Arc::new(SqlUserstore::new(
        name,
        database,
        registry.clone(),
        hasher,
        clock.clone(),
    ));
    World {
        store,
        clock,
        registry,
        _folder: folder,
        turn: None,
    }
}

/// A directory server that tests may write to, from `VESTIBULE_TEST_<NAME>`: URL, CA file, bind name, bind password and
/// base, separated by `|`.
pub(crate) fn directory(name: &str) -> Option<Vec<String>> {
    let variable = format!("VESTIBULE_TEST_{}", name.to_uppercase());
    let text = std::env::var(variable).ok()?;
    Some(text.split('|').map(str::to_owned).collect())
}

pub(crate) fn openldap() -> World {
    ldap("openldap", Flavour::OpenLdap)
}

pub(crate) fn ds389() -> World {
    ldap("ds389", Flavour::Ds389)
}

pub(crate) fn active_directory() -> World {
    ldap("samba_ad", Flavour::ActiveDirectory)
}

/// Settings of a store in its own subtree of the directory server.
pub(crate) fn ldap_settings(server: &str, flavour: Flavour) -> LdapSettings {
    let facts = directory(server).expect("the caller looked first");
    let [url, ca, bind_dn, bind_password, base] = facts.as_slice() else {
        unreachable!("VESTIBULE_TEST_* of a directory has five parts");
    };
    let corner = match flavour {
        Flavour::ActiveDirectory => format!("ou=vestibule,{base}"),
        _ => format!("ou={},{base}", random::token()),
    };
    make_corner(url, ca, (bind_dn, bind_password), &corner);
    LdapSettings {
        ca_file: Some(ca.into()),
        bind_dn: bind_dn.clone(),
        bind_password: Secret::new(bind_password.clone()),
        user_base: Dn::new(format!("ou=people,{corner}")),
        group_base: Dn::new(format!("ou=groups,{corner}")),
        flavour,
        ..ldap_at(StoreName::new(random::token()), url)
    }
}

/// Settings of a store at an address, whether or not a server listens there.
pub(crate) fn ldap_at(name: StoreName, url: &str) -> LdapSettings {
    LdapSettings {
        name,
        urls: vec![url.to_owned()],
        start_tls: false,
        ca_file: None,
        bind_dn: "cn=us".to_owned(),
        bind_password: Secret::new("secret-of-ours"),
        user_base: Dn::new("ou=people,dc=example,dc=com"),
        group_base: Dn::new("ou=groups,dc=example,dc=com"),
        flavour: Flavour::OpenLdap,
        writable: true,
        unmapped: UnmappedValues::Keep,
        user_rdn: None,
        user_object_classes: None,
        group_object_classes: None,
        user_attributes: std::collections::BTreeMap::new(),
        group_attributes: std::collections::BTreeMap::new(),
        timeout: std::time::Duration::from_secs(5),
        connections: 8,
        watch: std::time::Duration::from_secs(5),
        service_provider: ServiceProviderName::RESIDENT,
    }
}

/// Creates the base entries of a store.
fn make_corner(url: &str, ca: &str, (bind_dn, password): (&str, &str), corner: &str) {
    // Left by an earlier test.
    let _ = tool("ldapdelete", url, ca, (bind_dn, password))
        .args(["-r", corner])
        .stderr(Stdio::null())
        .status();
    let entry = |dn: &str| {
        let name = dn.split([',', '=']).nth(1).unwrap_or_default();
        format!("dn: {dn}\nobjectClass: organizationalUnit\nou: {name}\n\n")
    };
    let ldif = [
        corner.to_owned(),
        format!("ou=people,{corner}"),
        format!("ou=groups,{corner}"),
    ];
    ldapmodify(url, ca, (bind_dn, password), &ldif.map(|dn| entry(&dn)).concat());
}

fn tool(name: &str, url: &str, ca: &str, (bind_dn, password): (&str, &str)) -> Command {
    let mut tool = Command::new(name);
    tool.args(["-x", "-H", url, "-D", bind_dn, "-w", password])
        .env("LDAPTLS_CACERT", ca);
    tool
}

/// Adds entries to a directory server with `ldapmodify`, as another tool would.
pub(crate) fn ldapmodify(url: &str, ca: &str, (bind_dn, password): (&str, &str), ldif: &str) {
    use std::io::Write as _;
    let mut tool = tool("ldapmodify", url, ca, (bind_dn, password))
        .arg("-a")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("ldapmodify is installed where a directory is configured");
    tool.stdin.take().unwrap().write_all(ldif.as_bytes()).unwrap();
    assert!(tool.wait().unwrap().success(), "ldapmodify refused:\n{ldif}");
}

fn ldap(server: &str, flavour: Flavour) -> World {
    let turn = (flavour == Flavour::ActiveDirectory).then(|| DOMAIN.lock().unwrap_or_else(PoisonError::into_inner));
    ldap_world(ldap_settings(server, flavour), turn)
}

/// A world with a store of these settings.
pub(crate) fn ldap_world(settings: LdapSettings, turn: Option<MutexGuard<'static, ()>>) -> World {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&DatabaseUrl::Sqlite(folder.path().join("test.db"))).unwrap();
    migrate::run(&database).unwrap();
    let (clock, registry) = (Clock::fixed(START), Arc::new(Registry::builtin()));
    let store = LdapUserstore::new(
        settings,
        database,
        registry.clone(),
        PasswordHasher::new(),
        clock.clone(),
    );
    World {
        store: Arc::new(store.unwrap()),
        clock,
        registry,
        _folder: Some(folder),
        turn,
    }
}
