//! Removing an identity provider together with the accounts that it created.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fixtures::front_door::{ISSUER, Rig, completed, google, refused, shown};
use serde_json::{Value, json};
use vestibule::app::Core;
use vestibule::config::Config;
use vestibule::domain::change::{Action, JournalPosition};
use vestibule::domain::{
    Actor, Change, Kind, Link, Operation, Principal, Relations, ResourceId, Secret, SideRecord, StoreName,
};
use vestibule::federation::LoginError;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::login::step::LoginPage;
use vestibule::federation::removal::{ProviderRemover, RemovalEffect};
use vestibule::storage::{StorageError, journal, links};

fn rig() -> Rig {
    Rig::new(
        json!({"mode": "silent", "username": {"claim": "nick"}, "groups": {"claim": "groups", "unmapped": "create"}}),
    )
}

fn person(name: &str) -> Value {
    json!({"sub": format!("sub-{name}"), "nick": name, "groups": ["eng"]})
}

fn link(provider: &str, subject: &str) -> Link {
    Link {
        identity_provider: provider.to_owned().into(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
    }
}

fn add_link(rig: &Rig, user: &ResourceId, link: Link) {
    let (user, now) = (user.clone(), rig.clock.now());
    let write = move |connection: &mut _| Ok(links::insert(connection, &link, &StoreName::PRIMARY, &user, now)?);
    rig.database.write::<_, StorageError>(write).unwrap();
}

/// One account of each kind: from the provider alone, with another identity or a password, administrator, not from it.
fn people(rig: &Rig) -> BTreeMap<&'static str, ResourceId> {
    let came = |name: &str| completed(rig.login(&person(name))).user;
    let mut people: BTreeMap<&str, ResourceId> = BTreeMap::new();
    people.insert("alone", came("alone"));
    let both = came("both");
    add_link(rig, &both, link("other", "both"));
    people.insert("both", both);
    let secret = came("secret");
    rig.replace(
        &secret,
        &json!({"userName": "secret", "password": "correct horse battery"}),
    );
    people.insert("secret", secret);
    let admin = came("admin");
    rig.replace(&admin, &json!({"userName": "admin", "roles": [{"value": "admin"}]}));
    people.insert("admin", admin);
    let made = rig.user(&json!({"userName": "made"}));
    add_link(rig, &made, link("google", "sub-made"));
    people.insert("made", made);
    people
}

fn remover(rig: &Rig) -> ProviderRemover {
    ProviderRemover::new(Arc::clone(&rig.directory), rig.database.clone())
}

fn remove(rig: &Rig, deletes: bool) -> (i64, i64) {
    let remover = remover(rig);
    remover.begin(&google(), deletes).unwrap();
    for _ in 0..10 {
        let removal = remover.step(&google()).unwrap().unwrap();
        if removal.finished.is_some() {
            return (removal.accounts, removal.links);
        }
    }
    panic!("no end")
}

