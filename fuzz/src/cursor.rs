//! Cursors of a search, issued by a service with users in memory.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;
use vestibule::directory::Directory;
use vestibule::domain::{Actor, Clock, Kind, Secret, StoreName, Timestamp};
use vestibule::scim::list::ListParameters;
use vestibule::scim::{Caller, Reply, RequestOptions, Scim, ScimClient, ScimClients, ScimError, Settings};
use vestibule::storage::{Database, DatabaseUrl, SecretBox};
use vestibule::userstore::PasswordHasher;
use vestibule::userstore::memory::MemoryUserstore;

/// A service with three people, and the cursor of the page after the first of them.
pub(crate) struct Service {
    scim: Scim,
    caller: Caller,
    pub(crate) cursor: String,
}

/// The service, shared by all inputs.
pub(crate) fn service() -> &'static Service {
    static SERVICE: LazyLock<Service> = LazyLock::new(Service::start);
    &SERVICE
}

impl Service {
    fn start() -> Self {
        let clock = Clock::fixed(Timestamp(1_767_225_600_000));
        let hasher = PasswordHasher::new();
        let people = Arc::new(MemoryUserstore::new(StoreName::PRIMARY, hasher.clone(), clock.clone()));
        let directory = Directory::new(vec![people], Arc::clone(super::registry()), hasher, clock);
        // The database is not used: users are in memory, and there are no logins.
        let file = std::env::temp_dir().join(format!("vestibule-cursors-{}.db", std::process::id()));
        let database = Database::open(&DatabaseUrl::Sqlite(file.clone())).expect("a temporary file can be written");
        let _ = std::fs::remove_file(file);
        let key = Secret::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        let secret_box = SecretBox::from_secret(&key).expect("32 bytes in Base64");
        let settings = Settings {
            base_url: "https://id.example.com/scim/v2".to_owned(),
            clients: ScimClients::new(),
            cursor_lifetime: Duration::from_hours(1),
            stores_are_near: true,
            userstore_in_username: false,
        };
        let client = ScimClient {
            store: Some(StoreName::PRIMARY),
            strict: false,
            adoption: None,
            token_client: None,
        };
        let mut service = Self {
            scim: Scim::new(Arc::new(directory), database, Arc::new(secret_box), settings),
            caller: Caller {
                actor: Actor::administrator("test"),
                client,
                read_only: false,
            },
            cursor: String::new(),
        };
        for name in ["ann", "bob", "cem"] {
            let body = format!("{{\"userName\":\"{name}\"}}");
            let made = service.scim.create(
                &service.caller,
                &Kind::USER,
                body.as_bytes(),
                &RequestOptions::default(),
            );
            made.expect("the name is free");
        }
        let first = service.page("").expect("an empty cursor is the first page");
        let first: Value = serde_json::from_str(&first.body.expect("a list")).expect("JSON");
        let cursor = &first["nextCursor"];
        cursor.as_str().expect("there are more").clone_into(&mut service.cursor);
        service
    }

    /// The page of one person that a cursor names.
    pub(crate) fn page(&self, cursor: &str) -> Result<Reply, ScimError> {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("count", "1")
            .append_pair("sortBy", "userName")
            .append_pair("cursor", cursor)
            .finish();
        let terms = RequestOptions {
            parameters: ListParameters::parse(&query)?,
            ..RequestOptions::default()
        };
        self.scim.list(&self.caller, Some(&Kind::USER), &terms)
    }
}
