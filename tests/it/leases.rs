//! Leases: accounts that expire unless their users sign in, against a real directory.

use std::time::Duration;

use crate::fixtures::front_door::{ISSUER, Rig, completed, refused};
use serde_json::{Value, json};
use vestibule::domain::change::{JournalPosition, JournalRecord};
use vestibule::domain::{Actor, Change, Kind, Link, Operation, Precondition, Principal, Relations, ResourceId, Secret};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::lease::LeaseSweep;
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::storage::{StorageError, journal, links};

const DAY: Duration = Duration::from_hours(24);
const SUSPENDED: LeaseSweep = LeaseSweep {
    suspended: 1,
    removed: 0,
};
const REMOVED: LeaseSweep = LeaseSweep {
    suspended: 0,
    removed: 1,
};

fn jit() -> Value {
    json!({"mode": "silent", "username": {"claim": "nick"}, "lease_days": 30, "lease_grace_days": 10})
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "email": "bob@example.com"})
}

/// A front door with an account of Bob.
fn rig() -> (Rig, ResourceId) {
    let rig = Rig::new(jit());
    let user = completed(rig.login(&bob())).user;
    (rig, user)
}

fn sweep(rig: &Rig) -> LeaseSweep {
    rig.federation.leases.sweep().unwrap()
}

fn is_active(rig: &Rig, user: &ResourceId) -> bool {
    rig.get(user).is_active()
}

fn records(rig: &Rig) -> Vec<JournalRecord> {
    rig.database
        .read::<_, StorageError>(|connection| journal::after(connection, JournalPosition::default(), 100))
        .unwrap()
}

fn by_lease(rig: &Rig) -> usize {
    let records = records(rig);
    records.iter().filter(|record| record.actor == "job:lease").count()
}

/// Replaces attributes of the user as another principal.
fn touch(rig: &Rig, user: &ResourceId, principal: Principal, more: &Value) {
    let mut attributes = rig.get(user).document.attributes();
    attributes.extend(more.as_object().unwrap().clone());
    let change = Change {
        actor: Actor {
            principal,
            service_provider: "hr".into(),
        },
        operation: Operation::Replace {
            kind: Kind::USER,
            id: user.clone(),
            attributes,
            precondition: Precondition::None,
        },
        side_records: Vec::new(),
    };
    rig.directory.apply(change).unwrap();
}

#[test]
fn expired_lease_deactivates_then_removes_the_account() {
    let (rig, user) = rig();
    rig.clock.advance(Duration::from_secs(30 * 86_400 - 1));
    assert_eq!(sweep(&rig), LeaseSweep::default());
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(sweep(&rig), SUSPENDED);
    assert!(!is_active(&rig, &user));
    rig.clock.advance(Duration::from_secs(10 * 86_400 - 1));
    assert_eq!(sweep(&rig), LeaseSweep::default());
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(sweep(&rig), REMOVED);
    assert_eq!(rig.directory.get(&Kind::USER, &user, Relations::NONE).unwrap(), None);
    assert_eq!(by_lease(&rig), 2, "each is one change in the journal");
}

#[test]
fn the_grace_is_whole_however_late_the_account_was_switched_off() {
    let (rig, user) = rig();
    rig.clock.advance(DAY * 365);
    assert_eq!(sweep(&rig), SUSPENDED);
    rig.clock.advance(DAY * 9);
    assert_eq!(sweep(&rig), LeaseSweep::default());
    assert!(!is_active(&rig, &user));
}

#[test]
fn each_login_renews_the_lease() {
    let (rig, user) = rig();
    for _ in 0..3 {
        rig.clock.advance(DAY * 29);
        completed(rig.login(&bob()));
        assert_eq!(sweep(&rig), LeaseSweep::default());
    }
    assert!(is_active(&rig, &user));
}

