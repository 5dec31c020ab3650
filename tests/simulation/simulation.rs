//! The simulation: the world, its people, and what happens when a browser acts.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::Url;
use vestibule::domain::Timestamp;
use vestibule::storage::random;

use super::browser::{Browser, Exchange, HANDLE, Landing, SESSION};
use super::facts::Facts;
use super::logs;
use super::people::{BROWSERS, Knowledge, Person};
use super::shape::{APPLICATIONS, Shape};
use super::totp;
use super::truth::{Means, Proof, Session, Tokens, Truth};
use super::world::{Answer, Request, World};

/// An authorization request of an application.
#[derive(Clone, Debug)]
pub(crate) struct AuthorizationRequest {
    pub(crate) application: usize,
    /// The earliest time at which the person may have proved who they are.
    pub(crate) fresh_since: Option<Timestamp>,
}

/// The simulation.
pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) browsers: Vec<Browser>,
    pub(crate) knowledge: Vec<Knowledge>,
    pub(crate) truth: Truth,
    pub(crate) facts: Facts,
    pub(crate) step: usize,
    /// The requests of applications, by `state`.
    pub(crate) requests: BTreeMap<String, AuthorizationRequest>,
    /// The codes that applications have not used yet: application, code, and what the tokens will be.
    pub(crate) codes: Vec<(String, Tokens)>,
    /// The tokens of the SCIM clients.
    pub(crate) hr: String,
    pub(crate) payroll: String,
    /// The broken rules.
    pub(crate) broken: Vec<String>,
    /// Number of codes that were issued.
    pub(crate) issued: usize,
    /// Whether each request is printed.
    traces: bool,
    /// How often the people reached what, to see that a run does something.
    pub(crate) tally: BTreeMap<String, usize>,
}

impl Simulation {
    /// Starts a world of a shape.
    pub(crate) fn start(shape: Shape, http: reqwest::blocking::Client) -> Self {
        let world = World::start(shape, http);
        let token = |client| world.scim_token(client).expose().to_owned();
        let (hr, payroll) = (token("hr"), token("payroll"));
        logs::take();
        Self {
            browsers: BROWSERS.map(Browser::new).into(),
            knowledge: Person::all().map(|_| Knowledge::default()).collect(),
            truth: Truth::default(),
            facts: Facts::read(&world.database),
            step: 0,
            requests: BTreeMap::new(),
            codes: Vec::new(),
            hr,
            payroll,
            broken: Vec::new(),
            issued: 0,
            traces: std::env::var_os("SIM_TRACE").is_some(),
            tally: BTreeMap::new(),
            world,
        }
    }

    /// Notes that a rule is broken.
    pub(crate) fn breaks(&mut self, rule: &str, how: impl std::fmt::Display) {
        self.broken.push(format!("{rule}: {how}"));
    }

    /// A browser follows a link.
    pub(crate) fn visit(&mut self, browser: usize, process: usize, path: &str) -> Landing {
        let (exchanges, landing) = self.browsers[browser].get(&self.world, process, path);
        self.observe((browser, process), &exchanges, &landing, &[])
    }

    /// A browser sends a form.
    pub(crate) fn submit(
        &mut self,
        browser: usize,
        process: usize,
        path: &str,
        fields: &[(String, String)],
    ) -> Landing {
        self.note_proofs(browser, path, fields);
        let (exchanges, landing) = self.browsers[browser].post(&self.world, process, path, fields);
        self.observe((browser, process), &exchanges, &landing, fields)
    }

