//! One value that cannot be stored stops nothing else, and no step is larger than others can wait for.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use vestibule::domain::{Clock, Kind};
use vestibule::provisioning::operate::{self, ReplayScope};
use vestibule::storage::outbound::{self, OutboundRow, OutboundState};
use vestibule::storage::{StorageError, each};

use crate::fixtures::fake_target::{FakeTarget, Fault, Rule};
use crate::world::{World, chat, count, eventually, members, names, scim, settled, target};

#[test]
fn a_change_that_cannot_be_recorded_is_set_aside_alone() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.reject("outbound_members", "member_id = 'unstorable'");
    world.user("u1", "ann");
    world.group("g", "team");
    world.members("g", &["u1"], &[]);
    world.members("g", &["unstorable"], &[]);
    (2..7).for_each(|number| world.user(&format!("u{number}"), &format!("name{number}")));
    world.members("g", &["u2"], &[]);
    let engine = world.engine(vec![target("chat", &fake)]);
    eventually("the others arrive", || {
        names(&fake).len() == 6 && fake.requests("POST /Groups") == 1 && members(&fake, "g").len() == 2
    });
    let status = operate::status(&world.database, &chat()).unwrap();
    // The record that made the group known, and the one with which the member joined.
    assert_eq!(status.parked, 2);
    engine.stop();
}

#[test]
fn an_unusable_id_of_a_target_fails_its_resource_alone() {
    for id in ["x".repeat(6000), "a\0b".to_owned(), "..".to_owned()] {
        let (world, fake) = (World::new(), FakeTarget::start());
        fake.with(|state| state.given_id = Some(("name3", id)));
        (1..9).for_each(|number| world.user(&format!("u{number}"), &format!("name{number}")));
        let engine = world.engine(vec![target("chat", &fake)]);
        settled(&engine, "chat");
        assert_eq!(count(&engine, OutboundState::Synced), 7);
        assert_eq!(count(&engine, OutboundState::Failed), 1);
        let failed = operate::failed(&world.database, &chat(), 10).unwrap();
        assert!(
            failed[0].last_error.as_ref().unwrap().contains("cannot be used"),
            "{failed:?}"
        );
        engine.stop();
    }
}

#[test]
fn two_resources_never_share_an_id_at_the_target() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.user("u1", "ann");
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    let id = fake.with(|state| state.users.keys().next().unwrap().clone());
    fake.with(|state| state.given_id = Some(("bob", id)));
    world.user("u2", "bob");
    settled(&engine, "chat");
    let failed = operate::failed(&world.database, &chat(), 10).unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].resource_id, "u2".into());
    assert!(failed[0].last_error.as_ref().unwrap().contains("u1"), "{failed:?}");
    assert_eq!(count(&engine, OutboundState::Synced), 1);
    engine.stop();
}

#[test]
fn a_group_that_failed_as_a_whole_is_not_sent_again() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.group("first", "ops");
    world.user("u1", "ann");
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    let id = fake.with(|state| state.groups.keys().next().unwrap().clone());
    fake.with(|state| state.given_id = Some(("staff", id)));
    world.group("second", "staff");
    world.members("second", &["u1"], &[]);
    settled(&engine, "chat");
    eventually("it has failed", || {
        operate::failed(&world.database, &chat(), 10).unwrap().len() == 1
    });
    let sent = fake.requests("POST /Groups");
    // Several rounds of a worker, and a search for waiting groups.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fake.requests("POST /Groups"), sent);
    assert_eq!(sent, 2);
    engine.stop();
}

#[test]
fn an_unstorable_outcome_sends_no_other_again() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.reject("outbound", "remote_id = 'unstorable'");
    fake.with(|state| state.given_id = Some(("name3", "unstorable".to_owned())));
    (1..9).for_each(|number| world.user(&format!("u{number}"), &format!("name{number}")));
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    assert_eq!(count(&engine, OutboundState::Synced), 7);
    assert_eq!(fake.requests("POST"), 8, "each was sent once");
    engine.stop();
}

#[test]
fn a_refused_member_holds_no_other_up() {
    let (world, fake) = (World::new(), FakeTarget::start());
    fake.with(|state| state.given_id = Some(("m00", "bad".to_owned())));
    let ids: Vec<String> = (0..60).map(|number| format!("m{number:02}")).collect();
    for id in &ids {
        world.user(id, id);
    }
    world.group("g", "team");
    let mut chat_target = target("chat", &fake);
    // Two a request, twenty a push.
    scim(&mut chat_target).members_per_request = 2;
    let engine = world.engine(vec![chat_target]);
    settled(&engine, "chat");
    let joined: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.members("g", &joined, &[]);
    engine.wake();
    eventually("the others have joined", || members(&fake, "g").len() == 59);
    settled(&engine, "chat");
    let failed = operate::failed(&world.database, &chat(), 10).unwrap();
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].last_error.as_ref().unwrap().contains("member m00"),
        "{failed:?}"
    );
    // One that comes later joins too, and the refusal stays to be seen.
    world.user("late", "late");
    world.members("g", &["late"], &[]);
    engine.wake();
    eventually("the late one has joined", || members(&fake, "g").len() == 60);
    settled(&engine, "chat");
    assert_eq!(operate::failed(&world.database, &chat(), 10).unwrap().len(), 1);
    let before = fake.requests("PATCH /Groups");
    operate::replay(&world.database, &chat(), ReplayScope::Failed, Clock::system().now()).unwrap();
    settled(&engine, "chat");
    assert!(
        fake.requests("PATCH /Groups") > before,
        "the refused member is tried again by hand"
    );
    engine.stop();
}

