//! The second factor at the front door, against a real directory.

use std::time::Duration;

use crate::fixtures::front_door::{Outcome, Rig, completed, refused, shown};
use ring::hmac;
use serde_json::{Value, json};
use vestibule::domain::{ResourceId, Secret, Timestamp};
use vestibule::federation::jit::denial::Denial;
use vestibule::federation::jit::policy::SecondFactor;
use vestibule::federation::jit::questions::Answers;
use vestibule::federation::login::step::{CodeError, FactorPage, LoginPage, LoginStep};

const GOOD: &str = "correct horse battery";

/// A front door with an application that requires a second factor.
fn rig() -> Rig {
    Rig::with(json!({"mode": "silent", "username": {"claim": "nick"}}), |wiki| {
        wiki.mfa = SecondFactor::Totp;
    })
}

fn bob() -> Value {
    json!({"sub": "sub-bob", "nick": "bob"})
}

/// Computes an authenticator's code (RFC 6238) from a key and a time.
pub(crate) fn code(key: &str, now: Timestamp) -> Secret {
    let mut seed = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for sign in key.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|known| *known == sign)
            .unwrap();
        bits = bits << 5 | u32::try_from(value).unwrap();
        count += 5;
        if count >= 8 {
            count -= 8;
            seed.push(u8::try_from(bits >> count & 255).unwrap());
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &seed);
    let hash = hmac::sign(&key, &(now.0 / 30_000).to_be_bytes());
    let at = usize::from(hash.as_ref()[19] & 15);
    let number = u32::from_be_bytes(hash.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    Secret::new(format!("{:06}", number % 1_000_000))
}

fn enter(rig: &Rig, handle: &str, code: &Secret) -> Outcome {
    rig.federation.login.code(handle, code)
}

/// A login through the provider, up to the second factor.
fn arrive(rig: &Rig) -> (String, LoginPage) {
    let handle = rig.start();
    let returned = rig.away(&handle, &bob());
    let page = shown(rig.back(&handle, &returned));
    (handle, page)
}

/// The page that asks for an authenticator's code.
fn asked(wrong: Option<CodeError>) -> LoginPage {
    LoginPage::SecondFactor(FactorPage::Code { wrong, or_mail: false })
}

struct Enrolled {
    key: String,
    codes: Vec<String>,
    user: ResourceId,
}

fn enrol(rig: &Rig) -> Enrolled {
    let (handle, page) = arrive(rig);
    let LoginPage::SecondFactor(FactorPage::Enrol {
        uri, key, wrong: None, ..
    }) = page
    else {
        panic!("not asked to set one up: {page:?}")
    };
    assert!(
        uri.contains(&key) && uri.starts_with("otpauth://totp/id%2Eexample:bob?"),
        "{uri}"
    );
    let LoginPage::SecondFactor(FactorPage::RecoveryCodes(codes)) =
        shown(enter(rig, &handle, &code(&key, rig.clock.now())))
    else {
        panic!("no recovery codes")
    };
    let authentication = completed(rig.federation.login.read_codes(&handle));
    assert_eq!(authentication.amr, ["fed", "otp", "mfa"]);
    Enrolled {
        key,
        codes,
        user: authentication.user,
    }
}

#[test]
fn factor_is_enrolled_at_first_login_and_required_at_the_next() {
    let rig = rig();
    let Enrolled { key, codes, user } = enrol(&rig);
    assert_eq!(codes.len(), 10);
    rig.clock.advance(Duration::from_secs(30));
    let (handle, page) = arrive(&rig);
    assert_eq!(page, asked(None));
    let authentication = completed(enter(&rig, &handle, &code(&key, rig.clock.now())));
    assert_eq!(
        (authentication.user, authentication.amr),
        (user, vec!["fed".to_owned(), "otp".to_owned(), "mfa".to_owned()])
    );
}

#[test]
fn only_the_right_code_continues_the_login() {
    let rig = rig();
    enrol(&rig);
    let (handle, page) = arrive(&rig);
    for step in [
        rig.federation.login.view(&handle),
        rig.federation.login.read_codes(&handle),
        rig.federation.login.prove(&handle, &Secret::new(GOOD)),
        rig.federation.login.rename(&handle),
        rig.federation.login.answer(&handle, Answers::default()),
    ] {
        assert_eq!(shown(step), page);
    }
    for wrong in ["", "000000", "abcdef"] {
        assert_eq!(
            shown(enter(&rig, &handle, &Secret::new(wrong))),
            asked(Some(CodeError::Code)),
            "{wrong:?}"
        );
    }
}

