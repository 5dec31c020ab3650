//! How the engine handles changes.

use std::time::{Duration, Instant};

use serde_json::json;
use vestibule::domain::{Kind, ResourceId};
use vestibule::provisioning::Verb;
use vestibule::storage::StorageError;
use vestibule::storage::outbound::{self, OutboundState};

use crate::fixtures::fake_target::FakeTarget;
use crate::world::{World, chat, count, eventually, members, names, settled, start, target};

#[test]
fn a_user_is_created_changed_and_deleted_at_the_target() {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    world.user("u1", "anna");
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["anna"]);
    let sent = fake.with(|state| {
        state
            .log
            .iter()
            .find(|(_, line, _)| line.starts_with("PATCH"))
            .unwrap()
            .2["Operations"]
            .clone()
    });
    assert_eq!(sent, json!([{"op": "replace", "path": "userName", "value": "anna"}]));
    world.delete("u1");
    settled(&engine, "chat");
    assert_eq!(names(&fake), Vec::<String>::new());
    assert_eq!(count(&engine, OutboundState::Gone), 1);
    engine.stop();
}

#[test]
fn target_gets_changes_only_of_providers_that_list_it() {
    let (world, fake, engine) = start();
    let body = |name: &str| json!({"userName": name});
    world.save_as("scim:other", "other", (&Kind::USER, "u1", body("other")));
    world.save_as("idp:google", "wiki", (&Kind::USER, "u2", body("login")));
    world.save_as("scim:wiki", "wiki", (&Kind::USER, "u3", body("ann")));
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann"]);
    world.save_as("scim:other", "other", (&Kind::USER, "u3", body("anna")));
    settled(&engine, "chat");
    assert_eq!(
        names(&fake),
        ["ann"],
        "a change by a provider without the target is not sent"
    );
    world.delete_as("other", "u3");
    settled(&engine, "chat");
    assert_eq!(names(&fake), Vec::<String>::new(), "a deletion is always sent");
    engine.stop();
}

#[test]
fn self_and_admin_changes_go_to_targets_with_the_account() {
    let (world, fake, engine) = start();
    let body = |name: &str| json!({"userName": name});
    world.save_as("scim:wiki", "wiki", (&Kind::USER, "u1", body("ann")));
    settled(&engine, "chat");
    world.save_as("self", "resident", (&Kind::USER, "u1", body("anna")));
    world.save_as("admin", "resident", (&Kind::USER, "u2", body("bob")));
    world.save_as("job:lease", "resident", (&Kind::USER, "u3", body("carl")));
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["anna"], "and no account is created");
    engine.stop();
}

#[test]
fn quick_edits_become_one_request() {
    let (world, fake, engine) = start();
    engine.pause(&chat(), "for the test").unwrap();
    for edit in 0..10 {
        world.user("u1", &format!("ann{edit}"));
    }
    engine.wake();
    eventually("the changes are noted", || count(&engine, OutboundState::Pending) == 1);
    assert_eq!(fake.requests(""), 0);
    engine.resume(&chat()).unwrap();
    settled(&engine, "chat");
    assert_eq!(names(&fake), ["ann9"]);
    assert_eq!(fake.requests(""), 1);
    engine.stop();
}

#[test]
fn members_follow_their_group_even_if_they_were_not_known() {
    let (world, fake, engine) = start();
    for id in ["u1", "u2", "u3"] {
        world.save_as("scim:other", "other", (&Kind::USER, id, json!({"userName": id})));
    }
    world.group("g1", "team");
    world.members("g1", &["u1", "u2", "nobody"], &[]);
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g1"), ["u1", "u2"]);
    world.members("g1", &["u3"], &["u1"]);
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g1"), ["u2", "u3"]);
    engine.stop();
}

#[test]
fn a_group_that_becomes_known_late_brings_its_members() {
    let (world, fake, engine) = start();
    world.save_as("scim:other", "other", (&Kind::USER, "u1", json!({"userName": "ann"})));
    world.save_as(
        "scim:other",
        "other",
        (&Kind::GROUP, "g1", json!({"displayName": "team"})),
    );
    world
        .resources
        .lock()
        .unwrap()
        .get_mut(&ResourceId::from("g1"))
        .unwrap()
        .members = vec![vestibule::domain::Member {
        id: "u1".into(),
        body: "{}".to_owned(),
    }];
    world.group("g1", "team two");
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g1"), ["u1"]);
    engine.stop();
}