/// Whether a login may be sent to the identity provider.
fn is_asked(rig: &Rig) -> bool {
    match rig.federation.login.choose(&rig.start(), &google()) {
        Ok(_) => true,
        Err(LoginError::Denied(Denial::UnknownProvider, _)) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn linked(rig: &Rig, user: &ResourceId) -> Vec<String> {
    let links = rig
        .database
        .read::<_, StorageError>(|connection| links::of_user(connection, user))
        .unwrap();
    links
        .iter()
        .map(|link| link.link.identity_provider.to_string())
        .collect()
}

#[test]
fn removal_preview_lists_all_accounts_and_changes_nothing() {
    let rig = rig();
    let people = people(&rig);
    let mut fates = BTreeMap::new();
    remover(&rig)
        .preview(&google(), |affected| {
            fates.insert(affected.username, affected.fate);
        })
        .unwrap();
    let expected = [
        ("admin", RemovalEffect::Administrator),
        ("alone", RemovalEffect::Account),
        ("both", RemovalEffect::OtherIdentity),
        ("made", RemovalEffect::OtherSource),
        ("secret", RemovalEffect::Password),
    ];
    assert_eq!(fates, expected.map(|(name, fate)| (name.to_owned(), fate)).into());
    assert_eq!(rig.users().len(), people.len());
    completed(rig.login(&person("alone")));
}

#[test]
fn removal_deletes_sole_provider_accounts_and_unlinks_others() {
    let rig = rig();
    let people = people(&rig);
    let key = Secret::new("correct horse battery");
    assert_eq!(remove(&rig, true), (1, 4));
    let names: Vec<&str> = people
        .iter()
        .filter(|(_, id)| rig.directory.get(&Kind::USER, id, Relations::NONE).unwrap().is_some())
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, ["admin", "both", "made", "secret"]);
    assert_eq!(linked(&rig, &people["both"]), ["other"]);
    for name in ["admin", "made", "secret", "alone"] {
        assert!(linked(&rig, &people[name]).is_empty(), "{name}");
    }
    let relations = Relations {
        groups: true,
        members: false,
    };
    let both = rig
        .directory
        .get(&Kind::USER, &people["both"], relations)
        .unwrap()
        .unwrap();
    assert!(
        both.groups.is_empty(),
        "the memberships that the provider granted are removed"
    );
    let handle = rig.start();
    completed(rig.federation.login.password(&handle, "secret", &key));
}

#[test]
fn removal_can_disable_first_and_be_undone() {
    let rig = rig();
    let people = people(&rig);
    assert_eq!(remove(&rig, false), (1, 0));
    assert!(!rig.get(&people["alone"]).is_active());
    assert!(rig.get(&people["both"]).is_active());
    assert_eq!(linked(&rig, &people["both"]), ["google", "other"]);
    assert!(!is_asked(&rig));
    assert!(remover(&rig).restore(&google()).unwrap());
    completed(rig.login(&person("both")));
    assert_eq!(refused(rig.login(&person("alone"))), Denial::AccountDisabled);
    assert_eq!(remove(&rig, true), (1, 4), "and deleting can follow");
}

#[test]
fn provider_under_removal_admits_no_login() {
    let rig = rig();
    let handle = rig.start();
    let returned = rig.away(&handle, &person("late"));
    remover(&rig).begin(&google(), true).unwrap();
    assert_eq!(refused(rig.back(&handle, &returned)), Denial::UnknownProvider);
    assert!(rig.users().is_empty());
}

#[test]
fn removed_provider_is_not_asked_any_more() {
    let rig = rig();
    remover(&rig).begin(&google(), false).unwrap();
    assert!(!is_asked(&rig));
}

#[test]
fn removed_provider_is_not_offered_any_more() {
    let rig = rig();
    let offered = || match shown(rig.federation.login.view(&rig.start())) {
        LoginPage::SignIn { providers, .. } => providers.len(),
        page => panic!("{page:?}"),
    };
    let before = offered();
    remover(&rig).begin(&google(), false).unwrap();
    assert_eq!(offered(), before - 1);
}

#[test]
fn a_removal_in_one_process_keeps_another_from_it() {
    let rig = rig();
    people(&rig);
    let now = rig.clock.now();
    let (first, second) = (remover(&rig), remover(&rig));
    first.begin(&google(), true).unwrap();
    let claim = move |connection: &mut _| {
        let until = now.plus(Duration::from_mins(1));
        Ok(vestibule::storage::removals::claim(connection, &google(), now, until)?)
    };
    assert!(rig.database.write::<_, StorageError>(claim).unwrap().is_some());
    assert_eq!(second.step(&google()).unwrap().unwrap().accounts, 0);
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(
        second.step(&google()).unwrap().unwrap().accounts,
        1,
        "the claim of a dead process has expired"
    );
}

const PEOPLE: usize = 400;

/// Accounts that the provider created, in a database of their own.
fn crowd(config: &Config) -> Core {
    let core = Core::open(config).unwrap();
    let actor = Actor {
        principal: Principal::Login {
            identity_provider: google(),
        },
        service_provider: "wiki".into(),
    };
    for number in 0..PEOPLE {
        let attributes = json!({"userName": format!("user{number}")})
            .as_object()
            .unwrap()
            .clone();
        let operation = Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes,
            typed: Vec::new(),
        };
        let change = Change {
            actor: actor.clone(),
            operation,
            side_records: vec![SideRecord::Link(link("google", &format!("s{number}")))],
        };
        core.directory.apply(change).unwrap();
    }
    core
}

fn deletions(core: &Core) -> Vec<ResourceId> {
    let records = core
        .database
        .read::<_, StorageError>(|connection| journal::after(connection, JournalPosition::default(), 10_000))
        .unwrap();
    let deletions = records.into_iter().filter(|record| record.action == Action::Delete);
    deletions.map(|record| record.id).collect()
}

