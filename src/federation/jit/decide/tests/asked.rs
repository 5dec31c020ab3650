//! Tests of the questions in each provisioning mode, row by row of the documented table.

use std::collections::BTreeSet;

use super::*;
use crate::domain::password::PasswordDefect;
use crate::federation::jit::purpose::PurposeAttribute;

const GOOD: &str = "correct horse battery";

fn path(text: &str) -> WritablePath {
    text.to_owned().try_into().unwrap()
}

fn in_mode(mode: JitMode) -> Case {
    let mut case = Case::new();
    case.policy.mode = mode;
    case
}

/// The purpose "profile": the address is required, the title is optional.
fn profile(version: u32) -> Purpose {
    let attribute = |text: &str, optional| PurposeAttribute {
        path: path(text),
        optional,
    };
    Purpose {
        name: "profile".to_owned(),
        version,
        attributes: vec![
            attribute("emails[type eq \"work\"].value", false),
            attribute("title", true),
        ],
        ..crate::federation::jit::claim_mapping::account_purpose(&[], &serde_json::Map::new())
    }
}

fn consent(version: u32, granted: &[&str], refused: &[&str]) -> Consent {
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    Consent {
        purpose: "profile".to_owned(),
        version,
        granted: set(granted),
        refused: set(refused),
        identity_provider: "google".into(),
        service_provider: "wiki".into(),
    }
}

const EMAIL: &str = "emails[type eq \"work\"].value";

fn questions(case: &Case) -> Questions {
    match case.decide() {
        Decision::Ask(LoginPrompt::Details(questions)) => questions,
        other => panic!("not asked: {other:?}"),
    }
}

fn created(case: &Case) -> (String, Agreement) {
    match case.decide() {
        Decision::Provision(Proposal::Create {
            username, agreement, ..
        }) => (username, agreement),
        other => panic!("no account: {other:?}"),
    }
}

fn answering(passwords: Option<(&str, &str)>) -> Answers {
    Answers {
        passwords: passwords.map(|(one, two)| (Secret::new(one), Secret::new(two))),
        ..Answers::default()
    }
}

pub(crate) fn any_answers() -> impl Strategy<Value = Answers> {
    let username = prop::option::of(prop_oneof![
        Just("bob".to_owned()),
        Just("other".to_owned()),
        Just(String::new())
    ]);
    (username, any::<bool>()).prop_map(|(username, good)| Answers {
        username,
        ..answering(good.then_some((GOOD, GOOD)))
    })
}

#[test]
fn each_mode_asks_for_what_the_table_says() {
    for (mode, consent, password, username) in [
        (JitMode::Consent, true, false, false),
        (JitMode::PasswordConsent, true, true, false),
        (JitMode::UsernamePasswordConsent, true, true, true),
    ] {
        let asked = questions(&in_mode(mode));
        assert_eq!(
            (!asked.purposes.is_empty(), asked.password, asked.username.is_some()),
            (consent, password, username),
            "{mode:?}"
        );
        assert_eq!(asked.problems, []);
    }
    assert_eq!(created(&in_mode(JitMode::Silent)).1, Agreement::default());
    assert_eq!(in_mode(JitMode::Off).decide(), Decision::Refuse(Denial::NoAccount));
}

#[test]
fn an_application_asks_for_more_and_never_for_less() {
    for (provider, application, together) in [
        (JitMode::Silent, JitMode::Consent, JitMode::Consent),
        (JitMode::PasswordConsent, JitMode::Silent, JitMode::PasswordConsent),
        (JitMode::Consent, JitMode::Off, JitMode::Off),
        (JitMode::Off, JitMode::Silent, JitMode::Off),
    ] {
        let mut case = in_mode(provider);
        case.service_provider.jit_mode = Some(application);
        assert_eq!(case.service_provider.mode(&case.policy), together);
        assert_eq!(case.decide(), in_mode(together).decide());
    }
}

#[test]
fn an_agreement_makes_the_account_with_a_receipt() {
    let mut case = in_mode(JitMode::Consent);
    case.purposes = vec![profile(3)];
    case.answers = Some(Answers {
        kept: ["title".to_owned()].into(),
        ..Answers::default()
    });
    let (username, agreement) = created(&case);
    assert_eq!(username, "bob");
    assert_eq!(agreement.consents, [consent(3, &[EMAIL, "title"], &[])]);
    case.answers = Some(Answers::default());
    assert_eq!(created(&case).1.consents, [consent(3, &[EMAIL], &["title"])]);
}

#[test]
fn a_password_that_will_not_do_is_asked_for_again() {
    for (passwords, problem) in [
        (None, AnswerProblem::Password(PasswordDefect::Short)),
        (Some(("short", "short")), AnswerProblem::Password(PasswordDefect::Short)),
        (
            Some(("Password1234", "Password1234")),
            AnswerProblem::Password(PasswordDefect::Common),
        ),
        (Some((GOOD, "correct horse batterie")), AnswerProblem::PasswordsDiffer),
    ] {
        let mut case = in_mode(JitMode::PasswordConsent);
        case.answers = Some(answering(passwords));
        assert_eq!(questions(&case).problems, [problem]);
    }
    let mut case = in_mode(JitMode::PasswordConsent);
    case.answers = Some(answering(Some((GOOD, GOOD))));
    assert_eq!(created(&case).1.password, Some(Secret::new(GOOD)));
}

