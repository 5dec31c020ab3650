//! The state of the database, read apart from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::{Map, Value};
use vestibule::storage::{Database, SqlConnection, StorageError, each};

/// An account.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AccountFacts {
    pub(crate) store: String,
    pub(crate) active: bool,
    pub(crate) attributes: Map<String, Value>,
    /// The writer of each value.
    pub(crate) writers: Map<String, Value>,
    /// The hash of the password; empty if there is none.
    pub(crate) password: String,
    /// The sealed seed of the authenticator; empty if there is none.
    pub(crate) authenticator: String,
    /// The linked identities: provider and subject.
    pub(crate) links: BTreeSet<(String, String)>,
    /// The groups.
    pub(crate) groups: BTreeSet<String>,
    /// The attributes agreed to, by purpose; a withdrawn consent has none.
    pub(crate) consents: BTreeMap<String, BTreeSet<String>>,
}

impl AccountFacts {
    fn new(row: Row) -> Self {
        let attributes = object(&row.three);
        Self {
            store: row.two,
            active: attributes.get("active") != Some(&Value::Bool(false)),
            attributes,
            writers: object(&row.four),
            password: String::new(),
            authenticator: String::new(),
            links: BTreeSet::new(),
            groups: BTreeSet::new(),
            consents: BTreeMap::new(),
        }
    }

    pub(crate) fn text(&self, attribute: &str) -> &str {
        self.attributes
            .get(attribute)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether one of the addresses is this one.
    pub(crate) fn has_address(&self, address: &str) -> bool {
        let emails = self.attributes.get("emails").and_then(Value::as_array);
        emails.is_some_and(|emails| emails.iter().any(|email| email["value"] == address))
    }
}

/// The state at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// The accounts, by id.
    pub(crate) accounts: BTreeMap<String, AccountFacts>,
    /// The locked identities.
    pub(crate) locked: BTreeSet<(String, String)>,
    /// The removed identity providers.
    pub(crate) removed: BTreeSet<String>,
    /// The open sessions: fingerprint of the cookie to user.
    pub(crate) sessions: BTreeMap<String, String>,
    /// The requests for approval that wait: id and subject.
    pub(crate) waiting: Vec<(String, String)>,
}

impl Facts {
    /// Reads them.
    pub(crate) fn read(database: &Database) -> Self {
        let mut facts = Self::default();
        let accounts =
            "SELECT id AS one, store AS two, document AS three, writers AS four FROM resources WHERE kind = 'User'";
        for row in rows(database, accounts) {
            facts.accounts.insert(row.one.clone(), AccountFacts::new(row));
        }
        facts.read_details(database);
        let pairs = |sql: &str| rows(database, sql).into_iter().map(|row| (row.one, row.two));
        facts.locked = pairs(&select("identity_provider", "subject", "identity_locks")).collect();
        facts.removed = pairs(&select("identity_provider", "''", "removals"))
            .map(|row| row.0)
            .collect();
        facts.sessions = pairs(&select("id_hash", "resource_id", "sessions")).collect();
        let waiting = select("id", "subject", "approvals") + " WHERE verdict = 'waiting' ORDER BY asked, id";
        facts.waiting = pairs(&waiting).collect();
        facts
    }

    /// Reads what other tables know of the accounts.
    fn read_details(&mut self, database: &Database) {
        let mut each_of = |sql: &str, put: fn(&mut AccountFacts, Row)| {
            for row in rows(database, sql) {
                if let Some(account) = self.accounts.get_mut(&row.one) {
                    put(account, row);
                }
            }
        };
        each_of(
            &select("resource_id", "COALESCE(hash, '')", "credentials"),
            |account, row| account.password = row.two,
        );
        each_of(&select("resource_id", "hex(sealed)", "factors"), |account, row| {
            account.authenticator = row.two;
        });
        each_of(&select("member_id", "group_id", "members"), |account, row| {
            account.groups.insert(row.two);
        });
        each_of(
            "SELECT resource_id AS one, identity_provider AS two, subject AS three, '' AS four FROM links",
            |account, row| _ = account.links.insert((row.two, row.three)),
        );
        each_of(
            "SELECT resource_id AS one, purpose AS two, granted AS three, \
             CASE WHEN withdrawn IS NULL THEN '' ELSE 'withdrawn' END AS four FROM consents ORDER BY at, id",
            |account, row| {
                let granted = if row.four.is_empty() {
                    paths(&row.three)
                } else {
                    BTreeSet::new()
                };
                account.consents.insert(row.two, granted);
            },
        );
    }
}

fn select(one: &str, two: &str, table: &str) -> String {
    format!("SELECT {one} AS one, {two} AS two, '' AS three, '' AS four FROM {table}")
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    one: String,
    #[diesel(sql_type = Text)]
    two: String,
    #[diesel(sql_type = Text)]
    three: String,
    #[diesel(sql_type = Text)]
    four: String,
}

fn rows(database: &Database, sql: &str) -> Vec<Row> {
    let load = |connection: &mut SqlConnection| Ok(each!(connection, c => diesel::sql_query(sql).load::<Row>(c))?);
    database
        .read::<_, StorageError>(load)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("a stored document is a JSON object")
}

fn paths(text: &str) -> BTreeSet<String> {
    serde_json::from_str(text).expect("the attributes of a consent are a JSON list")
}
