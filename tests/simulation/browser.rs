//! A browser: cookies, the page that it shows, and the addresses that it was sent to.

use std::collections::BTreeMap;

use url::Url;
use vestibule::server::login::cookie_name;
use vestibule::storage::random;

use super::page::Page;
use super::people::Person;
use super::provider::{PROVIDERS, issuer};
use super::world::{Answer, ORIGIN, Request, World};

/// The beginning of the names of the cookies of logins.
pub(crate) const HANDLE: &str = "__Host-vestibule-login-";
/// The cookie of a session.
pub(crate) const SESSION: &str = "__Host-vestibule-session";

/// Longest chain of redirects.
const REDIRECTS: usize = 8;

/// A browser.
pub(crate) struct Browser {
    /// The person who sits at it.
    pub(crate) person: Person,
    pub(crate) jar: BTreeMap<String, String>,
    /// The handles of the logins that it began or was given, oldest first.
    logins: Vec<String>,
    /// The login of each `state` that it went to a provider with.
    states: BTreeMap<String, String>,
    pub(crate) page: Page,
    /// The addresses at providers that it was sent to, oldest first.
    pub(crate) away: Vec<Url>,
    /// The callbacks that it followed.
    pub(crate) callbacks: Vec<String>,
    /// The session cookies that it had before.
    pub(crate) old_sessions: Vec<String>,
    /// Whether the answer to the next request does not arrive.
    pub(crate) loses_next: bool,
}

/// Where a request led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    /// A page of the server.
    Page,
    /// A provider.
    Provider,
    /// An application, with the parameters of the answer.
    Application(Url),
    /// The answer did not arrive.
    Lost,
}

/// One request and its answer.
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) answer: Answer,
    /// The cookies before it.
    pub(crate) before: BTreeMap<String, String>,
    /// The handle of the login that the request is about.
    pub(crate) login: Option<String>,
}

impl Exchange {
    /// The handle of the login that the answer begins.
    pub(crate) fn begun(&self) -> Option<&String> {
        let mut cookies = self.answer.cookies.iter();
        let cookie = cookies.find(|(name, value)| name.starts_with(HANDLE) && !value.is_empty());
        cookie.map(|(_, handle)| handle)
    }
}

/// The next request of a browser.
struct Navigation {
    process: usize,
    method: &'static str,
    path: String,
    body: String,
}

impl Navigation {
    fn to(process: usize, path: String) -> Self {
        Self {
            process,
            method: "GET",
            path,
            body: String::new(),
        }
    }
}

impl Browser {
    pub(crate) fn new(person: Person) -> Self {
        Self {
            person,
            jar: BTreeMap::new(),
            logins: Vec::new(),
            states: BTreeMap::new(),
            page: Page::default(),
            away: Vec::new(),
            callbacks: Vec::new(),
            old_sessions: Vec::new(),
            loses_next: false,
        }
    }

    /// The handles of the logins whose cookies it has, oldest first.
    fn handles(&self) -> impl DoubleEndedIterator<Item = &String> {
        let is_kept = |handle: &&String| self.jar.contains_key(&cookie_name(handle, true));
        self.logins.iter().filter(is_kept)
    }

    /// The handle of its newest login.
    pub(crate) fn newest(&self) -> Option<&String> {
        self.handles().next_back()
    }

    /// The login whose form has these fields.
    pub(crate) fn login_of_form(&self, fields: &[(String, String)]) -> Option<&String> {
        let (_, csrf) = fields.iter().find(|(name, _)| name == "csrf")?;
        let mut handles = self.handles();
        handles.find(|handle| random::fingerprint(&format!("login-form/{handle}")) == *csrf)
    }

    /// The login that went to a provider with the `state` of an address.
    pub(crate) fn login_of_state(&self, address: &str) -> Option<&String> {
        let state = query_of(address, "state")?;
        let handle = self.states.get(&state)?;
        self.handles().find(|known| *known == handle)
    }

    /// The login that a request is about.
    fn login_of(&self, next: &Navigation) -> Option<String> {
        if next.method == "POST" {
            let fields: Vec<_> = url::form_urlencoded::parse(next.body.as_bytes()).into_owned().collect();
            return self.login_of_form(&fields).cloned();
        }
        if next.path.starts_with("/federation/") {
            return self.login_of_state(&next.path).cloned();
        }
        let id = query_of(&next.path, "login")?;
        let name = format!("{HANDLE}{id}");
        self.jar.get(&name).cloned()
    }