    /// A browser returns from a provider with the claims of a person, or without them.
    pub(crate) fn come_back(&mut self, browser: usize, process: usize, sent_to: &Url, cancels: bool) -> Landing {
        let now = self.world.clock.now();
        let person = self.browsers[browser].person;
        let answer = self.world.providers.sign_in((browser, person), sent_to, now);
        let path = if cancels {
            let (path, _) = answer.path.split_once("code=").expect("an answer has a code");
            let (_, state) = answer.path.split_once("&state=").expect("an answer has a state");
            format!("{path}error=access_denied&state={state}")
        } else {
            answer.path.clone()
        };
        let name = path.split('/').nth(2).unwrap_or_default().to_owned();
        let handle = self.browsers[browser].login_of_state(&path).cloned();
        if let (Some(handle), Some(at), false) = (handle, answer.proved, cancels) {
            let subject = format!("{name}-{}", person.name());
            let proof = self.proof(Means::Identity(name, subject), at);
            self.truth.logins.entry(handle.clone()).or_default().push(proof);
            let silent = self.truth.silent_about_groups.entry(handle).or_insert(true);
            *silent &= answer.is_silent_about_groups;
        }
        self.browsers[browser].callbacks.push(path.clone());
        self.visit(browser, process, &path)
    }

    pub(crate) fn proof(&self, means: Means, at: Timestamp) -> Proof {
        Proof {
            means,
            step: self.step,
            at,
        }
    }

