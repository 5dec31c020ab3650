//! The database of unit tests.

use diesel::connection::SimpleConnection;
use tempfile::TempDir;

use super::{Database, DatabaseUrl, StorageError, random};

/// Returns an SQLite file in the folder, or, if `VESTIBULE_TEST_POSTGRES_URL` is set, a new schema on that PostgreSQL.
pub(crate) fn url(folder: &TempDir) -> DatabaseUrl {
    let Ok(server) = std::env::var("VESTIBULE_TEST_POSTGRES_URL") else {
        return DatabaseUrl::Sqlite(folder.path().join("test.db"));
    };
    let schema = format!("test_{}", &random::fingerprint(&random::token())[..16]);
    let database = Database::open(&DatabaseUrl::parse(&server).unwrap()).unwrap();
    let statement = format!("CREATE SCHEMA {schema}");
    database
        .read::<_, StorageError>(|connection| connection.batch_execute(&statement))
        .unwrap();
    DatabaseUrl::parse(&format!("{server}?options=-csearch_path%3D{schema}")).unwrap()
}
