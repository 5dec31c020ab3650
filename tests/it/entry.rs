//! Entry decisions: the proofs of a session, of an account that is linked, and of a pending login.

use std::sync::Arc;
use std::time::Duration;

use crate::fixtures::front_door::{ISSUER, Outcome, Rig, completed, google, refused, request, shown};
use crate::second_factor::code;
use serde_json::{Value, json};
use vestibule::domain::login::{
    Authentication, AuthenticationClass, AuthorizationRequest, Entry, EntryPurpose, RequestedClaims,
};
use vestibule::domain::password::PasswordPolicy;
use vestibule::domain::{Link, ResourceId, Secret};
use vestibule::federation::account::{AccountError, AccountProblem, PasswordForm};
use vestibule::federation::idp::provider::CallbackParameters;
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::policy::{JitMode, SecondFactor};
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::StartedLogin;
use vestibule::federation::login::browser::Browser;
use vestibule::federation::login::entry::StepUp;
use vestibule::federation::login::step::{FactorPage, LinkProofPage, LoginPage, LoginStep};
use vestibule::federation::login::visitor::SignedInUser;
use vestibule::federation::removal::ProviderRemover;
use vestibule::operations::people::{self, UserRef};
use vestibule::operations::{Administrator, ConfiguredNames, Context, Right};
use vestibule::storage::{SqlConnection, StorageError, credential_versions, known_browsers, links, random, sessions};
use vestibule::userstore::sql::failed_attempts_without_account;

const RIGHT: &str = "correct horse battery";
const CODE: EntryPurpose = EntryPurpose::Code {
    fresh_since: None,
    two_factors: false,
};

fn by_name() -> Value {
    json!({"mode": "silent", "username": {"claim": "nick"}})
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob"})
}

fn rig() -> Rig {
    Rig::with(by_name(), |wiki| wiki.identity_providers.push("other".into()))
}

fn local_bob(rig: &Rig) -> ResourceId {
    rig.user(&json!({"userName": "bob", "password": RIGHT}))
}

/// A login through google that comes to the page which asks for a proof of the account of that name.
fn asked_for_proof(rig: &Rig) -> (String, LinkProofPage) {
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    match shown(rig.back(&handle, &returned)) {
        LoginPage::LinkProof(page) => (handle, page),
        page => panic!("not asked for a proof: {page:?}"),
    }
}

fn links_of(rig: &Rig, user: &ResourceId) -> usize {
    rig.database
        .read::<_, StorageError>(|connection| links::of_user(connection, user))
        .unwrap()
        .len()
}

/// Sets an authenticator up for an account with a password, and returns its key.
fn enrol(rig: &Rig) -> String {
    let visitor = session(rig, &by_password(rig));
    let handle = rig.federation.account.begin_authenticator(&visitor.user).unwrap();
    let browser = Browser {
        handle: &handle,
        session: Some(&visitor.cookie),
        known: None,
    };
    let page = shown(rig.federation.login.view(browser));
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = page else {
        panic!("not asked to set one up: {page:?}")
    };
    shown(rig.federation.login.code(browser, &code(&key, rig.clock.now())));
    rig.clock.advance(Duration::from_secs(30));
    key
}

fn by_password(rig: &Rig) -> Authentication {
    let handle = rig.start();
    completed(rig.federation.login.password(&handle, "bob", &Secret::new(RIGHT)))
}

struct OpenSession {
    cookie: String,
    user: SignedInUser,
}

fn session(rig: &Rig, authentication: &Authentication) -> OpenSession {
    let (cookie, now) = (random::token(), rig.clock.now());
    let (hash, login) = (random::fingerprint(&cookie), authentication.clone());
    let user = SignedInUser {
        authentication: login.clone(),
        session: hash.clone(),
    };
    rig.database
        .write::<_, StorageError>(move |connection| {
            Ok(sessions::insert(
                connection,
                &hash,
                &login,
                now,
                now.plus(Duration::from_hours(1)),
            )?)
        })
        .unwrap();
    OpenSession { cookie, user }
}

fn entry(rig: &Rig, authentication: &Authentication, purpose: EntryPurpose) -> Entry {
    rig.federation
        .login
        .entry(&"wiki".into(), authentication, purpose)
        .unwrap()
}

