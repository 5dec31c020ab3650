//! The command `rehearse` reports the effects of a login without applying them.
use std::io::Write;
use std::process::{Command, Stdio};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::{Value, json};
use vestibule::app::Core;
use vestibule::config::Config;
use vestibule::domain::{
    Actor, Change, IdentityProviderName, Kind, Link, Operation, Principal, ResourceId, SideRecord, StoreName,
};

struct World {
    folder: tempfile::TempDir,
}

struct Done {
    status: i32,
    out: String,
    err: String,
}

impl World {
    fn new(jit: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder };
        std::fs::write(world.config_path(), world.text(jit)).unwrap();
        world
    }

    fn config_path(&self) -> String {
        self.folder.path().join("config.toml").display().to_string()
    }

    fn text(&self, jit: &str) -> String {
        let path = self.folder.path().display();
        format!(
            r#"
            server = {{ listen = "127.0.0.1:1", public_url = "http://127.0.0.1:1" }}
            database.url = "sqlite:{path}/vestibule.db"
            security.master_key = {{ file = "{path}/master.key" }}
            userstores = [{{ name = "PRIMARY", kind = "sql" }}]
            [[identity_providers]]
            name = "google"
            issuer = "https://idp.example"
            client_id = "us"
            jit = {jit}
            [[targets]]
            name = "chat"
            base_url = "https://chat.example/scim"
            auth = {{ bearer = "a-secret-of-the-target" }}
            [[service_providers]]
            name = "wiki"
            client_id = "wiki"
            client_secret = "wiki-secret-0123456789abcdef"
            redirect_uris = ["https://wiki.example/callback"]
            identity_providers = ["google"]
            inbound_userstore = "PRIMARY"
            outbound = [{{ target = "chat", jit = true }}]
            "#
        )
    }

    fn core(&self) -> Core {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        Core::open(&Config::read(&text, &[]).unwrap()).unwrap()
    }

    /// Creates a user or a group; links it to the provider if there is a subject.
    fn make(&self, principal: Principal, attributes: &Value, subject: Option<&str>) -> ResourceId {
        let link = |subject: &str| {
            SideRecord::Link(Link {
                identity_provider: "google".into(),
                issuer: "https://idp.example".to_owned(),
                subject: subject.to_owned(),
            })
        };
        let change = Change {
            actor: Actor {
                principal,
                service_provider: "wiki".into(),
            },
            operation: Operation::Create {
                store: StoreName::PRIMARY,
                kind: if attributes.get("userName").is_some() {
                    Kind::USER
                } else {
                    Kind::GROUP
                },
                attributes: attributes.as_object().unwrap().clone(),
                typed: Vec::new(),
            },
            side_records: subject.map(link).into_iter().collect(),
        };
        self.core().directory.apply(change).unwrap().into_resource().id
    }

    fn run(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["--config", &self.config_path()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        Done {
            status: done.status.code().unwrap(),
            out: String::from_utf8(done.stdout).unwrap(),
            err: String::from_utf8(done.stderr).unwrap(),
        }
    }

    fn rehearse(&self, claims: &Value) -> (i32, Value) {
        let done = self.run(
            &["--json", "rehearse", "--idp", "google", "--claims", "-"],
            &claims.to_string(),
        );
        let outcome = serde_json::from_str(&done.out);
        (
            done.status,
            outcome.unwrap_or_else(|_| panic!("{}{}", done.out, done.err)),
        )
    }

    /// The whole content of the database, row by row.
    fn everything(&self) -> String {
        #[derive(QueryableByName)]
        struct Name {
            #[diesel(sql_type = Text)]
            name: String,
        }
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            line: String,
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        let path = self.folder.path().join("vestibule.db").display().to_string();
        let mut connection = SqliteConnection::establish(&path).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let tables: Vec<Name> = diesel::sql_query(tables).load(&mut connection).unwrap();
        let mut all = Vec::new();
        for Name { name } in tables {
            let columns = format!("SELECT name FROM pragma_table_info('{name}')");
            let columns: Vec<Name> = diesel::sql_query(columns).load(&mut connection).unwrap();
            let row = columns.iter().map(|column| format!("quote(\"{}\")", column.name));
            let row = row.collect::<Vec<_>>().join(" || ' ' || ");
            let rows = format!("SELECT {row} AS line, COUNT(*) AS count FROM \"{name}\" GROUP BY 1 ORDER BY 1");
            let rows: Vec<Row> = diesel::sql_query(rows).load(&mut connection).unwrap();
            for Row { line, count } in rows {
                all.push(format!("{name} {count} {line}"));
            }
        }
        all.join("\n")
    }
}

fn google() -> Principal {
    let identity_provider: IdentityProviderName = "google".into();
    Principal::Login { identity_provider }
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "given_name": "Bob", "groups": ["eng"], "hobby": "chess"})
}

const SILENT: &str =
    r#"{ mode = "silent", username = { claim = "nick" }, groups = { claim = "groups", unmapped = "create" } }"#;

