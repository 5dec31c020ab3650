//! Codes by e-mail at the front door, against a real directory and a mail server.

use std::sync::Arc;
use std::time::Duration;

use crate::fixtures::front_door::{Outcome, Rig, completed, refused, request, shown};
use crate::fixtures::smtp::{Manner, Smtp};
use actix_web::cookie::Cookie;
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use serde_json::{Value, json};
use vestibule::domain::{Actor, Change, Kind, Operation, Precondition, Principal, Secret};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::policy::{JitMode, SecondFactor, ServiceProviderPolicy};
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::step::{CodeError, FactorPage, LoginPage, LoginStep};
use vestibule::mail::Encryption;
use vestibule::server::language;
use vestibule::server::login::{Incomplete, LoginData, cookie_name, routes};
use vestibule::storage::{StorageError, links};

const GOOD: &str = "correct horse battery";
const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// A front door with an application that requires a second factor, and its mail server.
fn rig(mfa: SecondFactor) -> (Rig, Smtp) {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}});
    let rig = Rig::mailing((&jit, &json!([])), |wiki| wiki.mfa = mfa, Some(smtp.post()));
    (rig, smtp)
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob", "email": "bob@example.com", "email_verified": true})
}

/// A login through the provider, up to the second factor.
fn arrive(rig: &Rig, claims: &Value) -> (String, Outcome) {
    let handle = rig.start();
    let returned = rig.away(&handle, claims);
    let step = rig.back(&handle, &returned);
    (handle, step)
}

/// A login with a local password, up to the second factor.
fn sign_in(rig: &Rig, name: &str) -> (String, Outcome) {
    let handle = rig.start();
    let step = rig.federation.login.password(&handle, name, &Secret::new(GOOD));
    (handle, step)
}

fn enter(rig: &Rig, handle: &str, code: &str) -> Outcome {
    rig.federation.login.code(handle, &Secret::new(code))
}

/// The page that asks for an e-mailed code.
fn asked(wrong: Option<CodeError>) -> LoginPage {
    LoginPage::SecondFactor(FactorPage::MailCode {
        address: "b•••@example.com".to_owned(),
        wrong,
        or_authenticator: false,
    })
}

fn wrong_of(step: Outcome) -> Option<CodeError> {
    match shown(step) {
        LoginPage::SecondFactor(FactorPage::MailCode { wrong, .. }) => wrong,
        other => panic!("not asked for a mailed code: {other:?}"),
    }
}

#[test]
fn a_code_goes_to_the_address_of_the_person_and_lets_them_in() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, step) = arrive(&rig, &bob());
    assert_eq!(shown(step), asked(None));
    let mail = smtp.mail();
    assert_eq!(mail.len(), 1);
    assert_eq!(mail[0].recipients, ["RCPT TO:<bob@example.com>"]);
    for part in [
        "To: bob@example.com",
        "From: login@id.example",
        "signing in to Wiki",
        "Do not share this code",
    ] {
        assert!(mail[0].text.contains(part), "{part} in {}", mail[0].text);
    }
    assert!(!mail[0].text.contains("://"), "a link in {}", mail[0].text);
    let code = smtp.code();
    assert_eq!(code.len(), "1234 5678".len());
    let authentication = completed(enter(&rig, &handle, &code));
    assert_eq!(authentication.amr, ["fed", "otp", "email"]);
}

#[test]
fn nothing_but_the_code_leads_on() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, step) = arrive(&rig, &bob());
    let page = shown(step);
    for step in [
        rig.federation.login.view(&handle),
        rig.federation.login.read_codes(&handle),
        rig.federation.login.authenticator(&handle),
        rig.federation.login.prove(&handle, &Secret::new(GOOD)),
        rig.federation.login.rename(&handle),
        rig.federation.login.answer(&handle, Answers::default()),
    ] {
        assert_eq!(shown(step), page);
    }
    let code = smtp.code();
    for wrong in ["", "0", &code[..8], "１２３４５６７８"] {
        rig.clock.advance(Duration::from_secs(31));
        let step = enter(&rig, &handle, wrong);
        assert_eq!(shown(step), asked(Some(CodeError::Code)), "{wrong:?}");
    }
}