/// The login that a step-up began.
/// The address of the provider that a login is sent to at once.
fn sent(rig: &Rig, started: &StartedLogin) -> url::Url {
    let provider = started.to.as_ref().expect("sent to the provider");
    rig.federation.login.send_to(&started.handle, provider).unwrap()
}

fn begun(step_up: StepUp) -> StartedLogin {
    match step_up {
        StepUp::Begun(started) => started,
        StepUp::Needless(..) => panic!("nothing was missing"),
    }
}

fn change_password(rig: &Rig, user: &ResourceId) {
    rig.replace(user, &json!({"userName": "bob", "password": "another horse battery"}));
}

#[test]
fn linking_asks_for_the_authenticator_of_the_account() {
    let rig = rig();
    let user = local_bob(&rig);
    let key = enrol(&rig);
    let (handle, _) = asked_for_proof(&rig);
    let page = shown(rig.federation.login.prove(&handle, &Secret::new(RIGHT)));
    assert!(
        matches!(page, LoginPage::SecondFactor(FactorPage::Code { .. })),
        "{page:?}"
    );
    shown(rig.federation.login.code(&handle, &Secret::new("000000")));
    assert_eq!(links_of(&rig, &user), 0, "nothing is linked by the password alone");
    let code = code(&key, rig.clock.now());
    let login = completed(rig.federation.login.code(&handle, &code));
    assert_eq!(
        (login.user.clone(), login.amr),
        (user, ["fed", "pwd", "otp", "mfa"].map(str::to_owned).to_vec())
    );
    assert_eq!(links_of(&rig, &login.user), 1);
}

#[test]
fn account_without_password_is_proved_by_its_other_identity() {
    let rig = rig();
    let user = rig.user(&json!({"userName": "bob"}));
    link(&rig, &user, "other", "bob-there");
    let (handle, page) = asked_for_proof(&rig);
    assert!(!page.password && page.mail.is_none());
    assert_eq!(page.providers[0].name, "other".into());
    let back = |handle: &str, subject: &str| -> Outcome {
        let url = rig.federation.login.choose(handle, &"other".into()).unwrap();
        let claims = json!({"sub": subject, "nick": "bob", "email": "bob@example.com"});
        let returned: CallbackParameters = rig.returned(&url, &claims);
        rig.federation.login.callback(handle, &"other".into(), &returned)
    };
    let login = completed(back(&handle, "bob-there"));
    assert_eq!((&login.user, links_of(&rig, &user)), (&user, 2));
    assert_eq!(login.identity_provider, Some(google()));
    let (handle, _) = {
        let rig = &rig;
        let handle = rig.start();
        let returned = rig.away(&handle, &json!({"sub": "sub-eve", "nick": "bob"}));
        (handle.clone(), shown(rig.back(&handle, &returned)))
    };
    assert_eq!(refused(back(&handle, "eve-there")), Denial::AnotherPerson);
    assert_eq!(links_of(&rig, &user), 2);
}

#[test]
fn account_without_any_proof_shows_a_way_on() {
    let rig = rig();
    rig.user(&json!({"userName": "bob"}));
    let (handle, page) = asked_for_proof(&rig);
    assert!(!page.password && page.providers.is_empty() && page.mail.is_none());
    assert!(matches!(
        shown(rig.federation.login.prove(&handle, &Secret::new(RIGHT))),
        LoginPage::LinkProof(_)
    ));
    assert!(matches!(
        shown(rig.federation.login.back(&handle)),
        LoginPage::SignIn { .. }
    ));
}

fn link(rig: &Rig, user: &ResourceId, provider: &str, subject: &str) {
    let link = Link {
        identity_provider: provider.into(),
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
    };
    let (user, now) = (user.clone(), rig.clock.now());
    rig.database
        .write::<_, StorageError>(move |connection| {
            credential_versions::advance(connection, &user)?;
            Ok(links::insert(connection, &link, &"PRIMARY".into(), &user, now)?)
        })
        .unwrap();
}

#[test]
fn account_that_changes_while_it_is_proved_is_not_linked() {
    let rig = rig();
    let user = local_bob(&rig);
    let key = enrol(&rig);
    let (handle, _) = asked_for_proof(&rig);
    shown(rig.federation.login.prove(&handle, &Secret::new(RIGHT)));
    change_password(&rig, &user);
    let step = rig.federation.login.code(&handle, &code(&key, rig.clock.now()));
    assert_eq!(refused(step), Denial::NotUnderWay);
    assert_eq!(links_of(&rig, &user), 0);
}

