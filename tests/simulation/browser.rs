//! A browser: cookies, the page that it shows, and the addresses that it was sent to.

use std::collections::BTreeMap;

use url::Url;

use super::page::Page;
use super::people::Person;
use super::provider::{PROVIDERS, issuer};
use super::world::{Answer, ORIGIN, Request, World};

/// The cookie of a login.
pub(crate) const HANDLE: &str = "__Host-vestibule-login";
/// The cookie of a session.
pub(crate) const SESSION: &str = "__Host-vestibule-session";

/// Longest chain of redirects.
const REDIRECTS: usize = 8;

/// A browser.
pub(crate) struct Browser {
    /// The person who sits at it.
    pub(crate) person: Person,
    pub(crate) jar: BTreeMap<String, String>,
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
            page: Page::default(),
            away: Vec::new(),
            callbacks: Vec::new(),
            old_sessions: Vec::new(),
            loses_next: false,
        }
    }

    pub(crate) fn handle(&self) -> Option<&String> {
        self.jar.get(HANDLE)
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
            exchanges.push(Exchange {
                path: next.path.clone(),
                answer: answer.clone(),
                before: self.jar.clone(),
            });
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
                self.away.push(url);
                return (exchanges, Landing::Provider);
            }
            self.page = Page::default();
            return (exchanges, Landing::Application(url));
        }
        (exchanges, Landing::Page)
    }

    fn request(&self, world: &World, next: &Navigation) -> Answer {
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
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
            }
        }
    }
}