#[test]
fn a_code_counts_in_the_login_that_asked_for_it_and_once() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (first, _) = arrive(&rig, &bob());
    let code = smtp.code();
    rig.clock.advance(HALF_A_MINUTE);
    let (second, _) = arrive(&rig, &bob());
    assert_eq!(smtp.mail().len(), 2);
    assert_eq!(wrong_of(enter(&rig, &second, &code)), Some(CodeError::Code));
    completed(enter(&rig, &first, &code));
    assert_eq!(refused(enter(&rig, &first, &code)), Denial::NotUnderWay);
    completed(enter(&rig, &second, &smtp.code()));
}

#[test]
fn parallel_uses_of_one_code_admit_one_login() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, _) = arrive(&rig, &bob());
    let code = smtp.code();
    let through = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| enter(&rig, &handle, &code))).collect();
        let steps = threads.into_iter().map(|thread| thread.join().unwrap());
        steps.filter(|step| matches!(step, Ok(LoginStep::Complete(..)))).count()
    });
    assert_eq!(through, 1);
}

#[test]
fn mail_code_expires_after_ten_minutes() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, _) = arrive(&rig, &bob());
    rig.clock.advance(Duration::from_secs(601));
    assert_eq!(refused(enter(&rig, &handle, &smtp.code())), Denial::NotUnderWay);
}

#[test]
fn only_the_last_code_of_a_login_counts() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, _) = arrive(&rig, &bob());
    let first = smtp.code();
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(wrong_of(rig.federation.login.mail_code(&handle)), None);
    assert_eq!(wrong_of(enter(&rig, &handle, &first)), Some(CodeError::Code));
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn guesses_are_counted_for_the_person_and_not_for_the_login() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    for _ in 0..5 {
        rig.clock.advance(HALF_A_MINUTE);
        let (handle, _) = arrive(&rig, &bob());
        assert_eq!(wrong_of(enter(&rig, &handle, "0")), Some(CodeError::Code));
    }
    let (handle, step) = arrive(&rig, &bob());
    assert_eq!(wrong_of(step), Some(CodeError::TooSoon));
    rig.clock.advance(Duration::from_secs(29));
    assert_eq!(wrong_of(enter(&rig, &handle, &smtp.code())), Some(CodeError::Locked));
    rig.clock.advance(Duration::from_mins(2));
    let (handle, _) = arrive(&rig, &bob());
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn codes_are_sent_at_intervals_and_not_for_ever() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, _) = arrive(&rig, &bob());
    let again = || wrong_of(rig.federation.login.mail_code(&handle));
    assert_eq!(again(), Some(CodeError::TooSoon));
    for _ in 0..2 {
        rig.clock.advance(HALF_A_MINUTE);
        assert_eq!(again(), None);
    }
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(again(), Some(CodeError::TooMany));
    assert_eq!(smtp.mail().len(), 3);
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn new_logins_do_not_lift_the_limit_of_ten_codes_an_hour() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    for _ in 0..12 {
        arrive(&rig, &bob()).1.unwrap();
        rig.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(smtp.mail().len(), 10);
    assert_eq!(wrong_of(arrive(&rig, &bob()).1), Some(CodeError::TooMany));
    rig.clock.advance(Duration::from_hours(1));
    assert_eq!(wrong_of(arrive(&rig, &bob()).1), None);
}