#[test]
fn person_of_another_store_does_not_enter() {
    let rig = Rig::with(by_name(), |wiki| wiki.inbound_userstore = Some("CORP".into()));
    let wiki = Rig::new(by_name());
    let login = completed(wiki.login(&bob()));
    assert_eq!(entry(&wiki, &login, CODE), Entry::Granted);
    assert_eq!(refused(rig.login(&bob())), Denial::OtherStore);
    assert!(
        rig.users().is_empty(),
        "no account was made in a store that it does not accept"
    );
}

#[test]
fn pending_second_factor_ends_with_a_change_of_password() {
    let rig = Rig::with(by_name(), |wiki| wiki.mfa = SecondFactor::Totp);
    let user = local_bob(&rig);
    let handle = rig.start();
    let page = shown(rig.federation.login.password(&handle, "bob", &Secret::new(RIGHT)));
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = page else {
        panic!("not asked to set one up: {page:?}")
    };
    change_password(&rig, &user);
    let step = rig.federation.login.code(&handle, &code(&key, rig.clock.now()));
    assert_eq!(refused(step), Denial::NotUnderWay);
    let handle = rig.start();
    let page = shown(
        rig.federation
            .login
            .password(&handle, "bob", &Secret::new("another horse battery")),
    );
    assert!(
        matches!(page, LoginPage::SecondFactor(FactorPage::Enrol { .. })),
        "the owner is not locked out: {page:?}"
    );
}

#[test]
fn proof_of_earlier_credentials_does_not_enter() {
    let rig = rig();
    let user = local_bob(&rig);
    let login = by_password(&rig);
    assert_eq!(entry(&rig, &login, CODE), Entry::Granted);
    link(&rig, &user, "other", "bob-there");
    assert_eq!(entry(&rig, &login, CODE), Entry::Login);
}

#[test]
fn session_lacks_the_consent_of_a_stricter_application() {
    let rig = Rig::new(by_name());
    let login = completed(rig.login(&bob()));
    assert_eq!(entry(&rig, &login, CODE), Entry::Granted);
    let strict = rig.bent(&by_name(), |wiki| wiki.jit_mode = Some(JitMode::Consent));
    assert_eq!(entry(&strict, &login, CODE), Entry::Consent);
    let session = session(&strict, &login);
    let started = strict
        .federation
        .login
        .step_up(request(), &"wiki".into(), &session.user)
        .map(begun)
        .unwrap();
    let browser = Browser {
        handle: &started.handle,
        session: Some(&session.cookie),
        known: None,
    };
    let returned = strict.returned(&sent(&strict, &started), &bob());
    let page = shown(strict.federation.login.callback(browser, &google(), &returned));
    assert!(matches!(page, LoginPage::Details(_)), "{page:?}");
    let login = completed(strict.federation.login.answer(browser, Answers::default()));
    assert_eq!(entry(&strict, &login, CODE), Entry::Granted);
}

#[test]
fn new_consent_brings_no_ended_token_back() {
    let rig = Rig::new(json!({"mode": "consent", "username": {"claim": "nick"}}));
    let agree = || {
        let handle = rig.start();
        let returned = rig.away(&handle, &bob());
        shown(rig.back(&handle, &returned));
        completed(rig.federation.login.answer(&handle, Answers::default()))
    };
    let before = agree();
    assert_eq!(entry(&rig, &before, EntryPurpose::Token), Entry::Granted);
    let visitor = session(&rig, &before);
    rig.clock.advance(Duration::from_secs(1));
    let account = rig.federation.account.view(&visitor.user).unwrap().unwrap();
    let purpose = &account.consents[0].purpose;
    let withdrawn = rig.federation.account.withdraw(&visitor.user, purpose, None);
    withdrawn.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(entry(&rig, &before, EntryPurpose::Token), Entry::Login);
    rig.clock.advance(Duration::from_secs(1));
    let after = agree();
    assert_eq!(entry(&rig, &after, EntryPurpose::Token), Entry::Granted);
    assert_eq!(entry(&rig, &before, EntryPurpose::Token), Entry::Login);
}