    /// Puts the cookie of another browser's newest login into this one, with the address it was sent to.
    pub(crate) fn plant(&mut self, from: &Self) {
        let Some(handle) = from.newest().cloned() else {
            return;
        };
        self.jar.insert(cookie_name(&handle, true), handle.clone());
        self.logins.push(handle.clone());
        if let Some(away) = from.away.last() {
            let state = query_of(away.as_str(), "state");
            let login = state.and_then(|state| Some((from.states.get(&state)?.clone(), state)));
            self.states.extend(login.map(|(login, state)| (state, login)));
            self.away.push(away.clone());
        }
    }

    pub(crate) fn session(&self) -> Option<&String> {
        self.jar.get(SESSION)
    }

    /// Follows a link.
    pub(crate) fn get(&mut self, world: &World, process: usize, path: &str) -> (Vec<Exchange>, Landing) {
        self.follow(world, Navigation::to(process, path.to_owned()))
    }

    /// Sends a form.
    pub(crate) fn post(
        &mut self,
        world: &World,
        process: usize,
        path: &str,
        fields: &[(String, String)],
    ) -> (Vec<Exchange>, Landing) {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        let form = Navigation {
            method: "POST",
            body: body.finish(),
            ..Navigation::to(process, path.to_owned())
        };
        self.follow(world, form)
    }

    fn follow(&mut self, world: &World, mut next: Navigation) -> (Vec<Exchange>, Landing) {
        let mut exchanges = Vec::new();
        for _ in 0..REDIRECTS {
            let answer = self.request(world, &next);
            let is_lost = std::mem::take(&mut self.loses_next);
            let exchange = Exchange {
                path: next.path.clone(),
                answer: answer.clone(),
                before: self.jar.clone(),
                login: self.login_of(&next),
            };
            let login = exchange.begun().or(exchange.login.as_ref()).cloned();
            exchanges.push(exchange);
            if is_lost {
                return (exchanges, Landing::Lost);
            }
            self.keep(&answer);
            let page = Page::read(answer.body.clone());
            let Some(to) = answer.location.or_else(|| page.refresh()) else {
                self.page = page;
                return (exchanges, Landing::Page);
            };
            if let Some(local) = to.strip_prefix(ORIGIN).or(Some(&*to)).filter(|to| to.starts_with('/')) {
                next = Navigation::to(next.process, local.to_owned());
                continue;
            }
            let url = Url::parse(&to).unwrap_or_else(|error| panic!("{to} is no address: {error}"));
            if (0..PROVIDERS.len()).any(|provider| to.starts_with(&issuer(provider))) {
                let state = query_of(&to, "state");
                self.states.extend(state.zip(login));
                self.away.push(url);
                return (exchanges, Landing::Provider);
            }
            self.page = Page::default();
            return (exchanges, Landing::Application(url));
        }
        (exchanges, Landing::Page)
    }

    fn request(&self, world: &World, next: &Navigation) -> Answer {
        // Browsers send the oldest first.
        let logins = self
            .handles()
            .map(|handle| format!("{}={handle}", cookie_name(handle, true)));
        let others = self.jar.iter().filter(|(name, _)| !name.starts_with(HANDLE));
        let others = others.map(|(name, value)| format!("{name}={value}"));
        let cookies: Vec<String> = others.chain(logins).collect();
        let mut headers = vec![("Cookie", cookies.join("; "))];
        if next.method == "POST" {
            headers.push(("Content-Type", "application/x-www-form-urlencoded".to_owned()));
            headers.push(("Origin", ORIGIN.to_owned()));
            headers.push(("Sec-Fetch-Site", "same-origin".to_owned()));
        }
        let request = Request {
            method: next.method,
            path: &next.path,
            headers,
            body: next.body.clone(),
        };
        world.send(next.process, request)
    }

    fn keep(&mut self, answer: &Answer) {
        for (name, value) in &answer.cookies {
            let before = if value.is_empty() {
                self.jar.remove(name)
            } else {
                self.jar.insert(name.clone(), value.clone())
            };
            if name == SESSION {
                self.old_sessions.extend(before);
            } else if name.starts_with(HANDLE) && !value.is_empty() {
                self.logins.push(value.clone());
            }
        }
    }
}

/// A parameter of an address.
fn query_of(address: &str, name: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
}