#[test]
fn unverified_email_gets_no_code() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    for verified in [json!(false), json!("true"), Value::Null] {
        let claims = json!({"sub": "sub-eve", "nick": "eve", "email": "eve@example.com", "email_verified": verified});
        assert_eq!(refused(arrive(&rig, &claims).1), Denial::NoMailAddress, "{verified}");
    }
    assert!(smtp.mail().is_empty());
    // An earlier verified address says nothing about the new one.
    arrive(&rig, &bob()).1.unwrap();
    let moved = json!({"sub": "sub-bob", "nick": "bob", "email": "eve@example.com", "email_verified": false});
    assert_eq!(refused(arrive(&rig, &moved).1), Denial::NoMailAddress);
    assert_eq!(smtp.mail().len(), 1);
}

#[test]
fn an_address_that_the_person_typed_gets_no_code() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let user = rig.user(&json!({"userName": "lee", "password": GOOD}));
    let mut attributes = rig.get(&user).document.attributes();
    attributes.insert("emails".to_owned(), json!([{"value": "lee@evil.example"}]));
    let typed = Change {
        actor: Actor {
            principal: Principal::Person,
            ..Actor::administrator("test")
        },
        operation: Operation::Replace {
            kind: Kind::USER,
            id: user.clone(),
            attributes,
            precondition: Precondition::None,
        },
        side_records: Vec::new(),
    };
    rig.directory.apply(typed).unwrap();
    assert_eq!(refused(sign_in(&rig, "lee").1), Denial::NoMailAddress);
    assert!(smtp.mail().is_empty());
}

#[test]
fn administrator_set_email_gets_the_code_after_a_password() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let emails = json!([{"value": "old@example.com"}, {"value": "lee@example.com", "primary": true}]);
    rig.user(&json!({"userName": "lee", "password": GOOD, "emails": emails}));
    let (handle, _) = sign_in(&rig, "lee");
    assert_eq!(smtp.mail()[0].recipients, ["RCPT TO:<lee@example.com>"]);
    let authentication = completed(enter(&rig, &handle, &smtp.code()));
    assert_eq!(authentication.amr, ["pwd", "otp", "email"]);
}

#[test]
fn email_proved_by_code_links_another_identity() {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}, "on_conflict": "link_verified_email"});
    let bend = |wiki: &mut ServiceProviderPolicy| {
        wiki.mfa = SecondFactor::EmailOtp;
        wiki.identity_providers.push("other".into());
    };
    let rig = Rig::mailing((&jit, &json!([])), bend, Some(smtp.post()));
    let user = rig.user(&json!({"userName": "bob", "password": GOOD, "emails": [{"value": "bob@example.com"}]}));
    let arrive = || {
        let (handle, other) = (rig.start(), "other".into());
        let to = rig.federation.login.choose(&handle, &other).unwrap();
        let returned = rig.returned(&to, &bob());
        shown(rig.federation.login.callback(&handle, &other, &returned))
    };
    assert!(
        matches!(arrive(), LoginPage::LinkProof(_)),
        "an address that was only entered is not proved"
    );
    let (handle, _) = sign_in(&rig, "bob");
    completed(enter(&rig, &handle, &smtp.code()));
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(arrive(), asked(None), "linked, and at the second factor");
    let linked = rig
        .database
        .read::<_, StorageError>(|connection| links::of_user(connection, &user));
    assert_eq!(linked.unwrap().len(), 1);
}