#[test]
fn step_up_asks_for_the_missing_factor_alone() {
    let rig = rig();
    local_bob(&rig);
    let login = by_password(&rig);
    let strict = rig.bent(&by_name(), |wiki| wiki.mfa = SecondFactor::Totp);
    assert_eq!(entry(&strict, &login, CODE), Entry::StepUp);
    let session = session(&strict, &login);
    let started = strict
        .federation
        .login
        .step_up(request(), &"wiki".into(), &session.user)
        .map(begun)
        .unwrap();
    assert_eq!(started.to, None);
    let browser = Browser {
        handle: &started.handle,
        session: Some(&session.cookie),
        known: None,
    };
    let page = shown(strict.federation.login.view(browser));
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = page else {
        panic!("not asked to set one up: {page:?}")
    };
    let code = code(&key, strict.clock.now());
    let elsewhere = strict.federation.login.code(&started.handle, &code);
    assert_eq!(
        refused(elsewhere),
        Denial::NotUnderWay,
        "only in the browser of the session"
    );
    shown(strict.federation.login.code(browser, &code));
    let login = completed(strict.federation.login.read_codes(browser));
    assert_eq!(login.amr, ["pwd", "otp", "mfa"]);
    assert_eq!(entry(&strict, &login, CODE), Entry::Granted);
}

#[test]
fn linking_counts_only_in_the_browser_that_began_it() {
    let rig = rig();
    let visitor = session(&rig, &completed(rig.login(&bob())));
    let eve = session(&rig, &completed(rig.login(&json!({"sub": "sub-eve", "nick": "eve"}))));
    let away = rig
        .federation
        .account
        .begin_linking(&eve.user, &"other".into())
        .unwrap();
    let returned = rig.returned(&away.to, &json!({"sub": "bob-there", "email": "bob@example.com"}));
    for session in [None, Some(visitor.cookie.as_str())] {
        let browser = Browser {
            handle: &away.handle,
            session,
            known: None,
        };
        let step = rig.federation.login.callback(browser, &"other".into(), &returned);
        assert_eq!(refused(step), Denial::NotUnderWay);
    }
    assert_eq!(links_of(&rig, &eve.user.authentication.user), 1);
}

/// A login with a request that wants a proof not older than now.
fn fresh_login(rig: &Rig, auth_time: Option<i64>) -> Outcome {
    let request = AuthorizationRequest {
        reauthenticate: true,
        fresh_since: Some(rig.clock.now()),
        ..request()
    };
    let handle = rig.federation.login.start(request, &"wiki".into()).unwrap().handle;
    let mut claims = bob();
    if let Some(auth_time) = auth_time {
        claims["auth_time"] = auth_time.into();
    }
    let returned = rig.away(&handle, &claims);
    rig.back(&handle, &returned)
}

#[test]
fn old_login_at_the_provider_is_not_fresh() {
    let rig = Rig::new(by_name());
    let now = rig.clock.now().seconds();
    for old in [None, Some(now - 3600), Some(now - 61)] {
        assert_eq!(refused(fresh_login(&rig, old)), Denial::NotReauthenticated, "{old:?}");
    }
    for recent in [now, now - 30, now + 3600] {
        let Ok(LoginStep::Complete(request, login)) = fresh_login(&rig, Some(recent)) else {
            panic!("not let in: {recent}")
        };
        let purpose = EntryPurpose::Code {
            fresh_since: request.fresh_since,
            two_factors: false,
        };
        assert_eq!(entry(&rig, &login, purpose), Entry::Granted);
        assert!(login.authenticated_at <= Some(rig.clock.now()), "never in the future");
    }
}

#[test]
fn proof_of_our_own_stands_in_for_an_untold_time() {
    let rig = Rig::new(by_name());
    let visitor = session(&rig, &completed(rig.login(&bob())));
    let handle = rig.federation.account.begin_authenticator(&visitor.user).unwrap();
    let browser = Browser {
        handle: &handle,
        session: Some(&visitor.cookie),
        known: None,
    };
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = shown(rig.federation.login.view(browser)) else {
        panic!("not asked to set one up")
    };
    shown(rig.federation.login.code(browser, &code(&key, rig.clock.now())));
    rig.clock.advance(Duration::from_mins(1));
    let page = shown(fresh_login(&rig, None));
    assert!(
        matches!(page, LoginPage::SecondFactor(FactorPage::Code { .. })),
        "{page:?}"
    );
}

