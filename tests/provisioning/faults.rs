//! What the engine does with targets that fail, and with accounts that are not as it left them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vestibule::domain::{Clock, Kind};
use vestibule::provisioning::{Deprovision, Engine, Which, operate};
use vestibule::storage::outbound::OutboundState;
use vestibule::storage::outbound_claim::{self, Claim};
use vestibule::storage::{StorageError, targets};

use crate::fake_target::{FakeTarget, Fault, Rule};
use crate::world::{World, chat, count, eventually, members, names, remote_members, settled, start, target};

#[test]
fn a_creation_whose_answer_was_lost_is_not_repeated() {
    let (world, fake, engine) = start();
    for fault in [Fault::Ate, Fault::Html(200)] {
        fake.fail("POST /Users", fault, 1);
    }
    world.user("u1", "ann");
    world.user("u2", "bob");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann", "bob"]);
    assert_eq!(fake.requests("POST /Users"), 2);
    engine.stop();
}

/// Lets a change get through without its answer, and everything after it fail until the change is taken back.
fn change_and_take_back(world: &World, fake: &FakeTarget, engine: &Engine, request: &'static str) {
    fake.fail(request, Fault::Ate, 1);
    for next in ["GET /Users", "PATCH /Users", "POST /Users"] {
        fake.fail(next, Fault::Status(500), u32::MAX);
    }
    let changed = json!({"userName": "ann", "active": false, "title": "T", "nickName": "N", "name": {"givenName": "A", "middleName": "M"}});
    world.save(&Kind::USER, "u1", changed);
    engine.wake();
    eventually("the change was tried again", || {
        count(engine, OutboundState::Retrying) == 1
    });
    world.save(
        &Kind::USER,
        "u1",
        json!({"userName": "ann", "active": true, "title": "T", "name": {"givenName": "A"}}),
    );
    fake.with(|state| state.rules.clear());
    settled(engine, "chat");
}

#[test]
fn a_change_whose_answer_was_lost_can_be_taken_back() {
    let (world, fake, engine) = start();
    world.save(
        &Kind::USER,
        "u1",
        json!({"userName": "ann", "active": true, "name": {"givenName": "A"}}),
    );
    settled(&engine, "chat");
    change_and_take_back(&world, &fake, &engine, "PATCH /Users");
    let mut there: Vec<Value> = fake.with(|state| state.users.values().cloned().collect());
    there[0].as_object_mut().unwrap().remove("id");
    let expected =
        json!({"userName": "ann", "active": true, "title": "T", "name": {"givenName": "A"}, "externalId": "u1"});
    assert_eq!(there, [expected]);
    engine.stop();
}

#[test]
fn a_creation_whose_answer_was_lost_takes_nothing_along_that_was_taken_back() {
    let (world, fake, engine) = start();
    change_and_take_back(&world, &fake, &engine, "POST /Users");
    let mut there: Vec<Value> = fake.with(|state| state.users.values().cloned().collect());
    there[0].as_object_mut().unwrap().remove("id");
    let expected =
        json!({"userName": "ann", "active": true, "title": "T", "name": {"givenName": "A"}, "externalId": "u1"});
    assert_eq!(there, [expected]);
    engine.stop();
}

#[test]
fn an_account_of_the_same_name_is_adopted() {
    let (world, fake, engine) = start();
    fake.with(|state| {
        state.users.insert(
            "old".to_owned(),
            json!({"id": "old", "userName": "ANN", "title": "kept"}),
        )
    });
    world.user("u1", "ann");
    settled(&engine, "chat");
    let there: BTreeMap<String, Value> = fake.with(|state| state.users.clone());
    assert_eq!(there.len(), 1);
    assert_eq!(
        there["old"],
        json!({"id": "old", "userName": "ann", "title": "kept", "active": true, "externalId": "u1"})
    );
    engine.stop();
}

#[test]
fn a_name_that_is_given_to_somebody_else_does_not_mix_up_accounts() {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    settled(&engine, "chat");
    fake.fail("DELETE", Fault::Status(500), 2);
    world.delete("u1");
    world.user("u2", "ann");
    settled(&engine, "chat");
    let there: Vec<Value> = fake.with(|state| state.users.values().cloned().collect());
    assert_eq!(there.len(), 1);
    assert_eq!(there[0]["externalId"], "u2");
    engine.stop();
}