#[test]
fn code_proves_no_address_that_its_person_typed_later() {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}, "on_conflict": "link_verified_email"});
    let bend = |wiki: &mut ServiceProviderPolicy| {
        wiki.mfa = SecondFactor::EmailOtp;
        wiki.identity_providers.push("other".into());
    };
    let rig = Rig::mailing((&jit, &json!([])), bend, Some(smtp.post()));
    let user = rig.user(&json!({"userName": "bob", "password": GOOD, "emails": [{"value": "bob@example.com"}]}));
    let (handle, _) = sign_in(&rig, "bob");
    completed(enter(&rig, &handle, &smtp.code()));
    rig.replace(
        &user,
        &json!({"userName": "bob", "emails": [{"value": "new@example.com"}]}),
    );
    let typed = Change {
        actor: Actor {
            principal: Principal::Person,
            service_provider: "wiki".into(),
        },
        operation: Operation::Replace {
            kind: Kind::USER,
            id: user,
            attributes:
                json!({"userName": "bob", "emails": [{"value": "new@example.com"}, {"value": "bob@example.com"}]})
                    .as_object()
                    .unwrap()
                    .clone(),
            precondition: Precondition::None,
        },
        side_records: Vec::new(),
    };
    rig.directory.apply(typed).unwrap();
    // The mailbox is another person's now, who comes with it from a provider that is trusted for it.
    let (handle, other) = (rig.start(), "other".into());
    let to = rig.federation.login.choose(&handle, &other).unwrap();
    let returned = rig.returned(&to, &bob());
    let page = shown(rig.federation.login.callback(&handle, &other, &returned));
    assert!(matches!(page, LoginPage::LinkProof(_)), "{page:?}");
}

/// A login of somebody with an identity of this user name, who asks for a code as the proof of the account.
fn ask_for_proof_by_mail(rig: &Rig, subject: &str) -> Outcome {
    let claims = json!({"sub": subject, "nick": "bob", "email": "eve@example.com"});
    let (handle, step) = arrive(rig, &claims);
    assert!(matches!(shown(step), LoginPage::LinkProof(_)));
    rig.federation.login.prove_by_mail(&handle)
}

#[test]
fn codes_that_anybody_may_ask_for_are_counted_apart() {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}});
    let rig = Rig::mailing((&jit, &json!([])), |_| {}, Some(smtp.post()));
    let emails = json!([{"value": "bob@example.com"}]);
    let user = rig.user(&json!({"userName": "bob", "emails": emails}));
    for number in 0..10 {
        assert_eq!(wrong_of(ask_for_proof_by_mail(&rig, &format!("eve-{number}"))), None);
        rig.clock.advance(HALF_A_MINUTE);
    }
    assert_eq!(
        wrong_of(ask_for_proof_by_mail(&rig, "eve-10")),
        Some(CodeError::TooMany)
    );
    rig.replace(&user, &json!({"userName": "bob", "emails": emails, "password": GOOD}));
    let strict = rig.bent_with_mail(&jit, |wiki| wiki.mfa = SecondFactor::EmailOtp, smtp.post());
    let (handle, step) = sign_in(&strict, "bob");
    assert_eq!(wrong_of(step), None, "the owner gets a code");
    completed(enter(&strict, &handle, &smtp.code()));
}

#[test]
fn code_to_an_address_that_was_replaced_does_not_count() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let user = rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "old@example.com"}]}));
    let (handle, _) = sign_in(&rig, "lee");
    rig.replace(
        &user,
        &json!({"userName": "lee", "emails": [{"value": "new@example.com"}]}),
    );
    assert_eq!(refused(enter(&rig, &handle, &smtp.code())), Denial::NotUnderWay);
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(refused(rig.federation.login.mail_code(&handle)), Denial::NotUnderWay);
    assert_eq!(smtp.mail().len(), 1, "the old address gets no other code");
}