#[test]
fn question_page_ends_with_a_change_of_credentials() {
    let rig = Rig::new(by_name());
    let user = completed(rig.login(&bob())).user;
    let strict = rig.bent(&by_name(), |wiki| wiki.jit_mode = Some(JitMode::Consent));
    let handle = strict.start();
    let returned = strict.away(&handle, &bob());
    let page = shown(strict.back(&handle, &returned));
    assert!(matches!(page, LoginPage::Details(_)), "{page:?}");
    change_password(&rig, &user);
    let step = strict.federation.login.answer(&handle, Answers::default());
    assert_eq!(refused(step), Denial::NotUnderWay);
}

#[test]
fn session_of_an_unlinked_identity_enters_no_application() {
    let rig = rig();
    let user = local_bob(&rig);
    link(&rig, &user, "google", "sub-bob");
    let visitor = session(&rig, &completed(rig.login(&bob())));
    let google = Link {
        identity_provider: google(),
        issuer: ISSUER.to_owned(),
        subject: "sub-bob".to_owned(),
    };
    rig.federation.account.unlink(&visitor.user, &google).unwrap();
    let now = rig.clock.now();
    let kept = rig
        .database
        .read::<_, StorageError>(|connection| sessions::find(connection, &visitor.user.session, now));
    assert!(kept.unwrap().is_none(), "the session that began with it ends too");
    assert_eq!(entry(&rig, &visitor.user.authentication, CODE), Entry::Login);
}

#[test]
fn old_session_sets_no_authenticator_up() {
    let rig = rig();
    local_bob(&rig);
    let login = by_password(&rig);
    let session = session(&rig, &login);
    let strict = rig.bent(&by_name(), |wiki| wiki.mfa = SecondFactor::Totp);
    strict.clock.advance(Duration::from_mins(11));
    let started = strict
        .federation
        .login
        .step_up(request(), &"wiki".into(), &session.user)
        .map(begun)
        .unwrap();
    let browser = Browser {
        handle: &started.handle,
        session: Some(&session.cookie),
        known: None,
    };
    let page = shown(strict.federation.login.view(browser));
    assert!(matches!(page, LoginPage::SignIn { .. }), "{page:?}");
}

#[test]
fn every_wrong_password_does_the_same_work() {
    let rig = rig();
    for name in ["locked", "known", "disabled"] {
        rig.user(&json!({"userName": name, "password": RIGHT, "active": name != "disabled"}));
    }
    rig.user(&json!({"userName": "passwordless"}));
    let attempt = |name: &str| {
        let before = rig.hasher.compared();
        let step = rig
            .federation
            .login
            .password(&rig.start(), name, &Secret::new("wrong horse battery"));
        assert!(matches!(shown(step), LoginPage::SignIn { .. }), "{name}");
        rig.hasher.compared() - before
    };
    for _ in 0..5 {
        attempt("locked");
    }
    let counted = || -> i64 {
        let all = |connection: &mut SqlConnection| failed_attempts_without_account(connection);
        rig.database.read::<_, StorageError>(all).unwrap()
    };
    for (name, without_a_row) in [
        ("known", 0),
        ("disabled", 0),
        ("unknown", 1),
        ("passwordless", 1),
        ("locked", 1),
    ] {
        let before = counted();
        assert_eq!(attempt(name), 1, "{name}: one comparison");
        assert_eq!(
            counted() - before,
            without_a_row,
            "{name}: one row is written in any case"
        );
    }
}

#[test]
fn identity_that_waits_to_be_linked_stays_in_sight() {
    let rig = rig();
    let user = rig.user(&json!({"userName": "bob"}));
    link(&rig, &user, "other", "bob-there");
    rig.user(&json!({"userName": "eve", "password": RIGHT}));
    let (handle, page) = asked_for_proof(&rig);
    let away = rig.federation.login.choose(&handle, &"other".into()).unwrap();
    let seen = |step: Outcome| assert_eq!(shown(step), LoginPage::LinkProof(page.clone()));
    seen(rig.federation.login.view(&handle));
    let state = away
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let declined: CallbackParameters = [("error", "access_denied".to_owned()), ("state", state)]
        .into_iter()
        .collect();
    let step = rig.federation.login.callback(&handle, &"other".into(), &declined);
    assert_eq!(refused(step), Denial::Declined);
    seen(rig.federation.login.view(&handle));
    // A sign-in as another person links nothing.
    let step = rig.federation.login.password(&handle, "eve", &Secret::new(RIGHT));
    assert_eq!(shown(step), LoginPage::LinkProof(page.clone()));
}

