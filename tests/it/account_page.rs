//! The account page: what people see and change of their own account, against a real directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::fixtures::front_door::{ISSUER, Outcome, Rig, completed, google, refused, shown};
use serde_json::{Value, json};
use vestibule::domain::login::{Authentication, RequestedClaims};
use vestibule::domain::password::PasswordDefect;
use vestibule::domain::{
    Actor, Change, IdentityProviderName, Kind, Link, Operation, Principal, Relations, ResourceId, Secret,
};
use vestibule::federation::account::{
    AccountError, AccountProblem, AccountView, OpenSession, Owner, PasswordForm, SessionSelection,
};
use vestibule::federation::idp::provider::CallbackParameters;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::browser::Browser;
use vestibule::federation::login::step::{FactorPage, LoginPage, LoginStep};
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::federation::removal::ProviderRemover;
use vestibule::storage::approvals::{self, Approval, Ruling, Verdict};
use vestibule::storage::factors::{self, Factor};
use vestibule::storage::grants::{self, Grant};
use vestibule::storage::{StorageError, links, random, sessions};

const GOOD: &str = "correct horse battery";
const BETTER: &str = "staple the correct horse";
const TITLE: &str = "title";

fn rig() -> Rig {
    Rig::new(json!({
        "mode": "silent",
        "username": {"claim": "nick"},
        "groups": {"claim": "groups", "unmapped": "create"},
    }))
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "given_name": "Bob", "groups": ["eng"]})
}

/// The cookies of the sessions that tests opened, by their hash.
static COOKIES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Whether the session of a visitor is open.
fn is_open(rig: &Rig, visitor: &SignedInUser) -> bool {
    let now = rig.clock.now();
    let find = |connection: &mut _| sessions::find(connection, &visitor.session, now);
    rig.database.read::<_, StorageError>(find).unwrap().is_some()
}

/// The cookie of a visitor.
fn cookie(visitor: &SignedInUser) -> String {
    COOKIES.lock().unwrap()[&visitor.session].clone()
}

/// Takes the answer of a provider in the browser of a session.
fn called_back(
    rig: &Rig,
    visitor: &SignedInUser,
    handle: &str,
    provider: &IdentityProviderName,
    returned: &CallbackParameters,
) -> Outcome {
    let session = cookie(visitor);
    let browser = Browser {
        handle,
        session: Some(&session),
        known: None,
    };
    rig.federation.login.callback(browser, provider, returned)
}

/// The page of a login in the browser of a session.
fn viewed(rig: &Rig, visitor: &SignedInUser, handle: &str) -> LoginPage {
    let session = cookie(visitor);
    shown(rig.federation.login.view(Browser {
        handle,
        session: Some(&session),
        known: None,
    }))
}

/// Opens a session for a login and returns its visitor.
fn session(rig: &Rig, authentication: Authentication) -> SignedInUser {
    let (cookie, now) = (random::token(), rig.clock.now());
    let session = random::fingerprint(&cookie);
    COOKIES.lock().unwrap().insert(session.clone(), cookie);
    let (hash, opened) = (session.clone(), authentication.clone());
    let open = move |connection: &mut _| {
        let expires = now.plus(Duration::from_hours(12));
        Ok(sessions::insert(connection, &hash, &opened, now, expires)?)
    };
    rig.database.write::<_, StorageError>(open).unwrap();
    SignedInUser {
        authentication,
        session,
    }
}

fn visitor(rig: &Rig) -> SignedInUser {
    session(rig, completed(rig.login(&bob())))
}

/// A person who has an authenticator and has proved it in their session.
fn with_authenticator(rig: &Rig) -> SignedInUser {
    let visitor = visitor(rig);
    rig.set_up_authenticator(&visitor.authentication.user);
    let proved = Authentication {
        amr: ["fed", "otp", "mfa"].map(str::to_owned).to_vec(),
        credentials: visitor.authentication.credentials + 1,
        ..visitor.authentication
    };
    session(rig, proved)
}

fn account(rig: &Rig, visitor: &SignedInUser) -> AccountView {
    rig.federation.account.view(visitor).unwrap().unwrap()
}

fn attributes(rig: &Rig, visitor: &SignedInUser) -> Value {
    rig.get(&visitor.authentication.user).document.attributes().into()
}