#[test]
fn login_within_the_grace_restores_the_account() {
    let (rig, user) = rig();
    rig.clock.advance(DAY * 31);
    sweep(&rig);
    rig.clock.advance(DAY * 5);
    assert_eq!(completed(rig.login(&bob())).user, user);
    assert!(is_active(&rig, &user));
    assert_eq!(sweep(&rig), LeaseSweep::default());
    rig.clock.advance(DAY * 30);
    assert_eq!(sweep(&rig), SUSPENDED, "and the lease starts again");
}

#[test]
fn client_takes_over_what_the_lease_switched_off() {
    let (rig, user) = rig();
    rig.clock.advance(DAY * 31);
    assert_eq!(sweep(&rig), SUSPENDED);
    let principal = Principal::Client {
        token: "t".into(),
        store: None,
    };
    // The client says what is stored already: that the person is gone is its statement now.
    touch(&rig, &user, principal, &json!({"active": false}));
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
    assert!(!is_active(&rig, &user));
}

#[test]
fn lease_takes_nothing_over_from_a_client() {
    let (rig, user) = rig();
    let principal = Principal::Client {
        token: "t".into(),
        store: None,
    };
    touch(&rig, &user, principal, &json!({"active": false}));
    rig.clock.advance(DAY * 60);
    assert_eq!(sweep(&rig), LeaseSweep::default());
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
}

#[test]
fn login_never_undoes_deactivation_by_an_administrator() {
    let (rig, user) = rig();
    touch(
        &rig,
        &user,
        Principal::Administrator {
            name: "test".to_owned(),
        },
        &json!({"active": false}),
    );
    rig.clock.advance(DAY * 60);
    assert_eq!(sweep(&rig), LeaseSweep::default());
    assert_eq!(refused(rig.login(&bob())), Denial::AccountDisabled);
    // An administrator's deactivation also prevails over one by the lease.
    let eve = json!({"sub": "sub-eve", "nick": "eve"});
    let eve_id = completed(rig.login(&eve)).user;
    rig.clock.advance(DAY * 31);
    assert_eq!(sweep(&rig), SUSPENDED);
    for active in [true, false] {
        touch(
            &rig,
            &eve_id,
            Principal::Administrator {
                name: "test".to_owned(),
            },
            &json!({"active": active}),
        );
    }
    assert_eq!(refused(rig.login(&eve)), Denial::AccountDisabled);
    rig.clock.advance(DAY * 60);
    assert_eq!(sweep(&rig), LeaseSweep::default());
}

#[test]
fn account_managed_by_others_has_no_lease() {
    let client = Principal::Client {
        token: "t".to_owned(),
        store: Some("PRIMARY".into()),
    };
    for (principal, more) in [
        (client, json!({"title": "Baker"})),
        (
            Principal::Administrator {
                name: "test".to_owned(),
            },
            json!({"title": "Baker"}),
        ),
        (Principal::Person, json!({"password": "correct horse battery"})),
        (Principal::Person, json!({"roles": [{"value": "Admin"}]})),
    ] {
        let (rig, user) = rig();
        touch(&rig, &user, principal.clone(), &more);
        rig.clock.advance(DAY * 365);
        assert_eq!(sweep(&rig), LeaseSweep::default(), "{principal:?} {more}");
        assert!(is_active(&rig, &user));
    }
}

#[test]
fn own_profile_edits_do_not_end_the_lease() {
    let (rig, user) = rig();
    touch(&rig, &user, Principal::Person, &json!({"title": "Baker"}));
    rig.clock.advance(DAY * 30);
    assert_eq!(sweep(&rig), SUSPENDED);
}

#[test]
fn account_from_before_the_first_login_has_no_lease() {
    let rig = Rig::new(jit());
    let user = rig.user(&json!({"userName": "bob", "password": "correct horse battery"}));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    rig.back(&handle, &returned).unwrap();
    let step = rig
        .federation
        .login
        .prove(&handle, &Secret::new("correct horse battery"));
    assert_eq!(completed(step).user, user);
    rig.clock.advance(DAY * 365);
    assert_eq!(sweep(&rig), LeaseSweep::default());
}

