//! First logins that wait for approval, against a real directory.

use std::time::Duration;

use crate::fixtures::front_door::{Outcome, Rig, completed, refused, shown};
use serde_json::{Value, json};
use vestibule::domain::{Link, Secret};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::step::LoginPage;
use vestibule::storage::approvals::{self, Approval, Ruling, Verdict};
use vestibule::storage::{SqlConnection, StorageError, links};

const DAY: Duration = Duration::from_hours(24);

fn rig(approval: &Value) -> Rig {
    Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}, "approval": approval, "approval_days": 14}))
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "email": "bob@example.com"})
}

fn waits(step: Outcome) -> String {
    match shown(step) {
        LoginPage::Waiting { reference, .. } => reference,
        other => panic!("does not wait: {other:?}"),
    }
}

fn queue(rig: &Rig) -> Vec<Approval> {
    let now = rig.clock.now();
    rig.database
        .read::<_, StorageError>(|connection| approvals::all(connection, now))
        .unwrap()
}

fn rule(rig: &Rig, id: &str, verdict: Verdict, reason: &str) -> Option<Approval> {
    let ruling = Ruling {
        verdict,
        reason: reason.to_owned(),
        by: "ann".to_owned(),
        at: rig.clock.now(),
    };
    let id = id.to_owned();
    rig.database
        .write::<_, StorageError>(move |connection: &mut SqlConnection| Ok(approvals::rule(connection, &id, &ruling)?))
        .unwrap()
}

#[test]
fn a_first_login_waits_in_a_queue_and_makes_nothing() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    let queue = queue(&rig);
    assert_eq!(queue.len(), 1);
    assert_eq!(
        (
            queue[0].id.as_str(),
            queue[0].identity.subject.as_str(),
            queue[0].service_provider.as_str()
        ),
        (reference.as_str(), "sub-bob", "wiki")
    );
    assert!(rig.users().is_empty());
    let hidden = |part: &[u8]| !queue[0].sealed.windows(part.len()).any(|window| window == part);
    assert!(hidden(b"bob@example.com"), "what the provider said is sealed");
}

#[test]
fn repeated_login_shows_the_same_waiting_page() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rig.clock.advance(DAY);
    assert_eq!(waits(rig.login(&bob())), reference);
    assert_eq!(queue(&rig).len(), 1);
    let other = json!({"sub": "sub-eve", "nick": "eve"});
    assert_ne!(waits(rig.login(&other)), reference);
}

#[test]
fn many_logins_of_one_person_at_once_make_one_request() {
    let rig = rig(&json!("always"));
    let references: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| waits(rig.login(&bob())))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(queue(&rig).len(), 1);
    assert!(references.iter().all(|reference| *reference == references[0]));
}

#[test]
fn waiting_login_does_not_continue_after_approval() {
    let rig = rig(&json!("always"));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    let reference = queue(&rig)[0].id.clone();
    rule(&rig, &reference, Verdict::Approved, "");
    // No step creates an account from the claims of that login: they are outdated.
    for step in [
        rig.federation.login.view(&handle),
        rig.federation.login.rename(&handle),
        rig.federation.login.read_codes(&handle),
        rig.federation.login.mail_code(&handle),
    ] {
        assert_eq!(shown(step), page);
    }
    assert!(rig.users().is_empty());
}

#[test]
fn approved_account_is_created_at_the_next_login() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rule(&rig, &reference, Verdict::Approved, "");
    let mut fresh = bob();
    fresh["session_state"] = json!("another");
    completed(rig.login(&fresh));
    assert_eq!(rig.users()[0].document.attributes()["userName"], "bob");
    assert!(queue(&rig).is_empty(), "an approval is used once");
    completed(rig.login(&fresh));
}

#[test]
fn an_approval_is_for_one_identity_alone() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rule(&rig, &reference, Verdict::Approved, "");
    waits(rig.login(&json!({"sub": "sub-eve", "nick": "bob", "email": "bob@example.com"})));
    assert!(rig.users().is_empty());
}