#[test]
fn new_authenticator_is_no_proof_of_a_recent_login() {
    let rig = Rig::with(by_name(), |wiki| wiki.mfa = SecondFactor::Totp);
    let request = AuthorizationRequest {
        reauthenticate: true,
        fresh_since: Some(rig.clock.now()),
        ..request()
    };
    let handle = rig.federation.login.start(request, &"wiki".into()).unwrap().handle;
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = page else {
        panic!("not asked to set one up: {page:?}")
    };
    shown(rig.federation.login.code(&handle, &code(&key, rig.clock.now())));
    assert_eq!(
        refused(rig.federation.login.read_codes(&handle)),
        Denial::NotReauthenticated
    );
}

/// Makes a browser known for an account.
fn know(rig: &Rig, user: &ResourceId, cookie: &str) {
    let (user, fingerprint, now) = (user.clone(), random::fingerprint(cookie), rig.clock.now());
    let remember = move |connection: &mut _| Ok(known_browsers::remember(connection, &user, &fingerprint, now)?);
    rig.database.write::<_, StorageError>(remember).unwrap();
}

/// Sends a password in a browser with the cookie by which browsers are known.
fn in_browser(rig: &Rig, known: &str, password: &str) -> Outcome {
    let handle = rig.start();
    let browser = Browser {
        handle: &handle,
        session: None,
        known: Some(known),
    };
    rig.federation.login.password(browser, "bob", &Secret::new(password))
}

#[test]
fn known_browser_gets_in_while_strangers_lock_the_account() {
    let rig = rig();
    let user = local_bob(&rig);
    know(&rig, &user, "cookie-of-bob");
    for _ in 0..5 {
        let handle = rig.start();
        shown(rig.federation.login.password(&handle, "bob", &Secret::new("a guess")));
    }
    shown(in_browser(&rig, "cookie-of-eve", RIGHT));
    assert_eq!(completed(in_browser(&rig, "cookie-of-bob", RIGHT)).user, user);
    shown(in_browser(&rig, "cookie-of-eve", RIGHT));
}

#[test]
fn known_browser_changes_a_password_that_strangers_lock() {
    let rig = rig();
    let user = local_bob(&rig);
    let session = session(&rig, &by_password(&rig));
    know(&rig, &user, "cookie-of-bob");
    for _ in 0..5 {
        let handle = rig.start();
        shown(rig.federation.login.password(&handle, "bob", &Secret::new("a guess")));
    }
    let change = |known| {
        let form = PasswordForm {
            before: Secret::new(RIGHT),
            password: Secret::new("another horse battery"),
            again: Secret::new("another horse battery"),
            known,
        };
        rig.federation.account.set_password(&session.user, &form)
    };
    assert!(matches!(
        change(None),
        Err(AccountError::Refused(AccountProblem::WrongPassword))
    ));
    change(Some("cookie-of-bob")).unwrap();
}

#[test]
fn known_browser_cannot_guess_without_limit() {
    let rig = rig();
    let user = local_bob(&rig);
    know(&rig, &user, "cookie-of-bob");
    for _ in 0..5 {
        shown(in_browser(&rig, "cookie-of-bob", "a guess"));
    }
    shown(in_browser(&rig, "cookie-of-bob", RIGHT));
    let elsewhere = rig.start();
    completed(rig.federation.login.password(&elsewhere, "bob", &Secret::new(RIGHT)));
    rig.clock.advance(Duration::from_secs(31));
    completed(in_browser(&rig, "cookie-of-bob", RIGHT));
}

#[test]
fn known_browsers_end_with_the_password_and_with_time() {
    let rig = rig();
    let user = local_bob(&rig);
    let lock = || {
        for _ in 0..5 {
            let handle = rig.start();
            shown(rig.federation.login.password(&handle, "bob", &Secret::new("a guess")));
        }
    };
    know(&rig, &user, "cookie-of-bob");
    rig.clock.advance(Duration::from_hours(24 * 180));
    lock();
    shown(in_browser(&rig, "cookie-of-bob", RIGHT));
    know(&rig, &user, "cookie-of-bob");
    rig.replace(&user, &json!({"userName": "bob", "password": "another horse battery"}));
    lock();
    shown(in_browser(&rig, "cookie-of-bob", "another horse battery"));
}

