//! The migrations: up, down and up again with data in every table, on each database.

use std::collections::BTreeSet;
use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use libtest_mimic::Trial;
use vestibule::storage::migrate::{self, MigrateError};
use vestibule::storage::{Database, DatabaseUrl, SqlConnection, StorageError, random};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![Trial::test("both_folders_hold_the_same_migrations", || {
        both_folders_hold_the_same_migrations();
        Ok(())
    })];
    let postgres = std::env::var("VESTIBULE_TEST_POSTGRES_URL").ok();
    for (backend, server) in [("sqlite", Some(None)), ("postgres", postgres.map(Some))] {
        for (case, run) in [
            ("up_with_data_down_and_up", up_with_data_down_and_up as fn(&Database)),
            (
                "running_twice_does_nothing_the_second_time",
                running_twice_does_nothing_the_second_time,
            ),
            ("a_newer_database_is_refused", a_newer_database_is_refused),
        ] {
            let server = server.clone();
            let ignored = server.is_none();
            let trial = Trial::test(format!("{backend}::{case}"), move || {
                let folder = tempfile::tempdir().unwrap();
                run(&empty(server.ok_or("not configured")?.as_deref(), folder.path()));
                Ok(())
            });
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    trials
}

/// A database without tables: an SQLite file, or a new schema in PostgreSQL.
fn empty(server: Option<&str>, folder: &Path) -> Database {
    let Some(server) = server else {
        return Database::open(&DatabaseUrl::Sqlite(folder.join("test.db"))).unwrap();
    };
    let schema = format!("test_{}", &random::fingerprint(&random::token())[..16]);
    execute(
        &Database::open(&DatabaseUrl::parse(server).unwrap()).unwrap(),
        &format!("CREATE SCHEMA {schema}"),
    );
    Database::open(&DatabaseUrl::parse(&format!("{server}?options=-csearch_path%3D{schema}")).unwrap()).unwrap()
}

fn execute(database: &Database, statements: &str) {
    database
        .read::<_, StorageError>(|connection| connection.batch_execute(statements))
        .unwrap();
}

fn both_folders_hold_the_same_migrations() {
    let names = |backend: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(backend);
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    for backend in ["sqlite", "postgres"] {
        for name in names(backend) {
            for file in ["up.sql", "down.sql"] {
                let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("migrations")
                    .join(backend)
                    .join(&name)
                    .join(file);
                assert!(path.is_file(), "{} is missing", path.display());
            }
        }
    }
}

fn up_with_data_down_and_up(database: &Database) {
    migrate::run(database).unwrap();
    let tables = tables(database);
    assert!(tables.len() > 10, "{tables:?}");
    // Inserting resources fills `resource_counts`.
    for table in in_order(&tables)
        .into_iter()
        .filter(|table| *table != "resource_counts")
    {
        let (columns, values): (Vec<_>, Vec<_>) = columns(database, table).into_iter().unzip();
        execute(
            database,
            &format!(
                "INSERT INTO {table} ({}) VALUES ({})",
                columns.join(", "),
                values.join(", ")
            ),
        );
    }
    migrate::revert_all(database).unwrap();
    assert_eq!(self::tables(database), [] as [String; 0]);
    assert!(!migrate::run(database).unwrap().is_empty());
    assert_eq!(self::tables(database), tables);
}

fn running_twice_does_nothing_the_second_time(database: &Database) {
    assert!(!migrate::run(database).unwrap().is_empty());
    assert_eq!(migrate::run(database).unwrap(), [] as [String; 0]);
}

fn a_newer_database_is_refused(database: &Database) {
    migrate::run(database).unwrap();
    execute(
        database,
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101000000')",
    );
    let refused = migrate::run(database).unwrap_err();
    assert!(matches!(&refused, MigrateError::Newer(version) if version == "99990101000000"));
    assert!(refused.to_string().contains("newer version"), "{refused}");
}

// ---- introspection ----

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    kind: String,
}

fn load<T>(database: &Database, sqlite: &str, postgres: &str) -> Vec<T>
where
    T: diesel::deserialize::QueryableByName<diesel::sqlite::Sqlite>
        + diesel::deserialize::QueryableByName<diesel::pg::Pg>
        + 'static,
{
    database
        .read::<_, StorageError>(|connection| {
            Ok(match connection {
                SqlConnection::Sqlite(c) => diesel::sql_query(sqlite).load::<T>(c)?,
                SqlConnection::Postgres(c) => diesel::sql_query(postgres).load::<T>(c)?,
            })
        })
        .unwrap()
}

/// Our tables, by name.
fn tables(database: &Database) -> Vec<String> {
    let names: Vec<Name> = load(
        database,
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name <> '__diesel_schema_migrations' ORDER BY name",
        "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema() \
         AND tablename <> '__diesel_schema_migrations' ORDER BY tablename",
    );
    names.into_iter().map(|table| table.name).collect()
}

/// Puts tables that others refer to first.
fn in_order(tables: &[String]) -> Vec<&String> {
    let (first, rest): (Vec<_>, Vec<_>) = tables
        .iter()
        .partition(|table| ["resources", "grants", "sessions", "outbound", "targets"].contains(&table.as_str()));
    first.into_iter().chain(rest).collect()
}

/// The columns of a table, each with a valid value: all texts are equal, so that foreign keys match.
fn columns(database: &Database, table: &str) -> Vec<(String, &'static str)> {
    let columns: Vec<Column> = load(
        database,
        &format!("SELECT name, type AS kind FROM pragma_table_info('{table}')"),
        &format!(
            "SELECT column_name::text AS name, data_type::text AS kind FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = '{table}'"
        ),
    );
    let value = |kind: &str| match kind.to_ascii_lowercase() {
        kind if kind.contains("int") => "1",
        kind if kind.contains("bool") => "TRUE",
        kind if kind.contains("blob") => "x'00'",
        kind if kind.contains("bytea") => "'\\x00'",
        _ => "'x'",
    };
    columns
        .into_iter()
        .map(|column| (column.name, value(&column.kind)))
        .collect()
}