#[test]
fn proof_by_mail_is_offered_and_taken_as_the_account_is_now() {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}});
    let rig = Rig::mailing((&jit, &json!([])), |_| {}, Some(smtp.post()));
    let user = rig.user(&json!({"userName": "bob", "emails": [{"value": "old@example.com"}]}));
    let claims = json!({"sub": "eve", "nick": "bob", "email": "eve@example.com"});
    let asked = || {
        let (handle, step) = arrive(&rig, &claims);
        assert!(matches!(shown(step), LoginPage::LinkProof(page) if page.mail.is_some()));
        handle
    };
    let (before, sent) = (asked(), asked());
    assert_eq!(wrong_of(rig.federation.login.prove_by_mail(&sent)), None);
    rig.replace(
        &user,
        &json!({"userName": "bob", "emails": [{"value": "new@example.com"}]}),
    );
    assert_eq!(refused(enter(&rig, &sent, &smtp.code())), Denial::NotUnderWay);
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(wrong_of(rig.federation.login.prove_by_mail(&before)), None);
    assert_eq!(smtp.mail()[1].recipients, ["RCPT TO:<new@example.com>"]);
    rig.clock.advance(HALF_A_MINUTE);
    let late = asked();
    rig.replace(
        &user,
        &json!({"userName": "bob", "emails": [{"value": "new@example.com"}], "password": GOOD}),
    );
    let page = shown(rig.federation.login.prove_by_mail(&late));
    assert!(
        matches!(&page, LoginPage::LinkProof(page) if page.password && page.mail.is_none()),
        "there is another proof now: {page:?}"
    );
    assert_eq!(smtp.mail().len(), 2);
}

#[test]
fn proof_by_mail_ends_with_the_address_at_every_later_step() {
    let smtp = Smtp::start();
    let jit = json!({"mode": "silent", "username": {"claim": "nick"}});
    for (mfa, mode) in [
        (SecondFactor::None, JitMode::Consent),
        (SecondFactor::Totp, JitMode::Silent),
    ] {
        let bend = |wiki: &mut ServiceProviderPolicy| {
            wiki.mfa = mfa;
            wiki.jit_mode = Some(mode);
        };
        let rig = Rig::mailing((&jit, &json!([])), bend, Some(smtp.post()));
        let user = rig.user(&json!({"userName": "bob", "emails": [{"value": "old@example.com"}]}));
        let (handle, _) = arrive(&rig, &json!({"sub": "eve", "nick": "bob", "email": "eve@example.com"}));
        shown(rig.federation.login.prove_by_mail(&handle));
        let page = shown(enter(&rig, &handle, &smtp.code()));
        let waits = matches!(
            page,
            LoginPage::Details(_) | LoginPage::SecondFactor(FactorPage::Enrol { .. })
        );
        assert!(waits, "{page:?}");
        rig.replace(
            &user,
            &json!({"userName": "bob", "emails": [{"value": "new@example.com"}]}),
        );
        let login = &rig.federation.login;
        assert_eq!(refused(login.answer(&handle, Answers::default())), Denial::NotUnderWay);
        assert_eq!(refused(login.view(&handle)), Denial::NotUnderWay);
    }
}

#[test]
fn login_of_a_deleted_account_sends_nothing() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let user = rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "lee@example.com"}]}));
    let (handle, _) = sign_in(&rig, "lee");
    rig.delete(&user);
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(
        refused(rig.federation.login.mail_code(&handle)),
        Denial::AccountDisabled
    );
    assert_eq!(refused(rig.federation.login.view(&handle)), Denial::AccountDisabled);
    assert_eq!(smtp.mail().len(), 1);
}

#[test]
fn an_address_that_could_be_several_gets_no_code() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    for address in [
        "lee@example.com,eve@evil.example",
        "lee@example.com\r\nBcc: eve@evil.example",
        "a＠b@example.com",
    ] {
        let name = format!("lee{}", address.len());
        rig.user(&json!({"userName": name, "password": GOOD, "emails": [{"value": address}]}));
        assert_eq!(refused(sign_in(&rig, &name).1), Denial::NoMailAddress, "{address:?}");
    }
    assert!(smtp.mail().is_empty());
}

