//! Security events: one record for each login, refusal, lock, link, consent and administrative act.

use serde_json::{Value, json};
use vestibule::domain::login::Authentication;
use vestibule::domain::{RequestOrigin, Secret, SecurityEvent, SecurityEventKind};
use vestibule::federation::error::LoginError;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::storage::StorageError;
use vestibule::storage::security_events::{self, EventFilter};

use crate::fixtures::front_door::{Rig, completed, google, shown};

const RIGHT: &str = "correct horse battery";

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "email": "bob@example.com"})
}

/// The events so far, oldest first.
fn events(rig: &Rig) -> Vec<SecurityEvent> {
    let read = |connection: &mut _| security_events::newest(connection, &EventFilter::default(), 100);
    let mut events = rig.database.read::<_, StorageError>(read).unwrap();
    events.reverse();
    events
}

/// The kind and the reason of each event.
fn told(rig: &Rig) -> Vec<(SecurityEventKind, String)> {
    let events = events(rig).into_iter();
    events
        .map(|event| (event.kind, event.reason.unwrap_or_default()))
        .collect()
}

fn wrong_password(rig: &Rig, name: &str) {
    let handle = rig.start();
    shown(rig.federation.login.password(&handle, name, &Secret::new("wrong")));
}

#[test]
fn linked_identity_is_an_event() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    let user = completed(rig.login(&bob())).user;
    let wanted = SecurityEvent {
        user: Some(user),
        actor: Some("idp:google".to_owned()),
        identity_provider: Some(google()),
        service_provider: Some("wiki".into()),
        object: Some("sub-bob".to_owned()),
        origin: RequestOrigin::default(),
        ..SecurityEvent::new(SecurityEventKind::Linked, rig.clock.now())
    };
    assert_eq!(events(&rig), [wanted]);
    completed(rig.login(&bob()));
    assert_eq!(events(&rig).len(), 1, "the second login links nothing");
}

#[test]
fn wrong_passwords_and_the_lock_are_events() {
    let rig = Rig::new(json!({"mode": "silent"}));
    let user = rig.user(&json!({"userName": "bob", "password": RIGHT}));
    wrong_password(&rig, "nobody");
    for _ in 0..6 {
        wrong_password(&rig, "bob");
    }
    let refused = |reason: &str| (SecurityEventKind::PasswordRefused, reason.to_owned());
    let mut wanted = vec![refused("unknown_name")];
    wanted.extend(std::iter::repeat_n(refused("wrong_password"), 4));
    wanted.push((SecurityEventKind::AccountLocked, "wrong_password".to_owned()));
    wanted.push(refused("locked"));
    assert_eq!(told(&rig), wanted);
    let users: Vec<_> = events(&rig).into_iter().map(|event| event.user).collect();
    assert_eq!((&users[0], &users[1]), (&None, &Some(user)));
}

#[test]
fn refused_login_says_who_and_why() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    let user = completed(rig.login(&bob())).user;
    rig.replace(&user, &json!({"userName": "bob", "active": false}));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let Err(LoginError::Denied(denial, person)) = rig.back(&handle, &returned) else {
        panic!("not refused")
    };
    let login = &rig.federation.login;
    login.refused(&handle, &denial, person.as_deref()).unwrap();
    let event = events(&rig).pop().unwrap();
    assert_eq!(
        (
            event.kind,
            event.reason,
            event.user,
            event.object,
            event.service_provider
        ),
        (
            SecurityEventKind::LoginRefused,
            Some(Denial::AccountDisabled.code().to_owned()),
            Some(user),
            Some("sub-bob".to_owned()),
            Some("wiki".into())
        )
    );
}

#[test]
fn given_and_withdrawn_consents_are_events() {
    let rig = Rig::new(json!({"mode": "consent", "username": {"claim": "nick"}}));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    shown(rig.back(&handle, &returned));
    let authentication: Authentication = completed(rig.federation.login.answer(&handle, Answers::default()));
    let given = (SecurityEventKind::ConsentGiven, String::new());
    assert!(told(&rig).contains(&given), "{:?}", told(&rig));
    let visitor = SignedInUser {
        session: "session".to_owned(),
        authentication,
    };
    let purpose = events(&rig)
        .into_iter()
        .find(|event| event.kind == SecurityEventKind::ConsentGiven);
    let purpose = purpose.unwrap().object.unwrap();
    rig.federation.account.withdraw(&visitor, &purpose, None).unwrap();
    let last = events(&rig).pop().unwrap();
    assert_eq!(
        (last.kind, last.object, last.actor),
        (
            SecurityEventKind::ConsentWithdrawn,
            Some(purpose),
            Some("self".to_owned())
        )
    );
}

#[test]
fn changed_password_is_an_event_without_the_password() {
    let rig = Rig::new(json!({"mode": "silent"}));
    let user = rig.user(&json!({"userName": "bob", "password": RIGHT}));
    rig.replace(&user, &json!({"userName": "bob", "password": "another horse battery"}));
    let all = events(&rig);
    assert_eq!(all.len(), 1, "a new account has no password before: {all:?}");
    assert_eq!(
        (all[0].kind, &all[0].user),
        (SecurityEventKind::PasswordChanged, &Some(user))
    );
    assert!(!format!("{all:?}").contains("horse"));
}

#[test]
fn events_are_found_by_what_they_are_about() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    let user = completed(rig.login(&bob())).user;
    rig.user(&json!({"userName": "ann", "password": RIGHT}));
    wrong_password(&rig, "ann");
    let found = |filter: EventFilter| {
        let read = |connection: &mut _| security_events::newest(connection, &filter, 100);
        rig.database.read::<_, StorageError>(read).unwrap().len()
    };
    let all = EventFilter::default;
    assert_eq!(found(all()), 2);
    assert_eq!(
        found(EventFilter {
            user: Some(user),
            ..all()
        }),
        1
    );
    let kind = Some(SecurityEventKind::PasswordRefused);
    assert_eq!(found(EventFilter { kind, ..all() }), 1);
    let identity_provider = Some(google());
    assert_eq!(
        found(EventFilter {
            identity_provider,
            ..all()
        }),
        1
    );
    let since = Some(rig.clock.now().plus(std::time::Duration::from_secs(1)));
    assert_eq!(found(EventFilter { since, ..all() }), 0);
}
