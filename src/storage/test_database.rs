//! Where tests have their database.

use diesel::connection::SimpleConnection;
use tempfile::TempDir;

use super::{Database, DatabaseUrl, StorageError, random};

/// An SQLite file in the folder, or, if `TEST_POSTGRES_URL` names a PostgreSQL, a new schema there.
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
