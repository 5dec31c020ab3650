//! Codes by e-mail as a second factor: which address, how often, and which code counts.

use super::Login;
use super::browser::Browser;
use super::codes::typed;
use super::step::{CodeError, LoginStep};
use super::transaction::{LoadedTransaction, LoginState, MailedCode};
use crate::audit;
use crate::domain::email::Email;
use crate::domain::login::Authentication;
use crate::domain::{Clock, Kind, Relations, Resource, ResourceId, Secret, SecurityEvent, SecurityEventKind};
use crate::federation::config::MailCode;
use crate::federation::error::{FederationError, LoginError};
use crate::federation::jit::denial::Denial;
use crate::federation::jit::policy::ServiceProviderPolicy;
use crate::storage::mail_addresses::{self, AddressFacts};
use crate::storage::mail_codes::{self, SendPermission};
use crate::storage::{Database, StorageError, random};

/// Most codes that one login may request.
const MOST: u32 = 3;
/// Digits of a code, about 26 bits.
const DIGITS: usize = 8;

/// The codes by e-mail in the database: how many were sent and how many wrong ones were tried. Methods block.
pub(crate) struct EmailCodes {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
}

impl EmailCodes {
    /// The address that codes of a user may go to; none if no address can be trusted.
    fn trusted_address(&self, user: &Resource) -> Result<Option<String>, StorageError> {
        let facts = self
            .database
            .read::<_, StorageError>(|connection| AddressFacts::read(connection, &user.id))?;
        Ok(mail_addresses::trusted(user, &facts))
    }

    /// Counts a code that is about to be sent, or says why none may be sent now.
    fn count(&self, login: &Authentication, mail: &MailedCode) -> Result<Option<CodeError>, StorageError> {
        if mail.sent >= MOST {
            return Ok(Some(CodeError::TooMany));
        }
        let (user, now) = (counted_for(login), self.clock.now());
        let sending = self
            .database
            .write::<_, StorageError>(move |connection| Ok(mail_codes::send(connection, &user, now)?))?;
        Ok(match sending {
            SendPermission::Allowed => None,
            SendPermission::TooSoon => Some(CodeError::TooSoon),
            SendPermission::TooMany => Some(CodeError::TooMany),
        })
    }

    /// Checks a code, and counts it if it is wrong.
    fn check(
        &self,
        login: &Authentication,
        mail: &MailedCode,
        code: &Secret,
    ) -> Result<Option<CodeError>, StorageError> {
        let (user, now) = (counted_for(login), self.clock.now());
        let given = code_fingerprint(&mail.salt, &typed(code));
        let is_right = mail
            .fingerprint
            .as_ref()
            .is_some_and(|known| random::equal(known, &given));
        let address = Email::parse(&mail.address).map(|email| mail_codes::address_fingerprint(&login.user, &email));
        self.database.write::<_, StorageError>(move |connection| {
            if !mail_codes::attempt(connection, &user, now)? {
                return Ok(Some(CodeError::Locked));
            }
            if !is_right {
                return Ok(Some(CodeError::Code));
            }
            mail_codes::pass(connection, &user, address.as_deref())?;
            Ok(None)
        })
    }
}