fn texts(path: &str, text: &str) -> BTreeMap<String, String> {
    [(path.to_owned(), text.to_owned())].into()
}

fn link(provider: &str, subject: &str) -> Link {
    Link {
        identity_provider: provider.into(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
    }
}

fn other() -> IdentityProviderName {
    "other".into()
}

/// Links an identity of the provider `other`: starts linking and returns from the provider.
fn linked(rig: &Rig, visitor: &SignedInUser, subject: &str) -> Outcome {
    let away = complaint(rig.federation.account.begin_linking(visitor, &other())).unwrap();
    let returned = back(rig, &away.to, subject);
    called_back(rig, visitor, &away.handle, &other(), &returned)
}

fn back(rig: &Rig, to: &url::Url, subject: &str) -> CallbackParameters {
    let code = random::token();
    let claims = json!({"sub": subject, "nick": "somebody"});
    rig.codes
        .lock()
        .unwrap()
        .insert(code.clone(), claims.as_object().unwrap().clone());
    let state = to.query_pairs().find(|(name, _)| name == "state").unwrap().1;
    [("code", code), ("state", state.into_owned())].into_iter().collect()
}

/// Signs in with an identity of the provider `other`.
fn through_other(rig: &Rig, subject: &str) -> Outcome {
    let handle = rig.federation.account.start(None).unwrap().handle;
    let to = rig.federation.login.choose(&handle, &other()).unwrap();
    let returned = back(rig, &to, subject);
    rig.federation.login.callback(&handle, &other(), &returned)
}

fn entered(step: Outcome) -> Authentication {
    match step {
        Ok(LoginStep::Complete(request, authentication)) => {
            assert!(request.is_of_ourselves());
            assert_eq!(request.redirect_uri, "https://id.example/account");
            authentication
        }
        other => panic!("not let in: {other:?}"),
    }
}

fn groups(rig: &Rig, user: &ResourceId) -> usize {
    let relations = Relations {
        groups: true,
        members: false,
    };
    rig.directory
        .get(&Kind::USER, user, relations)
        .unwrap()
        .unwrap()
        .groups
        .len()
}

fn set_password(
    rig: &Rig,
    visitor: &SignedInUser,
    before: &str,
    password: &str,
) -> Result<Authentication, AccountProblem> {
    let form = PasswordForm {
        before: Secret::new(before),
        password: Secret::new(password),
        again: Secret::new(password),
        known: None,
    };
    complaint(rig.federation.account.set_password(visitor, &form))
}

/// The complaint that a change came to.
fn complaint<T>(outcome: Result<T, AccountError>) -> Result<T, AccountProblem> {
    match outcome {
        Ok(made) => Ok(made),
        Err(AccountError::Refused(complaint)) => Err(complaint),
        Err(other) => panic!("not refused by a complaint: {other}"),
    }
}

#[test]
fn every_way_in_leads_to_the_account_page_and_makes_no_account() {
    let rig = rig();
    let handle = rig.federation.account.start(None).unwrap().handle;
    let LoginPage::SignIn { providers, local, .. } = shown(rig.federation.login.view(&handle)) else {
        panic!("nothing to choose")
    };
    assert_eq!((providers.len(), local.is_some()), (2, true));
    assert_eq!(refused(through_other(&rig, "nobody")), Denial::NoAccount);
    assert!(rig.users().is_empty());
}

#[test]
fn stale_login_can_view_the_account_but_not_change_it() {
    let rig = rig();
    let visitor = visitor(&rig);
    rig.clock.advance(Duration::from_secs(601));
    assert!(!account(&rig, &visitor).is_fresh);
    let federation = &rig.federation;
    let complaints = [
        complaint(federation.account.edit_profile(&visitor, &texts("nickName", "B"))).err(),
        complaint(federation.account.unlink(&visitor, &link("google", "sub-bob"))).err(),
        complaint(federation.account.withdraw(&visitor, "account", None)).err(),
        complaint(federation.account.begin_authenticator(&visitor)).err(),
        complaint(federation.account.renew_codes(&visitor)).err(),
        complaint(federation.account.drop_authenticator(&visitor)).err(),
        complaint(federation.account.begin_linking(&visitor, &other())).err(),
        set_password(&rig, &visitor, "", GOOD).err(),
    ];
    assert_eq!(complaints, [Some(AccountProblem::NotFresh); 8]);
}

#[test]
fn reauthentication_must_be_by_the_same_person() {
    let rig = rig();
    let bob = visitor(&rig);
    completed(rig.login(&json!({"sub": "sub-eve", "nick": "eve"})));
    let start = || rig.federation.account.start(Some(&bob)).unwrap().handle;
    let (his, hers) = (start(), start());
    let returned = rig.away(&hers, &json!({"sub": "sub-eve", "nick": "eve"}));
    assert_eq!(refused(rig.back(&hers, &returned)), Denial::AnotherPerson);
    let returned = rig.away(&his, &self::bob());
    assert_eq!(entered(rig.back(&his, &returned)).user, bob.authentication.user);
}

#[test]
fn users_edit_own_values_and_see_who_owns_the_others() {
    let rig = rig();
    let visitor = visitor(&rig);
    let given = |account: &AccountView| {
        let mut entries = account.profile.iter();
        entries.find(|entry| entry.path == "name.givenName").unwrap().clone()
    };
    let before = given(&account(&rig, &visitor));
    assert_eq!(
        (before.owner, before.is_own),
        (Some(Owner::Named("google".to_owned())), false)
    );
    let edits: BTreeMap<String, String> = [("name.givenName", "Rob"), ("nickName", " Bobby "), (TITLE, "Chief")]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into();
    complaint(rig.federation.account.edit_profile(&visitor, &edits)).unwrap();
    let stored = attributes(&rig, &visitor);
    assert_eq!(
        (&stored["name"]["givenName"], &stored["nickName"], &stored[TITLE]),
        (&json!("Bob"), &json!("Bobby"), &Value::Null)
    );
    complaint(rig.federation.account.edit_profile(&visitor, &texts("nickName", ""))).unwrap();
    assert_eq!(attributes(&rig, &visitor)["nickName"], Value::Null);
    for unfit in ["a\u{7}b".to_owned(), "x".repeat(257)] {
        let outcome = complaint(
            rig.federation
                .account
                .edit_profile(&visitor, &texts("nickName", &unfit)),
        );
        assert_eq!(outcome, Err(AccountProblem::Unfit));
    }
}

#[test]
fn another_identity_that_is_linked_opens_the_same_account() {
    let rig = rig();
    let visitor = visitor(&rig);
    let entry = entered(linked(&rig, &visitor, "bob-too"));
    assert_eq!(entry.user, visitor.authentication.user);
    let visitor = session(&rig, entry);
    assert_eq!(
        entered(through_other(&rig, "bob-too")).user,
        visitor.authentication.user
    );
    let identities = account(&rig, &visitor).identities;
    let names: Vec<&str> = identities.iter().map(|identity| identity.provider.as_str()).collect();
    assert_eq!(names, ["google", "other"]);
    // Linking it again changes nothing.
    entered(linked(&rig, &visitor, "bob-too"));
    assert_eq!(account(&rig, &visitor).identities.len(), 2);
}

#[test]
fn an_identity_of_somebody_else_is_not_linked() {
    let rig = rig();
    let bob = visitor(&rig);
    let eve = session(&rig, completed(rig.login(&json!({"sub": "sub-eve", "nick": "eve"}))));
    entered(linked(&rig, &bob, "bob-too"));
    assert_eq!(refused(linked(&rig, &eve, "bob-too")), Denial::IdentityTaken);
    assert_eq!(account(&rig, &eve).identities.len(), 1);
}

#[test]
fn linking_ends_with_the_session_that_it_began_in() {
    let rig = rig();
    let visitor = visitor(&rig);
    let away = complaint(rig.federation.account.begin_linking(&visitor, &other())).unwrap();
    rig.federation
        .account
        .sign_out(&visitor, SessionSelection::All)
        .unwrap();
    let returned = back(&rig, &away.to, "bob-too");
    let step = called_back(&rig, &visitor, &away.handle, &other(), &returned);
    assert_eq!(refused(step), Denial::NotUnderWay);
    assert_eq!(account(&rig, &visitor).identities.len(), 1);
}

#[test]
fn the_answer_of_one_provider_does_not_link_through_another() {
    let rig = rig();
    let visitor = visitor(&rig);
    let away = complaint(rig.federation.account.begin_linking(&visitor, &other())).unwrap();
    let returned = back(&rig, &away.to, "bob-too");
    let step = called_back(&rig, &visitor, &away.handle, &google(), &returned);
    assert_eq!(refused(step), Denial::NotUnderWay);
}

#[test]
fn removed_provider_is_no_other_way_to_sign_in() {
    let rig = rig();
    let visitor = visitor(&rig);
    let visitor = session(&rig, entered(linked(&rig, &visitor, "bob-too")));
    let remover = ProviderRemover::new(Arc::clone(&rig.directory), rig.database.clone());
    remover.begin(&"other".into(), false).unwrap();
    let unlinked = complaint(rig.federation.account.unlink(&visitor, &link("google", "sub-bob")));
    assert_eq!(unlinked, Err(AccountProblem::LastWayIn));
}

#[test]
fn last_sign_in_method_cannot_be_unlinked() {
    let rig = rig();
    let visitor = visitor(&rig);
    let google = link("google", "sub-bob");
    let unlink = |visitor: &SignedInUser, link: &Link| complaint(rig.federation.account.unlink(visitor, link));
    assert_eq!(unlink(&visitor, &google), Err(AccountProblem::LastWayIn));
    assert_eq!(
        unlink(&visitor, &link("google", "sub-eve")),
        Err(AccountProblem::Outdated)
    );
    let visitor = session(&rig, entered(linked(&rig, &visitor, "bob-too")));
    assert_eq!(unlink(&visitor, &google), Ok(false));
    let visitor = session(&rig, entered(through_other(&rig, "bob-too")));
    let other = link("other", "bob-too");
    assert_eq!(unlink(&visitor, &other), Err(AccountProblem::LastWayIn));
    let visitor = session(&rig, set_password(&rig, &visitor, "", GOOD).unwrap());
    assert_eq!(unlink(&visitor, &other), Ok(false));
}

#[test]
fn unlinking_revokes_grants_and_frees_provider_owned_values() {
    let rig = rig();
    let visitor = visitor(&rig);
    let visitor = session(&rig, entered(linked(&rig, &visitor, "bob-too")));
    let elsewhere = session(&rig, completed(rig.login(&bob())));
    let user = &visitor.authentication.user;
    assert_eq!(groups(&rig, user), 1);
    complaint(rig.federation.account.unlink(&visitor, &link("google", "sub-bob"))).unwrap();
    assert_eq!(groups(&rig, user), 0);
    assert!(!is_open(&rig, &visitor), "a session ends with its own identity");
    assert!(!is_open(&rig, &elsewhere));
    let visitor = session(&rig, entered(through_other(&rig, "bob-too")));
    let edits = texts("name.givenName", "Robert");
    complaint(rig.federation.account.edit_profile(&visitor, &edits)).unwrap();
    assert_eq!(attributes(&rig, &visitor)["name"]["givenName"], "Robert");
}

#[test]
fn unlinked_identity_no_longer_signs_in() {
    let rig = rig();
    let visitor = visitor(&rig);
    let visitor = session(&rig, entered(linked(&rig, &visitor, "bob-too")));
    complaint(rig.federation.account.unlink(&visitor, &link("other", "bob-too"))).unwrap();
    assert_eq!(refused(through_other(&rig, "bob-too")), Denial::NoAccount);
}

#[test]
fn withdrawn_values_are_removed_and_no_login_restores_them() {
    let purposes = json!([
        {"name": "letters", "title": "Letters", "text": "To write to you.", "attributes": [
            {"path": "displayName"},
            {"path": "emails[type eq \"work\"].value", "optional": true},
            {"path": "nickName", "optional": true}]},
        {"name": "badge", "title": "Badge", "text": "To greet you.", "attributes": [{"path": "displayName"}]},
    ]);
    let jit = json!({"mode": "consent", "username": {"claim": "nick"}, "purposes": ["letters", "badge"]});
    let rig = Rig::asking(jit, &purposes, |_| {});
    let claims =
        json!({"sub": "sub-bob", "nick": "bob", "name": "Bob", "nickname": "Bobby", "email": "bob@example.com"});
    let handle = rig.start();
    let returned = rig.away(&handle, &claims);
    shown(rig.back(&handle, &returned));
    let kept = ["emails[type eq \"work\"].value", "nickName"].map(str::to_owned).into();
    let answers = Answers {
        kept,
        ..Answers::default()
    };
    let visitor = session(&rig, completed(rig.federation.login.answer(&handle, answers)));
    let withdraw =
        |purpose: &str, path: Option<&str>| complaint(rig.federation.account.withdraw(&visitor, purpose, path));
    assert_eq!(withdraw("letters", Some("title")), Err(AccountProblem::Outdated));
    withdraw("letters", Some("nickName")).unwrap();
    let stored = attributes(&rig, &visitor);
    assert_eq!(
        (&stored["nickName"], &stored["displayName"]),
        (&Value::Null, &json!("Bob"))
    );
    completed(rig.login(&claims));
    assert_eq!(
        attributes(&rig, &visitor)["nickName"],
        Value::Null,
        "not asked for again"
    );

    withdraw("letters", None).unwrap();
    let stored = attributes(&rig, &visitor);
    assert_eq!(
        (&stored["emails"], &stored["displayName"]),
        (&Value::Null, &json!("Bob")),
        "the purpose `badge` still needs the name"
    );
    let letters = |given: &AccountView| {
        let mut consents = given.consents.iter();
        consents.find(|consent| consent.purpose == "letters").unwrap().withdrawn
    };
    assert!(letters(&account(&rig, &visitor)).is_some());
    assert_eq!(withdraw("letters", None), Err(AccountProblem::Outdated));
    let handle = rig.start();
    let returned = rig.away(&handle, &claims);
    let LoginPage::Details(details) = shown(rig.back(&handle, &returned)) else {
        panic!("not asked again")
    };
    let names: Vec<&str> = details
        .questions
        .purposes
        .iter()
        .map(|purpose| purpose.name.as_str())
        .collect();
    assert_eq!(names, ["letters"]);
}

#[test]
fn password_change_needs_the_old_one_and_ends_all_sessions() {
    let rig = rig();
    let visitor = visitor(&rig);
    assert_eq!(
        set_password(&rig, &visitor, "", "short"),
        Err(AccountProblem::Password(PasswordDefect::Short))
    );
    let renewed = set_password(&rig, &visitor, "", GOOD).unwrap();
    assert!(account(&rig, &visitor).sessions.is_empty());
    assert_eq!(
        set_password(&rig, &visitor, GOOD, BETTER),
        Err(AccountProblem::NotFresh),
        "the proof of before does not count any more"
    );
    let visitor = session(&rig, renewed);
    assert_eq!(
        set_password(&rig, &visitor, "wrong", BETTER),
        Err(AccountProblem::WrongPassword)
    );
    set_password(&rig, &visitor, GOOD, BETTER).unwrap();
    let (one, two) = (Secret::new(GOOD), Secret::new(BETTER));
    let visitor = session(&rig, completed(rig.login(&bob())));
    let differing = PasswordForm {
        before: two.clone(),
        password: one,
        again: two.clone(),
        known: None,
    };
    let differing = complaint(rig.federation.account.set_password(&visitor, &differing));
    assert_eq!(differing, Err(AccountProblem::PasswordsDiffer));
    let handle = rig.start();
    completed(rig.federation.login.password(&handle, "bob", &two));
}

#[test]
fn sessions_are_ended_one_by_one_or_all_at_once() {
    let rig = rig();
    let (here, there) = (visitor(&rig), visitor(&rig));
    let open = account(&rig, &here).sessions;
    let elsewhere = |session: &&OpenSession| !session.is_this;
    assert_eq!((open.len(), open.iter().filter(elsewhere).count()), (2, 1));
    let reference = open.iter().find(elsewhere).unwrap().reference.clone();
    assert_ne!(reference, there.session);
    rig.federation
        .account
        .sign_out(&here, SessionSelection::One(reference))
        .unwrap();
    assert_eq!(account(&rig, &here).sessions.len(), 1);
    rig.federation.account.sign_out(&here, SessionSelection::All).unwrap();
    assert!(account(&rig, &here).sessions.is_empty());
}

#[test]
fn sessions_of_other_users_cannot_be_ended() {
    let rig = rig();
    let bob = visitor(&rig);
    let eve = session(&rig, completed(rig.login(&json!({"sub": "sub-eve", "nick": "eve"}))));
    let reference = account(&rig, &bob).sessions[0].reference.clone();
    rig.federation
        .account
        .sign_out(&eve, SessionSelection::One(reference))
        .unwrap();
    assert_eq!(account(&rig, &bob).sessions.len(), 1);
}

#[test]
fn enrolled_authenticator_is_required_for_changes() {
    let rig = rig();
    let visitor = visitor(&rig);
    let handle = complaint(rig.federation.account.begin_authenticator(&visitor)).unwrap();
    assert!(matches!(
        viewed(&rig, &visitor, &handle),
        LoginPage::SecondFactor(FactorPage::Enrol { .. })
    ));
    // Set up directly in the database, as if in another session.
    let user = visitor.authentication.user.clone();
    let factor = Factor {
        sealed: vec![1],
        last_step: 0,
    };
    let now = rig.clock.now();
    let set_up = move |connection: &mut _| Ok(factors::insert(connection, &user, "totp", &factor, now)?);
    rig.database.write::<_, StorageError>(set_up).unwrap();
    assert!(!account(&rig, &visitor).is_fresh);
    assert_eq!(
        complaint(rig.federation.account.drop_authenticator(&visitor)),
        Err(AccountProblem::NotFresh)
    );
    let handle = rig.federation.account.start(Some(&visitor)).unwrap().handle;
    let returned = rig.away(&handle, &bob());
    assert_eq!(
        shown(rig.back(&handle, &returned)),
        LoginPage::SecondFactor(FactorPage::Code {
            wrong: None,
            or_mail: false
        }),
        "though the provider's policy asks for none"
    );
    let proved = SignedInUser {
        authentication: Authentication {
            amr: vec!["fed".to_owned(), "otp".to_owned(), "mfa".to_owned()],
            credentials: visitor.authentication.credentials + 1,
            ..visitor.authentication.clone()
        },
        ..visitor
    };
    let handle = complaint(rig.federation.account.renew_codes(&proved)).unwrap();
    assert!(
        matches!(viewed(&rig, &proved, &handle), LoginPage::SecondFactor(FactorPage::RecoveryCodes(codes)) if codes.len() == 10)
    );
    assert_eq!(account(&rig, &proved).recovery_codes, 10);
    complaint(rig.federation.account.drop_authenticator(&proved)).unwrap();
    assert!(!account(&rig, &proved).has_authenticator);
}

#[test]
fn removed_authenticator_proves_nothing_any_more() {
    let rig = rig();
    let visitor = with_authenticator(&rig);
    complaint(rig.federation.account.drop_authenticator(&visitor)).unwrap();
    let now = rig.clock.now();
    let find = |connection: &mut _| sessions::find(connection, &visitor.session, now);
    let kept = rig.database.read::<_, StorageError>(find).unwrap().unwrap();
    assert_eq!(kept.amr, ["fed"]);
}

#[test]
fn deactivated_user_has_no_account_page() {
    let rig = rig();
    let visitor = visitor(&rig);
    let away = complaint(rig.federation.account.begin_linking(&visitor, &other())).unwrap();
    rig.replace(
        &visitor.authentication.user,
        &json!({"userName": "bob", "active": false}),
    );
    assert_eq!(rig.federation.account.view(&visitor).unwrap(), None);
    let outcome = complaint(rig.federation.account.edit_profile(&visitor, &texts("nickName", "B")));
    assert_eq!(outcome, Err(AccountProblem::Outdated));
    let returned = back(&rig, &away.to, "bob-too");
    let step = called_back(&rig, &visitor, &away.handle, &other(), &returned);
    assert_eq!(refused(step), Denial::NotUnderWay);
    let stored = rig
        .database
        .read::<_, StorageError>(|connection| links::of_user(connection, &visitor.authentication.user));
    assert_eq!(stored.unwrap().len(), 1);
}

#[test]
fn forbidden_ways_in_are_refused_and_not_offered() {
    let rig = rig();
    let visitor = visitor(&rig);
    let rig = rig.without_own_ways_in(&json!({"mode": "silent", "username": {"claim": "nick"}}));
    assert_eq!(set_password(&rig, &visitor, "", GOOD), Err(AccountProblem::NotAllowed));
    let link = complaint(rig.federation.account.begin_linking(&visitor, &other()));
    assert_eq!(link.map(|_| ()), Err(AccountProblem::NotAllowed));
    let page = account(&rig, &visitor);
    assert!(page.providers.is_empty() && page.has_password.is_none());
}

#[test]
fn tokens_that_a_removed_authenticator_proved_end() {
    let rig = rig();
    let visitor = with_authenticator(&rig);
    let (by_factor, plain) = (grant(&rig, &visitor, "pwd otp mfa"), grant(&rig, &visitor, "fed"));
    complaint(rig.federation.account.drop_authenticator(&visitor)).unwrap();
    assert!(is_revoked(&rig, &by_factor) && !is_revoked(&rig, &plain));
}

/// Inserts a grant that a login with these methods got, and returns the hash of its code.
fn grant(rig: &Rig, visitor: &SignedInUser, amr: &str) -> String {
    let (code, now) = (random::token(), rig.clock.now());
    let login = &visitor.authentication;
    let grant = Grant {
        id: random::token(),
        code_expires: now,
        client_id: "wiki".to_owned(),
        session_hash: visitor.session.clone(),
        store: login.store.clone(),
        user: login.user.clone(),
        redirect_uri: "https://wiki.example/callback".to_owned(),
        scope: "openid".to_owned(),
        nonce: None,
        claims: RequestedClaims::default(),
        code_challenge: None,
        amr: amr.split(' ').map(str::to_owned).collect(),
        auth_time: now,
        authenticated_at: None,
        identity_provider: None,
        created: now,
        expires: now.plus(Duration::from_hours(1)),
        revoked: None,
    };
    let hash = code.clone();
    let insert = move |connection: &mut _| Ok(grants::insert(connection, &grant, &hash)?);
    rig.database.write::<_, StorageError>(insert).unwrap();
    code
}

fn is_revoked(rig: &Rig, code: &str) -> bool {
    let found = rig
        .database
        .read::<_, StorageError>(|connection| grants::by_code(connection, code));
    found.unwrap().unwrap().revoked.is_some()
}

#[test]
fn identity_whose_approval_was_refused_is_not_linked() {
    let rig = rig();
    let visitor = visitor(&rig);
    let (identity, now) = (link("other", "bob-too"), rig.clock.now());
    let approval = Approval {
        id: "a1".to_owned(),
        identity,
        service_provider: "wiki".into(),
        sealed: Vec::new(),
        ruling: Ruling {
            verdict: Verdict::Waiting,
            reason: String::new(),
            by: String::new(),
            at: now,
        },
        asked: now,
        expires: now.plus(Duration::from_hours(1)),
    };
    let ask = move |connection: &mut _| Ok(approvals::ask(connection, &approval)?);
    rig.database.write::<_, StorageError>(ask).unwrap();
    let denied = Denial::NotApproved { reason: String::new() };
    assert_eq!(refused(linked(&rig, &visitor, "bob-too")), denied);
}

#[test]
fn identity_that_a_client_keeps_elsewhere_is_not_linked() {
    let rig = rig();
    let visitor = visitor(&rig);
    let operation = Operation::Create {
        store: "PRIMARY".into(),
        kind: Kind::USER,
        attributes: json!({"userName": "ceo", "externalId": "sub-ceo"})
            .as_object()
            .unwrap()
            .clone(),
        typed: Vec::new(),
    };
    let client = Actor {
        principal: Principal::Client {
            token: "t".to_owned(),
            store: None,
        },
        service_provider: "hr".into(),
    };
    let change = Change {
        actor: client,
        operation,
        side_records: Vec::new(),
    };
    rig.directory.apply(change).unwrap();
    // The client knows the subjects of google.
    let google = IdentityProviderName::new("google");
    let away = complaint(rig.federation.account.begin_linking(&visitor, &google)).unwrap();
    let returned = back(&rig, &away.to, "sub-ceo");
    let step = called_back(&rig, &visitor, &away.handle, &google, &returned);
    assert_eq!(refused(step), Denial::IdentityTaken);
}
