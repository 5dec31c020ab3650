//! Every text that reaches a key or an index fits there, on each database, at the longest that the program lets through.

use std::collections::{BTreeMap, BTreeSet};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use libtest_mimic::Trial;
use vestibule::domain::ResourceId;
use vestibule::storage::{Database, DatabaseUrl, SqlConnection, StorageError, migrate, random};

/// What a text can hold.
#[derive(Clone, Copy)]
enum Alphabet {
    Ascii,
    Unicode,
}
use Alphabet::{Ascii, Unicode};

/// The most characters of a text that a key or an index holds, by column name: each name means the same in every table.
const LONGEST: &[(&str, Alphabet, usize)] = &[
    // Ids of resources and references to them, of which several can stand in one key.
    ("id", Unicode, ResourceId::LONGEST),
    ("resource_id", Unicode, ResourceId::LONGEST),
    ("group_id", Unicode, ResourceId::LONGEST),
    ("member_id", Unicode, ResourceId::LONGEST),
    // Names from the configuration and the schemas.
    ("store", Ascii, 64),
    ("kind", Ascii, 64),
    ("target", Ascii, 64),
    ("service_provider", Ascii, 64),
    ("client_id", Ascii, 255),
    ("identity_provider", Ascii, 64),
    ("rule", Ascii, 64),
    ("path", Ascii, 300),
    ("purpose", Ascii, 64),
    ("name", Ascii, 365),
    // A canonical name (twice 255), an index value (200 characters and a fingerprint).
    ("key", Unicode, 510),
    ("value", Unicode, 265),
    ("external_id", Unicode, 265),
    // What identity providers, targets and directories say.
    ("issuer", Ascii, 2000),
    ("subject", Ascii, 255),
    ("remote_id", Unicode, 256),
    ("entry", Unicode, 256),
    ("dn_key", Unicode, 250),
    // Hashes, random values and words of the program.
    ("token_hash", Ascii, 64),
    ("handle_hash", Ascii, 64),
    ("code_hash", Ascii, 64),
    ("session_hash", Ascii, 64),
    ("id_hash", Ascii, 64),
    ("jti_hash", Ascii, 64),
    ("fingerprint", Ascii, 64),
    ("hash", Ascii, 128),
    ("grant_id", Ascii, 64),
    ("sid", Ascii, 64),
    ("kid", Ascii, 64),
    ("state", Ascii, 16),
];

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    tablename: String,
    #[diesel(sql_type = Text)]
    columnname: String,
}

pub(crate) fn trials() -> Vec<Trial> {
    let server = std::env::var("VESTIBULE_TEST_POSTGRES_URL").ok();
    let ignored = server.is_none();
    vec![
        Trial::test("limits::every_indexed_text_fits_on_postgresql", move || {
            every_indexed_text_fits(&server.ok_or("not configured")?);
            Ok(())
        })
        .with_ignored_flag(ignored),
    ]
}

/// PostgreSQL limits an index entry to 2,704 bytes; SQLite does not limit it. Each indexed column gets the longest text of
/// four-byte characters, which do not compress, in one row.
fn every_indexed_text_fits(server: &str) {
    let schema = format!("test_{}", &random::fingerprint(&random::token())[..16]);
    let admin = Database::open(&DatabaseUrl::parse(server).unwrap()).unwrap();
    run(&admin, &format!("CREATE SCHEMA {schema}"));
    let url = format!("{server}?options=-csearch_path%3D{schema}");
    let database = Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap();
    migrate::run(&database).unwrap();
    let longest: BTreeMap<&str, (Alphabet, usize)> = LONGEST
        .iter()
        .map(|(name, alphabet, most)| (*name, (*alphabet, *most)))
        .collect();
    let mut columns: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for column in indexed(&database) {
        columns.entry(column.tablename).or_default().insert(column.columnname);
    }
    assert!(columns.len() > 20, "{columns:?}");
    for (table, names) in &columns {
        for name in names {
            assert!(
                longest.contains_key(name.as_str()),
                "{table}.{name} has no longest text"
            );
        }
        // Without the foreign keys and the other columns, only the sizes count.
        let mut list: Vec<String> = names
            .iter()
            .map(|name| format!("{name} = '{}'", text(longest[name.as_str()])))
            .collect();
        let others = all(&database, table);
        let keys = others
            .iter()
            .filter(|column| !names.contains(*column) && is_in_key(&database, table, column));
        list.extend(keys.map(|column| format!("{column} = 1")));
        let template = format!("CREATE TABLE sized_{table} (LIKE {table} INCLUDING INDEXES)");
        run(&database, &template);
        let nullable: Vec<String> = others
            .iter()
            .filter(|column| !names.contains(*column) && !is_in_key(&database, table, column))
            .map(|column| format!("ALTER COLUMN {column} DROP NOT NULL"))
            .collect();
        if !nullable.is_empty() {
            run(&database, &format!("ALTER TABLE sized_{table} {}", nullable.join(", ")));
        }
        let (columns, values): (Vec<_>, Vec<_>) = list.iter().map(|pair| pair.split_once(" = ").unwrap()).unzip();
        let statement = format!(
            "INSERT INTO sized_{table} ({}) VALUES ({})",
            columns.join(", "),
            values.join(", ")
        );
        run(&database, &statement);
    }
}

fn run(database: &Database, statement: &str) {
    database
        .read::<_, StorageError>(|connection| connection.batch_execute(statement))
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn load(database: &Database, sql: &str) -> Vec<Column> {
    database
        .read::<_, StorageError>(|connection| match connection {
            SqlConnection::Postgres(c) => diesel::sql_query(sql).load(c),
            SqlConnection::Sqlite(_) => Ok(Vec::new()),
        })
        .unwrap()
}

/// The text columns of all indexes.
fn indexed(database: &Database) -> Vec<Column> {
    load(
        database,
        "SELECT DISTINCT t.relname::text AS tablename, a.attname::text AS columnname FROM pg_index i \
         JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema() \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey) AND a.atttypid = 'text'::regtype \
         WHERE t.relname <> '__diesel_schema_migrations'",
    )
}

fn all(database: &Database, table: &str) -> Vec<String> {
    let sql = format!(
        "SELECT table_name::text AS tablename, column_name::text AS columnname FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = '{table}'"
    );
    load(database, &sql)
        .into_iter()
        .map(|column| column.columnname)
        .collect()
}

/// Whether a column is in a primary key, and so cannot be null.
fn is_in_key(database: &Database, table: &str, column: &str) -> bool {
    let sql = format!(
        "SELECT t.relname::text AS tablename, a.attname::text AS columnname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
         JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema() \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = ANY (i.indkey) \
         WHERE i.indisprimary AND t.relname = '{table}' AND a.attname = '{column}'"
    );
    !load(database, &sql).is_empty()
}

/// A text of so many characters, the largest of their alphabet and without a pattern that could be compressed.
fn text((alphabet, characters): (Alphabet, usize)) -> String {
    let mut bytes = random::bytes::<2048>().into_iter().cycle();
    let mut next = || u32::from(bytes.next().unwrap()) * 256 + u32::from(bytes.next().unwrap());
    let (first, count) = match alphabet {
        Ascii => (0x61, 26),
        Unicode => (0x20000, 0xA000),
    };
    (0..characters)
        .map(|_| char::from_u32(first + next() % count).unwrap())
        .collect()
}
