//! Reads `[mail]`: the SMTP server that sends codes.

use std::time::Duration;

use super::reader::TableReader;
use super::sections::{Environment, secret_needed};
use crate::domain::email::Email;
use crate::mail::{Encryption, MailSettings};

/// The longest allowed timeout for a mail, because the person waits for the page meanwhile.
const LONGEST: Duration = Duration::from_mins(1);

pub(super) fn mail(mut r: TableReader, environment: Environment<'_>) -> MailSettings {
    let host = r.needed("host");
    let encryption = r.word(
        "encryption",
        &[
            ("starttls", Encryption::StartTls),
            ("tls", Encryption::Tls),
            ("none", Encryption::None),
        ],
    );
    let usual = match encryption {
        Encryption::StartTls => 587,
        Encryption::Tls => 465,
        Encryption::None => 25,
    };
    let mail = MailSettings {
        host,
        port: u16::try_from(r.number("port", usual, u32::from(u16::MAX))).unwrap_or(u16::MAX),
        encryption,
        ca_file: r.path("ca_file"),
        credentials: r.text("username").and_then(|user| {
            let password = secret_needed(&mut r, "password", environment)?;
            Some((user, password))
        }),
        from: r.needed("from"),
        timeout: r.span("timeout", Duration::from_secs(10)),
    };
    if !mail.from.is_empty() && Email::parse(&mail.from).is_none() {
        r.problem("from", "must be an address without a name, such as login@example.com");
    }
    if mail.encryption == Encryption::None && !mail.is_loopback() {
        r.problem(
            "encryption",
            "can be \"none\" only if host is localhost, 127.0.0.1 or ::1",
        );
    }
    if mail.timeout > LONGEST {
        r.problem("timeout", "must be at most 1m, because people wait for it");
    }
    r.done();
    mail
}