#[test]
fn a_name_that_another_account_is_about_to_give_up_is_waited_for() {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    world.user("u2", "bob");
    settled(&engine, "chat");
    engine.pause(&chat(), "for the test").unwrap();
    world.user("u1", "bob");
    engine.wake();
    eventually("the change is noted", || count(&engine, OutboundState::Pending) == 1);
    engine.resume(&chat()).unwrap();
    eventually("the name is found taken", || {
        count(&engine, OutboundState::Retrying) == 1
    });
    world.user("u2", "carl");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["bob", "carl"]);
    engine.stop();
}

#[test]
fn an_account_that_vanished_at_the_target_is_made_again_with_its_memberships() {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    world.group("g1", "team");
    world.members("g1", &["u1"], &[]);
    settled(&engine, "chat");
    fake.with(|state| {
        state.users.clear();
        state.groups.values_mut().for_each(|group| group["members"] = json!([]));
    });
    world.user("u1", "anna");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["anna"]);
    assert_eq!(members(&fake, "g1"), ["u1"]);
    engine.stop();
}

/// Removes a person while a request that adds the person to a group is on its way, and does one thing more before it
/// arrives. In the end the group is empty.
fn remove_while_joining(then: impl FnOnce(&World)) {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    world.group("g1", "team");
    settled(&engine, "chat");
    fake.fail("PATCH /Groups", Fault::Late(Duration::from_millis(300)), 1);
    world.members("g1", &["u1"], &[]);
    engine.wake();
    eventually("the group is being written", || fake.requests("PATCH /Groups") == 1);
    world.delete("u1");
    engine.wake();
    eventually("the person is removed", || fake.with(|state| state.users.is_empty()));
    then(&world);
    settled(&engine, "chat");
    assert_eq!(remote_members(&fake, "g1"), Vec::<String>::new());
    engine.stop();
}

#[test]
fn a_person_who_is_removed_while_joining_a_group_is_out_of_it() {
    remove_while_joining(|_| {});
}

#[test]
fn a_person_who_is_removed_while_joining_a_group_is_out_of_it_though_the_group_tells_so_later() {
    remove_while_joining(|world| world.members("g1", &[], &["u1"]));
}

#[test]
fn a_target_that_keeps_accounts_gets_them_locked() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let mut settings = target("chat", &fake);
    settings.profile.deprovision = Deprovision::Deactivate;
    let engine = world.engine(vec![settings]);
    world.user("u1", "ann");
    world.group("g1", "team");
    world.members("g1", &["u1"], &[]);
    settled(&engine, "chat");
    world.delete("u1");
    settled(&engine, "chat");
    assert_eq!(
        fake.with(|state| state.users.values().next().unwrap()["active"].clone()),
        json!(false)
    );
    assert_eq!(members(&fake, "g1"), Vec::<String>::new());
    assert_eq!(fake.requests("DELETE"), 0);
    engine.stop();
}

#[test]
fn a_locked_account_is_taken_up_again_by_a_new_person_of_that_name() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let mut settings = target("chat", &fake);
    settings.profile.deprovision = Deprovision::Deactivate;
    let engine = world.engine(vec![settings]);
    world.user("u1", "ann");
    settled(&engine, "chat");
    world.delete("u1");
    settled(&engine, "chat");
    world.user("u2", "ann");
    settled(&engine, "chat");
    let there: Vec<Value> = fake.with(|state| state.users.values().cloned().collect());
    assert_eq!(there.len(), 1);
    assert_eq!(
        (&there[0]["externalId"], &there[0]["active"]),
        (&json!("u2"), &json!(true))
    );
    engine.stop();
}

