//! The rules that hold after every step.

use std::collections::BTreeSet;

use serde_json::Value;
use vestibule::storage::random;

use super::browser::{Exchange, HANDLE, Landing, SESSION};
use super::facts::{AccountFacts, Facts};
use super::logs;
use super::shape::{APPLICATIONS, Application};
use super::simulation::{AuthorizationRequest, Simulation};
use super::truth::{Means, Proof, Tokens};
use super::world::Answer;

/// Whole seconds of a provider's clock, and the skew that is allowed.
const SKEW: i64 = 61_000;

impl Simulation {
    /// Every request gets one answer of its protocol, without a secret.
    pub(crate) fn check_answer(&mut self, path: &str, answer: &Answer) {
        if answer.status >= 500 && self.world.failing.is_none() && self.world.providers.lock().down.is_empty() {
            self.breaks(
                "no server error without a fault",
                format!("{} at {path}", answer.status),
            );
        }
        let text = format!("{}\n{}", answer.location.as_deref().unwrap_or_default(), answer.body);
        if let Some(secret) = self.secret_in(&text) {
            self.breaks("no secret in an answer", format!("{secret} at {path}"));
        }
    }

    /// No secret is in the log.
    pub(crate) fn check_log(&mut self) {
        let lines = logs::take();
        let failing = self.world.failing.is_some();
        for line in lines {
            if let Some(secret) = self.secret_in(&line) {
                self.breaks("no secret in the log", format!("{secret}: {line}"));
            }
            let tokens = &self.truth.tokens;
            if tokens
                .iter()
                .any(|tokens| !tokens.access.is_empty() && line.contains(&tokens.access))
            {
                self.breaks("no secret in the log", line);
            } else if line.starts_with("ERROR") && !failing {
                self.breaks("no error without a fault", line);
            }
        }
    }

