//! Carries out each event.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule::domain::{Link, Secret, Timestamp};
use vestibule::federation::removal::ProviderRemover;
use vestibule::operations::people::UserRef;
use vestibule::operations::{approvals, identities, keys, people, providers};
use vestibule::storage::approvals::Verdict;

use super::browser::{Browser, Landing, SESSION};
use super::event::{Event, Kind};
use super::facts::Facts;
use super::page::Form;
use super::people::{EVE, Person};
use super::provider::{PROVIDERS, issuer, subject};
use super::shape::APPLICATIONS;
use super::simulation::{AuthorizationRequest, Simulation};
use super::totp;

/// Most steps of one login.
const LOGIN_STEPS: usize = 8;

/// The tables whose writes can fail.
const TABLES: [&str; 12] = [
    "links",
    "sessions",
    "grants",
    "credentials",
    "factors",
    "journal",
    "consents",
    "members",
    "login_transactions",
    "access_tokens",
    "credential_versions",
    "recovery_codes",
];

/// The forms of the account page.
const ACCOUNT_FORMS: [&str; 7] = [
    "/account/profile",
    "/account/link",
    "/account/password",
    "/account/unlink",
    "/account/authenticator",
    "/account/consent",
    "/account/sessions",
];

/// How a person fills in a form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// As well as they can.
    Right,
    /// With a mistake, or somebody else's name.
    Odd(u8),
}

impl Simulation {
    /// Lets an event happen, and checks the rules.
    pub(crate) fn happen(&mut self, event: Event) {
        self.step += 1;
        let [who, what, how, detail, process] = event.choices;
        let (browser, process) = (usize::from(who) % self.browsers.len(), usize::from(process) % 2);
        match event.kind {
            Kind::Open => drop(self.open(browser, process, [what, how])),
            Kind::Login => self.log_in(browser, process, [what, how, detail]),
            Kind::Submit => self.submit_some(browser, process, [what, how, detail]),
            Kind::ComeBack => self.come_back_from(browser, process, [what, how]),
            Kind::RepeatCallback => {
                let known = &self.browsers[browser].callbacks;
                if let Some(path) = known.get(usize::from(what) % known.len().max(1)).cloned() {
                    self.visit(browser, process, &path);
                }
            }
            Kind::Account => self.use_account_page(browser, process, [what, how, detail]),
            Kind::Link => {
                let path = ["/login", "/login/cancel", "/oauth2/logout", "/account", "/"][usize::from(what) % 5];
                self.visit(browser, process, path);
            }
            Kind::OldCookie => {
                let old = &self.browsers[browser].old_sessions;
                if let Some(cookie) = old.get(usize::from(what) % old.len().max(1)).cloned() {
                    self.browsers[browser].jar.insert(SESSION.to_owned(), cookie);
                    self.visit(browser, process, "/account");
                }
            }
            Kind::PlantCookie => self.plant_cookie(browser, usize::from(what)),
            Kind::LoseAnswer => self.browsers[browser].loses_next = true,
            Kind::Refresh | Kind::UseToken | Kind::Redeem => self.application_acts(event.kind, process, [who, what]),
            Kind::HrCreate => self.hr_creates(process, [who, what]),
            Kind::HrChange => self.client_changes("hr", process, [who, what, how]),
            Kind::Payroll if what % 2 == 0 => self.payroll_creates(process, who),
            Kind::Payroll => self.client_changes("payroll", process, [who, what / 2, how]),
            Kind::Administer => self.administer(process, [who, what, how]),
            Kind::Claims => self.change_claims([who, what, how]),
            Kind::Provider => {
                let down = usize::from(who) % (4 * PROVIDERS.len());
                let down = (down < PROVIDERS.len()).then_some(down);
                self.world.providers.lock().down = down.into_iter().collect();
            }
            Kind::Leak => self.leak(usize::from(who)),
            Kind::Wait => self.wait(what),
            Kind::Sweep => self.sweep(process),
            Kind::Fault => {
                let is_on = self.world.failing.is_none() && how % 2 == 0;
                let table = is_on.then(|| TABLES[usize::from(what) % TABLES.len()]);
                self.world.fail_writes(table);
            }
            Kind::Restart => self.world.restart(process),
        }
        self.refresh_facts(None);
        self.check_log();
    }

