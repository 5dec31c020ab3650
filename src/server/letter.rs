//! Mail to people, in their language: what it says. It holds no link, so that nobody learns to follow one.

use super::{language, messages};
use crate::federation::MailCode;
use crate::mail::Letter;

/// The mail that brings a code.
pub fn code(mail: &MailCode<'_>) -> Letter {
    language::prefer(mail.ui_locales);
    let values = [("application", mail.application), ("code", mail.code)];
    let paragraphs = ["mail.asked", "mail.code", "mail.once", "mail.never", "mail.not_you"];
    let text: Vec<String> = paragraphs.map(|key| messages::filled(key, &values)).into();
    Letter {
        subject: messages::filled("mail.subject", &values),
        text: text.join("\n\n") + "\n",
    }
}