#[test]
fn any_factor_mails_a_code_and_offers_an_authenticator() {
    let (rig, smtp) = rig(SecondFactor::Any);
    let (handle, step) = arrive(&rig, &bob());
    let LoginPage::SecondFactor(FactorPage::MailCode {
        or_authenticator: true, ..
    }) = shown(step)
    else {
        panic!("no way to an authenticator")
    };
    let step = rig.federation.login.authenticator(&handle);
    let LoginPage::SecondFactor(FactorPage::Enrol { or_mail: true, .. }) = shown(step) else {
        panic!("no way back to the mail")
    };
    // An e-mailed code does not confirm an authenticator.
    let LoginPage::SecondFactor(FactorPage::Enrol {
        wrong: Some(CodeError::Code),
        ..
    }) = shown(enter(&rig, &handle, &smtp.code()))
    else {
        panic!("an e-mailed code does not confirm an authenticator")
    };
    rig.clock.advance(HALF_A_MINUTE);
    assert_eq!(wrong_of(rig.federation.login.mail_code(&handle)), None);
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn any_factor_prefers_an_enrolled_authenticator() {
    let (rig, smtp) = rig(SecondFactor::Any);
    let (handle, _) = arrive(&rig, &bob());
    let user = completed(enter(&rig, &handle, &smtp.code())).user;
    rig.set_up_authenticator(&user);
    rig.clock.advance(HALF_A_MINUTE);
    let (handle, step) = arrive(&rig, &bob());
    let page = LoginPage::SecondFactor(FactorPage::Code {
        wrong: None,
        or_mail: true,
    });
    assert_eq!((shown(step), smtp.mail().len()), (page, 1));
    rig.federation.login.mail_code(&handle).unwrap();
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn any_factor_without_email_enrols_an_authenticator() {
    let (rig, _smtp) = rig(SecondFactor::Any);
    let (_, step) = arrive(&rig, &json!({"sub": "sub-ann", "nick": "ann"}));
    let LoginPage::SecondFactor(FactorPage::Enrol { or_mail: false, .. }) = shown(step) else {
        panic!("not asked to set one up")
    };
}

#[test]
fn mail_code_does_not_replace_an_enrolled_authenticator() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let user = rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "lee@example.com"}]}));
    rig.set_up_authenticator(&user);
    let (handle, step) = sign_in(&rig, "lee");
    let page = LoginPage::SecondFactor(FactorPage::Code {
        wrong: None,
        or_mail: false,
    });
    assert_eq!(shown(step), page);
    assert_eq!(shown(rig.federation.login.mail_code(&handle)), page);
    assert!(smtp.mail().is_empty());
}

#[test]
fn user_disabled_during_the_login_is_denied() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    let (handle, _) = arrive(&rig, &bob());
    let user = rig.users()[0].id.clone();
    rig.replace(&user, &json!({"userName": "bob", "active": false}));
    assert_eq!(refused(enter(&rig, &handle, &smtp.code())), Denial::AccountDisabled);
}

#[test]
fn failing_mail_server_delays_a_login_only_until_its_timeout() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    for manner in [Manner::Silent, Manner::Slow, Manner::Refusing] {
        smtp.behave(manner);
        rig.clock.advance(HALF_A_MINUTE);
        assert_eq!(refused(arrive(&rig, &bob()).1), Denial::MailUnavailable, "{manner:?}");
    }
    smtp.behave(Manner::Polite);
    rig.clock.advance(HALF_A_MINUTE);
    let (handle, _) = arrive(&rig, &bob());
    completed(enter(&rig, &handle, &smtp.code()));
}

#[test]
fn code_is_not_sent_without_the_required_tls() {
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let smtp = Smtp::start();
        let jit = json!({"mode": "silent", "username": {"claim": "nick"}});
        let by_mail = |wiki: &mut ServiceProviderPolicy| wiki.mfa = SecondFactor::EmailOtp;
        let rig = Rig::mailing((&jit, &json!([])), by_mail, Some(smtp.post_by(encryption)));
        assert_eq!(
            refused(arrive(&rig, &bob()).1),
            Denial::MailUnavailable,
            "{encryption:?}"
        );
        assert!(smtp.mail().is_empty());
    }
}