#[test]
fn killed_removal_resumes_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let text = format!(
        "server = {{ listen = \"127.0.0.1:1\", public_url = \"http://127.0.0.1:1\" }}\n\
         database.url = \"sqlite:{path}/vestibule.db\"\n\
         security.master_key = {{ file = \"{path}/master.key\" }}\n\
         userstores = [{{ name = \"PRIMARY\", kind = \"sql\" }}]\n"
    );
    let core = crowd(&Config::read(&text, &[]).unwrap());
    let file = folder.path().join("config.toml");
    std::fs::write(&file, &text).unwrap();
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args([
                "--config",
                file.to_str().unwrap(),
                "idp",
                "remove",
                "google",
                "--delete",
                "--yes",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut child = run();
    let begun = Instant::now();
    while deletions(&core).len() < 20 {
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = deletions(&core).len();
    assert!(before < PEOPLE, "killed too late to show anything");
    let done = run().wait_with_output().unwrap();
    let (out, err) = (
        String::from_utf8(done.stdout).unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    );
    assert!(done.status.success() && out.contains("accounts deleted"), "{out}{err}");
    assert!(err.contains("in progress"), "progress is shown: {err}");
    let mut all = deletions(&core);
    all.sort();
    all.dedup();
    assert_eq!((all.len(), deletions(&core).len()), (PEOPLE, PEOPLE));
}

#[test]
fn a_login_under_way_makes_no_link_behind_a_removal() {
    let rig = rig();
    let actor = Actor {
        principal: Principal::Login {
            identity_provider: google(),
        },
        service_provider: "wiki".into(),
    };
    // The login was admitted before the removal began, and writes after it.
    remover(&rig).begin(&google(), true).unwrap();
    let login = Change {
        actor,
        operation: Operation::Create {
            store: StoreName::PRIMARY,
            kind: Kind::USER,
            attributes: [("userName".to_owned(), "late".into())].into_iter().collect(),
            typed: Vec::new(),
        },
        side_records: vec![SideRecord::Link(link("google", "sub-late"))],
    };
    assert!(rig.directory.apply(login).is_err());
    let found = rig
        .database
        .read::<_, StorageError>(|connection| links::find(connection, &google(), ISSUER, "sub-late"))
        .unwrap();
    assert!(found.is_none());
    let page = rig.directory.named(&StoreName::PRIMARY, &Kind::USER, "late").unwrap();
    assert!(page.is_none(), "the account was not made either");
}

#[test]
fn unlinking_ends_the_sessions_of_the_link_with_it() {
    use vestibule::domain::login::Authentication;
    use vestibule::storage::sessions;
    let rig = rig();
    let user = completed(rig.login(&person("ann"))).user;
    let login = Authentication {
        store: StoreName::PRIMARY,
        user: user.clone(),
        amr: Vec::new(),
        identity_provider: Some(google()),
        at: rig.clock.now(),
        authenticated_at: None,
        credentials: 1,
        provider_token: None,
    };
    let (now, later) = (rig.clock.now(), rig.clock.now().plus(Duration::from_hours(1)));
    rig.database
        .write::<_, StorageError>(move |connection| {
            for id in ["kept", "ended"] {
                sessions::insert(connection, id, &login, now, later)?;
            }
            Ok(())
        })
        .unwrap();
    let unlink = Change {
        actor: Actor::administrator("ann"),
        operation: Operation::Patch {
            kind: Kind::USER,
            id: user.clone(),
            operations: Vec::new(),
            precondition: vestibule::domain::Precondition::None,
        },
        side_records: vec![SideRecord::Unlink {
            link: link("google", "sub-ann"),
            spared: Some("kept".to_owned()),
            for_good: false,
        }],
    };
    rig.directory.apply(unlink).unwrap();
    let open: Vec<String> = rig
        .database
        .read::<_, StorageError>(|connection| sessions::of_user(connection, &user, now))
        .unwrap()
        .into_iter()
        .map(|session| session.id_hash)
        .collect();
    assert_eq!(open, ["kept"]);
}

#[test]
fn what_a_lease_disabled_stays_disabled_after_the_removal() {
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}, "lease_days": 30, "lease_grace_days": 300});
    let rig = Rig::new(jit);
    let user = completed(rig.login(&person("alone"))).user;
    rig.clock.advance(Duration::from_hours(24 * 31));
    rig.federation.leases.sweep().unwrap();
    assert!(!rig.get(&user).is_active());
    assert_eq!(remove(&rig, false), (1, 0));
    assert!(remover(&rig).restore(&google()).unwrap());
    assert_eq!(refused(rig.login(&person("alone"))), Denial::AccountDisabled);
}

#[test]
fn restoring_what_was_never_removed_ends_no_login() {
    let rig = rig();
    let handle = rig.start();
    let returned = rig.away(&handle, &person("late"));
    assert!(!remover(&rig).restore(&google()).unwrap());
    completed(rig.back(&handle, &returned));
}
