//! When the faults stop and the world has had time to settle: everybody who may enter can, and the journal tells how
//! everything came to be.

use std::time::Duration;

use super::browser::{Browser, Landing};
use super::facts::AccountFacts;
use super::happen::Filling;
use super::people::Person;
use super::provider::PROVIDERS;
use super::simulation::Simulation;
use super::totp;

impl Simulation {
    /// Ends all faults, and checks what must hold then.
    pub(crate) fn settle(&mut self) {
        self.step += 1;
        self.world.fail_writes(None);
        self.world.providers.lock().down.clear();
        for browser in &mut self.browsers {
            browser.loses_next = false;
        }
        // Locks of names and codes end meanwhile.
        self.world.clock.advance(Duration::from_hours(25));
        for process in [0, 1, 0] {
            self.sweep(process);
        }
        self.refresh_facts(None);
        for (provider, _) in PROVIDERS.iter().enumerate() {
            for person in Person::all() {
                let claims = person.claims(provider);
                self.world.providers.lock().claims.insert((provider, person), claims);
            }
        }
        let accounts: Vec<(String, AccountFacts)> = self.facts.accounts.clone().into_iter().collect();
        for (id, account) in accounts {
            let is_locked = account.links.iter().any(|link| self.facts.locked.contains(link));
            if account.active && !is_locked && !self.is_compromised(&id) {
                self.owner_enters(&id, &account);
            }
        }
        let journal = crate::fixtures::journal_replay::disagreements(&self.world.database);
        for difference in journal {
            self.breaks("the journal tells the state", difference);
        }
        self.check_log();
    }

    /// The owner of an account enters by every way that it has.
    fn owner_enters(&mut self, id: &str, account: &AccountFacts) {
        let Some(owner) = self.truth.owners.get(id).copied() else {
            return;
        };
        let name = account.text("userName").to_owned();
        let same_name = |other: &&AccountFacts| other.text("userName").eq_ignore_ascii_case(&name);
        let is_only = self.facts.accounts.values().filter(same_name).count() == 1;
        let knows = self.truth.passwords.get(id) == Some(&self.knowledge[owner.0].password(&name));
        let has_key = account.authenticator.is_empty() || self.truth.keys.contains_key(id);
        if knows && is_only && has_key && !account.password.is_empty() {
            self.try_entry(id, (owner, &name), None);
        }
        for (provider, subject) in &account.links {
            let number = PROVIDERS.iter().position(|known| known == provider);
            let is_theirs = subject.ends_with(owner.name());
            if let Some(number) = number
                && is_theirs
                && has_key
                && !self.facts.removed.contains(provider)
            {
                self.try_entry(id, (owner, &name), Some(number));
            }
        }
    }

    /// A person enters the wiki in a new browser, by password or through a provider.
    fn try_entry(&mut self, id: &str, (owner, name): (Person, &str), provider: Option<usize>) {
        self.step += 1;
        self.world.clock.advance(Duration::from_secs(61));
        let browser = self.browsers.len();
        self.browsers.push(Browser::new(owner));
        let issued = self.issued;
        let hint = match provider {
            None => 7,
            Some(number) => 3 + u8::try_from(number).unwrap_or_default(),
        };
        let mut landing = self.open(browser, 0, [0, hint]);
        let mut trail = Vec::new();
        for _ in 0..8 {
            match landing {
                Landing::Application(_) | Landing::Lost => break,
                Landing::Provider => {
                    let Some(to) = self.browsers[browser].away.last().cloned() else {
                        break;
                    };
                    landing = self.come_back(browser, 0, &to, false);
                }
                Landing::Page => {
                    let forms = self.browsers[browser].page.forms.clone();
                    let wanted = if provider.is_none() {
                        "/login/password"
                    } else {
                        "/login/idp"
                    };
                    let at = forms.iter().position(|form| form.action == wanted).unwrap_or(0);
                    let error = self.browsers[browser].page.error().unwrap_or_default();
                    trail.push(forms.get(at).map_or(error, |form| form.action.clone()));
                    if forms.is_empty() {
                        break;
                    }
                    landing = self.answer_honestly(browser, id, name, at);
                }
            }
        }
        self.browsers.truncate(browser);
        let is_excused = trail.last().is_some_and(|error| error == "no_mail_address");
        if self.issued == issued && !is_excused {
            let way = provider.map_or("a password", |number| PROVIDERS[number]);
            self.breaks("who may enter can", format!("{name} by {way}: {trail:?}"));
        }
    }

    /// Sends a form with all that the owner of the account knows.
    fn answer_honestly(&mut self, browser: usize, id: &str, name: &str, at: usize) -> Landing {
        let form = self.browsers[browser].page.forms[at].clone();
        let key = self.browsers[browser]
            .page
            .key()
            .or_else(|| self.truth.keys.get(id).cloned());
        let is_mail = form.action == "/login/code" && self.browsers[browser].page.html.contains('@');
        if form.action != "/login/password" && (form.action != "/login/code" || is_mail || key.is_none()) {
            return self.submit_form(browser, 0, at, (Filling::Right, if is_mail { 3 } else { 1 }));
        }
        let person = self.browsers[browser].person;
        let mut fields = Vec::new();
        for field in &form.fields {
            let value = match field.name.as_str() {
                "username" => name.to_owned(),
                "password" => self.knowledge[person.0].password(name),
                "code" => {
                    let key = key.clone().unwrap_or_default();
                    if !self.knowledge[person.0].keys.contains(&key) {
                        self.knowledge[person.0].keys.push(key.clone());
                    }
                    totp::code(&key, self.world.clock.now().0 / 30_000)
                }
                _ => field.value.clone(),
            };
            fields.push((field.name.clone(), value));
        }
        self.submit(browser, 0, &form.action, &fields)
    }
}