#[test]
fn step_up_that_needs_nothing_completes() {
    let rig = rig();
    local_bob(&rig);
    let session = session(&rig, &by_password(&rig));
    let begun = rig.federation.login.step_up(request(), &"wiki".into(), &session.user);
    let StepUp::Needless(given, authentication) = begun.unwrap() else {
        panic!("asked for what is there")
    };
    assert_eq!((*given, authentication), (request(), session.user.authentication));
}

#[test]
fn consent_in_a_session_keeps_its_second_factor() {
    let rig = Rig::with(by_name(), |wiki| wiki.mfa = SecondFactor::Totp);
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = page else {
        panic!("not asked to set one up: {page:?}")
    };
    shown(rig.federation.login.code(&handle, &code(&key, rig.clock.now())));
    let session = session(&rig, &completed(rig.federation.login.read_codes(&handle)));
    let strict = rig.bent(&by_name(), |wiki| {
        wiki.mfa = SecondFactor::Totp;
        wiki.jit_mode = Some(JitMode::Consent);
    });
    let started = strict
        .federation
        .login
        .step_up(request(), &"wiki".into(), &session.user)
        .map(begun)
        .unwrap();
    let browser = Browser {
        handle: &started.handle,
        session: Some(&session.cookie),
        known: None,
    };
    let returned = strict.returned(&sent(&strict, &started), &bob());
    shown(strict.federation.login.callback(browser, &google(), &returned));
    let login = completed(strict.federation.login.answer(browser, Answers::default()));
    assert_eq!(entry(&strict, &login, CODE), Entry::Granted, "{:?}", login.amr);
}

#[test]
fn unlocking_an_account_unlocks_its_known_browsers() {
    let rig = rig();
    let user = local_bob(&rig);
    know(&rig, &user, "cookie-of-bob");
    for _ in 0..5 {
        shown(in_browser(&rig, "cookie-of-bob", "a guess"));
    }
    let context = Context {
        administrator: Administrator::new("root", Right::ALL),
        directory: Arc::clone(&rig.directory),
        database: rig.database.clone(),
        clock: rig.clock.clone(),
        names: ConfiguredNames::default(),
        passwords: PasswordPolicy::default(),
    };
    let bob = UserRef {
        store: "PRIMARY".into(),
        user_name: "bob".to_owned(),
    };
    people::unlock(&context, &bob).unwrap();
    completed(in_browser(&rig, "cookie-of-bob", RIGHT));
}

#[test]
fn browser_gets_a_new_cookie_unless_it_is_known_for_the_account() {
    let rig = rig();
    let user = local_bob(&rig);
    let session = session(&rig, &by_password(&rig));
    let remember = |known: Option<&str>| {
        let login = &session.user.authentication;
        rig.federation
            .login
            .remember_browser(login, &session.cookie, known)
            .unwrap()
    };
    let planted = remember(Some("planted")).unwrap();
    assert_ne!(planted, "planted");
    assert_eq!(remember(Some(&planted)).unwrap(), planted);
    change_password(&rig, &user);
    assert_eq!(remember(None), None, "the login was of the earlier password");
}

#[test]
fn account_keeps_twenty_known_browsers() {
    let rig = rig();
    let user = local_bob(&rig);
    for number in 0..30 {
        know(&rig, &user, &format!("cookie-{number}"));
        rig.clock.advance(Duration::from_secs(1));
    }
    for _ in 0..5 {
        let handle = rig.start();
        shown(rig.federation.login.password(&handle, "bob", &Secret::new("a guess")));
    }
    shown(in_browser(&rig, "cookie-9", RIGHT));
    completed(in_browser(&rig, "cookie-10", RIGHT));
}