#[test]
fn a_second_link_keeps_the_account() {
    let (rig, user) = rig();
    let (owner, now) = (user.clone(), rig.clock.now());
    let second = Link {
        identity_provider: "other".into(),
        issuer: ISSUER.to_owned(),
        subject: "sub-bob".to_owned(),
    };
    rig.database
        .write::<_, StorageError>(move |connection| {
            Ok(links::insert(connection, &second, &"PRIMARY".into(), &owner, now)?)
        })
        .unwrap();
    rig.clock.advance(DAY * 365);
    assert_eq!(sweep(&rig), LeaseSweep::default());
    assert!(is_active(&rig, &user));
}

#[test]
fn without_a_lease_accounts_last() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    completed(rig.login(&bob()));
    assert!(rig.federation.leases.is_empty());
    rig.clock.advance(DAY * 3650);
    assert_eq!(sweep(&rig), LeaseSweep::default());
}

#[test]
fn parallel_sweeps_change_each_account_once() {
    let rig = Rig::new(jit());
    for n in 0..20 {
        completed(rig.login(&json!({"sub": format!("sub-{n}"), "nick": format!("bob{n}")})));
    }
    for (days, suspended, removed) in [(30, 20, 0), (10, 0, 20)] {
        rig.clock.advance(DAY * days);
        let before = by_lease(&rig);
        let done: Vec<LeaseSweep> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| sweep(&rig))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sum = |count: fn(&LeaseSweep) -> usize| done.iter().map(count).sum::<usize>();
        assert_eq!(
            (sum(|done| done.suspended), sum(|done| done.removed)),
            (suspended, removed)
        );
        assert_eq!(by_lease(&rig) - before, 20);
    }
}

#[test]
fn every_page_of_idle_people_is_looked_at() {
    let rig = Rig::new(jit());
    let kept = completed(rig.login(&json!({"sub": "sub-0", "nick": "bob0"}))).user;
    touch(
        &rig,
        &kept,
        Principal::Administrator {
            name: "test".to_owned(),
        },
        &json!({"title": "Baker"}),
    );
    for n in 1..450 {
        completed(rig.login(&json!({"sub": format!("sub-{n}"), "nick": format!("bob{n}")})));
    }
    rig.clock.advance(DAY * 30);
    assert_eq!(sweep(&rig).suspended, 449);
    assert!(is_active(&rig, &kept));
}

/// Gives the account another identity at the same provider.
fn link_twin(rig: &Rig, user: &ResourceId) -> Link {
    let twin = Link {
        identity_provider: "google".into(),
        issuer: ISSUER.to_owned(),
        subject: "sub-twin".to_owned(),
    };
    let (link, id, now) = (twin.clone(), user.clone(), rig.clock.now());
    let insert = move |connection: &mut _| Ok(links::insert(connection, &link, &"PRIMARY".into(), &id, now)?);
    rig.database.write::<_, StorageError>(insert).unwrap();
    twin
}

#[test]
fn second_identity_at_the_provider_does_not_keep_the_account() {
    let (rig, user) = rig();
    link_twin(&rig, &user);
    rig.clock.advance(30 * DAY);
    assert_eq!(sweep(&rig), SUSPENDED);
    assert!(!is_active(&rig, &user));
}

#[test]
fn unlinking_a_second_identity_leaves_the_values() {
    let (rig, user) = rig();
    let twin = link_twin(&rig, &user);
    let authentication = completed(rig.login(&bob()));
    let visitor = SignedInUser {
        authentication,
        session: "s".to_owned(),
    };
    rig.federation.account.unlink(&visitor, &twin).unwrap();
    let writers = rig.get(&user).writers.writers();
    assert_eq!(writers["userName"], "idp:google");
    rig.clock.advance(30 * DAY);
    assert_eq!(sweep(&rig), SUSPENDED);
}
