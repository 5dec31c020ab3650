//! Codes by e-mail as a second factor: where they may go, how often, and which one counts.

use serde_json::Value;

use super::denial::Denial;
use super::login::{Federation, FederationError};
use super::policy::ServiceProviderPolicy;
use super::second_factor::typed;
use super::step::{Step, Wrong};
use super::transaction::{Held, Mailed, Stage};
use super::upstream::MailCode;
use crate::domain::email::Email;
use crate::domain::login::Authentication;
use crate::domain::{Resource, ResourceId, Secret};
use crate::storage::links::LinkRecord;
use crate::storage::mail_codes::{self, Sending};
use crate::storage::{StorageError, links, random};

/// How many codes one login may ask for.
const MOST: u32 = 3;
/// The digits of a code: 26 bits.
const DIGITS: usize = 8;

impl Federation {
    /// Sends a code by e-mail: the first one in the place of an authenticator's, or another one.
    pub fn mail_code(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        match held.transaction.stage.clone() {
            Stage::Mailed { authentication, mail }
            | Stage::Challenging {
                authentication,
                mail: Some(mail),
            }
            | Stage::Enrolling {
                authentication,
                mail: Some(mail),
                ..
            } => self.send_code(held, policy, authentication, mail),
            _ => Ok(Step::Show(self.screen(&held.transaction, policy))),
        }
    }

    /// Goes on with an authenticator in the place of a code by e-mail.
    pub fn authenticator(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        match held.transaction.stage.clone() {
            Stage::Mailed { authentication, mail } if mail.or_authenticator => {
                self.ask_authenticator(held, policy, authentication, Some(mail))
            }
            _ => Ok(Step::Show(self.screen(&held.transaction, policy))),
        }
    }

    /// The mail that a login may ask for: to the first of the person's addresses that may be trusted.
    pub(super) fn mail_to(
        &self,
        authentication: &Authentication,
        or_authenticator: bool,
    ) -> Result<Option<Mailed>, FederationError> {
        let Some(user) = self.present(authentication)? else {
            return Ok(None);
        };
        let links = self
            .database
            .read::<_, StorageError>(|connection| links::of_user(connection, &user.id))?;
        Ok(trusted_address(&user, &links).map(|address| Mailed {
            address,
            sent: 0,
            salt: random::token(),
            fingerprint: None,
            or_authenticator,
        }))
    }

    /// Sends a code. It is written down before it goes out: what was not, nobody can count.
    pub(super) fn send_code(
        &self,
        mut held: Held,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
        mut mail: Mailed,
    ) -> Result<Step, FederationError> {
        let Some(post) = &self.door.post else {
            return Ok(Step::Refused(Denial::MailUnavailable));
        };
        let now = self.directory.clock().now();
        if let Some(wrong) = self.is_too_much(&authentication.user, &mail)? {
            held.transaction.stage = Stage::Mailed { authentication, mail };
            held.transaction.wrong = Some(wrong);
            return Ok(if self.transactions.advance(&mut held)? {
                Step::Show(self.screen(&held.transaction, policy))
            } else {
                Step::Refused(Denial::NotUnderWay)
            });
        }
        let (code, address) = (new_code(), mail.address.clone());
        mail.sent += 1;
        mail.fingerprint = Some(code_fingerprint(&mail.salt, &code));
        let shown = match self.stand(held, policy, Stage::Mailed { authentication, mail })? {
            Step::Show(screen) => screen,
            other => return Ok(other),
        };
        let letter = (post.words)(&MailCode {
            standing: &shown.standing,
            code: &format!("{} {}", &code[..DIGITS / 2], &code[DIGITS / 2..]),
        });
        if let Err(error) = post.mailer.send(&address, &letter, now) {
            log::warn!("a code could not be sent: {error}");
            return Ok(Step::Refused(Denial::MailUnavailable));
        }
        Ok(Step::Show(shown))
    }

    fn is_too_much(&self, user: &ResourceId, mail: &Mailed) -> Result<Option<Wrong>, FederationError> {
        if mail.sent >= MOST {
            return Ok(Some(Wrong::TooMany));
        }
        let (user, now) = (user.clone(), self.directory.clock().now());
        let sending = self
            .database
            .write::<_, StorageError>(move |connection| Ok(mail_codes::send(connection, &user, now)?))?;
        Ok(match sending {
            Sending::Allowed => None,
            Sending::TooSoon => Some(Wrong::TooSoon),
            Sending::TooMany => Some(Wrong::TooMany),
        })
    }