#[test]
fn a_typed_user_name_never_links_the_account_that_has_it() {
    let mut case = Case::taken();
    case.policy.mode = JitMode::UsernamePasswordConsent;
    case.proved = Some(bob().id);
    case.answers = Some(Answers {
        username: Some("bob".to_owned()),
        ..answering(Some((GOOD, GOOD)))
    });
    let asked = questions(&case);
    assert_eq!(
        (asked.username.as_deref(), &asked.problems[..]),
        (Some("bob"), &[AnswerProblem::NameTaken][..])
    );
}

#[test]
fn choosing_another_name_avoids_the_proof_of_the_derived_one() {
    let mut case = Case::taken();
    case.policy.mode = JitMode::UsernamePasswordConsent;
    assert_eq!(case.decide(), crate::federation::jit::decide::tests::asked());
    case.wishes.another_name = true;
    let asked = questions(&case);
    assert_eq!((asked.username.as_deref(), asked.problems.len()), (Some(""), 0));
    case.wishes.another_name = false;
    case.policy.on_conflict = OnConflict::Refuse;
    assert_eq!(questions(&case).username.as_deref(), Some(""));
}

#[test]
fn an_unusable_name_is_asked_for_only_where_names_are_chosen() {
    let mut case = in_mode(JitMode::UsernamePasswordConsent);
    case.wanted = DesiredAccount::Nameless {
        store: StoreName::PRIMARY,
        denial: Denial::BadUsername,
    };
    assert_eq!(questions(&case).problems, []);
    case.answers = Some(Answers {
        username: Some("\u{202e}".to_owned()),
        ..Answers::default()
    });
    assert_eq!(questions(&case).problems, [AnswerProblem::BadName]);
    case.policy.mode = JitMode::Consent;
    assert_eq!(case.decide(), Decision::Refuse(Denial::BadUsername));
}

#[test]
fn missing_required_attributes_are_filled_in_by_the_person() {
    let mut case = in_mode(JitMode::Consent);
    case.purposes = vec![profile(1)];
    case.identity.claims.remove("email");
    assert_eq!(questions(&case).missing, [path(EMAIL)]);
    for (typed, fits) in [("", false), ("  ", false), ("a\u{7}", false), ("bob@example.com", true)] {
        case.answers = Some(Answers {
            attributes: [(EMAIL.to_owned(), typed.to_owned())].into(),
            ..Answers::default()
        });
        if fits {
            assert_eq!(created(&case).1.filled, [(path(EMAIL), typed.to_owned())]);
        } else {
            assert_eq!(
                questions(&case).problems,
                [AnswerProblem::Attribute(path(EMAIL))],
                "{typed:?}"
            );
        }
    }
}

#[test]
fn a_suggestion_may_be_changed_and_nothing_else_may() {
    let mut case = in_mode(JitMode::Consent).claim("nick", json!("bobby"));
    case.claims
        .push(ClaimMapping::new("nick", "nickName", claim_mapping::ClaimMode::Suggest).unwrap());
    assert_eq!(questions(&case).suggested, [(path("nickName"), "bobby".to_owned())]);
    case.answers = Some(Answers {
        attributes: [("nickName", "Robert"), ("displayName", "Admin"), ("roles", "admin")]
            .map(|(path, text)| (path.to_owned(), text.to_owned()))
            .into(),
        ..Answers::default()
    });
    let agreement = created(&case).1;
    assert_eq!(agreement.changed, [(path("nickName"), "Robert".to_owned())]);
    assert_eq!(agreement.filled, []);
}

#[test]
fn a_linked_person_is_asked_only_for_what_is_new() {
    let mut case = in_mode(JitMode::UsernamePasswordConsent);
    case.linked = Some(bob());
    case.purposes = vec![profile(2)];
    case.given = vec![consent(2, &[EMAIL], &["title"])];
    assert_eq!(case.decide(), Decision::Complete(bob(), Agreement::default()));
    for given in [
        vec![],
        vec![consent(1, &[EMAIL], &[])],
        vec![consent(2, &["title"], &[])],
    ] {
        case.given = given;
        let asked = questions(&case);
        assert_eq!((asked.purposes.len(), asked.password, asked.username), (1, false, None));
    }
    case.answers = Some(Answers::default());
    let agreement = Agreement {
        consents: vec![consent(2, &[EMAIL], &["title"])],
        ..Agreement::default()
    };
    assert_eq!(case.decide(), Decision::Complete(bob(), agreement));
}

#[test]
fn linking_a_proved_account_asks_for_no_new_password() {
    let mut case = Case::taken();
    case.policy.mode = JitMode::UsernamePasswordConsent;
    case.proved = Some(bob().id);
    let asked = questions(&case);
    assert_eq!((asked.purposes.len(), asked.password, asked.username), (1, false, None));
    case.answers = Some(Answers::default());
    assert!(matches!(case.decide(), Decision::Provision(Proposal::Link(..))));
}

#[test]
fn the_policy_decides_whether_a_removed_person_returns() {
    let mut case = Case::new();
    case.unlinked = true;
    assert!(matches!(case.decide(), Decision::Provision(_)));
    case.policy.returning = Returning::Refuse;
    assert_eq!(case.decide(), Decision::Refuse(Denial::AccountRemoved));
    case.linked = Some(bob());
    assert!(matches!(case.decide(), Decision::Complete(..)));
}
