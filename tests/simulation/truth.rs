//! The events as the people of the simulation know them: proofs and where they were given, changes, ends.

use std::collections::{BTreeMap, BTreeSet};

use vestibule::domain::Timestamp;

use super::facts::Facts;
use super::people::Person;

/// How a person proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// The password of an account.
    Password(String),
    /// An identity: provider and subject.
    Identity(String, String),
    /// A code of the authenticator of an account, or one of its recovery codes.
    Authenticator(String),
    /// A code that was sent to an address of an account: account and address.
    Mail(String, String),
}

/// A proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) means: Means,
    pub(crate) step: usize,
    pub(crate) at: Timestamp,
}

/// A change of the ways into an account, or an end of everything that was open.
#[derive(Clone, Debug)]
pub(crate) struct AccountEvent {
    pub(crate) account: String,
    pub(crate) step: usize,
    /// The browser that made it, if a person did.
    pub(crate) browser: Option<usize>,
    /// Whether it ends sessions and tokens.
    pub(crate) ends: bool,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) opened: usize,
    pub(crate) browser: usize,
    /// The proofs of the sessions before it, and then those of its own login.
    pub(crate) proofs: Vec<Proof>,
    /// The number of the first proof of its own login.
    pub(crate) own_from: usize,
}

/// The tokens of an application.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) application: usize,
    pub(crate) account: String,
    /// The step in which the code was issued.
    pub(crate) step: usize,
    pub(crate) browser: usize,
    /// The ways in that the login used.
    pub(crate) ways: Vec<Means>,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Truth {
    /// The person whose account it is.
    pub(crate) owners: BTreeMap<String, Person>,
    /// The identities that each account ever had, and the step in which each was linked first.
    pub(crate) linked: BTreeMap<(String, (String, String)), usize>,
    /// The accounts whose user name a person typed.
    pub(crate) typed_names: BTreeSet<String>,
    /// The accounts whose password another person learned.
    pub(crate) leaked: BTreeSet<String>,
    /// The accounts that this other person may have changed.
    pub(crate) compromised: BTreeSet<String>,
    /// The password of each account, if it is known.
    pub(crate) passwords: BTreeMap<String, String>,
    /// The key of the authenticator of each account.
    pub(crate) keys: BTreeMap<String, String>,
    /// The unused recovery codes of each account.
    pub(crate) recovery_codes: BTreeMap<String, Vec<String>>,
    /// The codes of authenticators that were used: account and period.
    pub(crate) used_codes: BTreeSet<(String, i64)>,
    /// The codes of authenticators in the form that is sent.
    pub(crate) typed_codes: Vec<(String, i64)>,
    /// The accounts that a SCIM client switched off, and nobody on again.
    pub(crate) switched_off: BTreeMap<String, &'static str>,
    /// The subjects whose first login an administrator approved.
    pub(crate) approved: BTreeSet<String>,
    /// The optional attributes that each person ever agreed to.
    pub(crate) agreed: BTreeSet<(Person, String)>,
    /// The changes and ends of the accounts.
    pub(crate) events: Vec<AccountEvent>,
    /// The step in which each provider was removed last.
    pub(crate) provider_removed: BTreeMap<String, usize>,
    /// The proofs of logins under way, by handle.
    pub(crate) logins: BTreeMap<String, Vec<Proof>>,
    /// The logins that an application asked for although there was a session (`prompt=login`), by handle.
    pub(crate) reauthentications: BTreeSet<String>,
    /// The sessions, by cookie.
    pub(crate) sessions: BTreeMap<String, Session>,
    /// The logins whose claims say nothing about groups.
    pub(crate) silent_about_groups: BTreeMap<String, bool>,
    /// The tokens that applications have.
    pub(crate) tokens: Vec<Tokens>,
}

impl Truth {
    /// Notes the difference between two states, made by a browser or by nobody.
    pub(crate) fn note(&mut self, before: &Facts, after: &Facts, step: usize, browser: Option<usize>) {
        for (id, old) in &before.accounts {
            let Some(new) = after.accounts.get(id) else {
                self.push(id, step, None, true);
                continue;
            };
            let is_off = old.active && !new.active;
            let has_password_changed = old.password != new.password;
            if is_off || has_password_changed {
                self.push(id, step, browser.filter(|_| !is_off), true);
            } else if old.authenticator != new.authenticator || old.links != new.links || old.store != new.store {
                self.push(id, step, browser, false);
            }
            if has_password_changed {
                self.passwords.remove(id);
            }
            if old.authenticator != new.authenticator {
                self.keys.remove(id);
                self.recovery_codes.remove(id);
            }
        }
        for (id, account) in &after.accounts {
            let links = account.links.iter().map(|link| (id.clone(), link.clone()));
            for link in links {
                self.linked.entry(link).or_insert(step);
            }
        }
        for provider in after.removed.difference(&before.removed) {
            self.provider_removed.insert(provider.clone(), step);
        }
        for identity in after.locked.difference(&before.locked) {
            let owners = after
                .accounts
                .iter()
                .filter(|(_, account)| account.links.contains(identity));
            let owners: Vec<String> = owners.map(|(id, _)| id.clone()).collect();
            for id in owners {
                self.push(&id, step, None, true);
            }
        }
    }

    /// Notes that something happened to an account.
    pub(crate) fn push(&mut self, account: &str, step: usize, browser: Option<usize>, ends: bool) {
        self.events.push(AccountEvent {
            account: account.to_owned(),
            step,
            browser,
            ends,
        });
    }

    /// Whether everything of an account that was open at a step has ended since, in a browser.
    pub(crate) fn has_ended(&self, account: &str, since: usize, browser: usize) -> bool {
        let mut events = self
            .events
            .iter()
            .filter(|event| event.ends && event.account == account);
        events.any(|event| event.step > since && event.browser != Some(browser))
    }

    /// The proofs that still count for an account in a browser: the ways in have not changed since, but by this browser
    /// itself.
    pub(crate) fn valid<'a>(
        &'a self,
        proofs: &'a [Proof],
        account: &'a str,
        browser: usize,
    ) -> impl Iterator<Item = &'a Proof> {
        proofs.iter().filter(move |proof| {
            let mut events = self.events.iter().filter(|event| event.account == account);
            // An identity is a proof of the account from the time on at which it is linked.
            let linked = match &proof.means {
                Means::Identity(provider, subject) => {
                    let identity = (provider.clone(), subject.clone());
                    self.linked
                        .get(&(account.to_owned(), identity))
                        .copied()
                        .unwrap_or_default()
                }
                _ => 0,
            };
            let since = proof.step.max(linked);
            !events.any(|event| event.step > since && event.browser != Some(browser))
        })
    }
}
