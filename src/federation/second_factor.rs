//! The second factor: asked for, set up, and recovered. No login ends but through here.

use serde_json::Value;

use super::denial::Denial;
use super::login::{Federation, FederationError};
use super::mailed::masked;
use super::policy::{SecondFactor, ServiceProviderPolicy};
use super::step::{FactorPage, Step, Wrong};
use super::totp;
use super::transaction::{Held, Mailed, Stage, Transaction};
use crate::domain::login::Authentication;
use crate::domain::{Kind, Relations, Resource, ResourceId, Secret, Timestamp};
use crate::storage::factors::{self, Attempt, Factor, TOTP};
use crate::storage::{SecretBox, StorageError, identity_locks, random};

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;

/// What a code turned out to be.
enum Verdict {
    /// The authenticator's.
    Code,
    /// One of the recovery codes, which is used up.
    Recovery,
    Wrong(Wrong),
    /// There is no factor any more.
    Gone,
}

impl Federation {
    /// Ends a login, once every factor that it needs is proved.
    pub(super) fn complete(
        &self,
        held: Held,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
    ) -> Result<Step, FederationError> {
        let user = authentication.user.clone();
        let (enrolled, locked) = self.database.read::<_, StorageError>(|connection| {
            let enrolled = factors::has(connection, &user, TOTP)?;
            Ok((enrolled, identity_locks::of_user(connection, &user)?))
        })?;
        if let Some(reason) = locked {
            return Ok(Step::Refused(Denial::IdentityLocked { reason }));
        }
        // Whoever has an authenticator is asked for it after a password, and wherever it can be taken away, whatever anybody
        // else would take.
        let asked = authentication.identity_provider.is_none() || held.transaction.request.is_of_ourselves();
        match self.wanted_factor(policy, &authentication) {
            SecondFactor::None | SecondFactor::EmailOtp if enrolled && asked => {
                self.ask_authenticator(held, policy, authentication, None)
            }
            SecondFactor::None => self.finish(&held, authentication),
            SecondFactor::Totp => self.ask_authenticator(held, policy, authentication, None),
            SecondFactor::EmailOtp => match self.mail_to(&authentication, false)? {
                Some(mail) => self.send_code(held, policy, authentication, mail),
                None => Ok(Step::Refused(Denial::NoMailAddress)),
            },
            SecondFactor::Any => match self.mail_to(&authentication, true)? {
                Some(mail) if !enrolled => self.send_code(held, policy, authentication, mail),
                mail => self.ask_authenticator(held, policy, authentication, mail),
            },
        }
    }

    /// Asks for the code of the person's authenticator, which is set up first if there is none.
    pub(super) fn ask_authenticator(
        &self,
        held: Held,
        policy: &ServiceProviderPolicy,
        authentication: Authentication,
        mail: Option<Mailed>,
    ) -> Result<Step, FederationError> {
        let user = authentication.user.clone();
        let enrolled = self
            .database
            .read::<_, StorageError>(|connection| factors::has(connection, &user, TOTP))?;
        if enrolled {
            return self.stand(held, policy, Stage::Challenging { authentication, mail });
        }
        let Some(user) = self.present(&authentication)? else {
            return Ok(Step::Refused(Denial::AccountDisabled));
        };
        let stage = Stage::Enrolling {
            authentication,
            username: username(&user),
            seed: totp::seed(),
            mail,
        };
        self.stand(held, policy, stage)
    }

    /// The page of a login that stands at its second factor.
    pub(super) fn factor_page(&self, transaction: &Transaction) -> Option<FactorPage> {
        let wrong = transaction.wrong;
        match &transaction.stage {
            Stage::Challenging { mail, .. } => Some(FactorPage::Code {
                wrong,
                or_mail: mail.is_some(),
            }),
            Stage::Mailed { mail, .. } => Some(FactorPage::MailCode {
                address: masked(&mail.address),
                wrong,
                or_authenticator: mail.or_authenticator,
            }),
            Stage::Enrolling {
                seed, username, mail, ..
            } => Some(FactorPage::Enrol {
                uri: totp::uri(seed, &self.called_ourselves(), username),
                key: totp::base32(seed),
                wrong,
                or_mail: mail.is_some(),
            }),
            Stage::Enrolled { codes, .. } => Some(FactorPage::RecoveryCodes(codes.clone())),
            _ => None,
        }
    }