    /// Takes in what changed apart from browsers.
    pub(crate) fn refresh_facts(&mut self, person: Option<Person>) {
        let before = std::mem::take(&mut self.facts);
        self.facts = Facts::read(&self.world.database);
        let after = self.facts.clone();
        self.truth.note(&before, &after, self.step, None);
        for id in after.accounts.keys().filter(|id| !before.accounts.contains_key(*id)) {
            if let Some(person) = person {
                self.truth.owners.insert(id.clone(), person);
            }
        }
        self.check_change(&before, None, &[]);
    }

    /// An application sends a browser here.
    pub(crate) fn open(&mut self, browser: usize, process: usize, [what, how]: [u8; 2]) -> Landing {
        let application = usize::from(what) % APPLICATIONS.len();
        let name = APPLICATIONS[application].name;
        let state = format!("s{}", self.requests.len());
        let now = self.world.clock.now();
        let (more, fresh_since) = match how % 8 {
            0 => ("&prompt=login", Some(now)),
            1 => ("&max_age=60", Some(Timestamp(now.0 - 60_000))),
            2 => ("&prompt=none", None),
            3 => ("&idp_hint=google", None),
            4 => ("&idp_hint=okta", None),
            _ => ("", None),
        };
        let request = AuthorizationRequest {
            application,
            fresh_since,
        };
        self.requests.insert(state.clone(), request);
        let path = format!(
            "/oauth2/authorize?response_type=code&client_id={name}&redirect_uri=https://{name}.example/callback\
             &scope=openid%20offline_access%20email%20profile%20groups&state={state}{more}"
        );
        self.visit(browser, process, &path)
    }

    /// A person logs in to an application by a way that it offers.
    fn log_in(&mut self, browser: usize, process: usize, [what, how, detail]: [u8; 3]) {
        // `prompt=none` shows no page to log in on.
        let how = if how % 8 == 2 { 7 } else { how };
        let landing = self.open(browser, process, [what, how]);
        self.go_on(browser, process, landing, detail);
    }

    /// A person opens the account page, signs in if they must, and sends one of its forms.
    fn use_account_page(&mut self, browser: usize, process: usize, [what, how, detail]: [u8; 3]) {
        let landing = self.visit(browser, process, "/account");
        if how.is_multiple_of(8) {
            return;
        }
        self.go_on(browser, process, landing, detail);
        let forms = &self.browsers[browser].page.forms;
        let action = ACCOUNT_FORMS[usize::from(what) % ACCOUNT_FORMS.len()];
        let own: Vec<usize> = (0..forms.len())
            .filter(|number| forms[*number].action == action)
            .collect();
        if let Some(number) = own.get(usize::from(detail) % own.len().max(1)) {
            let landing = self.submit_form(browser, process, *number, (Filling::Right, detail));
            if how % 2 == 0 {
                self.go_on(browser, process, landing, detail);
            }
        }
    }

    /// A person goes on as well as they can, until they are in or stuck.
    fn go_on(&mut self, browser: usize, process: usize, mut landing: Landing, detail: u8) {
        for step in 0..LOGIN_STEPS {
            match landing {
                Landing::Application(_) | Landing::Lost => return,
                Landing::Provider => {
                    let Some(to) = self.browsers[browser].away.last().cloned() else {
                        return;
                    };
                    landing = self.come_back(browser, process, &to, false);
                }
                Landing::Page => {
                    let forms = &self.browsers[browser].page.forms;
                    if forms.first().is_none_or(|form| form.action.starts_with("/account")) {
                        return;
                    }
                    // Only the first page offers ways in; later pages have one way on, which comes first.
                    let wanted = ["/login/password", "/login/idp"][usize::from(detail) % 2];
                    let way = forms.iter().position(|form| form.action == wanted);
                    let form = way.filter(|_| step == 0).unwrap_or(0);
                    if step > 0 && forms[form].action == "/login/code" {
                        // The last code may be used up: the next one comes in half a minute.
                        self.world.clock.advance(Duration::from_secs(31));
                    }
                    landing = self.submit_form(browser, process, form, (Filling::Right, detail / 8));
                }
            }
        }
    }

    fn submit_some(&mut self, browser: usize, process: usize, [what, how, detail]: [u8; 3]) {
        let forms = self.browsers[browser].page.forms.len();
        if forms == 0 {
            return;
        }
        let filling = if how % 4 == 0 {
            Filling::Odd(how / 4)
        } else {
            Filling::Right
        };
        self.submit_form(browser, process, usize::from(what) % forms, (filling, detail));
    }

