//! Vestibule's own records in SQL, on SQLite and PostgreSQL alike.
//! The module holds the pools, the single writer, the migrations, one file per kind of record, and the box that seals
//! secrets. Other modules call these concrete types directly.

pub mod approvals;
pub mod client_assertions;
mod columns;
pub mod connection;
pub mod consents;
pub mod credential_versions;
pub mod database;
pub mod dialects;
pub mod error;
pub mod factors;
pub mod grants;
pub mod group_grants;
pub mod identity_locks;
pub(crate) mod index_forms;
pub mod intents;
pub mod journal;
pub mod known_browsers;
pub mod ldap_entries;
pub mod links;
pub mod login_transactions;
pub mod logouts;
pub mod mail_addresses;
pub mod mail_codes;
pub mod migrate;
pub mod outbound;
pub mod outbound_claim;
pub mod outbound_members;
pub mod parked_records;
mod pool;
mod postgres_transaction;
pub mod pushed_requests;
pub mod random;
pub mod removals;
pub mod scim_tokens;
pub mod secret_box;
pub mod security_events;
pub mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod sweep;
pub mod tables;
pub mod targets;
#[cfg(test)]
pub(crate) mod test_database;
pub mod tokens;
mod writer;

pub use connection::{SqlConnection, each};
pub use database::{Database, DatabaseUrl};
pub use error::StorageError;
pub use secret_box::SecretBox;
