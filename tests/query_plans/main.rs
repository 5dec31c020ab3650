//! Every hot query uses its index: the statements that the program sends are recorded, and the database is asked for
//! their plans. A plan that reads a whole table, or sorts where an index has the order, fails; so does a statement that
//! is not kept prepared. A database that is not configured is reported as ignored.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../fixtures/mod.rs"]
mod fixtures;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use diesel::connection::{InstrumentationEvent, SimpleConnection, set_default_instrumentation};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use libtest_mimic::{Arguments, Trial};
use serde_json::{Value, json};
use vestibule::domain::change::JournalPosition;
use vestibule::domain::filter::parse;
use vestibule::domain::patch::MemberStep;
use vestibule::domain::query::{Page, Query, Sort, SortKey, SortPosition, Start};
use vestibule::domain::schema::Registry;
use vestibule::domain::{
    Clock, IdentityProviderName, Kind, Link, Precondition, Relations, ResourceId, SecurityEventKind, StoreName,
    TargetName, Timestamp,
};
use vestibule::storage::outbound_claim::{self, Claim};
use vestibule::storage::{
    Database, DatabaseUrl, SqlConnection, StorageError, approvals, client_assertions, consents, factors, grants,
    identity_locks, intents, journal, known_browsers, ldap_entries, links, login_transactions, logouts, mail_codes,
    migrate, outbound, outbound_members, pushed_requests, random, scim_tokens, security_events, sessions, targets,
    tokens,
};
use vestibule::userstore::sql::SqlUserstore;
use vestibule::userstore::{Draft, PasswordHasher, UniqueKey, Userstore, Write, WriteAction};

/// Rows of each kind: enough that a database with statistics never prefers to read them all.
const ROWS: usize = 20_000;
/// The number of rows that a plan may sort.
const FEW: usize = ROWS / 100;
const LATER: Timestamp = Timestamp(2_000_000);

/// The statements that were sent since the last check.
static SENT: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// The statements that connections keep prepared.
static PREPARED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

struct World {
    database: Database,
    store: SqlUserstore,
    registry: Arc<Registry>,
    _folder: tempfile::TempDir,
}