    /// Takes a code that went out by e-mail in this login.
    pub(super) fn mailed(
        &self,
        held: Held,
        policy: &ServiceProviderPolicy,
        (mut authentication, mail): (Authentication, Mailed),
        code: &Secret,
    ) -> Result<Step, FederationError> {
        let (user, now) = (authentication.user.clone(), self.directory.clock().now());
        let given = code_fingerprint(&mail.salt, &typed(code));
        let is_right = mail.fingerprint.is_some_and(|known| random::equal(&known, &given));
        let address = Email::parse(&mail.address).map(|email| fingerprint(&user, &email));
        let wrong = self.database.write::<_, StorageError>(move |connection| {
            if !mail_codes::attempt(connection, &user, now)? {
                return Ok(Some(Wrong::Locked));
            }
            if !is_right {
                return Ok(Some(Wrong::Code));
            }
            mail_codes::pass(connection, &user, address.as_deref())?;
            Ok(None)
        })?;
        if let Some(wrong) = wrong {
            return self.not_a_code(held, policy, wrong);
        }
        // Not "mfa": two standards do not call mail a second factor.
        authentication.amr.extend(["otp", "email"].map(str::to_owned));
        self.proved(&held, authentication)
    }
}

/// The address that a code may go to: one that an administrator or a SCIM client wrote, or that an identity provider wrote
/// and called verified when its person last came. What people type here themselves proves nothing.
fn trusted_address(user: &Resource, links: &[LinkRecord]) -> Option<String> {
    let (attributes, writers) = (user.document.attributes(), user.writers.writers());
    let is_trusted = |address: &str| {
        let Some(email) = Email::parse(address) else {
            return false;
        };
        let Some(writer) = writers.get(&format!("emails[{address}]")) else {
            return false;
        };
        match writer.split_once(':') {
            None => writer == "admin",
            Some(("idp", provider)) => {
                let verified = fingerprint(&user.id, &email);
                links.iter().any(|known| {
                    known.link.identity_provider.as_str() == provider
                        && known.verified_email.as_ref() == Some(&verified)
                })
            }
            Some((kind, _)) => kind == "scim",
        }
    };
    let mut emails: Vec<&Value> = attributes.get("emails")?.as_array()?.iter().collect();
    emails.sort_by_key(|email| email.get("primary") != Some(&Value::Bool(true)));
    let mut addresses = emails.into_iter().filter_map(|email| email.get("value")?.as_str());
    addresses.find(|address| is_trusted(address)).map(str::to_owned)
}

/// How an address is remembered that is known to be the person's: nothing that could be read.
pub(super) fn fingerprint(user: &ResourceId, email: &Email<'_>) -> String {
    random::fingerprint(&format!("verified-email/{user}/{}", email.mailbox()))
}

fn code_fingerprint(salt: &str, code: &str) -> String {
    random::fingerprint(&format!("mailed/{salt}/{code}"))
}

fn new_code() -> String {
    let number = u64::from_be_bytes(random::bytes()) % 10_u64.pow(8);
    format!("{number:0DIGITS$}")
}

/// An address as whoever owns it recognises it, and nobody else.
pub(super) fn masked(address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let mut signs = local.chars();
    let first = signs.next().filter(|_| signs.next().is_some());
    format!("{}•••@{domain}", first.map_or_else(String::new, String::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_to_whoever_knows_it() {
        for (address, shown) in [
            ("alice@example.com", "a•••@example.com"),
            ("al@example.com", "a•••@example.com"),
            ("a@example.com", "•••@example.com"),
            ("ünal@example.com", "ü•••@example.com"),
        ] {
            assert_eq!(masked(address), shown);
        }
    }

    #[test]
    fn codes_have_eight_digits_and_differ() {
        let codes: std::collections::HashSet<String> = (0..1000).map(|_| new_code()).collect();
        assert!(codes.len() > 990);
        assert!(
            codes
                .iter()
                .all(|code| code.len() == DIGITS && code.bytes().all(|sign| sign.is_ascii_digit()))
        );
    }
}