#[test]
fn a_refused_resource_does_not_hold_up_others_and_heals_with_its_next_change() {
    let (world, fake, engine) = start();
    fake.fail("POST /Users", Fault::Status(400), 1);
    world.user("u1", "ann");
    settled(&engine, "chat");
    let failed = engine.failed(&chat(), 10).unwrap();
    assert_eq!(
        failed[0].last_error.as_deref(),
        Some("the target answered 400: told to")
    );
    world.user("u2", "bob");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["bob"]);
    world.user("u1", "anna");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["anna", "bob"]);
    engine.stop();
}

#[test]
fn what_failed_can_be_replayed() {
    let (world, fake, engine) = start();
    fake.fail("POST /Users", Fault::Status(400), 1);
    world.user("u1", "ann");
    settled(&engine, "chat");
    assert_eq!(engine.replay(&chat(), Which::Failed).unwrap(), 1);
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    fake.with(|state| {
        state
            .users
            .values_mut()
            .for_each(|user| user["active"] = json!("spoilt"));
    });
    assert_eq!(engine.replay(&chat(), Which::Resource("u1".into())).unwrap(), 1);
    settled(&engine, "chat");
    assert_eq!(
        fake.with(|state| state.users.values().next().unwrap()["active"].clone()),
        json!(true)
    );
    engine.stop();
}

#[test]
fn refused_credentials_pause_the_target_until_a_person_resumes_it() {
    let (world, fake, engine) = start();
    fake.fail("POST", Fault::Status(401), 1);
    world.user("u1", "ann");
    engine.wake();
    eventually("the target is paused", || engine.status().unwrap()[0].paused.is_some());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(fake.requests("POST"), 1);
    engine.resume(&chat()).unwrap();
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    engine.stop();
}

#[test]
fn too_many_removals_blow_the_fuse() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let mut settings = target("chat", &fake);
    settings.max_deletes = 3;
    let engine = world.engine(vec![settings]);
    let ids: Vec<String> = (0..10).map(|index| format!("u{index}")).collect();
    for id in &ids {
        world.user(id, id);
    }
    settled(&engine, "chat");
    world.save(&Kind::USER, "u0", json!({"userName": "u0", "active": false}));
    ids[1..].iter().for_each(|id| world.delete(id));
    engine.wake();
    eventually("the target is paused", || engine.status().unwrap()[0].paused.is_some());
    eventually("no worker is at it", || count(&engine, OutboundState::InFlight) == 0);
    assert_eq!(fake.requests("DELETE") + fake.requests("PATCH"), 3);
    engine.resume(&chat()).unwrap();
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["u0"]);
    engine.stop();
}

#[test]
fn a_pause_that_the_target_asks_for_is_kept() {
    let (world, fake, engine) = start();
    fake.fail("POST", Fault::Later(429, "1".to_owned()), 1);
    (0..5).for_each(|index| world.user(&format!("u{index}"), &format!("n{index}")));
    settled(&engine, "chat");
    let times: Vec<Instant> = fake.with(|state| state.log.iter().map(|(at, ..)| *at).collect());
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(gap >= Duration::from_millis(990), "{gap:?}");
    assert_eq!(names(&fake).len(), 5);
    engine.stop();
}

#[test]
fn a_target_that_hangs_does_not_hold_up_another() {
    let (world, slow, quick) = (World::new(), FakeTarget::start(), FakeTarget::start());
    slow.fail("", Fault::Hang(Duration::from_mins(1)), 1000);
    let engine = world.engine(vec![target("slow", &slow), target("quick", &quick)]);
    (0..20).for_each(|index| world.user(&format!("u{index}"), &format!("n{index}")));
    let begun = Instant::now();
    settled(&engine, "quick");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(names(&quick).len(), 20);
    engine.stop();
}