#[test]
fn proof_through_a_provider_ends_with_its_removal() {
    let rig = Rig::with(by_name(), |wiki| {
        wiki.identity_providers.push("other".into());
        wiki.jit_mode = Some(JitMode::Consent);
    });
    let user = rig.user(&json!({"userName": "bob"}));
    link(&rig, &user, "other", "bob-there");
    let (handle, _) = asked_for_proof(&rig);
    let url = rig.federation.login.choose(&handle, &"other".into()).unwrap();
    let claims = json!({"sub": "bob-there", "nick": "bob", "email": "bob@example.com"});
    let returned = rig.returned(&url, &claims);
    let page = shown(rig.federation.login.callback(&handle, &"other".into(), &returned));
    assert!(matches!(page, LoginPage::Details(_)), "{page:?}");
    let remover = ProviderRemover::new(Arc::clone(&rig.directory), rig.database.clone());
    remover.begin(&"other".into(), false).unwrap();
    let step = rig.federation.login.answer(&handle, Answers::default());
    assert_eq!(refused(step), Denial::UnknownProvider);
    assert_eq!(links_of(&rig, &user), 1);
}

#[test]
fn identity_of_a_former_issuer_enters_nothing() {
    let rig = rig();
    let login = completed(rig.login(&bob()));
    let session = session(&rig, &login);
    assert_eq!(entry(&rig, &login, CODE), Entry::Granted);
    assert!(rig.federation.account.view(&session.user).unwrap().is_some());
    let (user, now) = (login.user.clone(), rig.clock.now());
    let move_issuer = move |connection: &mut _| {
        let known = links::of_user(connection, &user)?.remove(0);
        links::delete(connection, &known.link, &user)?;
        let former = Link {
            issuer: "https://former.example".to_owned(),
            ..known.link
        };
        Ok(links::insert(connection, &former, &known.store, &user, now)?)
    };
    rig.database.write::<_, StorageError>(move_issuer).unwrap();
    for purpose in [CODE, EntryPurpose::Token] {
        assert_eq!(entry(&rig, &login, purpose), Entry::Login);
    }
    assert!(rig.federation.account.view(&session.user).unwrap().is_none());
}

#[test]
fn link_that_waits_ends_where_people_may_not_link_any_more() {
    let rig = rig();
    let bob = session(&rig, &completed(rig.login(&bob())));
    let away = rig
        .federation
        .account
        .begin_linking(&bob.user, &"other".into())
        .unwrap();
    let returned = rig.returned(&away.to, &json!({"sub": "bob-there", "email": "bob@example.com"}));
    let strict = rig.without_own_ways_in(&by_name());
    let browser = Browser {
        handle: &away.handle,
        session: Some(&bob.cookie),
        known: None,
    };
    let step = strict.federation.login.callback(browser, &"other".into(), &returned);
    assert_eq!(refused(step), Denial::NotUnderWay);
    assert_eq!(links_of(&rig, &bob.user.authentication.user), 1);
}

#[test]
fn question_page_ends_with_the_issuer_of_the_provider() {
    let jit = json!({"mode": "consent", "username": {"claim": "nick"}});
    let rig = Rig::new(jit.clone());
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    assert!(matches!(shown(rig.back(&handle, &returned)), LoginPage::Details(_)));
    let moved = rig.moved(&jit, "https://new.example");
    let step = moved.federation.login.answer(&handle, Answers::default());
    assert_eq!(refused(step), Denial::NotUnderWay);
    assert!(rig.users().is_empty());
}

#[test]
fn request_for_two_factors_asks_for_an_authenticator() {
    let rig = rig();
    let login = completed(rig.login(&bob()));
    let session = session(&rig, &login);
    let request = AuthorizationRequest {
        claims: RequestedClaims {
            acr: Some(AuthenticationClass::TwoFactors),
            ..RequestedClaims::default()
        },
        ..request()
    };
    // A session takes the missing step alone.
    let started = begun(
        rig.federation
            .login
            .step_up(request.clone(), &"wiki".into(), &session.user)
            .unwrap(),
    );
    let browser = Browser {
        handle: &started.handle,
        session: Some(&session.cookie),
        known: None,
    };
    let LoginPage::SecondFactor(FactorPage::Enrol { key, .. }) = shown(rig.federation.login.view(browser)) else {
        panic!("no authenticator is asked for");
    };
    shown(rig.federation.login.code(browser, &code(&key, rig.clock.now())));
    // A new login asks for its code.
    let handle = rig.federation.login.start(request, &"wiki".into()).unwrap().handle;
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    assert!(
        matches!(page, LoginPage::SecondFactor(FactorPage::Code { .. })),
        "{page:?}"
    );
}