    /// Notes what a form proves, before the server says anything about it.
    fn note_proofs(&mut self, browser: usize, path: &str, fields: &[(String, String)]) {
        let Some(handle) = self.browsers[browser].login_of_form(fields).cloned() else {
            return;
        };
        let text = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| known == name)
                .map_or("", |(_, value)| value)
        };
        let now = self.world.clock.now();
        let mut means = Vec::new();
        if path == "/login/details" && text("decision") == "agree" {
            let person = self.browsers[browser].person;
            let kept = fields.iter().filter(|(name, _)| name == "keep");
            self.truth.agreed.extend(kept.map(|(_, path)| (person, path.clone())));
        }
        match path {
            "/login/password" | "/login/prove" => {
                let (name, password) = (text("username"), text("password"));
                for (id, account) in &self.facts.accounts {
                    let is_named = account.text("userName").eq_ignore_ascii_case(name);
                    if is_named && self.truth.passwords.get(id).is_some_and(|known| known == password) {
                        means.push(Means::Password(id.clone()));
                    }
                }
            }
            "/login/code" => means = self.proofs_by_code(text("code"), now),
            _ => {}
        }
        let proofs: Vec<Proof> = means.into_iter().map(|means| self.proof(means, now)).collect();
        self.truth.logins.entry(handle).or_default().extend(proofs);
    }

    fn proofs_by_code(&mut self, code: &str, now: Timestamp) -> Vec<Means> {
        let mut means = Vec::new();
        let period = now.0 / 30_000;
        for (id, key) in &self.truth.keys {
            for period in [period - 1, period, period + 1] {
                let used = (id.clone(), period);
                if totp::code(key, period) == code && !self.truth.used_codes.contains(&used) {
                    means.push(Means::Authenticator(id.clone()));
                    self.truth.typed_codes.push(used);
                }
            }
        }
        for (id, codes) in &mut self.truth.recovery_codes {
            if let Some(at) = codes.iter().position(|known| known == code) {
                codes.remove(at);
                means.push(Means::Authenticator(id.clone()));
            }
        }
        for mail in self.world.smtp.mail() {
            if mail.code() == code {
                let recipient = mail.recipients.first().cloned().unwrap_or_default();
                let address = recipient.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                let accounts = self.facts.accounts.iter();
                let theirs = accounts.filter(|(_, account)| account.has_address(&address));
                means.extend(theirs.map(|(id, _)| Means::Mail(id.clone(), address.clone())));
            }
        }
        means
    }

    /// Takes in what the requests of a browser led to, and checks the rules.
    fn observe(
        &mut self,
        (browser, process): (usize, usize),
        exchanges: &[Exchange],
        landing: &Landing,
        fields: &[(String, String)],
    ) -> Landing {
        let before = std::mem::take(&mut self.facts);
        let after = Facts::read(&self.world.database);
        self.truth.note(&before, &after, self.step, Some(browser));
        self.learn_from(browser, (&before, &after), exchanges, fields);
        if self.traces {
            let person = self.browsers[browser].person.name();
            let paths: Vec<_> = exchanges
                .iter()
                .map(|exchange| (&exchange.path, exchange.answer.status))
                .collect();
            eprintln!(
                "step {}: {person} at browser {browser}, process {process}: {paths:?} with {fields:?}, {landing:?}",
                self.step
            );
        }
        for exchange in exchanges {
            self.check_answer(&exchange.path, &exchange.answer);
        }
        self.facts = after;
        self.use_codes_up(browser, landing);
        self.count(browser, &before, landing);
        self.check_change(&before, Some(browser), exchanges);
        self.follow_cookies(browser, &before, exchanges);
        self.check_page(browser, exchanges, landing);
        if let Landing::Application(url) = landing {
            self.arrive(browser, process, url);
        }
        landing.clone()
    }

    /// The codes of the last form are used up if the server took them.
    fn use_codes_up(&mut self, browser: usize, landing: &Landing) {
        let page = &self.browsers[browser].page;
        let asks_again = page.forms.first().is_some_and(|form| form.action == "/login/code");
        let is_refused = *landing == Landing::Page && (page.error().is_some() || asks_again);
        let typed = std::mem::take(&mut self.truth.typed_codes);
        if !is_refused {
            self.truth.used_codes.extend(typed);
        }
    }

    /// Counts what a browser reached.
    fn count(&mut self, browser: usize, before: &Facts, landing: &Landing) {
        let page = &self.browsers[browser].page;
        let reached = match landing {
            Landing::Page => match (page.error(), page.forms.first()) {
                (Some(error), _) => format!("refused: {error}"),
                (None, Some(form)) => format!("page: {}", form.action),
                (None, None) => "page without a form".to_owned(),
            },
            Landing::Provider => "at a provider".to_owned(),
            Landing::Application(url) if url.query_pairs().any(|(name, _)| name == "code") => "entered".to_owned(),
            Landing::Application(_) => "back at the application".to_owned(),
            Landing::Lost => "answer lost".to_owned(),
        };
        let mut reached = vec![reached];
        for (id, account) in &self.facts.accounts {
            match before.accounts.get(id) {
                None => reached.push("account made".to_owned()),
                Some(old) => {
                    let changes = [
                        (old.links.len() < account.links.len(), "identity linked"),
                        (old.links.len() > account.links.len(), "identity unlinked"),
                        (old.authenticator < account.authenticator, "authenticator set up"),
                        (old.authenticator > account.authenticator, "authenticator removed"),
                        (old.password != account.password, "password set"),
                        (old.groups != account.groups, "groups changed"),
                        (!old.active && account.active, "lease renewed"),
                        (old.consents != account.consents, "consent changed"),
                    ];
                    let made = changes.iter().filter(|(is_so, _)| *is_so);
                    reached.extend(made.map(|(_, what)| (*what).to_owned()));
                }
            }
        }
        for what in reached {
            *self.tally.entry(what).or_default() += 1;
        }
    }

    /// Learns the passwords and keys that a form set.
    fn learn_from(
        &mut self,
        browser: usize,
        (before, after): (&Facts, &Facts),
        exchanges: &[Exchange],
        fields: &[(String, String)],
    ) {
        let text = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        let person = self.browsers[browser].person;
        self.note_sign_out(before, exchanges, text("session").as_ref());
        let handle = exchanges.first().and_then(|exchange| exchange.login.clone());
        for (id, account) in &after.accounts {
            let old = before.accounts.get(id);
            if old.is_none() {
                self.truth.owners.insert(id.clone(), person);
                let chosen = text("username").filter(|_| text("decision").is_some());
                if chosen.is_some() {
                    self.truth.typed_names.insert(id.clone());
                }
            }
            let name = account.text("userName");
            if old.map_or("", |old| &old.password) != account.password
                && let Some(password) = text("password")
            {
                self.truth.passwords.insert(id.clone(), password.clone());
                self.knowledge[person.0].learn(name, &password);
            }
            if old.map_or("", |old| &old.authenticator) != account.authenticator && !account.authenticator.is_empty() {
                self.learn_key(browser, id, text("code").unwrap_or_default(), handle.as_ref());
            }
        }
        let codes = self.browsers[browser].page.recovery_codes();
        if !codes.is_empty()
            && exchanges
                .iter()
                .any(|exchange| !exchange.path.starts_with("/login/codes"))
        {
            self.learn_recovery_codes(browser, after, codes);
        }
    }

    /// A person who signs out everywhere ends everything.
    fn note_sign_out(&mut self, before: &Facts, exchanges: &[Exchange], one: Option<&String>) {
        let Some(first) = exchanges.first() else { return };
        let is_done = first.answer.cookies.contains(&(SESSION.to_owned(), String::new()));
        if first.path == "/account/sessions" && one.is_none() && is_done {
            let session = first.before.get(SESSION).map(|cookie| random::fingerprint(cookie));
            if let Some(account) = session.and_then(|hash| before.sessions.get(&hash).cloned()) {
                self.truth.push(&account, self.step, None, true);
            }
        }
    }

    /// An authenticator was set up: its key was on the page on which the code was typed.
    fn learn_key(&mut self, browser: usize, id: &str, code: String, handle: Option<&String>) {
        let now = self.world.clock.now();
        let person = self.browsers[browser].person;
        let period = now.0 / 30_000;
        let keys = self.knowledge[person.0].keys.iter().rev();
        let found = keys
            .flat_map(|key| [period - 1, period, period + 1].map(|period| (key, period)))
            .find(|(key, period)| totp::code(key, *period) == code);
        let Some((key, period)) = found.map(|(key, period)| (key.clone(), period)) else {
            self.breaks("an authenticator counts that its owner never saw", id);
            return;
        };
        self.truth.keys.insert(id.to_owned(), key);
        self.truth.used_codes.insert((id.to_owned(), period));
        let proof = self.proof(Means::Authenticator(id.to_owned()), now);
        if let Some(handle) = handle {
            self.truth.logins.entry(handle.clone()).or_default().push(proof);
        }
    }

    fn learn_recovery_codes(&mut self, browser: usize, after: &Facts, codes: Vec<String>) {
        // They belong to the account whose authenticator was set up last by this browser, or that is signed in here.
        let person = self.browsers[browser].person;
        let session = self.browsers[browser]
            .session()
            .map(|cookie| random::fingerprint(cookie));
        let signed_in = session.and_then(|hash| after.sessions.get(&hash).cloned());
        let last = self
            .truth
            .events
            .iter()
            .rev()
            .find(|event| event.browser == Some(browser));
        let last = last.map(|event| event.account.clone());
        for id in [signed_in, last].into_iter().flatten() {
            if self.truth.keys.contains_key(&id) {
                self.truth.recovery_codes.insert(id, codes.clone());
            }
        }
        self.knowledge[person.0].recovery_codes = codes;
    }

    /// Follows the proofs from a login to the session that it opens, and from a session to the login that it begins.
    fn follow_cookies(&mut self, browser: usize, before: &Facts, exchanges: &[Exchange]) {
        for exchange in exchanges {
            let session = exchange.before.get(SESSION);
            let mut known: Vec<Proof> = session
                .and_then(|cookie| self.truth.sessions.get(cookie))
                .map(|session| session.proofs.clone())
                .unwrap_or_default();
            for (name, value) in &exchange.answer.cookies {
                if name.starts_with(HANDLE) && exchange.path.contains("prompt=login") {
                    self.truth.reauthentications.insert(value.clone());
                } else if name.starts_with(HANDLE) && !value.is_empty() {
                    self.truth
                        .logins
                        .entry(value.clone())
                        .or_default()
                        .extend(known.clone());
                }
                if name == SESSION && !value.is_empty() {
                    let handle = exchange.login.as_ref();
                    if handle.is_some_and(|handle| self.truth.reauthentications.contains(handle)) {
                        known.clear();
                    }
                    let login = handle.and_then(|handle| self.truth.logins.get(handle));
                    let own_from = known.len();
                    known.extend(
                        login
                            .into_iter()
                            .flatten()
                            .filter(|proof| is_current(proof, before))
                            .cloned(),
                    );
                    let opened = Session {
                        opened: self.step,
                        browser,
                        proofs: std::mem::take(&mut known),
                        own_from,
                    };
                    self.truth.sessions.insert(value.clone(), opened);
                }
            }
        }
    }

    /// An application receives the answer to its request.
    fn arrive(&mut self, browser: usize, process: usize, url: &Url) {
        let parameter = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.into_owned())
        };
        let request = parameter("state").and_then(|state| self.requests.get(&state).cloned());
        let Some(request) = request else {
            if parameter("error").is_none() && parameter("code").is_some() {
                self.breaks("an answer goes to the application that asked", url);
            }
            return;
        };
        let Some(code) = parameter("code") else { return };
        let Some(session) = self.browsers[browser].session().cloned() else {
            self.breaks("a code comes with a session", url);
            return;
        };
        let account = self.facts.sessions.get(&random::fingerprint(&session)).cloned();
        let Some(account) = account else {
            self.breaks("a code comes with a session", "there is no such session");
            return;
        };
        self.issued += 1;
        let ways = self.check_entry(browser, &session, &account, &request);
        let tokens = Tokens {
            application: request.application,
            account,
            step: self.step,
            browser,
            ways,
            access: String::new(),
            refresh: String::new(),
        };
        self.codes.push((code, tokens));
        if !self.step.is_multiple_of(8) && self.world.failing.is_none() {
            let last = self.codes.len() - 1;
            let step = self.step;
            let is_redeemed = self.redeem(process, last);
            if !is_redeemed {
                self.breaks("a fresh code is redeemed", format!("in step {step}"));
            }
        }
    }

    /// An application exchanges a code for tokens.
    pub(crate) fn redeem(&mut self, process: usize, number: usize) -> bool {
        let (code, mut tokens) = self.codes.remove(number);
        let redirect = format!("https://{}.example/callback", APPLICATIONS[tokens.application].name);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", &*redirect),
        ];
        let answer = self.call_token_endpoint(process, tokens.application, &form);
        if answer.status != 200 {
            return false;
        }
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let subject = subject_of(&text("id_token"));
        if subject != tokens.account {
            self.breaks(
                "a code is its person's",
                format!("{subject} instead of {}", tokens.account),
            );
        }
        self.check_grant("a code", &tokens);
        (tokens.access, tokens.refresh) = (text("access_token"), text("refresh_token"));
        self.truth.tokens.push(tokens);
        true
    }

    pub(crate) fn call_token_endpoint(&mut self, process: usize, application: usize, form: &[(&str, &str)]) -> Answer {
        let application = &APPLICATIONS[application];
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let basic = STANDARD.encode(format!("{}:{}", application.name, application.secret()));
        let request = Request {
            method: "POST",
            path: "/oauth2/token",
            headers: vec![
                ("Authorization", format!("Basic {basic}")),
                ("Content-Type", "application/x-www-form-urlencoded".to_owned()),
            ],
            body: body.finish(),
        };
        let answer = self.world.send(process, request);
        self.check_answer("/oauth2/token", &answer);
        answer
    }

    /// A request with a bearer token.
    pub(crate) fn call(&mut self, process: usize, (method, path): (&str, &str), token: &str, body: &Value) -> Answer {
        let mut headers = vec![("Authorization", format!("Bearer {token}"))];
        let mut text = String::new();
        if !body.is_null() {
            headers.push(("Content-Type", "application/scim+json".to_owned()));
            text = body.to_string();
        }
        let request = Request {
            method,
            path,
            headers,
            body: text,
        };
        let answer = self.world.send(process, request);
        self.check_answer(path, &answer);
        answer
    }
}

/// The subject of an ID token.
fn subject_of(token: &str) -> String {
    let payload = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value = payload
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    claims["sub"].as_str().unwrap_or_default().to_owned()
}

/// Whether a proof still speaks for its account when the last step of the login begins: an address that a code was sent
/// to is still the account's.
fn is_current(proof: &Proof, before: &Facts) -> bool {
    match &proof.means {
        Means::Mail(account, address) => {
            let known = before.accounts.get(account);
            known.is_none_or(|account| account.has_address(address))
        }
        _ => true,
    }
}
