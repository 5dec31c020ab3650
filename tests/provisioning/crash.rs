//! The process is killed repeatedly at any moment, while the target fails too; nothing may be lost or exist twice.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use vestibule::domain::{Clock, Kind, Relations, Resource, ResourceId};
use vestibule::provisioning::{Engine, OutboundRule, Settings, Source};
use vestibule::storage::{Database, DatabaseUrl};

use crate::fixtures::fake_target::{FakeTarget, Fault, Rule};
use crate::world::{World, eventually, resource, target};

const DATABASE: &str = "VESTIBULE_TEST_CRASH_DATABASE";
const TARGET: &str = "VESTIBULE_TEST_CRASH_TARGET";

/// The name of a user in a round; the child process computes it from the round, which it reads from a file.
fn name(index: usize, round: usize) -> String {
    format!("name{index}-{round}")
}

fn engine(database: Database, fake: &FakeTarget, source: Source) -> Engine {
    let chat = target("chat", fake);
    let rules = vec![OutboundRule {
        service_provider: "wiki".into(),
        target: chat.name.clone(),
        jit: false,
    }];
    let mut settings = Settings::new(vec![chat], rules);
    settings.poll = Duration::from_millis(20);
    settings.lease = Duration::from_millis(300);
    Engine::start(settings, source, database, Clock::system()).unwrap()
}

/// Not a test by itself, but the process that is killed.
#[test]
#[ignore = "started by another test"]
fn child() {
    let (Ok(path), Ok(url)) = (std::env::var(DATABASE), std::env::var(TARGET)) else {
        return;
    };
    let database = Database::open(&DatabaseUrl::parse(&format!("sqlite:{path}")).unwrap()).unwrap();
    let source = Source::new(move |kind: &Kind, id: &ResourceId, _: Relations| {
        let round: usize = std::fs::read_to_string(format!("{path}.round"))
            .unwrap()
            .parse()
            .unwrap();
        Ok(made_up(kind, id, round))
    });
    let _engine = engine(database, &FakeTarget::at(&url), source);
    std::thread::sleep(Duration::from_mins(1));
}

/// The resources of the source in a round; a third of the users is deleted in the last one.
fn made_up(kind: &Kind, id: &ResourceId, round: usize) -> Option<Resource> {
    let index: usize = id.as_str()[1..].parse().unwrap();
    let there = round < ROUNDS || !index.is_multiple_of(3);
    there.then(|| resource(kind, id.as_str(), &json!({"userName": name(index, round)})))
}

const ROUNDS: usize = 6;
const USERS: usize = 60;

fn start_child(path: &str, fake: &FakeTarget) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored"])
        .env(DATABASE, path)
        .env(TARGET, fake.url.as_str())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn repeatedly_killed_process_loses_and_duplicates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crash.db").to_str().unwrap().to_owned();
    let world = World::at(&DatabaseUrl::parse(&format!("sqlite:{path}")).unwrap(), folder);
    let fake = FakeTarget::start();
    let rule = |fault, percent| Rule {
        matches: "",
        fault,
        percent,
        times: u32::MAX,
    };
    fake.with(|state| {
        state.rules = vec![
            rule(Fault::Status(500), 10),
            rule(Fault::Ate, 10),
            rule(Fault::Drop, 10),
        ];
    });
    for round in 0..=ROUNDS {
        std::fs::write(format!("{path}.round"), round.to_string()).unwrap();
        for index in 0..USERS {
            let id = format!("u{index}");
            if round == ROUNDS && index % 3 == 0 {
                world.delete(&id);
            } else {
                world.user(&id, &name(index, round));
            }
        }
        // Each child is killed after a different time.
        for pause in [90, 140, 60] {
            let mut child = start_child(&path, &fake);
            std::thread::sleep(Duration::from_millis(pause + 37 * u64::try_from(round).unwrap()));
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    assert!(
        fake.requests("POST") > 20,
        "the processes were killed before they did enough work"
    );
    let last = engine(
        world.database.clone(),
        &fake,
        Source::new(|kind, id, _| Ok(made_up(kind, id, ROUNDS))),
    );
    eventually("the target is idle", || last.is_idle(&"chat".into()).unwrap());
    last.stop();
    let wanted: BTreeMap<String, String> = (0..USERS)
        .filter(|index| index % 3 != 0)
        .map(|index| (format!("u{index}"), name(index, ROUNDS)))
        .collect();
    let there: Vec<Value> = fake.with(|state| state.users.values().cloned().collect());
    assert_eq!(there.len(), wanted.len(), "no account exists twice");
    let text = |user: &Value, name: &str| user[name].as_str().unwrap().to_owned();
    assert_eq!(
        there
            .iter()
            .map(|user| (text(user, "externalId"), text(user, "userName")))
            .collect::<BTreeMap<_, _>>(),
        wanted
    );
}
