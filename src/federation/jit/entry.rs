//! Decides whether a login is enough to enter an application, from the facts of the moment. It is asked at every code, so
//! that a session from another application, or from before a change, is not enough where a login would be refused.

use super::policy::{SecondFactor, ServiceProviderPolicy};
use crate::domain::login::{Authentication, Entry, EntryPurpose};
use crate::domain::{StoreName, Timestamp};

/// The facts that an entry is decided on.
#[derive(Clone, Debug)]
pub(crate) struct EntryFacts {
    /// The account; none if it does not exist.
    pub(crate) account: Option<EntryAccount>,
    /// The identity provider of the login.
    pub(crate) way: EntryWay,
    /// Whether the consents that the application asks for are given.
    pub(crate) consents_given: bool,
    /// Whether the person took one of them back. What was issued under it ends; a new version only asks at the next entry.
    pub(crate) consent_withdrawn: bool,
}

/// The account of a login.
#[derive(Clone, Debug)]
pub(crate) struct EntryAccount {
    /// Its userstore.
    pub(crate) store: StoreName,
    /// Whether it is active.
    pub(crate) active: bool,
    /// Whether an identity of the person is locked.
    pub(crate) locked: bool,
    /// Whether the person has an authenticator.
    pub(crate) has_authenticator: bool,
    /// The version of its credentials.
    pub(crate) credentials: i64,
}

/// How the person proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryWay {
    /// By a local password.
    Password,
    /// Through an identity provider that asks for this factor.
    Provider(SecondFactor),
    /// Through an identity provider that is not configured any more or was removed, or by an identity that was unlinked.
    Gone,
}

/// Decides whether a login is enough to enter an application.
pub(crate) fn decide(
    policy: &ServiceProviderPolicy,
    authentication: &Authentication,
    purpose: EntryPurpose,
    facts: &EntryFacts,
) -> Entry {
    let Some(account) = &facts.account else {
        return Entry::Login;
    };
    let may_enter = account.active && !account.locked && account.store == authentication.store;
    if !may_enter || !accepts_store(policy, &account.store) || !accepts_way(policy, authentication, facts.way) {
        return Entry::Login;
    }
    let EntryPurpose::Code {
        fresh_since,
        two_factors,
    } = purpose
    else {
        // A grant stays within what the application asks for; a change of credentials ends it where it must.
        let needed = needed_factor(policy.mfa, facts.way, false);
        return if is_proved(needed, &authentication.amr) && !facts.consent_withdrawn {
            Entry::Granted
        } else {
            Entry::Login
        };
    };
    if authentication.credentials != account.credentials || !is_fresh(authentication.authenticated_at, fresh_since) {
        return Entry::Login;
    }
    let needed = needed_factor(asked_factor(policy, two_factors), facts.way, account.has_authenticator);
    if !is_proved(needed, &authentication.amr) {
        Entry::StepUp
    } else if facts.consents_given {
        Entry::Granted
    } else {
        Entry::Consent
    }
}

/// Whether an application accepts people of a userstore.
pub(crate) fn accepts_store(policy: &ServiceProviderPolicy, store: &StoreName) -> bool {
    policy
        .inbound_userstore
        .as_ref()
        .is_none_or(|accepted| accepted == store)
}

fn accepts_way(policy: &ServiceProviderPolicy, authentication: &Authentication, way: EntryWay) -> bool {
    match (way, &authentication.identity_provider) {
        (EntryWay::Password, None) => policy.local_login,
        (EntryWay::Provider(_), Some(provider)) => policy.identity_providers.contains(provider),
        _ => false,
    }
}

/// Returns the factor that an application asks for, in general and in one request.
pub(crate) fn asked_factor(policy: &ServiceProviderPolicy, two_factors: bool) -> SecondFactor {
    if two_factors { SecondFactor::Totp } else { policy.mfa }
}