    /// Takes a code: the authenticator's, or a recovery code.
    pub fn code(&self, handle: &str, code: &Secret) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        match held.transaction.stage.clone() {
            Stage::Challenging { authentication, .. } => self.challenged(held, policy, authentication, code),
            Stage::Mailed { authentication, mail } => self.mailed(held, policy, (authentication, mail), code),
            Stage::Enrolling {
                authentication, seed, ..
            } => self.enrol(held, policy, (authentication, seed), code),
            _ => Ok(Step::Show(self.screen(&held.transaction, policy))),
        }
    }

    /// The person has read the recovery codes.
    pub fn read_codes(&self, handle: &str) -> Result<Step, FederationError> {
        let Some((held, policy)) = self.held(handle)? else {
            return Ok(Step::Refused(Denial::NotUnderWay));
        };
        match held.transaction.stage.clone() {
            Stage::Enrolled { authentication, .. } => self.proved(&held, authentication),
            _ => Ok(Step::Show(self.screen(&held.transaction, policy))),
        }
    }

    fn challenged(
        &self,
        held: Held,
        policy: &ServiceProviderPolicy,
        mut authentication: Authentication,
        code: &Secret,
    ) -> Result<Step, FederationError> {
        match self.verdict(&authentication.user, code)? {
            Verdict::Code => {
                authentication.amr.extend(["otp", "mfa"].map(str::to_owned));
                self.proved(&held, authentication)
            }
            Verdict::Recovery => {
                log::info!("a recovery code took the place of a second factor");
                authentication.amr.push("mfa".to_owned());
                self.proved(&held, authentication)
            }
            Verdict::Wrong(wrong) => self.not_a_code(held, policy, wrong),
            Verdict::Gone => self.complete(held, policy, authentication),
        }
    }

    /// Compares a code in one transaction with the count of wrong ones: parallel guesses wait for each other.
    fn verdict(&self, user: &ResourceId, code: &Secret) -> Result<Verdict, FederationError> {
        let (user, now) = (user.clone(), self.directory.clock().now());
        let code = typed(code);
        let secrets = self.transactions.secrets.clone();
        let verdict = self.database.write::<_, StorageError>(move |connection| {
            let factor = match factors::attempt(connection, &user, TOTP, now)? {
                Attempt::Absent => return Ok(Verdict::Gone),
                Attempt::Locked => return Ok(Verdict::Wrong(Wrong::Locked)),
                Attempt::Compare(factor) => factor,
            };
            if let Some(step) = step(&secrets, &user, &factor, &code, now) {
                factors::pass(connection, &user, TOTP, step)?;
                return Ok(Verdict::Code);
            }
            if factors::use_recovery_code(connection, &user, &recovery_hash(&user, &code))? {
                factors::pass(connection, &user, TOTP, factor.last_step)?;
                return Ok(Verdict::Recovery);
            }
            Ok(Verdict::Wrong(Wrong::Code))
        })?;
        Ok(verdict)
    }

    /// Sets the factor up once the authenticator has shown that it has the seed.
    fn enrol(
        &self,
        held: Held,
        policy: &ServiceProviderPolicy,
        (authentication, seed): (Authentication, [u8; 20]),
        code: &Secret,
    ) -> Result<Step, FederationError> {
        let now = self.directory.clock().now();
        let Some(last_step) = totp::step_of(&seed, &typed(code), now, 0) else {
            return self.not_a_code(held, policy, Wrong::Code);
        };
        if self.present(&authentication)?.is_none() {
            return Ok(Step::Refused(Denial::AccountDisabled));
        }
        let user = authentication.user.clone();
        let (codes, hashes) = recovery_codes(&user);
        let factor = Factor {
            sealed: self.transactions.secrets.seal(&context(&user), &seed),
            last_step,
        };
        let is_new = self.database.write::<_, StorageError>(move |connection| {
            let is_new = factors::insert(connection, &user, TOTP, &factor, now)?;
            if is_new {
                factors::set_recovery_codes(connection, &user, &hashes)?;
            }
            Ok(is_new)
        })?;
        if !is_new {
            // Another window was quicker: its factor is the one that counts.
            return self.ask_authenticator(held, policy, authentication, None);
        }
        let mut authentication = authentication;
        authentication.amr.extend(["otp", "mfa"].map(str::to_owned));
        self.stand(held, policy, Stage::Enrolled { authentication, codes })
    }

    /// Ends the login of somebody who may still enter.
    pub(super) fn proved(&self, held: &Held, authentication: Authentication) -> Result<Step, FederationError> {
        let user = authentication.user.clone();
        let locked = self
            .database
            .read::<_, StorageError>(|connection| identity_locks::of_user(connection, &user))?;
        if let Some(reason) = locked {
            return Ok(Step::Refused(Denial::IdentityLocked { reason }));
        }
        if self.present(&authentication)?.is_none() {
            return Ok(Step::Refused(Denial::AccountDisabled));
        }
        self.finish(held, authentication)
    }

    pub(super) fn not_a_code(
        &self,
        mut held: Held,
        policy: &ServiceProviderPolicy,
        wrong: Wrong,
    ) -> Result<Step, FederationError> {
        held.transaction.wrong = Some(wrong);
        self.failed(held, policy)
    }

    pub(super) fn present(&self, authentication: &Authentication) -> Result<Option<Resource>, FederationError> {
        let user = self.directory.get(&Kind::USER, &authentication.user, Relations::NONE)?;
        Ok(user.filter(Resource::is_active))
    }

    fn wanted_factor(&self, policy: &ServiceProviderPolicy, authentication: &Authentication) -> SecondFactor {
        let provider = authentication.identity_provider.as_ref();
        let of_provider = provider
            .and_then(|name| self.upstream(name))
            .map(|upstream| upstream.settings.mfa);
        policy.mfa.and(of_provider.unwrap_or_default())
    }

    /// What an authenticator calls us: our host.
    fn called_ourselves(&self) -> String {
        self.public_url().host_str().unwrap_or("Vestibule").to_owned()
    }
}