#[test]
fn any_factor_allows_an_authenticator_when_mail_fails() {
    let (rig, smtp) = rig(SecondFactor::Any);
    smtp.behave(Manner::Refusing);
    let (handle, step) = arrive(&rig, &bob());
    assert_eq!(refused(step), Denial::MailUnavailable);
    let step = rig.federation.login.authenticator(&handle);
    assert!(matches!(shown(step), LoginPage::SecondFactor(FactorPage::Enrol { .. })));
}

/// Sends a request over HTTP in the browser of a login; returns the status and the page.
async fn call(rig: &Rig, handle: &str, request: TestRequest) -> (StatusCode, String) {
    let login_data = LoginData {
        federation: Arc::clone(&rig.federation),
        complete: Arc::new(|_, _, _| Err(Incomplete::Failed)),
        cancel: Arc::new(|_| None),
        session_cookie: "session",
    };
    let app = App::new().app_data(web::Data::new(login_data)).configure(routes);
    let app = init_service(app.wrap(from_fn(language::assign))).await;
    let request = request
        .cookie(Cookie::new(cookie_name(handle, true), handle.to_owned()))
        .insert_header(("Accept-Language", "de"));
    let response = call_service(&app, request.to_request()).await;
    let status = response.status();
    (status, String::from_utf8(read_body(response).await.to_vec()).unwrap())
}

async fn token(rig: &Rig, handle: &str) -> String {
    let (_, page) = call(rig, handle, TestRequest::get().uri("/login")).await;
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form with a token");
    rest.split('"').next().unwrap().to_owned()
}

#[actix_web::test]
async fn page_and_mail_are_in_the_language_of_the_person() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "lee@example.com"}]}));
    let handle = rig.start();
    let csrf = token(&rig, &handle).await;
    let sign_in = [("csrf", csrf.as_str()), ("username", "lee"), ("password", GOOD)];
    let (status, _) = call(
        &rig,
        &handle,
        TestRequest::post().uri("/login/password").set_form(sign_in),
    )
    .await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, page) = call(&rig, &handle, TestRequest::get().uri("/login")).await;
    assert!(page.contains("<strong>l•••@example.com</strong> geschickt"), "{page}");
    assert!(smtp.mail()[0].text.contains("Der Code: "), "{:?}", smtp.mail());
    let again = [("csrf", csrf.as_str()), ("decision", "mail")];
    call(&rig, &handle, TestRequest::post().uri("/login/code").set_form(again)).await;
    let (_, page) = call(&rig, &handle, TestRequest::get().uri("/login")).await;
    assert!(page.contains("Es kann eine halbe Minute dauern"), "{page}");
}

#[actix_web::test]
async fn mail_uses_the_language_that_the_application_asks_for() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "lee@example.com"}]}));
    let mut english = request();
    english.ui_locales = vec!["en-GB".to_owned()];
    let handle = rig.federation.login.start(english, &"wiki".into()).unwrap().handle;
    let csrf = token(&rig, &handle).await;
    let sign_in = [("csrf", csrf.as_str()), ("username", "lee"), ("password", GOOD)];
    call(
        &rig,
        &handle,
        TestRequest::post().uri("/login/password").set_form(sign_in),
    )
    .await;
    assert!(smtp.mail()[0].text.contains("The code: "), "{:?}", smtp.mail());
}

#[actix_web::test]
async fn a_mail_server_that_is_down_is_told_with_a_way_out() {
    let (rig, smtp) = rig(SecondFactor::EmailOtp);
    smtp.behave(Manner::Refusing);
    rig.user(&json!({"userName": "lee", "password": GOOD, "emails": [{"value": "lee@example.com"}]}));
    let handle = rig.start();
    let csrf = token(&rig, &handle).await;
    let sign_in = [("csrf", csrf.as_str()), ("username", "lee"), ("password", GOOD)];
    let (status, page) = call(
        &rig,
        &handle,
        TestRequest::post().uri("/login/password").set_form(sign_in),
    )
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for part in ["mail_unavailable", "/login/cancel?login=", "href=\"/login?login="] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