/// Returns the factor that application, identity provider and account ask for together. An authenticator is asked for
/// after a password, whatever the application asks for.
pub(crate) fn needed_factor(application: SecondFactor, way: EntryWay, has_authenticator: bool) -> SecondFactor {
    match way {
        EntryWay::Provider(provider) => application.and(provider),
        EntryWay::Password | EntryWay::Gone if has_authenticator && application != SecondFactor::Any => {
            SecondFactor::Totp
        }
        EntryWay::Password | EntryWay::Gone => application,
    }
}

/// Whether a factor is among the methods of a login (RFC 8176).
pub(crate) fn is_proved(needed: SecondFactor, amr: &[String]) -> bool {
    let methods = needed.methods();
    methods.is_empty() || amr.iter().any(|method| methods.contains(&method.as_str()))
}

/// Whether a proof is as recent as it must be. An unknown time is never recent.
pub(crate) fn is_fresh(authenticated_at: Option<Timestamp>, fresh_since: Option<Timestamp>) -> bool {
    fresh_since.is_none_or(|since| authenticated_at.is_some_and(|at| at >= since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::jit::policy::wiki;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn login(provider: Option<&str>, amr: &[&str]) -> Authentication {
        Authentication {
            store: StoreName::PRIMARY,
            user: "u".into(),
            amr: amr.iter().map(|&method| method.to_owned()).collect(),
            identity_provider: provider.map(Into::into),
            at: NOW,
            authenticated_at: Some(NOW),
            credentials: 3,
            provider_token: None,
        }
    }

    fn facts(way: EntryWay) -> EntryFacts {
        EntryFacts {
            account: Some(EntryAccount {
                store: StoreName::PRIMARY,
                active: true,
                locked: false,
                has_authenticator: false,
                credentials: 3,
            }),
            way,
            consents_given: true,
            consent_withdrawn: false,
        }
    }

    const CODE: EntryPurpose = EntryPurpose::Code {
        fresh_since: None,
        two_factors: false,
    };
    const GOOGLE: EntryWay = EntryWay::Provider(SecondFactor::None);

    #[test]
    fn account_that_may_not_enter_must_log_in() {
        let changes: [fn(&mut EntryAccount); 3] = [
            |account| account.active = false,
            |account| account.locked = true,
            |account| account.store = "CORP".into(),
        ];
        for change in changes {
            for purpose in [CODE, EntryPurpose::Token] {
                let mut facts = facts(GOOGLE);
                assert_eq!(
                    decide(&wiki(), &login(Some("google"), &["fed"]), purpose, &facts),
                    Entry::Granted
                );
                change(facts.account.as_mut().unwrap());
                assert_eq!(
                    decide(&wiki(), &login(Some("google"), &["fed"]), purpose, &facts),
                    Entry::Login
                );
            }
        }
        let gone = EntryFacts {
            account: None,
            ..facts(GOOGLE)
        };
        assert_eq!(
            decide(&wiki(), &login(Some("google"), &["fed"]), CODE, &gone),
            Entry::Login
        );
    }

    #[test]
    fn application_of_another_store_grants_nothing() {
        let mut policy = wiki();
        policy.inbound_userstore = Some("CORP".into());
        for purpose in [CODE, EntryPurpose::Token] {
            let login = login(Some("google"), &["fed"]);
            assert_eq!(decide(&policy, &login, purpose, &facts(GOOGLE)), Entry::Login);
        }
    }

    #[test]
    fn way_that_the_application_does_not_accept_grants_nothing() {
        let mut policy = wiki();
        policy.local_login = false;
        for purpose in [CODE, EntryPurpose::Token] {
            for (provider, way) in [
                (None, EntryWay::Password),
                (Some("other"), GOOGLE),
                (Some("google"), EntryWay::Gone),
            ] {
                let entry = decide(&policy, &login(provider, &["pwd"]), purpose, &facts(way));
                assert_eq!(entry, Entry::Login, "{provider:?}");
            }
        }
    }

    #[test]
    fn proofs_of_earlier_credentials_do_not_count() {
        let mut old = login(Some("google"), &["fed"]);
        old.credentials = 2;
        assert_eq!(decide(&wiki(), &old, CODE, &facts(GOOGLE)), Entry::Login);
        assert_eq!(
            decide(&wiki(), &old, EntryPurpose::Token, &facts(GOOGLE)),
            Entry::Granted
        );
    }

    #[test]
    fn old_or_untold_time_is_not_fresh() {
        let mut login = login(Some("google"), &["fed"]);
        let since = |at| EntryPurpose::Code {
            fresh_since: Some(Timestamp(at)),
            two_factors: false,
        };
        assert_eq!(decide(&wiki(), &login, since(NOW.0), &facts(GOOGLE)), Entry::Granted);
        assert_eq!(decide(&wiki(), &login, since(NOW.0 + 1), &facts(GOOGLE)), Entry::Login);
        login.authenticated_at = None;
        assert_eq!(decide(&wiki(), &login, since(0), &facts(GOOGLE)), Entry::Login);
        assert_eq!(decide(&wiki(), &login, CODE, &facts(GOOGLE)), Entry::Granted);
    }

    #[test]
    fn missing_factor_or_consent_is_a_step_up() {
        let strict = EntryWay::Provider(SecondFactor::Totp);
        assert_eq!(
            decide(&wiki(), &login(Some("google"), &["fed"]), CODE, &facts(strict)),
            Entry::StepUp
        );
        let proved = login(Some("google"), &["fed", "otp", "mfa"]);
        assert_eq!(decide(&wiki(), &proved, CODE, &facts(strict)), Entry::Granted);
        let mut asked = facts(GOOGLE);
        asked.consents_given = false;
        assert_eq!(decide(&wiki(), &proved, CODE, &asked), Entry::Consent);
        assert_eq!(decide(&wiki(), &proved, EntryPurpose::Token, &asked), Entry::Granted);
        asked.consent_withdrawn = true;
        assert_eq!(decide(&wiki(), &proved, EntryPurpose::Token, &asked), Entry::Login);
    }

    #[test]
    fn request_for_two_factors_asks_for_an_authenticator() {
        let two = EntryPurpose::Code {
            fresh_since: None,
            two_factors: true,
        };
        for needed in [SecondFactor::None, SecondFactor::EmailOtp, SecondFactor::Any] {
            let policy = ServiceProviderPolicy { mfa: needed, ..wiki() };
            let by_mail = login(Some("google"), &["fed", "otp", "email"]);
            assert_eq!(
                decide(&policy, &by_mail, two, &facts(GOOGLE)),
                Entry::StepUp,
                "{needed:?}"
            );
            let by_app = login(Some("google"), &["fed", "otp", "mfa"]);
            assert_eq!(
                decide(&policy, &by_app, two, &facts(GOOGLE)),
                Entry::Granted,
                "{needed:?}"
            );
        }
    }

    #[test]
    fn authenticator_is_asked_for_after_a_password() {
        let mut enrolled = facts(EntryWay::Password);
        enrolled.account.as_mut().unwrap().has_authenticator = true;
        assert_eq!(decide(&wiki(), &login(None, &["pwd"]), CODE, &enrolled), Entry::StepUp);
        let mail = login(None, &["pwd", "otp", "email"]);
        assert_eq!(decide(&wiki(), &mail, CODE, &enrolled), Entry::StepUp);
        let proved = login(None, &["pwd", "otp", "mfa"]);
        assert_eq!(decide(&wiki(), &proved, CODE, &enrolled), Entry::Granted);
    }

    #[test]
    fn token_keeps_what_the_application_asks_for() {
        let mut policy = wiki();
        policy.mfa = SecondFactor::Totp;
        let login = login(Some("google"), &["fed"]);
        assert_eq!(
            decide(&policy, &login, EntryPurpose::Token, &facts(GOOGLE)),
            Entry::Login
        );
    }
}
