//! The text of mails to users. It has no links, so that users do not learn to follow them.

use super::{language, messages};
use crate::federation::MailCode;
use crate::mail::MailMessage;

/// Writes the mail that carries a code.
pub fn code(mail: &MailCode<'_>) -> MailMessage {
    language::prefer(mail.ui_locales);
    let values = [("application", mail.application), ("code", mail.code)];
    let paragraphs = ["mail.asked", "mail.code", "mail.once", "mail.never", "mail.not_you"];
    let text: Vec<String> = paragraphs.map(|key| messages::filled(key, &values)).into();
    MailMessage {
        subject: messages::filled("mail.subject", &values),
        text: text.join("\n\n") + "\n",
    }
}
