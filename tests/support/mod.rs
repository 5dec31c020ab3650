//! Backends for tests: each adapter of the userstore seam, each test in a world of its own.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses its part")]

pub(crate) mod service;

use std::sync::Arc;

use vestibule::domain::schema::Registry;
use vestibule::domain::{Clock, StoreName, Timestamp};
use vestibule::storage::{Database, DatabaseUrl, migrate, random};
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
}

/// Makes a fresh world.
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

/// Where tests find PostgreSQL; without it those that need it are ignored.
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
    }
}