#[test]
fn enrolment_cannot_be_skipped() {
    let rig = rig();
    let (handle, page) = arrive(&rig);
    assert_eq!(shown(rig.federation.login.read_codes(&handle)), page);
    let LoginPage::SecondFactor(FactorPage::Enrol {
        wrong: Some(CodeError::Code),
        ..
    }) = shown(enter(&rig, &handle, &Secret::new("000000")))
    else {
        panic!("a wrong code does not complete the enrolment")
    };
    assert!(
        matches!(arrive(&rig).1, LoginPage::SecondFactor(FactorPage::Enrol { .. })),
        "and the next login starts the enrolment again"
    );
}

#[test]
fn a_code_counts_once_whatever_is_put_between_its_digits() {
    let rig = rig();
    let Enrolled { key, .. } = enrol(&rig);
    let used = code(&key, rig.clock.now());
    let spaced = Secret::new(format!("{} {}", &used.expose()[..3], &used.expose()[3..]));
    for again in [&used, &spaced] {
        let (handle, _) = arrive(&rig);
        assert_eq!(shown(enter(&rig, &handle, again)), asked(Some(CodeError::Code)));
    }
    rig.clock.advance(Duration::from_mins(1));
    let fresh = code(&key, rig.clock.now());
    let handles: Vec<String> = (0..8).map(|_| arrive(&rig).0).collect();
    let through = std::thread::scope(|scope| {
        let threads: Vec<_> = handles
            .iter()
            .map(|handle| scope.spawn(|| enter(&rig, handle, &fresh)))
            .collect();
        let steps = threads.into_iter().map(|thread| thread.join().unwrap());
        steps.filter(|step| matches!(step, Ok(LoginStep::Complete(..)))).count()
    });
    assert_eq!(through, 1);
}

#[test]
fn guesses_are_counted_for_the_person_and_not_for_the_login() {
    let rig = rig();
    let Enrolled { key, .. } = enrol(&rig);
    rig.clock.advance(Duration::from_mins(1));
    for _ in 0..5 {
        let (handle, _) = arrive(&rig);
        assert_eq!(
            shown(enter(&rig, &handle, &Secret::new("000000"))),
            asked(Some(CodeError::Code))
        );
    }
    let (handle, _) = arrive(&rig);
    let right = code(&key, rig.clock.now());
    assert_eq!(shown(enter(&rig, &handle, &right)), asked(Some(CodeError::Locked)));
    rig.clock.advance(Duration::from_mins(1));
    let (handle, _) = arrive(&rig);
    completed(enter(&rig, &handle, &code(&key, rig.clock.now())));
}

#[test]
fn a_recovery_code_opens_once_and_no_part_of_one_ever() {
    let rig = rig();
    let Enrolled { codes, .. } = enrol(&rig);
    let (handle, _) = arrive(&rig);
    for part in [&codes[0][..4], &codes[0][..18], &codes.join(" ")[..]] {
        assert_eq!(
            shown(enter(&rig, &handle, &Secret::new(part))),
            asked(Some(CodeError::Code)),
            "{part}"
        );
    }
    let spelt = codes[0].to_lowercase().replace('-', " ");
    let authentication = completed(enter(&rig, &handle, &Secret::new(spelt)));
    assert_eq!(authentication.amr, ["fed", "mfa"]);
    let (handle, _) = arrive(&rig);
    assert_eq!(
        shown(enter(&rig, &handle, &Secret::new(&*codes[0]))),
        asked(Some(CodeError::Code))
    );
    completed(enter(&rig, &handle, &Secret::new(&*codes[1])));
}

#[test]
fn enrolled_second_factor_is_required_after_a_password() {
    let rig = Rig::new(json!({"mode": "silent"}));
    let user = rig.user(&json!({"userName": "lee", "password": GOOD}));
    let enter = |rig: &Rig| rig.federation.login.password(&rig.start(), "lee", &Secret::new(GOOD));
    completed(enter(&rig));
    rig.set_up_authenticator(&user);
    assert_eq!(shown(enter(&rig)), asked(None));
}

#[test]
fn user_deactivated_during_login_is_refused() {
    let rig = rig();
    let Enrolled { key, user, .. } = enrol(&rig);
    rig.clock.advance(Duration::from_mins(1));
    let (handle, _) = arrive(&rig);
    rig.replace(&user, &json!({"userName": "bob", "active": false}));
    assert_eq!(
        refused(enter(&rig, &handle, &code(&key, rig.clock.now()))),
        Denial::AccountDisabled
    );
}
