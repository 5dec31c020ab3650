//! Our own records in SQL, alike on SQLite and PostgreSQL: the pools, the single writer, migrations, one file per kind
//! of record, and the box that seals secrets. Concrete throughout; rooms above call it directly.

pub mod connection;
pub mod database;
pub mod journal;
pub mod links;
pub mod migrate;
pub mod random;
pub mod secret_box;
pub mod tables;
mod writer;

pub use connection::{SqlConnection, each};
pub use database::{Database, DatabaseUrl, StorageError};
pub use secret_box::SecretBox;
