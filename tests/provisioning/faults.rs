//! How the engine handles targets that fail, and accounts that others changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vestibule::domain::{Clock, Kind};
use vestibule::provisioning::{Deprovision, Engine, ReplayScope, operate};
use vestibule::storage::outbound::OutboundState;
use vestibule::storage::outbound_claim::{self, Claim};
use vestibule::storage::{StorageError, targets};

use crate::fixtures::fake_target::{FakeTarget, Fault, Rule};
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

/// Applies a change whose response is lost, and fails all later requests until the change is reverted.
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
fn lost_create_response_sends_no_reverted_values() {
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
fn reassigned_username_does_not_mix_up_accounts() {
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
fn taken_name_is_retried_until_its_holder_is_renamed() {
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
fn account_missing_at_target_is_recreated_with_memberships() {
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

/// Deletes a user while a request that adds the user to a group is on its way, and runs `then` before it arrives. At
/// the end the group is empty.
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
fn user_deleted_while_joining_a_group_is_not_a_member() {
    remove_while_joining(|_| {});
}

#[test]
fn user_deleted_while_joining_is_out_despite_late_group_event() {
    remove_while_joining(|world| world.members("g1", &[], &["u1"]));
}

#[test]
fn deprovision_deactivate_keeps_a_deactivated_account() {
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
fn new_user_takes_over_deactivated_account_of_same_name() {
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
fn refused_resource_blocks_no_other_and_recovers_on_change() {
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
fn failed_rows_can_be_replayed() {
    let (world, fake, engine) = start();
    fake.fail("POST /Users", Fault::Status(400), 1);
    world.user("u1", "ann");
    settled(&engine, "chat");
    assert_eq!(engine.replay(&chat(), ReplayScope::Failed).unwrap(), 1);
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    fake.with(|state| {
        state
            .users
            .values_mut()
            .for_each(|user| user["active"] = json!("spoilt"));
    });
    assert_eq!(engine.replay(&chat(), ReplayScope::Resource("u1".into())).unwrap(), 1);
    settled(&engine, "chat");
    assert_eq!(
        fake.with(|state| state.users.values().next().unwrap()["active"].clone()),
        json!(true)
    );
    engine.stop();
}

#[test]
fn refused_credentials_pause_the_target_until_resumed() {
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
fn too_many_removals_reach_the_delete_limit() {
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
    eventually("no request is in flight", || {
        count(&engine, OutboundState::InFlight) == 0
    });
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
    settled(&engine, "quick");
    assert_eq!(names(&quick).len(), 20);
    engine.stop();
}

#[test]
fn work_of_a_dead_worker_is_done_after_its_lease_expires() {
    let (world, fake) = (World::new(), FakeTarget::start());
    operate::pause(&world.database, &chat(), "for the test").unwrap();
    world.user("u1", "ann");
    let engine = world.engine(vec![target("chat", &fake)]);
    eventually("the change is noted", || {
        engine.status().unwrap()[0].counts.iter().any(|(_, count)| *count == 1)
    });
    engine.stop();
    // A worker claims the row, creates the account and dies before it records the outcome.
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
    assert_eq!(late, 1, "the dead worker has claimed the row");
    assert_eq!(
        fake.requests("POST"),
        done,
        "the account was found and not created again"
    );
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
#[expect(clippy::too_many_lines, reason = "one scenario in order")]
fn target_failing_a_third_of_requests_still_converges() {
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