#[test]
fn members_that_do_not_exist_become_due_once() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.group("g", "team");
    world.members("g", &["nobody", "noone"], &[]);
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    let gone = |id: &str| -> Option<OutboundRow> {
        world
            .database
            .read::<_, StorageError>(|connection| outbound::find(connection, &chat(), &id.into()))
            .unwrap()
    };
    let before = gone("nobody").unwrap();
    assert_eq!(before.state, OutboundState::Gone);
    world.group("g", "crew");
    settled(&engine, "chat");
    eventually("the group is renamed", || {
        fake.with(|state| state.groups.values().any(|group| group["displayName"] == "crew"))
    });
    assert_eq!(gone("nobody").unwrap(), before);
    engine.stop();
}

#[test]
fn a_push_that_gets_somewhere_begins_a_new_series() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let ids: Vec<String> = (0..40).map(|number| format!("m{number:02}")).collect();
    for id in &ids {
        world.user(id, id);
    }
    world.group("g", "team");
    let mut chat_target = target("chat", &fake);
    scim(&mut chat_target).members_per_request = 1;
    let engine = world.engine(vec![chat_target]);
    settled(&engine, "chat");
    fake.with(|state| {
        state.rules.push(Rule {
            matches: "PATCH /Groups",
            fault: Fault::Status(500),
            percent: 50,
            times: 1000,
        });
    });
    let joined: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.members("g", &joined, &[]);
    engine.wake();
    let most = Cell::new(0);
    eventually("every member has joined", || {
        let row: Option<OutboundRow> = world
            .database
            .read::<_, StorageError>(|connection| outbound::find(connection, &chat(), &"g".into()))
            .unwrap();
        most.set(most.get().max(row.map_or(0, |row| row.attempts)));
        members(&fake, "g").len() == ids.len()
    });
    // About every second request fails, so about forty pushes do.
    assert!(most.get() < 15, "{} tries in a row", most.get());
    engine.stop();
}

#[test]
fn members_through_others_go_along_with_the_next_change() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.group("g", "team");
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    engine.stop();
    // Both records are read in one step, and their rows do not fit into one transaction.
    let others: Vec<String> = (0..240).map(|number| format!("o{number:03}")).collect();
    let ours: Vec<String> = (0..10).map(|number| format!("w{number}")).collect();
    for id in others.iter().chain(&ours) {
        world.save_as(
            "scim:hr",
            "hr",
            (&Kind::USER, id, json!({"userName": id, "active": true})),
        );
    }
    world.members_as("hr", "g", &others.iter().map(String::as_str).collect::<Vec<_>>());
    world.members_as("wiki", "g", &ours.iter().map(String::as_str).collect::<Vec<_>>());
    let engine = world.engine(vec![target("chat", &fake)]);
    eventually("all of them have joined", || members(&fake, "g").len() == 250);
    engine.stop();
}

#[test]
fn a_group_that_never_arrived_leaves_no_rows() {
    let (world, fake) = (World::new(), FakeTarget::start());
    world.user("u1", "ann");
    world.group("g", "team");
    world.members("g", &["u1"], &[]);
    world.delete("g");
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    let left: i64 = world
        .database
        .read::<_, StorageError>(|connection| {
            each!(connection, c => {
                use diesel::prelude::*;
                vestibule::storage::tables::outbound_members::table.count().get_result(c)
            })
        })
        .unwrap();
    assert_eq!(left, 0);
    engine.stop();
}

#[test]
fn members_of_a_large_group_are_recorded_in_steps() {
    const MEMBERS: usize = 4000;
    let world = World::new();
    let ids: Vec<String> = (0..MEMBERS).map(|number| format!("m{number:05}")).collect();
    let joined: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.group("g", "team");
    world.members("g", &joined, &[]);
    let fake = FakeTarget::start();
    let done = Arc::new(AtomicBool::new(false));
    let (database, stop) = (world.database.clone(), Arc::clone(&done));
    // The numbers of rows that others see while the journal is read.
    let watcher = std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            let now: i64 = database
                .read::<_, StorageError>(|connection| {
                    each!(connection, c => {
                        use diesel::prelude::*;
                        vestibule::storage::tables::outbound_members::table.count().get_result(c)
                    })
                })
                .unwrap();
            seen.insert(now);
        }
        seen
    });
    let engine = world.engine(vec![target("chat", &fake)]);
    eventually("every member is known", || {
        let known: i64 = world
            .database
            .read::<_, StorageError>(|connection| {
                Ok(outbound::counts(connection, &chat())?
                    .iter()
                    .map(|(_, count)| count)
                    .sum())
            })
            .unwrap();
        usize::try_from(known).unwrap() == MEMBERS + 1
    });
    done.store(true, Ordering::Relaxed);
    engine.stop();
    let seen: Vec<i64> = watcher.join().unwrap().into_iter().collect();
    let largest = seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(largest <= 1500, "steps: {seen:?}");
    assert!(seen.len() > 4, "steps: {seen:?}");
}