    /// Fills a form in and sends it.
    pub(crate) fn submit_form(
        &mut self,
        browser: usize,
        process: usize,
        number: usize,
        (filling, choice): (Filling, u8),
    ) -> Landing {
        let form = self.browsers[browser].page.forms[number].clone();
        if let Some(key) = self.browsers[browser].page.key() {
            let person = self.browsers[browser].person;
            let keys = &mut self.knowledge[person.0].keys;
            keys.retain(|known| *known != key);
            keys.push(key);
        }
        let fields = self.fill_in(browser, &form, filling, choice);
        self.submit(browser, process, &form.action, &fields)
    }

    /// The values that a person gives the fields of a form.
    fn fill_in(&mut self, browser: usize, form: &Form, filling: Filling, choice: u8) -> Vec<(String, String)> {
        let person = self.browsers[browser].person;
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut new_password = None;
        for field in &form.fields {
            let name = field.name.as_str();
            let username = || {
                let typed = fields.iter().find(|(known, _)| known == "username");
                typed.map_or_else(|| person.name().to_owned(), |(_, name)| name.clone())
            };
            let value = match (name, field.autocomplete.as_str()) {
                _ if field.kind == "hidden" => field.value.clone(),
                ("username", _) if form.action == "/login/prove" => field.value.clone(),
                ("username", _) => match filling {
                    Filling::Odd(other) if other.is_multiple_of(2) => Person::nth(other / 2).name().to_owned(),
                    _ if form.action == "/login/details" && choice.is_multiple_of(3) => {
                        format!("{}{choice}", person.name())
                    }
                    _ => person.name().to_owned(),
                },
                (_, "new-password") => {
                    let new = new_password.get_or_insert_with(|| self.knowledge[person.0].new_password(person));
                    new.clone()
                }
                ("password" | "before", _) => match filling {
                    Filling::Odd(other) if other % 2 == 1 => "a wrong password".to_owned(),
                    _ => self.knowledge[person.0].password(&username()),
                },
                ("code", _) => self.code(browser, filling, choice),
                ("keep", _) if (choice >> (fields.len() % 8)) & 1 == 0 => continue,
                ("keep", _) => field.value.clone(),
                ("email", _) => person.address(),
                _ if name.starts_with("attribute:") && name.contains("emails") => person.address(),
                _ if name.starts_with("attribute:") => format!("{} {choice}", person.name()),
                _ => field.value.clone(),
            };
            fields.push((name.to_owned(), value));
        }
        let buttons = form.buttons.iter().filter(|(name, _)| !name.is_empty());
        let buttons: Vec<_> = buttons.collect();
        if !buttons.is_empty() {
            let first = filling == Filling::Right && buttons[0].0 == "decision" && !choice.is_multiple_of(4);
            let at = if first { 0 } else { usize::from(choice) % buttons.len() };
            fields.push(buttons[at].clone());
        }
        fields
    }

    /// A code that a person has: of their app, of their mail, or from their paper.
    fn code(&mut self, browser: usize, filling: Filling, choice: u8) -> String {
        if filling != Filling::Right {
            return "123 456".to_owned();
        }
        let period = self.world.clock.now().0 / 30_000;
        let Browser { person, page, .. } = &self.browsers[browser];
        let known = &mut self.knowledge[person.0];
        let mail = self.world.smtp.mail();
        let is_theirs = |recipient: &String| recipient.contains(&person.address());
        let last = mail.iter().rev().find(|mail| mail.recipients.iter().any(is_theirs));
        let (on_page, asks_mail) = (page.key(), page.html.contains('@'));
        match (choice % 8, known.keys.is_empty(), last) {
            (1.., ..) if on_page.is_some() => totp::code(&on_page.unwrap_or_default(), period),
            (1.., _, Some(mail)) if asks_mail => mail.code(),
            (0, ..) if !known.recovery_codes.is_empty() => known.recovery_codes.remove(0),
            (_, false, _) => totp::code(&known.keys[usize::from(choice / 8) % known.keys.len()], period),
            (_, true, Some(mail)) => mail.code(),
            (_, true, None) => "654321".to_owned(),
        }
    }