#[test]
fn rehearsed_first_login_shows_account_groups_and_requests() {
    let world = World::new(SILENT);
    world.core();
    let before = world.everything();
    let (status, outcome) = world.rehearse(&bob());
    assert_eq!((status, &outcome["outcome"]), (0, &json!({"let_in": true})));
    let account = &outcome["account"];
    assert_eq!(
        (
            &account["userName"],
            &account["new"],
            &account["changes"]["name.givenName"]
        ),
        (&json!("bob"), &json!(true), &json!("Bob"))
    );
    assert_eq!(outcome["groups"], json!({"joined": ["eng"], "left": []}));
    assert_eq!(outcome["unused_claims"], json!(["hobby"]));
    let requests = outcome["requests"][0]["requests"].as_array().unwrap();
    let told: Vec<String> = requests
        .iter()
        .map(|request| {
            format!(
                "{} {}",
                request["method"].as_str().unwrap(),
                request["url"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "POST https://chat.example/scim/Users",
            "POST https://chat.example/scim/Groups",
            "PATCH https://chat.example/scim/Groups/{id that the target gives}",
        ]
    );
    assert_eq!(requests[0]["body"]["name"]["givenName"], "Bob");
    assert_eq!(world.everything(), before, "nothing is written");
}

#[test]
fn a_later_login_shows_what_would_change_and_leaves_it() {
    let world = World::new(SILENT);
    let attributes = json!({"userName": "bob", "name": {"givenName": "Rob"}});
    let id = world.make(google(), &attributes, Some("sub-bob"));
    let before = world.everything();
    let (_, outcome) = world.rehearse(&bob());
    assert_eq!(outcome["account"]["id"], json!(id));
    assert_eq!(outcome["account"]["changes"], json!({"name.givenName": "Bob"}));
    assert_eq!(world.everything(), before);
}

#[test]
fn a_conflict_shows_the_page_that_asks_for_proof() {
    let world = World::new(SILENT);
    world.make(
        Principal::Administrator {
            name: "test".to_owned(),
        },
        &json!({"userName": "bob"}),
        None,
    );
    let before = world.everything();
    let (status, outcome) = world.rehearse(&bob());
    assert_eq!((status, &outcome["outcome"]["stands_at"]), (0, &json!("link_proof")));
    assert_eq!(outcome["pages"], json!([{"page": "link_proof", "account": "bob"}]));
    assert_eq!(world.everything(), before);
}

#[test]
fn a_refusal_says_why_and_fails() {
    let world = World::new(SILENT);
    world.core();
    let before = world.everything();
    let (status, outcome) = world.rehearse(&json!({"sub": "sub-bob"}));
    assert_eq!((status, &outcome["outcome"]["refused"]), (1, &json!("missing_claim")));
    assert_eq!(world.everything(), before);
}

#[test]
fn questions_are_shown_and_assumed_answered() {
    let world = World::new(r#"{ mode = "username_password_consent", username = { claim = "nick" } }"#);
    let (status, outcome) = world.rehearse(&bob());
    assert_eq!((status, &outcome["outcome"]), (0, &json!({"let_in": true})));
    assert_eq!(
        (&outcome["pages"][0]["username"], &outcome["pages"][0]["password"]),
        (&json!("bob"), &json!(true))
    );
    let done = world.run(&["rehearse", "--idp", "google", "--claims", "-"], &bob().to_string());
    assert!(
        done.out.contains("let in to wiki") && done.out.contains("Page       details (username: bob; password;"),
        "{}",
        done.out
    );
    assert!(!done.out.contains("a-secret-of-the-target"));
}

#[test]
fn impossible_rehearsal_says_what_is_missing() {
    let world = World::new(SILENT);
    let rehearse = |arguments: &[&str], input: &str| world.run(&[&["rehearse"], arguments].concat(), input);
    for (arguments, input, said) in [
        (
            &["--idp", "gogle", "--claims", "-"][..],
            "{\"sub\": \"x\"}",
            "No identity provider is called gogle.",
        ),
        (&["--idp", "google", "--claims", "-"], "{}", "\"sub\""),
        (&["--idp", "google", "--claims", "-"], "[]", "one JSON object"),
        (&["--idp", "google", "--claims", "-"], "{", "is not JSON"),
        (&["--idp", "google", "--claims", "/no/such/file"], "", "cannot be read"),
        (
            &["--idp", "google", "--claims", "-", "--sp", "wikki"],
            "{\"sub\": \"x\"}",
            "No service provider is called wikki.",
        ),
    ] {
        let done = rehearse(arguments, input);
        assert_eq!(done.status, 2, "{}", done.err);
        assert!(done.err.contains(said), "{}", done.err);
    }
}

#[test]
fn golden_login_is_anonymous_and_detects_changed_outcomes() {
    let world = World::new(SILENT);
    let folder = world.folder.path().join("golden").display().to_string();
    let claims =
        json!({"sub": "sub-bob", "nick": "bob", "given_name": "Bob", "email": "bob@example.com", "groups": ["eng"]});
    let recorded = world.run(
        &["rehearse", "--idp", "google", "--claims", "-", "--record", &folder],
        &claims.to_string(),
    );
    assert_eq!(recorded.status, 0, "{}", recorded.err);
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let golden = std::fs::read_to_string(file).unwrap();
    for personal in ["Bob", "sub-bob", "bob@"] {
        assert!(!golden.contains(personal), "{golden}");
    }
    assert!(golden.contains("@example.com") && golden.contains("eng"), "{golden}");
    let replayed = world.run(&["check", "--golden", &folder], "");
    assert_eq!(replayed.status, 0, "{}", replayed.err);
    assert!(
        replayed.out.contains("1 golden login ends as before."),
        "{}",
        replayed.out
    );
    std::fs::write(world.config_path(), world.text(r#"{ mode = "off" }"#)).unwrap();
    let changed = world.run(&["check", "--golden", &folder], "");
    assert_eq!(changed.status, 1, "{}", changed.out);
    assert!(
        changed.err.contains("outcome.refused: was null, is \"no_account\""),
        "{}",
        changed.err
    );
}
