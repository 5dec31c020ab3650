//! Questions at a first login, against a real directory: consent, passwords, usernames.

use crate::fixtures::front_door::{ISSUER, Outcome, Rig, completed, google, refused, shown};
use serde_json::{Value, json};
use vestibule::domain::{Link, ResourceId, Secret};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::policy::JitMode;
use vestibule::federation::jit::questions::{AnswerProblem, Answers, Questions};
use vestibule::federation::login::step::{LinkProofPage, LoginPage, LoginStep};
use vestibule::storage::consents::{self, ConsentRecord};
use vestibule::storage::{StorageError, links};

const GOOD: &str = "correct horse battery";
const EMAIL: &str = "emails[type eq \"work\"].value";

fn in_mode(mode: &str) -> Value {
    json!({"mode": mode, "username": {"claim": "nick"}})
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "given_name": "Bob", "email": "bob@example.com", "email_verified": true})
}

/// A login that shows its questions.
fn asked(rig: &Rig, claims: &Value) -> (String, Questions) {
    let handle = rig.start();
    let returned = rig.away(&handle, claims);
    let questions = questions(rig.back(&handle, &returned));
    (handle, questions)
}

fn questions(step: Outcome) -> Questions {
    match shown(step) {
        LoginPage::Details(details) => details.questions,
        other => panic!("nothing is asked: {other:?}"),
    }
}

fn answer(rig: &Rig, handle: &str, answers: Answers) -> Outcome {
    rig.federation.login.answer(handle, answers)
}

fn passwords(one: &str, two: &str) -> Answers {
    Answers {
        passwords: Some((Secret::new(one), Secret::new(two))),
        ..Answers::default()
    }
}

fn named(username: &str) -> Answers {
    Answers {
        username: Some(username.to_owned()),
        ..passwords(GOOD, GOOD)
    }
}

fn receipts(rig: &Rig, user: &ResourceId) -> Vec<ConsentRecord> {
    rig.database
        .read::<_, StorageError>(|connection| consents::of_user(connection, user))
        .unwrap()
}

fn attributes(rig: &Rig, user: &ResourceId) -> Value {
    rig.get(user).document.attributes().into()
}

#[test]
fn nothing_is_written_before_the_person_agrees() {
    let rig = Rig::new(in_mode("consent"));
    let (handle, _) = asked(&rig, &bob());
    assert!(rig.users().is_empty());
    assert_eq!(refused(rig.federation.login.disagree(&handle)), Denial::ConsentRefused);
    assert_eq!(
        shown(answer(&rig, &handle, Answers::default())),
        shown(rig.federation.login.view(&handle))
    );
    assert!(rig.users().is_empty());
}

#[test]
fn consent_creates_account_link_and_receipt_at_once() {
    let rig = Rig::new(in_mode("consent"));
    let (handle, _) = asked(&rig, &bob());
    let user = completed(answer(&rig, &handle, Answers::default())).user;
    let [receipt] = &receipts(&rig, &user)[..] else {
        panic!("not one receipt")
    };
    assert_eq!(
        (receipt.consent.purpose.as_str(), receipt.consent.version, receipt.at),
        ("account", 1, rig.clock.now())
    );
    assert_eq!(receipt.consent.identity_provider, google());
    assert!(receipt.consent.granted.contains(EMAIL) && receipt.consent.granted.contains("name.givenName"));
    assert_eq!(
        completed(rig.login(&bob())).user,
        user,
        "and the next login asks nothing"
    );
    assert_eq!(receipts(&rig, &user).len(), 1);
}