#[test]
fn a_group_that_was_first_seen_as_a_member_is_pushed_as_a_group() {
    let (world, fake, engine) = start();
    world.user("u1", "ann");
    world.group("g1", "all");
    world.members("g1", &["g2"], &[]);
    settled(&engine, "chat");
    world.group("g2", "team");
    world.members("g2", &["u1"], &[]);
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g2"), ["u1"]);
    let nested = fake.with(|state| {
        let id = |name: &str| {
            state
                .groups
                .iter()
                .find(|(_, group)| group["externalId"] == name)
                .unwrap()
                .0
                .clone()
        };
        (state.groups[&id("g1")]["members"].clone(), id("g2"))
    });
    assert_eq!(nested.0, json!([{"value": nested.1}]));
    engine.stop();
}

#[test]
fn a_target_without_patch_gets_whole_groups() {
    let (world, fake) = (World::new(), FakeTarget::start());
    let mut settings = target("chat", &fake);
    crate::world::scim(&mut settings).group_verb = Some(Verb::Put);
    let engine = world.engine(vec![settings]);
    world.user("u1", "ann");
    world.user("u2", "bob");
    world.group("g1", "team");
    world.members("g1", &["u1", "u2"], &[]);
    settled(&engine, "chat");
    world.members("g1", &[], &["u1"]);
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g1"), ["u2"]);
    engine.stop();
}

#[test]
fn refused_member_does_not_block_other_members() {
    let (world, fake, engine) = start();
    let ids: Vec<String> = (0..9).map(|index| format!("u{index}")).collect();
    for id in &ids {
        world.user(id, id);
    }
    settled(&engine, "chat");
    // One user has an id at the target that the target refuses as a member.
    let bad = world
        .database
        .read::<_, StorageError>(|connection| outbound::find(connection, &chat(), &"u4".into()))
        .unwrap()
        .unwrap();
    let remote = bad.remote_id.unwrap();
    world
        .database
        .write(move |connection| {
            use vestibule::storage::each;
            let sql = format!("UPDATE outbound SET remote_id = 'bad' WHERE remote_id = '{remote}'");
            each!(connection, c => diesel::RunQueryDsl::execute(diesel::sql_query(sql), c))?;
            Ok::<_, StorageError>(())
        })
        .unwrap();
    world.group("g1", "team");
    world.members("g1", &ids.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    settled(&engine, "chat");
    assert_eq!(members(&fake, "g1").len(), 8);
    let failed = engine.failed(&chat(), 10).unwrap();
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].last_error.as_ref().unwrap().contains("member u4"),
        "{failed:?}"
    );
    engine.stop();
}

#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn measure_pushes_a_second() {
    let (world, fake, engine) = start();
    engine.pause(&chat(), "for the test").unwrap();
    fake.with(|state| state.trusting = true);
    let count = 3000;
    (0..count).for_each(|index| world.user(&format!("u{index}"), &format!("n{index}")));
    engine.wake();
    eventually("the changes are noted", || {
        crate::world::count(&engine, OutboundState::Pending) == count
    });
    let begun = Instant::now();
    engine.resume(&chat()).unwrap();
    while !engine.is_idle(&chat()).unwrap() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let rate = f64::from(i32::try_from(count).unwrap()) / begun.elapsed().as_secs_f64();
    println!("{rate:.0} pushes/s, {} requests", fake.requests(""));
    engine.stop();
}

#[test]
#[ignore = "a measurement: run it alone, with --nocapture"]
fn measure_the_lag_at_500_changes_a_second() {
    let (world, fake, engine) = start();
    fake.with(|state| state.trusting = true);
    let mut made = Vec::new();
    let begun = Instant::now();
    for index in 0..2000_u32 {
        std::thread::sleep((begun + Duration::from_millis(2) * index).saturating_duration_since(Instant::now()));
        made.push(Instant::now());
        world.user(&format!("u{index}"), &format!("n{index}"));
        engine.wake();
    }
    let spent = begun.elapsed();
    settled(&engine, "chat");
    let mut lags: Vec<Duration> = fake.with(|state| {
        let index = |body: &serde_json::Value| body["externalId"].as_str().unwrap()[1..].parse::<usize>().unwrap();
        state.log.iter().map(|(at, _, body)| *at - made[index(body)]).collect()
    });
    lags.sort();
    println!(
        "p50 {:?}, p99 {:?}, all changed in {spent:?}",
        lags[lags.len() / 2],
        lags[lags.len() * 99 / 100]
    );
    engine.stop();
}