#[test]
fn what_a_dead_worker_left_is_done_once_its_lease_is_over() {
    let (world, fake) = (World::new(), FakeTarget::start());
    operate::pause(&world.database, &chat(), "for the test").unwrap();
    world.user("u1", "ann");
    let engine = world.engine(vec![target("chat", &fake)]);
    eventually("the change is noted", || {
        engine.status().unwrap()[0].counts.iter().any(|(_, count)| *count == 1)
    });
    engine.stop();
    // A worker takes the row, creates the account and dies before it can write that down.
    let now = Clock::system().now();
    let claim = Claim {
        target: chat(),
        owner: "dead".to_owned(),
        now: now.plus(Duration::from_mins(1)),
        lease_until: now.plus(Duration::from_millis(800)),
        limit: 5,
    };
    world
        .database
        .write(move |connection| Ok::<_, StorageError>(targets::set_paused(connection, &chat(), None)?))
        .unwrap();
    let rows = world
        .database
        .write(move |connection| Ok::<_, StorageError>(outbound_claim::claim(connection, &claim)?))
        .unwrap();
    let (done, late) = (fake.requests("POST"), rows.len());
    fake.with(|state| {
        state.users.insert(
            "r".to_owned(),
            json!({"id": "r", "userName": "ann", "externalId": "u1"}),
        )
    });
    let engine = world.engine(vec![target("chat", &fake)]);
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    assert_eq!(late, 1, "nobody else had it");
    assert_eq!(fake.requests("POST"), done, "it looked before it created");
    assert!(Clock::system().now() >= now.plus(Duration::from_millis(800)));
    engine.stop();
}

#[test]
fn two_engines_on_one_database_push_everything_once() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let engines = [
        world.engine(vec![target("chat", &fake)]),
        world.engine(vec![target("chat", &fake)]),
    ];
    (0..200).for_each(|index| world.user(&format!("u{index}"), &format!("n{index}")));
    settled(&engines[1], "chat");
    settled(&engines[0], "chat");
    assert_eq!(fake.requests("POST"), 200);
    assert_eq!(names(&fake).len(), 200);
    engines.iter().for_each(Engine::stop);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one long story, told in order")]
fn a_target_that_fails_a_third_of_the_time_ends_up_like_the_source() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let rule = |fault, percent| Rule {
        matches: "",
        fault,
        percent,
        times: u32::MAX,
    };
    fake.with(|state| {
        state.rules = vec![
            rule(Fault::Status(500), 8),
            rule(Fault::Ate, 8),
            rule(Fault::Drop, 6),
            rule(Fault::Html(200), 4),
            rule(Fault::Status(503), 4),
        ];
    });
    let engine = world.engine(vec![target("chat", &fake)]);
    for round in 0..4 {
        for index in 0..40 {
            let id = format!("u{index}");
            if round < 3 || index % 3 != 0 {
                world.user(&id, &format!("name{index}-{round}"));
            } else {
                world.delete(&id);
            }
        }
        for index in 0..4 {
            let group = format!("g{index}");
            world.group(&group, &format!("team{index}-{round}"));
            let member = |number: usize| format!("u{}", number % 40);
            world.members(
                &group,
                &[&member(index * 10 + round), &member(index + 1)],
                &[&member(index * 10 + round + 39)],
            );
        }
        engine.wake();
        std::thread::sleep(Duration::from_millis(100));
    }
    settled(&engine, "chat");
    let resources = world.resources.lock().unwrap();
    let of_kind = |kind: Kind| resources.values().filter(move |resource| resource.kind == kind);
    let wanted: BTreeMap<String, Value> = of_kind(Kind::USER)
        .map(|user| {
            (
                user.id.as_str().to_owned(),
                user.document.attributes()["userName"].clone(),
            )
        })
        .collect();
    let there: Vec<(String, Value)> = fake.with(|state| {
        state
            .users
            .values()
            .map(|user| {
                (
                    user["externalId"].as_str().unwrap().to_owned(),
                    user["userName"].clone(),
                )
            })
            .collect()
    });
    assert_eq!(there.len(), wanted.len(), "no account exists twice");
    assert_eq!(there.into_iter().collect::<BTreeMap<_, _>>(), wanted);
    for group in of_kind(Kind::GROUP) {
        let mut wanted: Vec<String> = group
            .members
            .iter()
            .filter(|member| resources.contains_key(&member.id))
            .map(|member| member.id.as_str().to_owned())
            .collect();
        wanted.sort();
        wanted.dedup();
        let there = members(&fake, group.id.as_str());
        assert_eq!(there, wanted, "{}", group.id);
    }
    engine.stop();
}