fn step(secrets: &SecretBox, user: &ResourceId, factor: &Factor, code: &str, now: Timestamp) -> Option<i64> {
    let Ok(seed) = secrets.open(&context(user), &factor.sealed) else {
        log::error!("a second factor cannot be opened: is this the master key that sealed it?");
        return None;
    };
    totp::step_of(&seed, code, now, factor.last_step)
}

pub(super) fn username(user: &Resource) -> String {
    let attributes = user.document.attributes();
    attributes
        .get("userName")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A seed is sealed for its user: in another's row it does not open.
fn context(user: &ResourceId) -> String {
    format!("factors/{user}/{TOTP}")
}

/// New recovery codes, and what is kept of them.
pub(super) fn recovery_codes(user: &ResourceId) -> (Vec<String>, Vec<String>) {
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
    let hashes = codes.iter().map(|code| recovery_hash(user, &plain(code))).collect();
    (codes, hashes)
}

/// 80 random bits, in four groups.
fn recovery_code() -> String {
    let text = totp::base32(&random::bytes::<10>());
    let groups: Vec<&str> = (0..4).map(|at| &text[4 * at..4 * at + 4]).collect();
    groups.join("-")
}

fn recovery_hash(user: &ResourceId, code: &str) -> String {
    random::fingerprint(&format!("recovery/{user}/{code}"))
}

/// A code as it was typed, without what people put between its groups.
pub(super) fn typed(code: &Secret) -> String {
    plain(code.expose())
}

fn plain(code: &str) -> String {
    code.chars()
        .filter(|sign| !sign.is_whitespace() && *sign != '-')
        .take(64)
        .map(|sign| sign.to_ascii_uppercase())
        .collect()
}