#[test]
fn attributes_without_consent_are_never_stored() {
    let purposes =
        json!([{"name": "profile", "attributes": [{"path": "name.givenName"}, {"path": EMAIL, "optional": true}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit, &purposes, |_| {});
    let (handle, asked) = asked(&rig, &bob());
    assert_eq!(asked.purposes.len(), 1);
    let user = completed(answer(&rig, &handle, Answers::default())).user;
    assert_eq!(attributes(&rig, &user).get("emails"), None);
    let mut moved = bob();
    moved["email"] = json!("robert@example.com");
    completed(rig.login(&moved));
    assert_eq!(attributes(&rig, &user).get("emails"), None);
    assert_eq!(attributes(&rig, &user)["name"]["givenName"], "Bob");
}

#[test]
fn attribute_in_no_purpose_is_not_stored() {
    let purposes = json!([{"name": "profile", "attributes": [{"path": "name.givenName"}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit, &purposes, |_| {});
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let LoginPage::Details(page) = shown(rig.back(&handle, &returned)) else {
        panic!("not asked")
    };
    let shown: Vec<&str> = page.known.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        (shown, page.questions.account_name.as_deref()),
        (vec!["name.givenName"], Some("bob"))
    );
    let user = completed(answer(&rig, &handle, Answers::default())).user;
    completed(rig.login(&bob()));
    assert_eq!(attributes(&rig, &user).get("emails"), None);
}

#[test]
fn refused_suggestion_is_not_stored() {
    let purposes = json!([{"name": "profile", "attributes": [{"path": "nickName", "optional": true}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::mapping(
        &jit,
        &purposes,
        &json!([{"from": "given_name", "to": "nickName", "mode": "suggest"}]),
    );
    let (handle, _) = asked(&rig, &bob());
    let typed = Answers {
        attributes: [("nickName".to_owned(), "Bobby".to_owned())].into(),
        ..Answers::default()
    };
    let user = completed(answer(&rig, &handle, typed)).user;
    assert_eq!(attributes(&rig, &user).get("nickName"), None);
}

#[test]
fn a_chosen_password_opens_the_account_and_is_in_no_document() {
    let rig = Rig::new(in_mode("password_consent"));
    let (handle, _) = asked(&rig, &bob());
    let differing = answer(&rig, &handle, passwords(GOOD, "correct horse batterie"));
    assert_eq!(questions(differing).problems, [AnswerProblem::PasswordsDiffer]);
    let user = completed(answer(&rig, &handle, named("mallory"))).user;
    let stored = attributes(&rig, &user);
    assert_eq!(stored["userName"], "bob", "a name that was not requested is ignored");
    assert!(!stored.to_string().contains(GOOD));
    let entered = rig.federation.login.password(&rig.start(), "bob", &Secret::new(GOOD));
    assert_eq!(completed(entered).user, user);
}

#[test]
fn a_typed_name_that_is_taken_leaves_its_account_untouched() {
    let rig = Rig::new(in_mode("username_password_consent"));
    let id = rig.user(&json!({"userName": "admin", "displayName": "The admin"}));
    let before = rig.get(&id);
    let (handle, first) = asked(&rig, &bob());
    assert_eq!(first.username.as_deref(), Some("bob"));
    for twin in ["admin", "ADMIN", "ａｄｍｉｎ"] {
        let again = questions(answer(&rig, &handle, named(twin)));
        assert_eq!(
            (again.username.as_deref(), &again.problems[..]),
            (Some(twin), &[AnswerProblem::NameTaken][..])
        );
    }
    assert_eq!(rig.get(&id), before);
    assert_eq!(rig.users().len(), 1);
    let user = completed(answer(&rig, &handle, named("bobby"))).user;
    assert_eq!(attributes(&rig, &user)["userName"], "bobby");
}

#[test]
fn user_can_choose_another_name_instead_of_linking() {
    let rig = Rig::new(in_mode("username_password_consent"));
    let id = rig.user(&json!({"userName": "bob", "password": GOOD}));
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    assert!(
        matches!(page, LoginPage::LinkProof(LinkProofPage { may_rename: true, .. })),
        "{page:?}"
    );
    let renamed = questions(rig.federation.login.rename(&handle));
    assert_eq!((renamed.username.as_deref(), renamed.problems.len()), (Some(""), 0));
    let user = completed(answer(&rig, &handle, named("bobby"))).user;
    assert_ne!(user, id);
}

#[test]
fn values_filled_in_by_the_user_survive_the_next_login() {
    let purposes = json!([{"name": "profile", "attributes": [{"path": EMAIL}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit, &purposes, |_| {});
    let mut silent = bob();
    silent.as_object_mut().unwrap().remove("email");
    let (handle, asked) = asked(&rig, &silent);
    assert_eq!(asked.missing.len(), 1);
    let answers = Answers {
        attributes: [(EMAIL, "bob@home.example"), ("displayName", "Root")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into(),
        ..Answers::default()
    };
    let user = completed(answer(&rig, &handle, answers)).user;
    for _ in 0..2 {
        let stored = attributes(&rig, &user);
        assert_eq!(stored["emails"][0]["value"], "bob@home.example");
        assert_eq!(
            stored.get("displayName"),
            None,
            "values that were not requested are ignored"
        );
        assert_eq!(rig.get(&user).writers.writers()["emails[bob@home.example]"], "self");
        completed(rig.login(&silent));
    }
}

#[test]
fn application_can_require_consent_by_its_own_jit_mode() {
    let rig = Rig::with(in_mode("silent"), |wiki| wiki.jit_mode = Some(JitMode::Consent));
    asked(&rig, &bob());
}

#[test]
fn a_new_version_of_a_purpose_is_put_to_people_who_are_in() {
    let purposes = |version: u32| json!([{"name": "profile", "version": version, "attributes": [{"path": EMAIL}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit.clone(), &purposes(1), |_| {});
    let (handle, _) = asked(&rig, &bob());
    let user = completed(answer(&rig, &handle, Answers::default())).user;
    let later = rig.reconfigured(&jit, &purposes(2));
    let (handle, asked) = asked(&later, &bob());
    assert_eq!((asked.purposes.len(), asked.password), (1, false));
    assert_eq!(completed(answer(&later, &handle, Answers::default())).user, user);
    let versions: Vec<u32> = receipts(&later, &user)
        .iter()
        .map(|receipt| receipt.consent.version)
        .collect();
    assert_eq!(versions, [1, 2]);
}

#[test]
fn two_answers_at_once_make_one_account() {
    let rig = Rig::new(in_mode("consent"));
    let (handle, _) = asked(&rig, &bob());
    let steps: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| answer(&rig, &handle, Answers::default())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let through = steps
        .iter()
        .filter(|step| matches!(step, Ok(LoginStep::Complete(..))))
        .count();
    assert_eq!((through, rig.users().len()), (1, 1));
}

#[test]
fn removed_user_returns_only_if_the_policy_allows_it() {
    for (returning, back) in [("recreate", true), ("refuse", false)] {
        let mut jit = in_mode("silent");
        jit["returning"] = json!(returning);
        let rig = Rig::new(jit);
        let user = completed(rig.login(&bob())).user;
        rig.delete(&user);
        assert_eq!(receipts(&rig, &user), []);
        if back {
            assert_ne!(completed(rig.login(&bob())).user, user);
        } else {
            assert_eq!(refused(rig.login(&bob())), Denial::AccountRemoved);
        }
    }
}

#[test]
fn person_agrees_to_the_purposes_that_the_page_showed() {
    let purposes = |version: u32| json!([{"name": "profile", "version": version, "attributes": [{"path": EMAIL}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit.clone(), &purposes(1), |_| {});
    let (handle, _) = asked(&rig, &bob());
    let later = rig.reconfigured(&jit, &purposes(2));
    let again = questions(answer(&later, &handle, Answers::default()));
    assert_eq!(again.problems, [AnswerProblem::PurposesChanged]);
    assert_eq!(rig.users().len(), 0);
    completed(answer(&later, &handle, Answers::default()));
}

#[test]
fn identity_that_was_linked_meanwhile_signs_in_again() {
    let rig = Rig::new(in_mode("consent"));
    let (handle, _) = asked(&rig, &bob());
    let owner = rig.user(&json!({"userName": "owner"}));
    let link = Link {
        identity_provider: "google".into(),
        issuer: ISSUER.to_owned(),
        subject: bob()["sub"].as_str().unwrap().to_owned(),
    };
    let now = rig.clock.now();
    let insert = move |connection: &mut _| Ok(links::insert(connection, &link, &"PRIMARY".into(), &owner, now)?);
    rig.database.write::<_, StorageError>(insert).unwrap();
    let step = answer(&rig, &handle, Answers::default());
    assert_eq!(refused(step), Denial::AccountChanged);
}

#[test]
fn copy_of_an_older_page_agrees_to_nothing_new() {
    let purposes = |version: u32| json!([{"name": "profile", "version": version, "attributes": [{"path": EMAIL}]}]);
    let mut jit = in_mode("consent");
    jit["purposes"] = json!(["profile"]);
    let rig = Rig::asking(jit.clone(), &purposes(1), |_| {});
    let (handle, first) = asked(&rig, &bob());
    let later = rig.reconfigured(&jit, &purposes(2));
    let old_form = || Answers {
        page: Some(first.page()),
        ..Answers::default()
    };
    for _ in 0..2 {
        let again = questions(answer(&later, &handle, old_form()));
        assert_eq!(again.problems, [AnswerProblem::PurposesChanged]);
    }
    assert!(rig.users().is_empty());
}