#[test]
fn refused_request_shows_the_reason() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rule(&rig, &reference, Verdict::Refused, "Ask Ann in room 3.");
    let reason = "Ask Ann in room 3.".to_owned();
    assert_eq!(refused(rig.login(&bob())), Denial::NotApproved { reason });
    rule(&rig, &reference, Verdict::Approved, "");
    completed(rig.login(&bob()));
}

#[test]
fn undecided_request_expires() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rig.clock.advance(DAY * 14);
    assert_eq!(rule(&rig, &reference, Verdict::Approved, ""), None);
    let again = waits(rig.login(&bob()));
    assert_ne!(again, reference);
    rig.clock.advance(DAY * 14);
    rig.federation.approvals.sweep().unwrap();
    let identity = Link {
        identity_provider: "google".into(),
        issuer: crate::fixtures::front_door::ISSUER.to_owned(),
        subject: "sub-bob".to_owned(),
    };
    let left = rig.database.read::<_, StorageError>(|connection| {
        approvals::of_identity(connection, &identity, vestibule::domain::Timestamp(0))
    });
    assert_eq!(left.unwrap(), None);
}

#[test]
fn unused_approval_expires() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rig.clock.advance(DAY * 10);
    rule(&rig, &reference, Verdict::Approved, "");
    rig.clock.advance(DAY * 13);
    assert_eq!(queue(&rig)[0].ruling.verdict, Verdict::Approved);
    rig.clock.advance(DAY);
    waits(rig.login(&bob()));
}

#[test]
fn only_logins_that_the_rule_names_wait() {
    let rig = rig(&json!({"unless": [{"claim": "email", "like": "*@example.com"}]}));
    completed(rig.login(&bob()));
    waits(rig.login(&json!({"sub": "sub-eve", "nick": "eve", "email": "eve@partner.example"})));
    waits(rig.login(&json!({"sub": "sub-ann", "nick": "ann"})));
    assert_eq!(rig.users().len(), 1);
}

#[test]
fn existing_accounts_need_no_approval() {
    let rig = Rig::new(json!({"mode": "silent", "username": {"claim": "nick"}}));
    completed(rig.login(&bob()));
    let strict = rig.reconfigured(&json!({"mode": "silent", "approval": "always"}), &json!([]));
    completed(strict.login(&bob()));
    let user = rig.users()[0].id.clone();
    let known = rig
        .database
        .read::<_, StorageError>(|connection| links::of_user(connection, &user))
        .unwrap();
    assert_eq!(known.len(), 1);
}

#[test]
fn approval_is_of_what_was_shown() {
    let rig = rig(&json!("always"));
    let reference = waits(rig.login(&bob()));
    rule(&rig, &reference, Verdict::Approved, "");
    let mut claims = bob();
    claims["nick"] = "cfo".into();
    let again = waits(rig.login(&claims));
    assert_ne!(again, reference, "another account is asked for again");
    assert!(rig.users().is_empty());
    rule(&rig, &again, Verdict::Approved, "");
    completed(rig.login(&claims));
}

#[test]
fn approved_name_is_the_name_in_every_mode() {
    let jit = |mode: &str| json!({"mode": mode, "username": {"claim": "nick"}, "approval": "always"});
    let rig = Rig::new(jit("username_password_consent"));
    rule(&rig, &waits(rig.login(&bob())), Verdict::Approved, "");
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    assert!(matches!(shown(rig.back(&handle, &returned)), LoginPage::Details(_)));
    let secret = Secret::new("correct horse battery");
    let answers = Answers {
        username: Some("intern".to_owned()),
        passwords: Some((secret.clone(), secret)),
        ..Answers::default()
    };
    let reference = waits(rig.federation.login.answer(&handle, answers));
    rule(&rig, &reference, Verdict::Approved, "");
    // Where nobody chooses a name, the login would make another account than the approved one.
    let silent = rig.reconfigured(&jit("silent"), &json!([]));
    assert_ne!(waits(silent.login(&bob())), reference);
    assert!(rig.users().is_empty());
}