    fn come_back_from(&mut self, browser: usize, process: usize, [what, how]: [u8; 2]) {
        let away = &self.browsers[browser].away;
        // Mostly from where the browser was sent last.
        let back = if what % 4 == 0 {
            usize::from(what / 4) % away.len().max(1)
        } else {
            0
        };
        let Some(sent_to) = away.iter().rev().nth(back).cloned() else {
            return;
        };
        self.come_back(browser, process, &sent_to, how % 16 == 0);
    }

    /// The cookie of a login gets into a browser of another person, who follows the way of that login.
    fn plant_cookie(&mut self, browser: usize, from: usize) {
        let from = from % self.browsers.len();
        if from != browser {
            let mut browsers = self.browsers.get_disjoint_mut([browser, from]).expect("two browsers");
            let [into, from] = &mut browsers;
            into.plant(from);
        }
    }

    fn application_acts(&mut self, kind: Kind, process: usize, [who, what]: [u8; 2]) {
        if kind == Kind::Redeem {
            if !self.codes.is_empty() {
                let number = usize::from(who) % self.codes.len();
                self.redeem(process, number);
            }
            return;
        }
        let count = self.truth.tokens.len();
        if count == 0 {
            return;
        }
        // Mostly one of the newest.
        let number = count - 1 - usize::from(who) % count.min(12);
        let tokens = self.truth.tokens[number].clone();
        if kind == Kind::UseToken {
            let path = ["/oauth2/userinfo", "/scim/v2/Me"][usize::from(what) % 2];
            let answer = self.call(process, ("GET", path), &tokens.access, &Value::Null);
            if answer.status == 200 {
                self.check_grant("an access token", &tokens);
            }
            return;
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*tokens.refresh)];
        let answer = self.call_token_endpoint(process, tokens.application, &form);
        if answer.status == 200 {
            self.check_grant("a refresh token", &tokens);
            let body = answer.json();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let known = &mut self.truth.tokens[number];
            (known.access, known.refresh) = (text("access_token"), text("refresh_token"));
        }
    }

    fn change_claims(&mut self, [who, what, how]: [u8; 3]) {
        let (person, provider) = (Person::nth(who), usize::from(what) % PROVIDERS.len());
        let usual = person.claims(provider);
        let mut providers = self.world.providers.lock();
        let claims = providers
            .claims
            .get_mut(&(provider, person))
            .expect("everybody has claims");
        let mut set = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        match how % 16 {
            0 => set("groups", json!(["eng", "ops"])),
            1 => set("groups", json!(["ops"])),
            2 => set("groups", json!([])),
            3 => drop(claims.remove("groups")),
            4 => set("groups", json!({"eng": true})),
            5 => {
                claims.remove("groups");
                claims.insert("_claim_names".to_owned(), json!({"groups": "src1"}));
            }
            6 => set("email_verified", json!(false)),
            // Only the attacker claims what is another's.
            7 if person == EVE && provider == 0 => {
                set("nick", json!(Person::nth(who / 8).name()));
            }
            8 if person == EVE && provider == 0 => {
                set("email", json!(Person::nth(who / 8).address()));
                set("email_verified", json!(false));
            }
            9 => set("phone_number", json!(format!("+49 40 {who}"))),
            10 => drop(claims.remove("phone_number")),
            11 if provider == 1 => set("region", json!("corp")),
            12 => set("given_name", json!("x".repeat(5000))),
            13 => set("nickname", json!("new nickname")),
            _ => *claims = usual,
        }
    }

    /// The attacker learns a password of somebody.
    fn leak(&mut self, number: usize) {
        let known: Vec<(String, String)> = self.truth.passwords.clone().into_iter().collect();
        let Some((id, password)) = known.get(number % known.len().max(1)).cloned() else {
            return;
        };
        let Some(account) = self.facts.accounts.get(&id) else {
            return;
        };
        let name = account.text("userName").to_owned();
        self.knowledge[EVE.0].learn(&name, &password);
        self.truth.leaked.insert(id.clone());
        self.is_compromised(&id);
    }

    /// Time passes.
    fn wait(&mut self, what: u8) {
        let span = match what % 16 {
            0..=7 => Duration::from_secs(31),
            8..=10 => Duration::from_mins(4),
            11 | 12 => Duration::from_mins(11),
            13 => Duration::from_hours(2),
            14 => Duration::from_hours(13),
            _ => Duration::from_hours(24 * 31),
        };
        self.world.clock.advance(span);
        // Most faults are short.
        if what.is_multiple_of(2) {
            self.world.fail_writes(None);
            self.world.providers.lock().down.clear();
        }
    }

    /// The periodic tasks of a process.
    pub(crate) fn sweep(&mut self, process: usize) {
        let app = self.world.app(process);
        let remover = ProviderRemover::new(app.directory.clone(), app.database.clone());
        let done = [
            app.federation
                .leases
                .sweep()
                .map(drop)
                .map_err(|error| error.to_string()),
            app.oidc.sweep().map(drop).map_err(|error| error.to_string()),
            app.federation
                .login
                .sweep()
                .map(drop)
                .map_err(|error| error.to_string()),
            app.federation
                .approvals
                .sweep()
                .map(drop)
                .map_err(|error| error.to_string()),
            remover.carry_on().map(drop).map_err(|error| error.to_string()),
        ];
        let errors: Vec<String> = done.into_iter().filter_map(Result::err).collect();
        if !errors.is_empty() && self.world.failing.is_none() {
            self.breaks("a task fails only with a fault", errors.join(", "));
        }
    }

    fn administer(&mut self, process: usize, [who, what, how]: [u8; 3]) {
        let context = self.world.administrator(process);
        let chosen = self.account(who, None);
        let user = chosen.as_ref().map(|(id, account)| {
            let user = UserRef {
                store: account.store.as_str().into(),
                user_name: account.text("userName").to_owned(),
            };
            (id.clone(), user)
        });
        let provider = usize::from(who) % PROVIDERS.len();
        let name = PROVIDERS[provider].into();
        let mut result = Ok(());
        match (what % 12, user) {
            (0, Some((id, user))) => {
                let reset = people::reset_factor(&context, &user);
                if matches!(reset, Ok((_, true))) {
                    self.truth.push(&id, self.step, None, true);
                }
                result = reset.map(drop);
            }
            (1, Some((id, user))) => {
                let owner = self.truth.owners.get(&id).copied().unwrap_or(Person(0));
                let password = self.knowledge[owner.0].new_password(owner);
                result = people::set_password(&context, &user, &Secret::new(&*password)).map(drop);
                self.take_in_password(&id, owner, &password);
            }
            (2, Some((_, user))) => result = people::unlock(&context, &user).map(drop),
            (3, _) => result = identities::lock(&context, identity(provider, how), "stolen").map(drop),
            (4 | 5, _) => drop(identities::unlock(&context, identity(provider, how))),
            (6, _) if how % 4 == 0 => {
                result = providers::begin(&context, &name, how % 8 == 0).and_then(|()| {
                    while providers::step(&context, &name)?.is_some_and(|removal| removal.finished.is_none()) {}
                    Ok(())
                });
            }
            (7 | 8, _) => drop(providers::restore(&context, &name)),
            (9 | 10, _) => {
                let waiting = &self.facts.waiting;
                if let Some((reference, subject)) = waiting.get(usize::from(who) % waiting.len().max(1)) {
                    let verdict = if how % 3 == 0 {
                        Verdict::Refused
                    } else {
                        Verdict::Approved
                    };
                    // The request may have expired.
                    let decided = approvals::decide(&context, reference, verdict, "because");
                    if decided.is_ok() && verdict == Verdict::Approved {
                        self.truth.approved.insert(subject.clone());
                    }
                }
            }
            (11, _) if how % 8 == 0 => result = keys::rotate(&context, &self.world.app(process).oidc),
            _ => {}
        }
        if let (Err(error), None) = (result, &self.world.failing) {
            self.breaks("an operation fails only with a fault", error);
        }
    }

    /// Notes a password that somebody else set for a person, if it was set.
    pub(crate) fn take_in_password(&mut self, id: &str, owner: Person, password: &str) {
        let hash = |facts: &Facts| facts.accounts.get(id).map(|account| account.password.clone());
        let before = hash(&self.facts);
        self.refresh_facts(Some(owner));
        if hash(&self.facts) != before {
            let name = self.facts.accounts[id].text("userName").to_owned();
            self.truth.passwords.insert(id.to_owned(), password.to_owned());
            self.knowledge[owner.0].learn(&name, password);
        }
    }
}

fn identity(provider: usize, how: u8) -> Link {
    let person = Person::nth(how);
    Link {
        identity_provider: PROVIDERS[provider].into(),
        issuer: issuer(provider),
        subject: subject(provider, person),
    }
}
