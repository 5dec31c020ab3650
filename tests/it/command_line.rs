//! The command line as scripts use it: exit status, standard output, standard error.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder with a configuration.
struct Place(tempfile::TempDir);

/// The result of a command.
struct Done {
    status: i32,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:1"
            public_url = "http://127.0.0.1:1"
            [database]
            url = "sqlite:{path}/test.db"
            [security]
            master_key = {{ file = "{path}/master.key" }}
            [[userstores]]
            name = "PRIMARY"
            [[service_providers]]
            name = "wiki"
            {more}
            "#
        );
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        Self(folder)
    }

    fn run(&self, arguments: &str) -> Done {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &str, input: &str) -> Done {
        let config = self.0.path().join("config.toml").display().to_string();
        let mut all = vec!["--config", config.as_str()];
        all.extend(arguments.split_whitespace());
        run(&all, input)
    }

    fn json(&self, arguments: &str) -> Value {
        let done = self.run(&format!("{arguments} --json"));
        assert_eq!(done.status, 0, "{arguments}: {}", done.err);
        serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{arguments}: {error}: {}", done.out))
    }
}

fn run(arguments: &[&str], input: &str) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .env_remove("VESTIBULE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have closed it already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "",
        "serve",
        "demo",
        "check",
        "rehearse",
        "token",
        "token create",
        "token list",
        "token revoke",
        "user",
        "user create",
        "user password",
        "userstore",
        "userstore accept",
        "user unlock",
        "user reset-factor",
        "user transfer",
        "identity",
        "identity lock",
        "identity unlock",
        "identity locks",
        "identity link",
        "identity unlink",
        "idp",
        "idp preview",
        "idp remove",
        "idp removals",
        "idp restore",
        "approvals",
        "approvals list",
        "approvals approve",
        "approvals refuse",
        "targets",
        "targets status",
        "targets replay",
        "dialects",
        "journal",
        "keys",
        "keys rotate",
        "migrate",
        "health",
    ];
    for command in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let done = run(&arguments, "");
        assert_eq!(done.status, 0, "{command}");
        assert!(done.out.contains("Usage: vestibule"), "{command}: {}", done.out);
        let first = done.out.lines().next().unwrap();
        assert!(
            first.len() > 10 && !first.starts_with("Usage"),
            "{command} does not say what it is for"
        );
    }
}

#[test]
fn every_command_is_listed_in_the_test_of_explanations() {
    let help = run(&["--help"], "").out;
    let listed: Vec<&str> = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        listed,
        [
            "serve",
            "demo",
            "check",
            "rehearse",
            "token",
            "user",
            "userstore",
            "idp",
            "identity",
            "approvals",
            "targets",
            "dialects",
            "journal",
            "keys",
            "migrate",
            "health",
            "help"
        ]
    );
}

