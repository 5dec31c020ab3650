//! An independent mail server that requires TLS and a password.
//!
//! Runs if `VESTIBULE_TEST_SMTP_PORT`, `…_SMTP_CA` and `…_SMTP_SPOOL` are set, as `scripts/peer smtp` prints them.
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::{Value, json};
use vestibule::domain::{Secret, Timestamp};
use vestibule::mail::{Encryption, MailError, MailMessage, MailSettings, Mailer};

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("VESTIBULE_TEST_SMTP_{name}")).ok()
}

pub(crate) fn trials() -> Vec<Trial> {
    let cases: [(&str, fn()); 3] = [
        ("mail_arrives_as_it_was_written", mail_arrives_as_it_was_written),
        (
            "server_with_an_untrusted_certificate_gets_no_mail",
            server_with_an_untrusted_certificate_gets_no_mail,
        ),
        (
            "without_the_password_nothing_is_sent",
            without_the_password_nothing_is_sent,
        ),
    ];
    let ignored = variable("PORT").is_none();
    let trial = |(name, case): (&str, fn())| {
        let run = move || {
            case();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(ignored)
    };
    cases.map(trial).into()
}

fn settings() -> MailSettings {
    MailSettings {
        host: "127.0.0.1".to_owned(),
        port: variable("PORT").unwrap().parse().unwrap(),
        encryption: Encryption::StartTls,
        ca_file: Some(variable("CA").unwrap().into()),
        credentials: Some(("vestibule".to_owned(), Secret::new("vestibule-at-smtp"))),
        from: "login@id.example".to_owned(),
        timeout: Duration::from_secs(10),
    }
}

fn send(settings: &MailSettings, to: &str) -> Result<(), MailError> {
    let letter = MailMessage {
        subject: "Ihr Code für Wiki".to_owned(),
        text: "Der Code: 1234 5678\n".to_owned(),
    };
    Mailer::new(settings, "id.example")
        .unwrap()
        .send(to, &letter, Timestamp(1_767_225_600_000))
}

/// The received mail for an address.
fn mail_to(address: &str) -> Vec<Value> {
    let spool = std::fs::read_to_string(variable("SPOOL").unwrap()).unwrap_or_default();
    let mail = spool.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    mail.filter(|mail| mail["to"] == json!([address])).collect()
}

fn mail_arrives_as_it_was_written() {
    send(&settings(), "ann@example.com").unwrap();
    let mail = mail_to("ann@example.com");
    let last = mail.last().expect("nothing arrived");
    assert_eq!(last["from"], "login@id.example");
    let text = last["text"].as_str().unwrap();
    for part in [
        "To: ann@example.com\r\n",
        "Subject: Ihr Code =?utf-8?b?",
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n",
        "\r\n\r\nDer Code: 1234 5678\r\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text:?}");
    }
}

fn server_with_an_untrusted_certificate_gets_no_mail() {
    let stranger = MailSettings {
        ca_file: None,
        ..settings()
    };
    assert!(matches!(send(&stranger, "bob@example.com"), Err(MailError::Refused(_))));
    assert!(mail_to("bob@example.com").is_empty());
}

fn without_the_password_nothing_is_sent() {
    for credentials in [None, Some(("vestibule".to_owned(), Secret::new("guess")))] {
        let settings = MailSettings {
            credentials,
            // The server delays its answer to a wrong password.
            timeout: Duration::from_secs(3),
            ..settings()
        };
        assert!(send(&settings, "eve@example.com").is_err());
    }
    assert!(mail_to("eve@example.com").is_empty());
}