    fn secret_in(&self, text: &str) -> Option<String> {
        let passwords = self
            .knowledge
            .iter()
            .flat_map(|known| known.passwords.values().flatten());
        let mut found = passwords
            .filter(|password| text.contains(*password))
            .map(|_| "a password");
        let cookie = |prefix: &str, what: &'static str| {
            let jars = self.browsers.iter().flat_map(|browser| &browser.jar);
            let mut cookies = jars.filter(|(name, _)| name.starts_with(prefix));
            cookies.any(|(_, value)| text.contains(value)).then_some(what)
        };
        found
            .next()
            .or_else(|| cookie(HANDLE, "the handle of a login"))
            .or_else(|| cookie(SESSION, "the cookie of a session"))
            .map(str::to_owned)
    }

    /// Checks the accounts that one step changed.
    pub(crate) fn check_change(&mut self, before: &Facts, browser: Option<usize>, exchanges: &[Exchange]) {
        let after = self.facts.clone();
        let mut names = BTreeSet::new();
        for (id, account) in &after.accounts {
            let name = (account.store.clone(), account.text("userName").to_lowercase());
            if !names.insert(name) {
                self.breaks("a user name is one account's", account.text("userName"));
            }
            if account.active && self.truth.switched_off.contains_key(id) {
                self.truth.switched_off.remove(id);
                self.breaks("who was switched off stays off", account.text("userName"));
            }
            self.check_consent(id, account);
            let Some(old) = before.accounts.get(id) else {
                self.check_approval(account, browser);
                continue;
            };
            for link in account.links.difference(&old.links) {
                self.check_link(id, old, link, (browser, exchanges));
            }
            self.check_groups(id, (old, account), exchanges);
        }
    }

    /// Where first logins wait for an approval, no account is made without one.
    fn check_approval(&mut self, account: &AccountFacts, browser: Option<usize>) {
        let okta = account.links.iter().find(|(provider, _)| provider == "okta");
        if let (Some((_, subject)), Some(_), "always") = (okta, browser, self.world.shape.approval)
            && !self.truth.approved.contains(subject)
        {
            self.breaks("no account is made without the approval that it needs", subject);
        }
    }

    /// A link was proved by everything that the account asks for.
    fn check_link(
        &mut self,
        id: &str,
        old: &AccountFacts,
        link: &(String, String),
        (browser, exchanges): (Option<usize>, &[Exchange]),
    ) {
        let name = old.text("userName");
        let Some(browser) = browser else {
            // A SCIM client made the account for this subject, or adopted the one that a login made.
            if old.text("externalId") != link.1 {
                self.breaks("a link is proved", format!("{link:?} to {name} without a person"));
            }
            return;
        };
        let person = self.browsers[browser].person;
        if !link.1.ends_with(person.name()) && !self.is_compromised(id) {
            self.breaks("a person links their own identity", format!("{link:?} to {name}"));
        }
        let is_expected = old.writers.get("externalId").and_then(Value::as_str) == Some("scim:hr");
        if is_expected && old.text("externalId") == link.1 {
            return;
        }
        let cookies = exchanges.first().map(|exchange| &exchange.before);
        let handle = exchanges.first().and_then(|exchange| exchange.login.as_ref());
        let login = handle.and_then(|handle| self.truth.logins.get(handle)).cloned();
        let session = cookies.and_then(|jar| self.truth.sessions.get(jar.get(SESSION)?));
        let mut proofs = login.unwrap_or_default();
        proofs.extend(session.map(|session| session.proofs.clone()).unwrap_or_default());
        // The link itself is a change of this step by this browser.
        let valid: Vec<&Proof> = self.truth.valid(&proofs, id, browser).collect();
        let is_primary = |proof: &&Proof| match &proof.means {
            Means::Password(account) => account == id,
            Means::Mail(account, address) => account == id && old.has_address(address),
            Means::Identity(provider, subject) => {
                let identity = (provider.clone(), subject.clone());
                identity != *link && self.truth.linked.contains_key(&(id.to_owned(), identity))
            }
            Means::Authenticator(_) => false,
        };
        let has_factor = valid
            .iter()
            .any(|proof| proof.means == Means::Authenticator(id.to_owned()));
        let is_proved = valid.iter().any(is_primary);
        let by_address = self.world.shape.on_conflict == "link_verified_email" && old.has_address(&person.address());
        if old.authenticator.is_empty() {
            if !is_proved && !by_address {
                self.breaks("a link is proved", format!("{link:?} to {name}"));
            }
        } else if !is_proved || !has_factor {
            self.breaks(
                "a link is proved by the second factor too",
                format!("{link:?} to {name}"),
            );
        }
    }

    /// A login that asks for consent stores no attribute that the person did not agree to.
    fn check_consent(&mut self, id: &str, account: &AccountFacts) {
        if self.world.shape.google_mode == "silent" {
            return;
        }
        let is_agreed = |path: &str| account.consents.values().any(|granted| granted.contains(path));
        for (attribute, path) in [
            ("title", "title"),
            ("nickName", "nickName"),
            ("phoneNumbers", "phoneNumbers[type eq \"work\"].value"),
        ] {
            let is_written = account
                .writers
                .iter()
                .any(|(known, writer)| known.starts_with(attribute) && writer == "idp:google");
            let owner = self.truth.owners.get(id).copied();
            let said_yes = owner.is_none_or(|owner| self.truth.agreed.contains(&(owner, path.to_owned())));
            if is_written && !(is_agreed(path) && said_yes) {
                self.breaks("only what a person agreed to is stored", format!("{attribute} of {id}"));
            }
        }
    }

    /// A login whose groups claim is absent or of another form withdraws no membership. A person who unlinks an identity
    /// on the account page leaves its groups, whatever login waits in the same browser.
    fn check_groups(&mut self, id: &str, (old, new): (&AccountFacts, &AccountFacts), exchanges: &[Exchange]) {
        let login = exchanges
            .first()
            .filter(|exchange| !exchange.path.starts_with("/account/"));
        let handle = login.and_then(|exchange| exchange.login.as_ref());
        let is_silent = handle.and_then(|handle| self.truth.silent_about_groups.get(handle)) == Some(&true);
        if is_silent && !new.groups.is_superset(&old.groups) {
            self.breaks("a silent provider takes no group back", id);
        }
    }

    /// An account that was said to be another person's keeps no way in of the person before.
    pub(crate) fn check_handover(&mut self, id: &str, subject: &str) {
        let Some(account) = self.facts.accounts.get(id).cloned() else {
            return;
        };
        let left = [
            ("a password", !account.password.is_empty()),
            ("an authenticator", !account.authenticator.is_empty()),
            ("an identity", account.links.iter().any(|(_, known)| known != subject)),
            ("a session", self.facts.sessions.values().any(|user| user == id)),
            (
                "a group of the provider",
                !account.groups.is_empty() && self.world.failing.is_none(),
            ),
        ];
        for (what, _) in left.iter().filter(|(_, is_left)| *is_left) {
            self.breaks(
                "a corrected subject leaves no way in",
                format!("{what} of {}", account.text("userName")),
            );
        }
    }

    pub(crate) fn is_compromised(&mut self, id: &str) -> bool {
        let has_factor = self
            .facts
            .accounts
            .get(id)
            .is_some_and(|account| !account.authenticator.is_empty());
        if self.truth.leaked.contains(id) && !has_factor {
            self.truth.compromised.insert(id.to_owned());
        }
        self.truth.compromised.contains(id)
    }

    /// A person may enter an application now. Returns the ways in that the login used.
    pub(crate) fn check_entry(
        &mut self,
        browser: usize,
        session: &str,
        id: &str,
        request: &AuthorizationRequest,
    ) -> Vec<Means> {
        let application = &APPLICATIONS[request.application];
        let Some(account) = self.facts.accounts.get(id).cloned() else {
            self.breaks("an account enters", format!("{id} does not exist"));
            return Vec::new();
        };
        let who = format!("{} at {}", account.text("userName"), application.name);
        if !account.active {
            self.breaks("an active account enters", &who);
        }
        if application.store.is_some_and(|store| store != account.store) {
            self.breaks("an account of an accepted store enters", &who);
        }
        if account.links.iter().any(|link| self.facts.locked.contains(link)) {
            self.breaks("no locked identity enters", &who);
        }
        let person = self.browsers[browser].person;
        if self.truth.owners.get(id).is_some_and(|owner| *owner != person) && !self.is_compromised(id) {
            self.breaks("an account is its owner's", format!("{} entered {who}", person.name()));
        }
        let proofs = self.truth.sessions.get(session).map(|session| session.proofs.clone());
        let proofs = proofs.unwrap_or_default();
        let valid: Vec<Proof> = self.truth.valid(&proofs, id, browser).cloned().collect();
        let ways = self.ways(application, id, &account, &valid);
        if ways.is_empty() {
            self.breaks("who enters has proved who they are", format!("{who} with {valid:?}"));
            return Vec::new();
        }
        let is_enough = |way: &Means| self.is_way_enough(application, (id, &account), way, &valid);
        if !ways.iter().any(is_enough) {
            self.breaks(
                "who enters has proved what is asked for",
                format!("{who} with {valid:?}"),
            );
        }
        let since = request.fresh_since.map_or(i64::MIN, |since| since.0 - SKEW);
        if !valid.iter().any(|proof| proof.at.0 >= since) {
            self.breaks("a proof is as fresh as was asked", &who);
        }
        let own = self
            .truth
            .sessions
            .get(session)
            .map_or(&[][..], |session| &session.proofs[session.own_from..]);
        let own: Vec<Proof> = self.truth.valid(own, id, browser).cloned().collect();
        let own = self.ways(application, id, &account, &own);
        if own.is_empty() { ways } else { own }
    }

    /// The first proofs that the application accepts.
    fn ways(&self, application: &Application, id: &str, account: &AccountFacts, valid: &[Proof]) -> Vec<Means> {
        let is_way = |means: &&Means| match means {
            Means::Password(owner) => owner == id && application.local_login,
            Means::Identity(provider, subject) => {
                application.providers.contains(&&**provider)
                    && !self.facts.removed.contains(provider)
                    && account.links.contains(&(provider.clone(), subject.clone()))
            }
            Means::Authenticator(_) | Means::Mail(..) => false,
        };
        valid.iter().map(|proof| &proof.means).filter(is_way).cloned().collect()
    }

    /// Whether the factors and consents that go with a way in are there.
    fn is_way_enough(
        &self,
        application: &Application,
        (id, account): (&str, &AccountFacts),
        way: &Means,
        valid: &[Proof],
    ) -> bool {
        let factors = match way {
            Means::Identity(provider, _) => vec![application.mfa, self.world.shape.provider(provider).1],
            _ if !account.authenticator.is_empty() && application.mfa != "any" => vec!["totp"],
            _ => vec![application.mfa],
        };
        let has_app = valid
            .iter()
            .any(|proof| proof.means == Means::Authenticator(id.to_owned()));
        let has_mail = valid
            .iter()
            .any(|proof| matches!(&proof.means, Means::Mail(account, _) if account == id));
        let has_factors = factors.iter().all(|factor| match *factor {
            "totp" => has_app,
            "email_otp" | "any" => has_app || has_mail,
            _ => true,
        });
        let has_consents = match way {
            Means::Identity(provider, _) if self.world.shape.asks_consent(application, provider) => {
                let asked: &[&str] = if provider == "google" {
                    &["profile", "contact"]
                } else {
                    &["profile"]
                };
                let mut asked = asked.iter().chain(application.purposes);
                asked.all(|purpose| account.consents.contains_key(*purpose))
            }
            _ => true,
        };
        has_factors && has_consents
    }

    /// A session page is shown only to whom it belongs, as long as nothing ended the session.
    pub(crate) fn check_page(&mut self, browser: usize, exchanges: &[Exchange], landing: &Landing) {
        let Some(last) = exchanges.last() else { return };
        let is_account = *landing == Landing::Page
            && last.path.starts_with("/account")
            && last.answer.status == 200
            && last.answer.body.contains("action=\"/account/sessions\"");
        let Some(cookie) = last.before.get(SESSION).cloned().filter(|_| is_account) else {
            return;
        };
        let Some(id) = self.facts.sessions.get(&random::fingerprint(&cookie)).cloned() else {
            self.breaks("the account page needs a session", &last.path);
            return;
        };
        let Some(session) = self.truth.sessions.get(&cookie).cloned() else {
            return;
        };
        let name = self
            .facts
            .accounts
            .get(&id)
            .map_or(String::new(), |account| account.text("userName").to_owned());
        if self.truth.has_ended(&id, session.opened, session.browser) {
            self.breaks("what ended a session ends it", &name);
        }
        let owner = self.truth.owners.get(&id).copied();
        if owner.is_some_and(|owner| owner != self.browsers[browser].person) && !self.is_compromised(&id) {
            self.breaks("an account page is its owner's", &name);
        }
    }

    /// A code or token works only as long as nothing ended it.
    pub(crate) fn check_grant(&mut self, what: &str, tokens: &Tokens) {
        let application = &APPLICATIONS[tokens.application];
        let who = format!("{what} of {} at {}", tokens.account, application.name);
        let Some(account) = self.facts.accounts.get(&tokens.account).cloned() else {
            self.breaks("what is gone has no tokens", who);
            return;
        };
        if !account.active || application.store.is_some_and(|store| store != account.store) {
            self.breaks("tokens end with the account", &who);
        }
        // A person who changes their own password in the browser of the login keeps nothing either, but that is another rule.
        if self.truth.has_ended(&tokens.account, tokens.step, tokens.browser) {
            self.breaks("what ends sessions ends tokens", &who);
        }
        let is_gone = |way: &Means| match way {
            Means::Identity(provider, subject) => {
                let removed = self.truth.provider_removed.get(provider);
                !account.links.contains(&(provider.clone(), subject.clone()))
                    || self.facts.removed.contains(provider)
                    || removed.is_some_and(|step| *step > tokens.step)
            }
            _ => false,
        };
        if !tokens.ways.is_empty() && tokens.ways.iter().all(is_gone) {
            self.breaks("tokens end with the identity and its provider", &who);
        }
    }
}