#[test]
fn wrong_usage_is_status_2_and_says_so_on_standard_error() {
    let place = Place::new();
    for wrong in [
        "",
        "nonsense",
        "token",
        "token create",
        "user create",
        "serve --nonsense",
        "token create --service-provider wiki --expires soon",
    ] {
        let done = place.run(wrong);
        assert_eq!(done.status, 2, "{wrong}: {}", done.err);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{wrong}");
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_status_2() {
    let missing = run(&["--config", "/nowhere/config.toml", "check"], "");
    assert_eq!(missing.status, 2);
    assert!(missing.err.contains("/nowhere/config.toml"), "{}", missing.err);
    let broken = Place::with("nonsense = 1");
    for command in [
        "serve",
        "check",
        "migrate",
        "token list",
        "targets status",
        "keys rotate",
        "health",
        "user unlock ann",
    ] {
        let done = broken.run(command);
        assert_eq!(done.status, 2, "{command}");
        assert!(
            done.err.contains("service_providers[0].nonsense"),
            "{command}: {}",
            done.err
        );
    }
}

#[test]
fn check_lists_all_problems_and_stderr_is_empty_without_any() {
    let good = Place::new().run("check");
    assert_eq!((good.status, good.err.as_str()), (0, ""));
    assert!(good.out.contains("is valid"), "{}", good.out);
    let bad = Place::with("one = 1\ntwo = 2").run("check");
    assert!(bad.err.contains(".one") && bad.err.contains(".two"), "{}", bad.err);
}

#[test]
fn check_connect_tells_why_a_directory_cannot_be_used() {
    let store = "[[userstores]]\nname = \"CORP\"\nkind = \"ldap\"\nurl = \"ldap://127.0.0.1:1\"\nbind_dn = \"cn=us\"\nbind_password = \"secret-of-ours\"\nuser_base = \"ou=people,dc=example,dc=com\"\ngroup_base = \"ou=groups,dc=example,dc=com\"\n";
    let place = Place::with(store);
    let done = place.run("check");
    assert_eq!(done.status, 0, "without --connect nothing is asked: {}", done.err);
    let done = place.run("check --connect");
    assert_eq!(done.status, 1, "{}", done.out);
    assert!(
        done.out.contains("WRONG connects to ldap://127.0.0.1:1"),
        "{}",
        done.out
    );
    assert!(!done.out.contains("secret-of-ours") && !done.err.contains("secret-of-ours"));
    assert_eq!(place.run("userstore accept CORP").status, 1);
    assert_eq!(place.run("userstore accept PRIMARY").status, 2, "it is no directory");
}

#[test]
fn check_connect_names_every_party_that_cannot_be_used() {
    let place = Place::with(
        "[[identity_providers]]\nname = \"up\"\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"v\"\nclient_secret = \"secret-of-ours\"\nallow_private_network = true\n\
         [[targets]]\nname = \"chat\"\nconnector = \"scim\"\nbase_url = \"http://127.0.0.1:1/scim\"\nauth = { bearer = \"t0ken\" }\nallow_private_network = true\n\
         [mail]\nhost = \"127.0.0.1\"\nport = 1\nencryption = \"none\"\nfrom = \"a@example.com\"\n",
    );
    let done = place.run("check --connect");
    assert_eq!(done.status, 1, "{}", done.out);
    for party in ["Identity provider up", "Target chat", "Mail server 127.0.0.1"] {
        assert!(done.out.contains(party), "{party}: {}", done.out);
    }
    assert_eq!(done.out.matches("WRONG").count(), 3, "{}", done.out);
    assert!(done.out.contains("Connection refused"), "{}", done.out);
    assert!(!done.out.contains("secret-of-ours"), "{}", done.out);
}

#[test]
fn check_prints_the_addresses_to_register() {
    let place = Place::with(
        "[[identity_providers]]\nname = \"up\"\nissuer = \"https://idp.example\"\nclient_id = \"v\"\nclient_secret = \"s\"\n",
    );
    let done = place.run("check");
    assert!(done.out.contains("/federation/up/callback"), "{}", done.out);
}

#[test]
fn a_new_token_stands_alone_on_the_last_line() {
    let place = Place::new();
    let done = place.run("token create --service-provider wiki");
    assert_eq!(done.status, 0, "{}", done.err);
    let token = done.out.lines().last().unwrap();
    assert!(
        token.len() >= 32 && !token.contains(char::is_whitespace),
        "{}",
        done.out
    );
    let list = place.run("token list");
    assert!(!list.out.contains(token), "a token is shown once");
}

#[test]
fn a_token_for_a_service_provider_that_is_not_there_is_status_2() {
    let done = Place::new().run("token create --service-provider nobody");
    assert_eq!(done.status, 2);
    assert!(done.out.is_empty());
    assert!(done.err.contains("nobody") && done.err.contains("wiki"), "{}", done.err);
}

#[test]
fn a_token_can_be_revoked_once() {
    let place = Place::new();
    let id = place.json("token create --service-provider wiki")["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(place.run(&format!("token revoke {id}")).status, 0);
    assert_eq!(place.json("token list")[0]["state"], "revoked");
    assert_eq!(place.run(&format!("token revoke {id}")).status, 1);
    assert_eq!(place.run("token revoke nothing").status, 1);
}

#[test]
fn json_output_holds_json_alone() {
    let place = Place::new();
    assert_eq!(place.json("check")["ok"], true);
    assert!(!place.json("migrate")["applied"].as_array().unwrap().is_empty());
    assert!(place.json("migrate")["applied"].as_array().unwrap().is_empty());
    let token = place.json("token create --service-provider wiki --expires 1h");
    assert!(token["token"].is_string() && token["expires"].is_string(), "{token}");
    assert_eq!(place.json("token list")[0]["id"], token["id"]);
    let revoke = format!("token revoke {}", token["id"].as_str().unwrap());
    assert_eq!(place.json(&revoke)["revoked"], token["id"]);
    assert_eq!(place.json("targets status"), serde_json::json!([]));
    assert_eq!(place.json("targets replay")["resources"], 0);
    assert_eq!(place.json("keys rotate")["rotated"], true);
    assert_eq!(place.json("user create ann")["userName"], "ann");
    assert_eq!(place.json("user unlock ann")["userName"], "ann");
}

#[test]
fn a_user_is_made_once_and_its_name_compares_in_any_case() {
    let place = Place::new();
    let made = place.run_with(
        "user create ann --given-name Ann --email ann@example.com --password-stdin",
        "correct horse battery\n",
    );
    assert_eq!(made.status, 0, "{}", made.err);
    assert!(!made.out.contains("correct horse") && !made.err.contains("correct horse"));
    let again = place.run("user create ANN");
    assert_eq!(again.status, 1);
    assert!(again.err.contains("taken"), "{}", again.err);
    assert_eq!(place.run("user unlock Ann").status, 0);
    assert_eq!(place.run_with("user password ANN", "another good one\n").status, 0);
}

#[test]
fn a_password_that_is_too_short_is_status_2_and_changes_nothing() {
    let place = Place::new();
    let done = place.run_with("user create ann --password-stdin", "short\n");
    assert_eq!(done.status, 2);
    assert!(done.err.contains("12 characters"), "{}", done.err);
    assert_eq!(place.run("user unlock ann").status, 1);
}

#[test]
fn unknown_user_is_status_1() {
    let place = Place::new();
    for command in [
        "user unlock nobody",
        "user password nobody",
        "user create ann --store NOWHERE",
    ] {
        let done = place.run_with(command, "correct horse battery\n");
        assert_eq!(done.status, 1, "{command}");
        assert!(!done.err.is_empty() && done.out.is_empty(), "{command}");
    }
}

#[test]
fn a_target_that_is_not_there_is_status_2() {
    let done = Place::new().run("targets replay --target nobody");
    assert_eq!(done.status, 2);
    assert!(done.err.contains("nobody"), "{}", done.err);
}

#[test]
fn health_without_a_server_is_status_1_also_as_json() {
    let place = Place::new();
    assert_eq!(place.run("health").status, 1);
    let done = place.run("health --json");
    assert_eq!(done.status, 1);
    let answer: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(answer["ready"], false);
}

#[test]
fn unreachable_database_is_status_1_and_hides_its_password() {
    let place = Place::new();
    let config = place.0.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let at = text.find("sqlite:").unwrap();
    let end = at + text[at..].find('"').unwrap();
    let text = format!("{}postgres://app:c4n4ry@127.0.0.1:1/none{}", &text[..at], &text[end..]);
    std::fs::write(&config, text).unwrap();
    let done = place.run("migrate");
    assert_eq!(done.status, 1);
    assert!(
        done.err.contains("127.0.0.1") && !done.err.contains("c4n4ry"),
        "{}",
        done.err
    );
}

#[test]
fn dialects_tells_what_a_client_did_outside_the_standard() {
    use vestibule::app::App;
    use vestibule::config::Config;
    use vestibule::domain::Kind;
    use vestibule::scim::RequestOptions;

    let place = Place::new();
    assert!(place.run("dialects").out.contains("No client used anything"));
    let token = place.json("token create --service-provider wiki")["token"].clone();
    let config = Config::load(&place.0.path().join("config.toml")).unwrap();
    let app = App::start(&config).unwrap();
    let header = format!("Bearer {}", token.as_str().unwrap());
    let caller = app.scim.authenticate(Some(&header)).unwrap();
    for name in ["alice", "bob"] {
        let body = serde_json::json!({ "userName": name, "active": "True" }).to_string();
        app.scim
            .create(&caller, &Kind::USER, body.as_bytes(), &RequestOptions::default())
            .unwrap();
    }
    app.stop();
    let counts = place.json("dialects --service-provider wiki");
    let told: Vec<(&str, u64)> = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|count| (count["rule"].as_str().unwrap(), count["requests"].as_u64().unwrap()))
        .collect();
    assert_eq!(told, [("R4-coerced", 2), ("R8-schemas", 2)]);
    assert!(place.run("dialects").out.contains("\nwiki\n  R4-coerced"));
    assert_eq!(
        place.run("dialects --service-provider wiki --forget").out,
        "Forgot 2 counts.\n"
    );
    assert_eq!(place.json("dialects"), serde_json::json!([]));
    assert_eq!(place.run("dialects --service-provider nobody").status, 2);
}

#[test]
fn a_request_for_approval_is_shown_and_decided_on() {
    use vestibule::domain::{Link, Timestamp};
    use vestibule::storage::approvals::{self, Approval, Ruling};
    use vestibule::storage::{Database, DatabaseUrl, StorageError};

    let place = Place::new();
    assert_eq!(place.run("approvals list").out, "No requests are waiting.\n");
    let database = Database::open(&DatabaseUrl::Sqlite(place.0.path().join("test.db"))).unwrap();
    let request = Approval {
        id: "K7QM-2XPD".to_owned(),
        identity: Link {
            identity_provider: "google".into(),
            issuer: "https://g.example".to_owned(),
            subject: "sub-bob".to_owned(),
        },
        service_provider: "wiki".into(),
        sealed: Vec::new(),
        ruling: Ruling::NONE,
        asked: Timestamp(0),
        expires: Timestamp(i64::MAX / 2),
    };
    database
        .write::<_, StorageError>(move |connection| Ok(approvals::ask(connection, &request)?))
        .unwrap();
    assert!(
        place
            .run("approvals list")
            .out
            .starts_with("K7QM-2XPD  waiting  sub-bob from google")
    );
    let refused = place.run("approvals refuse k7qm-2xpd --by ann --reason Later.");
    assert_eq!(refused.status, 0, "{}", refused.err);
    assert!(
        refused
            .err
            .contains("security event approval reason=\"refused\" by=\"admin:ann\""),
        "for the record: {}",
        refused.err
    );
    let told = &place.json("approvals list")[0];
    assert_eq!(
        (&told["verdict"], &told["reason"]),
        (&"refused".into(), &"Later.".into())
    );
    assert_eq!(
        place.json("approvals approve K7QM-2XPD --by ann")["verdict"],
        "approved"
    );
    assert_eq!(place.run("approvals approve AAAA-AAAA").status, 1);
    assert_eq!(place.run("approvals").status, 2);
}

#[test]
fn check_tells_that_a_code_by_mail_is_no_strong_factor() {
    let mail = "[mail]\nhost = \"smtp.example\"\nfrom = \"login@id.example\"\n";
    let strong = Place::with(&format!("mfa = \"totp\"\n{mail}")).run("check");
    assert_eq!(
        (strong.status, strong.out.contains("Note:")),
        (0, false),
        "{}",
        strong.out
    );
    let weak = Place::with(&format!("mfa = \"any\"\n{mail}")).run("check");
    assert_eq!(
        (weak.status, weak.out.contains("Note: a code by e-mail")),
        (0, true),
        "{}",
        weak.out
    );
    let nowhere = Place::with("mfa = \"email_otp\"").run("check");
    assert_eq!(nowhere.status, 2);
    assert!(nowhere.err.contains("service_providers[0].mfa"), "{}", nowhere.err);
}

#[test]
fn attribute_paths_must_be_spelled_as_in_the_schema() {
    const URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let checked = |to: &str| {
        let provider = format!(
            r#"
            [[identity_providers]]
            name = "google"
            issuer = "https://idp.example"
            client_id = "us"
            claims = [{{ from = "c", to = '{to}' }}]
            "#
        );
        let done = Place::with(&provider).run("check");
        (done.status, done.err)
    };
    for (to, canonical) in [
        ("Title".to_owned(), "title".to_owned()),
        (
            r#"emails[Type eq "work"].value"#.to_owned(),
            r#"emails[type eq "work"].value"#.to_owned(),
        ),
        (
            format!("{}:department", URN.to_uppercase()),
            format!("{URN}:department"),
        ),
        (format!("{URN}:Manager.value"), format!("{URN}:manager.value")),
    ] {
        let (status, err) = checked(&to);
        assert_eq!(status, 2, "{to}: {err}");
        assert!(err.contains(&format!("{to} is spelled {canonical}")), "{err}");
        assert_eq!(checked(&canonical).0, 0, "{canonical}");
    }
    let (status, err) = checked("urn:scim:wso2:schema:country");
    assert!(
        status == 2 && err.contains("is not an attribute of the user schema"),
        "{err}"
    );
}

#[test]
fn check_refuses_an_identity_provider_that_cannot_be_used() {
    let provider = r#"
        [[identity_providers]]
        name = "inside"
        issuer = "https://127.0.0.1:1"
        client_id = "us"
    "#;
    let done = Place::with(provider).run("check");
    assert_eq!(done.status, 2);
    assert!(done.err.contains("inside"), "{}", done.err);
}

#[test]
fn removal_of_an_unknown_identity_provider_is_refused() {
    let place = Place::new();
    for command in ["idp remove googel --disable --yes", "idp preview googel"] {
        let done = place.run(command);
        assert_ne!(done.status, 0, "{command}: {}", done.out);
        assert!(done.err.contains("googel"), "{command}: {}", done.err);
    }
}

#[test]
fn empty_reasons_and_subjects_are_refused() {
    let target = r#"
        [[targets]]
        name = "mail"
        base_url = "https://mail.example/scim"
        auth = { bearer = "secret" }
    "#;
    let place = Place::with(target);
    for arguments in [
        &["targets", "pause", "mail", "--reason", ""][..],
        &[
            "identity",
            "lock",
            "--idp",
            "google",
            "--issuer",
            "https://idp.example",
            "--subject",
            "",
        ],
    ] {
        let config = place.0.path().join("config.toml").display().to_string();
        let done = run(&[&["--config", config.as_str()], arguments].concat(), "");
        assert_eq!(done.status, 2, "{arguments:?}: {} {}", done.out, done.err);
        assert!(done.err.contains("is empty"), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn the_journal_shows_what_administrators_did() {
    let place = Place::new();
    let token = place.json("token create --service-provider wiki");
    assert_eq!(place.run("user create ann").status, 0);
    let lines = place.json("journal");
    let told: Vec<_> = lines.as_array().unwrap().iter().map(|line| &line["reason"]).collect();
    assert_eq!(told[0], "scim_token_created");
    assert_eq!(lines[0]["object"], token["id"]);
    assert!(lines[0]["by"].as_str().unwrap().starts_with("admin"), "{lines}");
    assert_eq!(
        (&lines[1]["change"], &lines[1]["type"]),
        (&"create".into(), &"User".into())
    );
    assert_eq!(place.json("journal --events-only").as_array().unwrap().len(), 1);
    assert_eq!(place.json("journal --user ann").as_array().unwrap().len(), 1);
    assert_eq!(place.json("journal --event login").as_array().unwrap().len(), 0);
    let text = place.run("journal").out;
    assert!(
        text.contains("administration") && text.contains("change (create)"),
        "{text}"
    );
    assert!(!text.contains(token["token"].as_str().unwrap()));
    let unknown = place.run("journal --event nonsense");
    assert_eq!(unknown.status, 2);
    assert!(unknown.err.contains("login_refused"), "{}", unknown.err);
}

#[test]
fn an_administrator_links_and_unlinks_an_identity() {
    let place = Place::new();
    for name in ["ann", "bob"] {
        assert_eq!(place.run(&format!("user create {name}")).status, 0);
    }
    let identity = "--idp up --issuer https://up.example --subject sub-ann";
    let linked = place.json(&format!("identity link {identity} --user ann"));
    assert_eq!(linked["linked"], true);
    let twice = place.run(&format!("identity link {identity} --user ann"));
    assert!(twice.status == 2 && twice.err.contains("already"), "{}", twice.err);
    let other = place.run(&format!("identity link {identity} --user bob"));
    assert!(
        other.status == 2 && other.err.contains("Unlink it there first"),
        "{}",
        other.err
    );
    assert_eq!(place.run(&format!("identity link {identity} --user nobody")).status, 1);
    assert_eq!(
        place.json(&format!("identity unlink {identity}"))["user"],
        linked["user"]
    );
    assert_eq!(place.run(&format!("identity unlink {identity}")).status, 1);
    let told = place.json("journal --events-only");
    let kinds: Vec<_> = told.as_array().unwrap().iter().map(|line| &line["event"]).collect();
    assert_eq!(kinds, ["linked", "unlinked"]);
}