type Case = (&'static str, fn(&World), &'static [&'static str]);

/// The queries, and the indexes that they must use. `KEY table` stands for the table's primary key, whose name depends
/// on the database; `SORTS` allows sorting the matching rows, and `ANEW` preparing the statement each time, because it
/// is rare or has endlessly many variants.
const CASES: &[Case] = &[
    (
        "a_resource_by_id",
        |w| w.get(&Kind::USER, &user(7)),
        &["KEY resources", "members_member"],
    ),
    (
        "a_group_with_its_members",
        |w| w.get(&Kind::GROUP, &group(7)),
        &["KEY resources", "members_group"],
    ),
    (
        "whether_a_group_is_large",
        |w| assert!(!w.store.is_larger(&group(7), 100).unwrap()),
        &["members_group"],
    ),
    (
        "a_name",
        |w| w.filter("userName eq \"user100007\"", 1),
        &["resources_key"],
    ),
    (
        "the_beginning_of_a_name",
        |w| w.filter("userName sw \"user10000\"", 100),
        &["SORTS", "resources_key"],
    ),
    (
        "an_external_id",
        |w| w.filter("externalId eq \"e100007\"", 1),
        &["resources_external_id"],
    ),
    (
        "an_email",
        |w| w.filter("emails.value eq \"user100007@example.com\"", 1),
        &["KEY attribute_values"],
    ),
    (
        "an_email_of_a_type",
        |w| w.filter("emails[type eq \"work\" and value eq \"user100007@example.com\"]", 1),
        &["ANEW", "KEY attribute_values"],
    ),
    (
        "the_beginning_of_an_email",
        |w| w.filter("emails.value sw \"user10000\"", 10),
        &["KEY attribute_values"],
    ),
    (
        "a_family_name",
        |w| w.filter("name.familyName eq \"family100007\"", 1),
        &["KEY attribute_values"],
    ),
    (
        "the_beginning_of_a_display_name",
        |w| w.filter("displayName sw \"display10000\"", 10),
        &["KEY attribute_values"],
    ),
    (
        "the_groups_with_a_member",
        |w| w.filter_of(&Kind::GROUP, &format!("members.value eq \"{}\"", user(7)), 10),
        &["members_member"],
    ),
    (
        "the_members_of_a_group",
        |w| w.filter(&format!("groups.value eq \"{}\"", group(7)), 500),
        &["SORTS", "members_group"],
    ),
    (
        "what_changed_lately",
        |w| w.filter("meta.lastModified gt \"1970-01-01T00:16:39.900Z\"", 10),
        &["SORTS", "resources_modified"],
    ),
    (
        "what_was_created_lately",
        |w| w.filter("meta.created gt \"1970-01-01T00:16:39.900Z\"", 10),
        &["SORTS", "resources_created"],
    ),
    (
        "the_first_page",
        |w| w.page(None, Start::Index(0)),
        &["resources_age", "resource_counts"],
    ),
    (
        "a_page_deep_inside_by_index",
        // Walks at first, then searches for page checkpoints, then uses the known ones.
        |w| (0..3).for_each(|_| w.page(None, Start::Index(ROWS / 2))),
        &["resources_age", "KEY resources"],
    ),
    (
        "a_page_deep_inside_by_cursor",
        |w| w.page(None, after(None)),
        &["resources_age"],
    ),
    (
        "a_page_back_from_deep_inside",
        |w| w.page(None, before(None)),
        &["resources_age"],
    ),
    (
        "names_in_order",
        |w| w.page(Some("userName"), Start::Index(0)),
        &["resources_key"],
    ),
    (
        "names_in_order_by_cursor",
        |w| w.page(Some("userName"), after(Some(SortKey::Text("user110000".into())))),
        &["resources_key"],
    ),
    (
        "names_in_order_backwards",
        |w| w.page(Some("userName"), before(Some(SortKey::Text("user110000".into())))),
        &["resources_key"],
    ),
    (
        "by_creation",
        |w| w.page(Some("meta.created"), Start::Index(0)),
        &["resources_created"],
    ),
    (
        "by_creation_by_cursor",
        |w| w.page(Some("meta.created"), after(Some(SortKey::Moment(Timestamp(11_000))))),
        &["resources_created"],
    ),
    (
        "by_change",
        |w| w.page(Some("meta.lastModified"), Start::Index(0)),
        &["resources_modified"],
    ),
    (
        "by_change_by_cursor",
        |w| {
            w.page(
                Some("meta.lastModified"),
                after(Some(SortKey::Moment(Timestamp(11_000)))),
            );
        },
        &["resources_modified"],
    ),
    ("by_id", |w| w.page(Some("id"), Start::Index(0)), &["resources_age"]),
    (
        "replacing_a_user",
        World::replace,
        &[
            "KEY resources",
            "attribute_values_resource",
            "KEY attribute_values",
            "sessions_resource",
            "KEY session_clients",
            "grants_resource",
        ],
    ),
    ("joining_and_leaving_a_group", World::join_and_leave, &["KEY resources"]),
    (
        "deleting_a_user",
        |w| w.delete(&user(9)),
        &[
            "members_member",
            "links_resource",
            "consents_of_user",
            "KEY factors",
            "KEY credential_versions",
            "KEY recovery_codes",
            "KEY mail_codes",
            "KEY group_grants",
            "group_grants_of_group",
            "sessions_resource",
            "KEY session_clients",
            "grants_resource",
            "KEY resources",
        ],
    ),
    (
        "a_bearer_token",
        |w| w.read(|c| scim_tokens::find(c, "t100007").map(drop)),
        &["KEY scim_tokens"],
    ),
    (
        "noting_a_use_of_a_token",
        |w| w.write(|c| scim_tokens::touch(c, "i100007", LATER)),
        &["ANEW", "UNIQUE scim_tokens"],
    ),
    (
        "tokens_of_clients_that_are_over",
        |w| w.write(|c| scim_tokens::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["scim_tokens_issued"],
    ),
    (
        "a_logout_that_is_due",
        |w| w.read(|c| logouts::is_due(c, Timestamp(100_005)).map(drop)),
        &["logouts_due"],
    ),
    (
        "logouts_that_are_given_up",
        |w| w.write(|c| logouts::delete_older(c, Timestamp(1), 500).map(drop)),
        &["logouts_created"],
    ),
    (
        "assertions_that_are_over",
        |w| w.write(|c| client_assertions::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["client_assertions_expires"],
    ),
    (
        "a_pushed_request",
        |w| w.write(|c| pushed_requests::take(c, "p100007", "wiki", Timestamp(1)).map(drop)),
        &["KEY pushed_requests"],
    ),
    (
        "pushed_requests_that_are_over",
        |w| w.write(|c| pushed_requests::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["pushed_requests_expires"],
    ),
    (
        "a_link",
        |w| w.read(|c| links::find(c, &IdentityProviderName::from("idp"), "issuer", "s100007").map(drop)),
        &["KEY links"],
    ),
    (
        "the_entry_of_a_resource",
        |w| w.read(|c| ldap_entries::of_resource(c, &StoreName::PRIMARY, &user(7)).map(drop)),
        &["KEY ldap_entries"],
    ),
    (
        "the_entries_of_resources",
        |w| w.read(|c| ldap_entries::of_resources(c, &StoreName::PRIMARY, &[&user(7), &user(8)]).map(drop)),
        &["KEY ldap_entries"],
    ),
    (
        "the_resources_of_entries",
        |w| w.read(|c| ldap_entries::summaries(c, &StoreName::PRIMARY, &["e100007", "e100008"]).map(drop)),
        &["ldap_entries_entry"],
    ),
    (
        "the_resources_of_distinguished_names",
        |w| w.read(|c| ldap_entries::by_names(c, &StoreName::PRIMARY, &["uid=u100007".to_owned()]).map(drop)),
        &["ldap_entries_dn"],
    ),
    (
        "the_intent_about_an_entry",
        |w| w.read(|c| intents::of(c, &StoreName::PRIMARY, "entry:e100007").map(drop)),
        &["KEY intents"],
    ),
    (
        "the_links_of_a_user",
        |w| w.read(|c| links::of_user(c, &user(7)).map(drop)),
        &["SORTS", "links_resource"],
    ),
    (
        "who_has_not_come_for_a_while",
        |w| {
            let last = links::LinkRecord {
                link: identity(7),
                store: StoreName::PRIMARY,
                resource_id: user(7),
                created: Timestamp(1000),
                last_login: Timestamp(1000),
                verified_email: None,
            };
            for after in [None, Some(&last)] {
                w.read(|c| links::idle(c, &"idp".into(), Timestamp(1000), after, 20).map(drop));
            }
        },
        &["links_last_login", "KEY credentials"],
    ),
    (
        "what_a_person_agreed_to",
        |w| w.read(|c| consents::of_user(c, &user(7)).map(drop)),
        &["SORTS", "consents_of_user"],
    ),
    (
        "whether_a_person_was_here_before",
        |w| w.read(|c| links::was_unlinked(c, &"google".into(), "https://idp.example", "former100007").map(drop)),
        &["KEY former_links"],
    ),
    (
        "events_of_a_person",
        |w| {
            let filter = security_events::EventFilter {
                user: Some(user(7)),
                ..Default::default()
            };
            w.read(|c| security_events::newest(c, &filter, 50).map(drop));
        },
        &["ANEW", "security_events_of_user"],
    ),
    (
        "newest_events_of_a_kind",
        |w| {
            let filter = security_events::EventFilter {
                kind: Some(SecurityEventKind::Login),
                ..Default::default()
            };
            w.read(|c| security_events::newest(c, &filter, 50).map(drop));
        },
        &["ANEW", "security_events"],
    ),
    (
        "events_that_are_too_old",
        |w| w.write(|c| security_events::delete_before(c, Timestamp(0), 500).map(drop)),
        &["ANEW", "security_events_at"],
    ),
    (
        "a_code_of_a_second_factor",
        |w| {
            w.write(|c| factors::attempt(c, &user(7), factors::TOTP, Timestamp(0)).map(drop));
            w.write(|c| factors::use_recovery_code(c, &user(7), "h100007").map(drop));
        },
        &["ANEW", "KEY factors", "KEY recovery_codes"],
    ),
    (
        "whether_somebody_was_let_in",
        |w| {
            w.read(|c| approvals::of_identity(c, &identity(7), Timestamp(0)).map(drop));
            w.write(|c| approvals::delete_of_identity(c, &identity(7)));
        },
        &["approvals_identity"],
    ),
    (
        "requests_that_are_over",
        |w| w.write(|c| approvals::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["approvals_expires"],
    ),
    (
        "a_code_by_mail",
        |w| {
            w.write(|c| mail_codes::send(c, &user(7), LATER).map(drop));
            w.write(|c| mail_codes::attempt(c, &user(7), LATER).map(drop));
        },
        &["ANEW", "KEY mail_codes"],
    ),
    (
        "a_login_under_way",
        |w| w.read(|c| login_transactions::find(c, "h100007", Timestamp(0)).map(drop)),
        &["KEY login_transactions"],
    ),
    (
        "logins_that_are_over",
        |w| w.write(|c| login_transactions::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["login_transactions_expires"],
    ),
    (
        "a_session",
        |w| w.read(|c| sessions::find(c, "h100007", Timestamp(0)).map(drop)),
        &["KEY sessions"],
    ),
    (
        "a_browser_that_is_known",
        |w| w.write(|c| known_browsers::attempt(c, &user(7), "h7", Timestamp(0)).map(drop)),
        &["KEY known_browsers"],
    ),
    (
        "browsers_that_were_not_used_for_long",
        |w| w.write(|c| known_browsers::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["known_browsers_expires"],
    ),
    (
        "the_links_of_a_provider",
        |w| w.read(|c| links::of_provider(c, &"idp".into(), ("issuer", "s100007"), 50).map(drop)),
        &["ANEW", "KEY links"],
    ),
    (
        "whether_an_identity_of_a_user_is_locked",
        |w| w.read(|c| identity_locks::of_user(c, &user(7)).map(drop)),
        &["ANEW", "links_resource", "KEY identity_locks"],
    ),
    (
        "the_sessions_of_a_user",
        |w| w.read(|c| sessions::of_user(c, &user(7), Timestamp(0)).map(drop)),
        &["ANEW", "SORTS", "sessions_resource"],
    ),
    (
        "a_consent_that_is_taken_back",
        |w| w.write(|c| consents::withdraw(c, "letters", &user(7), Timestamp(0))),
        &["ANEW", "consents_of_user"],
    ),
    (
        "sessions_that_are_over",
        |w| w.write(|c| sessions::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["sessions_expires"],
    ),
    (
        "a_code",
        |w| w.read(|c| grants::by_code(c, "c100007").map(drop)),
        &["grants_code"],
    ),
    (
        "the_grants_of_a_session",
        |w| w.write(|c| grants::revoke_of_session(c, "h100007", LATER)),
        &["grants_session"],
    ),
    (
        "an_access_token",
        |w| w.read(|c| tokens::access(c, "t100007", Timestamp(0)).map(drop)),
        &["KEY access_tokens", "KEY grants"],
    ),
    (
        "access_tokens_that_are_over",
        |w| w.write(|c| tokens::delete_expired(c, Timestamp(1), 500).map(drop)),
        &["access_tokens_expires"],
    ),
    (
        "a_refresh_token",
        |w| w.read(|c| tokens::refresh(c, "t100007").map(drop)),
        &["KEY refresh_tokens", "KEY grants"],
    ),
    (
        "using_a_refresh_token_up",
        |w| w.write(|c| tokens::take_refresh(c, "t100007", Timestamp(1)).map(drop)),
        &["KEY refresh_tokens"],
    ),
    (
        "the_journal_after_a_place",
        |w| w.read(|c| journal::after(c, place(), 100).map(drop)),
        &["JOURNAL"],
    ),
    (
        "whether_there_is_more_journal",
        |w| w.read(|c| targets::has_unread(c, &target()).map(drop)),
        &["KEY targets", "JOURNAL"],
    ),
    (
        "the_journal_of_a_resource",
        |w| w.read(|c| journal::diffs_since(c, &user(7), Timestamp(0), 10).map(drop)),
        &["journal_resource"],
    ),
    (
        "whether_something_is_due",
        |w| w.read(|c| outbound::is_due(c, &target(), LATER).map(drop)),
        &["ANEW", "outbound_due"],
    ),
    (
        "whether_something_is_waiting",
        |w| w.read(|c| outbound::is_waiting(c, &target()).map(drop)),
        &["ANEW", "outbound_due"],
    ),
    (
        "taking_what_is_due",
        |w| w.write(|c| outbound_claim::claim(c, &claim()).map(drop)),
        &["outbound_due", "KEY outbound"],
    ),
    (
        "what_is_in_a_state",
        |w| w.read(|c| outbound::in_state(c, &target(), outbound::OutboundState::Failed, 10).map(drop)),
        &["outbound_due"],
    ),
    (
        "an_outbound_row",
        |w| w.read(|c| outbound::find(c, &target(), &user(7)).map(drop)),
        &["KEY outbound"],
    ),
    (
        "whose_account_at_a_target",
        |w| w.read(|c| outbound::owner_of(c, &target(), "r100007").map(drop)),
        &["outbound_remote"],
    ),
    (
        "memberships_to_send",
        |w| w.read(|c| outbound_members::differing(c, &target(), &group(7), 10).map(drop)),
        &["outbound_members_differing", "KEY outbound"],
    ),
    (
        "memberships_of_a_member",
        |w| w.write(|c| outbound_members::leave_all(c, &target(), &user(7), "r100007").map(drop)),
        &["ANEW", "outbound_members_member"],
    ),
];

fn main() {
    set_default_instrumentation(|| {
        Some(Box::new(|event: InstrumentationEvent<'_>| match event {
            InstrumentationEvent::StartQuery { query, .. } => SENT.lock().unwrap().push(query.to_string()),
            InstrumentationEvent::CacheQuery { sql, .. } => drop(PREPARED.lock().unwrap().insert(sql.to_owned())),
            _ => {}
        }))
    })
    .unwrap();
    let mut trials = Vec::new();
    for (backend, server) in [
        ("sqlite", Some(None)),
        ("postgres", crate::fixtures::stores::postgres_url().map(Some)),
    ] {
        let world = server.map(|server| Arc::new(World::new(server.as_deref())));
        for (case, run, indexes) in CASES {
            let world = world.clone();
            let ignored = world.is_none();
            let trial = Trial::test(format!("{backend}::{case}"), move || {
                check(world.as_deref().ok_or("not configured")?, *run, indexes)
            });
            trials.push(trial.with_ignored_flag(ignored));
        }
    }
    let mut arguments = Arguments::from_args();
    // The recorded statements must be those of one test at a time.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

fn check(world: &World, run: fn(&World), indexes: &[&str]) -> Result<(), libtest_mimic::Failed> {
    SENT.lock().unwrap().clear();
    run(world);
    let sent = std::mem::take(&mut *SENT.lock().unwrap());
    let mut plans = String::new();
    for statement in sent.iter().filter(|statement| reads_rows(statement)) {
        let plan = world.plan(statement);
        let sorts = indexes.contains(&"SORTS");
        if let Some(line) = plan.lines().find(|line| reads_all(line) || (!sorts && is_sort(line))) {
            return Err(format!("{line}\n\nin the plan\n{plan}\nof {statement}").into());
        }
        plans.push_str(&plan);
        let text = statement.rsplit_once(" -- binds: ").map_or("", |(text, _)| text);
        if !indexes.contains(&"ANEW") && !PREPARED.lock().unwrap().contains(text) {
            return Err(format!("not kept prepared: {text}").into());
        }
    }
    for index in indexes.iter().filter(|index| !["SORTS", "ANEW"].contains(index)) {
        let names = world.names_of(index);
        if !names.iter().any(|name| plans.contains(name)) {
            return Err(format!("{index} is not used:\n{plans}\n{sent:#?}").into());
        }
    }
    Ok(())
}

fn reads_rows(statement: &str) -> bool {
    ["SELECT", "UPDATE", "DELETE"]
        .iter()
        .any(|verb| statement.starts_with(verb))
}

/// Whether a line of a plan reads a whole table. The counts have few rows, and the other exceptions are not tables.
fn reads_all(line: &str) -> bool {
    const FEW_ROWS: [&str; 5] = [
        "json_each",
        "CONSTANT ROW",
        "resource_counts",
        "SCAN above",
        "SCAN below",
    ];
    let reads = line.trim().starts_with("SCAN") || line.contains("Seq Scan");
    // An index search by the store alone reads nearly everything.
    (reads && !FEW_ROWS.iter().any(|few| line.contains(few))) || line.trim().ends_with("(store=?)")
}

/// Whether a line of a plan sorts rows; on PostgreSQL, which estimates their number, more than a few.
fn is_sort(line: &str) -> bool {
    let line = line.trim().trim_start_matches("->  ");
    let rows = line
        .split_once("rows=")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    line.starts_with("USE TEMP B-TREE FOR ORDER BY")
        || (line.starts_with("Sort  (") && rows.is_none_or(|rows: usize| rows > FEW))
}

fn identity(n: usize) -> Link {
    Link {
        identity_provider: "google".into(),
        issuer: "https://google.example".to_owned(),
        subject: format!("s{}", 100_000 + n),
    }
}

fn user(n: usize) -> ResourceId {
    ResourceId::new(format!("u{}", 100_000 + n))
}

fn group(n: usize) -> ResourceId {
    ResourceId::new(format!("g{}", 100_000 + n))
}

fn target() -> TargetName {
    TargetName::from("sink")
}

fn place() -> JournalPosition {
    JournalPosition {
        transaction: 0,
        sequence: i64::try_from(ROWS / 2).unwrap(),
    }
}

fn claim() -> Claim {
    Claim {
        target: target(),
        owner: "worker".to_owned(),
        now: LATER,
        lease_until: LATER,
        limit: 10,
    }
}

fn middle(key: Option<SortKey>) -> SortPosition {
    SortPosition {
        key,
        id: user(ROWS / 2),
    }
}

fn after(key: Option<SortKey>) -> Start {
    Start::After(middle(key))
}

fn before(key: Option<SortKey>) -> Start {
    Start::Before(middle(key))
}

impl World {
    /// A new filled database, with the statistics that normal operation would have collected.
    fn new(server: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match server {
            None => DatabaseUrl::Sqlite(folder.path().join("test.db")),
            Some(server) => {
                let schema = format!("test_{}", &random::fingerprint(&random::token())[..16]);
                execute(
                    &Database::open(&DatabaseUrl::parse(server).unwrap()).unwrap(),
                    &format!("CREATE SCHEMA {schema}"),
                );
                DatabaseUrl::parse(&format!("{server}?options=-csearch_path%3D{schema}")).unwrap()
            }
        };
        let database = Database::open(&url).unwrap();
        migrate::run(&database).unwrap();
        let series = if server.is_none() {
            format!(
                "WITH RECURSIVE series(n) AS (SELECT 100001 UNION ALL SELECT n + 1 FROM series WHERE n < 100000 + {ROWS})"
            )
        } else {
            format!("WITH series(n) AS (SELECT generate_series(100001, 100000 + {ROWS}))")
        };
        for (into, select) in FILL {
            let (select, only) = select.split_once(" WHERE ").unwrap_or((select, "TRUE"));
            execute(
                &database,
                &format!("INSERT INTO {into} {series} SELECT {select} FROM series WHERE {only}"),
            );
        }
        if server.is_some() {
            execute(&database, "ANALYZE");
        }
        let registry = Arc::new(Registry::builtin());
        let store = SqlUserstore::new(
            StoreName::PRIMARY,
            database.clone(),
            registry.clone(),
            PasswordHasher::new(),
            Clock::fixed(LATER),
        );
        Self {
            database,
            store,
            registry,
            _folder: folder,
        }
    }

    fn read(&self, work: impl Fn(&mut SqlConnection) -> QueryResult<()>) {
        self.database.read::<_, StorageError>(work).unwrap();
    }

    fn write(&self, work: impl Fn(&mut SqlConnection) -> QueryResult<()> + Send + 'static) {
        self.database
            .write::<_, StorageError>(move |connection| Ok(work(connection)?))
            .unwrap();
    }

    fn get(&self, kind: &Kind, id: &ResourceId) {
        assert!(self.store.get(kind, id, Relations::ALL).unwrap().is_some());
    }

    fn filter(&self, filter: &str, count: usize) {
        self.filter_of(&Kind::USER, filter, count);
    }

    fn filter_of(&self, kind: &Kind, filter: &str, count: usize) {
        let filter = parse(filter, self.registry.resource_type(kind).unwrap()).unwrap();
        let query = Query {
            relations: Relations::ALL,
            ..Query::all(kind.clone(), count).filtered(filter)
        };
        assert!(!self.store.find(&query).unwrap().resources.is_empty());
    }

    fn page(&self, sort: Option<&str>, start: Start) {
        let by = sort.map(|name| self.registry.resource_type(&Kind::USER).unwrap().resolve(name).unwrap());
        let query = Query {
            sort: by.map(|by| Sort { by, descending: false }),
            page: Page { start, count: 100 },
            relations: Relations::ALL,
            ..Query::all(Kind::USER, 100)
        };
        assert_eq!(self.store.find(&query).unwrap().resources.len(), 100);
    }

    fn change(&self, kind: &Kind, id: &ResourceId, action: WriteAction) {
        let write = Write {
            kind: kind.clone(),
            id: id.clone(),
            at: LATER,
            action,
        };
        assert!(self.store.write(write, Vec::new()).unwrap().is_some());
    }

    fn replace(&self) {
        let attributes = json!({"schemas": [], "userName": "new", "displayName": "New", "active": false});
        let draft = Draft {
            key: UniqueKey {
                attribute: "userName".to_owned(),
                name: "new".to_owned(),
                canonical: "new".to_owned(),
            },
            attributes: attributes.as_object().unwrap().clone(),
            writers: std::collections::BTreeMap::new(),
            unique: None,
            members: None,
            password: None,
        };
        let expected = Precondition::None;
        self.change(
            &Kind::USER,
            &user(8),
            WriteAction::Replace {
                draft,
                before: None,
                expected,
            },
        );
    }

    fn join_and_leave(&self) {
        for change in [MemberStep::Join(Vec::new()), MemberStep::Leave(vec![user(7)])] {
            let expected = Precondition::None;
            self.change(
                &Kind::GROUP,
                &group(7),
                WriteAction::Members {
                    change: vec![change],
                    expected,
                },
            );
        }
    }

    fn delete(&self, id: &ResourceId) {
        self.change(
            &Kind::USER,
            id,
            WriteAction::Delete {
                expected: Precondition::None,
            },
        );
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.database.url(), DatabaseUrl::Sqlite(_))
    }

    /// The names that plans use for an index; any of them counts.
    fn names_of(&self, index: &str) -> Vec<String> {
        match (index.split_once(' '), self.is_sqlite()) {
            (Some(("KEY", table)), true) => {
                let of = |kind: &str| format!("SEARCH {table} USING {kind}");
                vec![
                    format!("sqlite_autoindex_{table}_1"),
                    of("PRIMARY KEY"),
                    of("INTEGER PRIMARY KEY"),
                    "SEARCH v USING PRIMARY KEY".to_owned(),
                ]
            }
            (Some(("KEY", table)), false) => vec![format!("{table}_pkey")],
            (Some((_, table)), true) => vec![format!("sqlite_autoindex_{table}_2")],
            (Some((_, table)), false) => vec![format!("{table}_id_key")],
            (None, true) if index == "JOURNAL" => vec!["SEARCH journal USING INTEGER PRIMARY KEY".to_owned()],
            (None, false) if index == "JOURNAL" => vec!["journal_place".to_owned()],
            (None, true) if index == "resource_counts" => vec!["SEARCH resource_counts USING PRIMARY KEY".to_owned()],
            (None, false) if index == "resources_age" => vec![index.to_owned(), "resources_pkey".to_owned()],
            (None, _) => vec![index.to_owned()],
        }
    }

    /// The plan of a recorded statement with its values. SQLite plans without looking at them.
    fn plan(&self, sent: &str) -> String {
        let (statement, binds) = sent.rsplit_once(" -- binds: ").unwrap();
        let lines = self.database.read::<_, StorageError>(|connection| match connection {
            SqlConnection::Sqlite(c) => {
                let rows: Vec<(i32, i32, i32, String)> =
                    sql::<(Integer, Integer, Integer, Text)>(&format!("EXPLAIN QUERY PLAN {statement}")).load(c)?;
                Ok(rows.into_iter().map(|(.., line)| line).collect())
            }
            SqlConnection::Postgres(c) => {
                // Lets the planner choose freely.
                c.batch_execute(&format!(
                    "SET plan_cache_mode = force_custom_plan; SET enable_seqscan = on; PREPARE hot AS {statement}"
                ))?;
                let plan = sql::<Text>(&format!("EXPLAIN EXECUTE hot{}", arguments(binds))).load(c);
                c.batch_execute("DEALLOCATE hot")?;
                plan
            }
        });
        let lines: Vec<String> = lines.unwrap();
        lines.join("\n") + "\n"
    }
}

/// The values of a statement as arguments of `EXECUTE`.
fn arguments(binds: &str) -> String {
    let plain = binds.replace("None", "null").replace("Some(", "").replace(')', "");
    let values: Vec<Value> = serde_json::from_str(&plain).unwrap();
    match values.iter().map(literal).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        some => format!("({some})"),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Array(items) => format!("ARRAY[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn execute(database: &Database, statements: &str) {
    database
        .read::<_, StorageError>(|connection| connection.batch_execute(statements))
        .unwrap();
}

/// The columns of each table and the values of its row `n`. Each of 2,000 groups has ten users.
const FILL: &[(&str, &str)] = &[
    (
        "resources (id, store, kind, name, key, external_id, active, created, modified, version, writers, document)",
        "'u' || n, 'PRIMARY', 'User', 'user' || n, 'user' || n, 'e' || n, TRUE, 980000 + (n - 100000), 980000 + (n - 100000), 1, '{}', \
         '{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:User\"],\"userName\":\"user' || n || '\",\"emails\":[{\"type\":\"work\",\"value\":\"user' || n || '@example.com\"}]}'",
    ),
    (
        "resources (id, store, kind, name, key, active, created, modified, version, writers, document)",
        "'g' || n, 'PRIMARY', 'Group', 'group' || n, 'group' || n, FALSE, 1000, 1000, 1, '{}', '{\"schemas\":[],\"displayName\":\"group' || n || '\"}' WHERE n <= 102000",
    ),
    (
        "attribute_values (path, value, resource_id)",
        "'emails.value', 'user' || n || '@example.com', 'u' || n",
    ),
    (
        "attribute_values (path, value, resource_id)",
        "'name.familyName', 'family' || n, 'u' || n",
    ),
    (
        "attribute_values (path, value, resource_id)",
        "'displayName', 'display' || n, 'u' || n",
    ),
    (
        "members (group_id, member_id, body, granted_by)",
        "'g' || (100001 + n % 2000), 'u' || n, '{\"value\":\"u' || n || '\"}', 'admin'",
    ),
    (
        "journal (at, store, kind, resource_id, version, actor, service_provider, action, diff)",
        "1000, 'PRIMARY', 'User', 'u' || n, 1, 'admin', 'resident', 'create', '{}'",
    ),
    (
        "links (identity_provider, issuer, subject, store, resource_id, created, last_login)",
        "'idp', 'issuer', 's' || n, 'PRIMARY', 'u' || n, 1000, 1000",
    ),
    (
        "login_transactions (handle_hash, created, expires, revision, sealed)",
        "'h' || n, 1000, 1000 + n, 1, ''",
    ),
    (
        "known_browsers (resource_id, fingerprint, expires)",
        "'u' || n, 'h' || n, 1000 + n",
    ),
    (
        "sessions (id_hash, store, resource_id, amr, auth_time, created, expires)",
        "'h' || n, 'PRIMARY', 'u' || n, 'pwd', 1000, 1000, 1000 + n",
    ),
    (
        "grants (id, code_hash, code_expires, client_id, session_hash, store, resource_id, redirect_uri, scope, amr, auth_time, created, expires)",
        "'i' || n, 'c' || n, 1000, 'wiki', 'h' || n, 'PRIMARY', 'u' || n, 'https://wiki', 'openid', 'pwd', 1000, 1000, 1000 + n",
    ),
    (
        "access_tokens (token_hash, grant_id, scope, expires)",
        "'t' || n, 'i' || n, 'openid', 1000 + n",
    ),
    (
        "refresh_tokens (token_hash, grant_id, scope, created, expires)",
        "'t' || n, 'i' || n, 'openid', 1000, 1000 + n",
    ),
    (
        "scim_tokens (token_hash, id, service_provider, created, expires)",
        "'t' || n, 'i' || n, 'wiki', 1000, 1000 + n",
    ),
    (
        "session_clients (session_hash, client_id, sid)",
        "'h' || n, 'wiki', 's' || n",
    ),
    (
        "logouts (id, client_id, resource_id, sid, created, attempts, next_attempt)",
        "'l' || n, 'c' || n, 'u' || n, 's' || n, n, 0, n",
    ),
    ("client_assertions (jti_hash, expires)", "'j' || n, n"),
    (
        "identity_locks (identity_provider, issuer, subject, reason, at)",
        "'idp', 'issuer', 'locked' || n, '', 1000",
    ),
    ("former_addresses (resource_id, fingerprint)", "'u' || n, 'f' || n"),
    ("past_links (resource_id, fingerprint)", "'u' || n, 'f' || n"),
    ("security_events (at, kind, resource_id)", "n, 'login', 'u' || n"),
    (
        "former_links (identity_provider, issuer, subject, at)",
        "'google', 'https://idp.example', 'former' || n, n",
    ),
    (
        "consents (id, store, resource_id, purpose, version, granted, refused, identity_provider, service_provider, at)",
        "'c' || n, 'PRIMARY', 'u' || n, 'account', 1, '[]', '[]', 'google', 'wiki', n",
    ),
    (
        "factors (resource_id, kind, sealed, last_step, created)",
        "'u' || n, 'totp', '', n, n",
    ),
    ("credential_versions (resource_id, version)", "'u' || n, 1"),
    (
        "group_grants (resource_id, identity_provider, group_id)",
        "'u' || n, 'google', 'g' || n",
    ),
    (
        "approvals (id, identity_provider, issuer, subject, service_provider, sealed, verdict, asked, expires)",
        "'a' || n, 'google', 'https://google.example', 's' || n, 'wiki', '', 'waiting', n, n",
    ),
    (
        "credentials (resource_id, hash, changed_at)",
        "'u' || n, CASE WHEN n % 10 = 0 THEN 'h' END, n",
    ),
    (
        "ldap_entries (resource_id, store, entry, dn, dn_key, stamp)",
        "'u' || n, 'PRIMARY', 'e' || n, 'uid=u' || n, 'uid=u' || n, 's'",
    ),
    (
        "intents (store, subject, change, until)",
        "'PRIMARY', 'entry:e' || n, '{}', n",
    ),
    ("mail_codes (resource_id, since, sent, last)", "'u' || n, 0, 1, 0"),
    ("recovery_codes (resource_id, hash)", "'u' || n, 'h' || n"),
    (
        "pushed_requests (handle_hash, client_id, parameters, expires)",
        "'p' || n, 'wiki', '[]', n",
    ),
    ("targets (target, cursor_tx, cursor_seq)", "'target' || n, 0, 0"),
    ("targets (target, cursor_tx, cursor_seq)", "DISTINCT 'sink', 0, 10000"),
    (
        "outbound (target, resource_id, kind, store, service_provider, state, wanted, pushed, remote_id, attempts, next_attempt, lease_until, changed)",
        "'sink', 'u' || n, 'User', 'PRIMARY', 'wiki', CASE WHEN n % 1000 = 0 THEN 'pending' WHEN n % 1000 = 1 THEN 'failed' ELSE 'synced' END, \
         1, 1, 'r' || n, 0, 1000, 0, 1000",
    ),
    (
        "outbound_members (target, group_id, member_id, wanted, sent)",
        "'sink', 'g' || (100001 + n % 2000), 'u' || n, TRUE, n % 20 <> 0",
    ),
];