impl Login {
    /// Sends a code by e-mail: the first one instead of an authenticator's, or another one.
    pub fn mail_code<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        match loaded.transaction.state.clone() {
            LoginState::Mailed { authentication, mail }
            | LoginState::Challenging {
                authentication,
                mail: Some(mail),
            }
            | LoginState::Enrolling {
                authentication,
                mail: Some(mail),
                ..
            } => self.send_code(loaded, policy, authentication, mail),
            _ => Ok(self.show(&loaded, policy)),
        }
    }

    /// Goes on with an authenticator instead of a code by e-mail.
    pub fn authenticator<'a>(&self, browser: impl Into<Browser<'a>>) -> Result<LoginStep, LoginError> {
        let (loaded, policy) = self.load(browser)?;
        match loaded.transaction.state.clone() {
            LoginState::Mailed { authentication, mail } if mail.or_authenticator => {
                self.ask_authenticator(loaded, policy, authentication, Some(mail))
            }
            _ => Ok(self.show(&loaded, policy)),
        }
    }

    /// A code that a login may send: to the first of the person's addresses that can be trusted.
    pub(super) fn mailed_code(
        &self,
        authentication: &Authentication,
        or_authenticator: bool,
    ) -> Result<Option<MailedCode>, FederationError> {
        let Some(user) = self.active_user(authentication)? else {
            return Ok(None);
        };
        let address = self.email_codes.trusted_address(&user)?;
        Ok(address.map(|address| MailedCode {
            address,
            sent: 0,
            salt: random::token(),
            fingerprint: None,
            or_authenticator,
        }))
    }

    /// Sends a code. It is stored before it is sent: a code that was not stored could not be counted.
    pub(super) fn send_code(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
        mut mail: MailedCode,
    ) -> Result<LoginStep, LoginError> {
        let sender = self.config.mail.as_ref().ok_or(Denial::MailUnavailable)?;
        self.must_be_current(&authentication, &mail)?;
        let now = self.directory.clock().now();
        if let Some(wrong) = self.email_codes.count(&authentication, &mail)? {
            loaded.transaction.state = LoginState::Mailed { authentication, mail };
            loaded.transaction.wrong = Some(wrong);
            self.transactions.advance(&mut loaded)?;
            return Ok(self.show(&loaded, policy));
        }
        let (code, address) = (new_code(), mail.address.clone());
        mail.sent += 1;
        mail.fingerprint = Some(code_fingerprint(&mail.salt, &code));
        let ui_locales = loaded.transaction.request.ui_locales.clone();
        let shown = self.enter(loaded, policy, LoginState::Mailed { authentication, mail })?;
        let letter = (sender.compose)(&MailCode {
            application: &policy.display_name,
            ui_locales: &ui_locales,
            code: &format!("{} {}", &code[..DIGITS / 2], &code[DIGITS / 2..]),
        });
        if let Err(error) = sender.mailer.send(&address, &letter, now) {
            log::warn!("a code could not be sent: {error}");
            return Err(Denial::MailUnavailable.into());
        }
        Ok(shown)
    }

    /// Refuses an address that codes of the account do not go to any more.
    fn must_be_current(&self, authentication: &Authentication, mail: &MailedCode) -> Result<(), LoginError> {
        if self.is_mailed_to(&authentication.user, &mail.address)? {
            return Ok(());
        }
        Err(Denial::NotUnderWay.into())
    }

    /// Whether codes of an account go to an address at this moment.
    pub(super) fn is_mailed_to(&self, user: &ResourceId, address: &str) -> Result<bool, FederationError> {
        let found = self.directory.get(&Kind::USER, user, Relations::NONE)?;
        let Some(user) = found.filter(Resource::is_active) else {
            return Ok(false);
        };
        Ok(self
            .email_codes
            .trusted_address(&user)?
            .is_some_and(|current| current == address))
    }

    /// Takes a code that was sent by e-mail in this login.
    pub(super) fn check_mailed_code(
        &self,
        mut loaded: LoadedTransaction,
        policy: &ServiceProviderPolicy,
        code: &Secret,
    ) -> Result<LoginStep, LoginError> {
        let LoginState::Mailed {
            mut authentication,
            mail,
        } = loaded.transaction.state.clone()
        else {
            return Ok(self.show(&loaded, policy));
        };
        self.must_be_current(&authentication, &mail)?;
        if let Some(wrong) = self.email_codes.check(&authentication, &mail, code)? {
            let reason = if wrong == CodeError::Locked {
                "locked"
            } else {
                "wrong_mail_code"
            };
            let event = SecurityEvent {
                user: Some(authentication.user.clone()),
                service_provider: Some(policy.name.clone()),
                reason: Some(reason.to_owned()),
                ..self.event(SecurityEventKind::CodeRefused)
            };
            audit::record(&self.database, event);
            return self.refuse_code(loaded, policy, wrong);
        }
        loaded.transaction.mailed = Some((authentication.user.clone(), mail.address));
        // Not "mfa": two standards do not accept e-mail as a second factor.
        self.add_proof(&mut authentication, &["otp", "email"]);
        self.complete(loaded, policy, authentication)
    }
}

/// Returns the id that codes of a login are counted under. Where nothing is proved yet, anybody may ask for codes: they are
/// counted apart, so that nobody uses up those that the owner of the account signs in with.
fn counted_for(login: &Authentication) -> ResourceId {
    if login.amr.is_empty() {
        mail_codes::before_proof(&login.user)
    } else {
        login.user.clone()
    }
}

fn code_fingerprint(salt: &str, code: &str) -> String {
    random::fingerprint(&format!("mailed/{salt}/{code}"))
}

fn new_code() -> String {
    let number = u64::from_be_bytes(random::bytes()) % 10_u64.pow(8);
    format!("{number:0DIGITS$}")
}

#[cfg(test)]
mod tests {
    use super::*;

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
