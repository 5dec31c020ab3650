//! A small SCIM target inside the test, which fails on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

/// The kinds of failure.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An error status.
    Status(u16),
    /// A status with `Retry-After`.
    Later(u16, String),
    /// Does the work, then closes without a response.
    Ate,
    /// Closes without doing the work.
    Drop,
    /// Does the work and responds after this delay.
    Late(Duration),
    /// Closes without a response after this delay.
    Hang(Duration),
    /// A web page with this status; with 200, the work is done.
    Html(u16),
    /// A redirect.
    Redirect(String),
    /// A response of two MiB.
    Big,
}

/// A fault for requests whose `METHOD /path` begins with `matches`, with a probability in percent, at most `times`.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) matches: &'static str,
    pub(crate) fault: Fault,
    pub(crate) percent: u64,
    pub(crate) times: u32,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) users: BTreeMap<String, Value>,
    pub(crate) groups: BTreeMap<String, Value>,
    pub(crate) log: Vec<(Instant, String, Value)>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) patch_supported: Option<bool>,
    /// Allows duplicate names, because comparing all of them is the slowest step.
    pub(crate) trusting: bool,
    /// Returns pages of all resources, whatever the filter.
    pub(crate) ignores_filters: bool,
    next: u64,
    dice: u64,
}

#[derive(Clone)]
pub(crate) struct FakeTarget {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

impl FakeTarget {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}/scim/v2", listener.local_addr().unwrap())).unwrap();
        let state = Arc::new(Mutex::new(State {
            dice: 88_172_645_463_325_252,
            ..State::default()
        }));
        let target = Self { url, state };
        let served = target.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        target
    }

    /// A handle for a target that another process serves.
    pub(crate) fn at(url: &str) -> Self {
        Self {
            url: Url::parse(url).unwrap(),
            state: Arc::default(),
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Fails the next `times` requests that begin with `matches`.
    pub(crate) fn fail(&self, matches: &'static str, fault: Fault, times: u32) {
        self.with(|state| {
            state.rules.push(Rule {
                matches,
                fault,
                percent: 100,
                times,
            });
        });
    }

    /// The number of requests that began with `start`.
    pub(crate) fn requests(&self, start: &str) -> usize {
        self.with(|state| state.log.iter().filter(|(_, line, _)| line.starts_with(start)).count())
    }

    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut writer = stream;
        while let Some((line, body)) = read_request(&mut reader) {
            let fault = self.with(|state| {
                state.log.push((Instant::now(), line.clone(), body.clone()));
                state.fault(&line)
            });
            if let Some(Fault::Late(span)) = fault {
                std::thread::sleep(span);
            }
            let works = matches!(
                fault,
                None | Some(Fault::Ate | Fault::Html(200) | Fault::Big | Fault::Late(_))
            );
            let answer = if works {
                self.with(|state| state.work(&line, &body))
            } else {
                (500, Value::Null)
            };
            let reply = match fault {
                None | Some(Fault::Late(_)) => http(answer.0, "", "application/scim+json", &answer.1.to_string()),
                Some(Fault::Status(status)) => http(
                    status,
                    "",
                    "application/scim+json",
                    &json!({"detail": "told to"}).to_string(),
                ),
                Some(Fault::Later(status, wait)) => http(
                    status,
                    &format!("Retry-After: {wait}\r\n"),
                    "application/scim+json",
                    "{}",
                ),
                Some(Fault::Html(status)) => http(status, "", "text/html", "<html>welcome</html>"),
                Some(Fault::Redirect(to)) => http(307, &format!("Location: {to}\r\n"), "text/plain", ""),
                Some(Fault::Big) => http(
                    200,
                    "",
                    "application/scim+json",
                    &json!({"x": "a".repeat(2 << 20)}).to_string(),
                ),
                Some(Fault::Ate | Fault::Drop) => return,
                Some(Fault::Hang(span)) => return std::thread::sleep(span),
            };
            if writer.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = first.trim_end().trim_end_matches(" HTTP/1.1").replace("/scim/v2", "");
    Some((line, serde_json::from_slice(&body).unwrap_or_default()))
}

fn http(status: u16, headers: &str, kind: &str, body: &str) -> String {
    let body = if body == "null" { "" } else { body };
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

impl State {
    fn fault(&mut self, line: &str) -> Option<Fault> {
        for rule in &mut self.rules {
            if rule.times > 0 && line.starts_with(rule.matches) {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 7;
                self.dice ^= self.dice << 17;
                if self.dice % 100 < rule.percent {
                    rule.times -= 1;
                    return Some(rule.fault.clone());
                }
            }
        }
        None
    }

    fn work(&mut self, line: &str, body: &Value) -> (u16, Value) {
        let (method, rest) = line.split_once(' ').unwrap();
        let url = Url::parse(&format!("http://x{rest}")).unwrap();
        let segments: Vec<&str> = url.path().split('/').skip(1).collect();
        let name = match segments[0] {
            "ServiceProviderConfig" => return self.config(),
            "Users" => "userName",
            "Groups" => "displayName",
            _ => return (404, Value::Null),
        };
        self.next += 1;
        let id = format!("r{}", self.next);
        let shelf = if name == "userName" {
            &mut self.users
        } else {
            &mut self.groups
        };
        match (method, segments.get(1).copied()) {
            ("GET", None) => list(shelf, &url, self.ignores_filters),
            ("POST", None) => {
                let is_taken = |other: &Value| text(other, name).eq_ignore_ascii_case(text(body, name));
                if !self.trusting && shelf.values().any(is_taken) {
                    return (409, json!({"scimType": "uniqueness"}));
                }
                let mut made = body.clone();
                made["id"] = json!(id);
                shelf.insert(id, made.clone());
                (201, made)
            }
            (_, Some(id)) if !shelf.contains_key(id) => (404, Value::Null),
            ("GET", Some(id)) => (200, shelf[id].clone()),
            ("PUT", Some(id)) => {
                shelf.insert(id.to_owned(), body.clone());
                (200, body.clone())
            }
            ("PATCH", Some(id)) => {
                let mut changed = shelf[id].clone();
                let answer = patch(&mut changed, body);
                let is_taken = |(other, there): (&String, &Value)| {
                    other != id && text(there, name).eq_ignore_ascii_case(text(&changed, name))
                };
                if shelf.iter().any(is_taken) {
                    return (409, json!({"scimType": "uniqueness"}));
                }
                if answer.0 < 300 {
                    shelf.insert(id.to_owned(), changed);
                }
                answer
            }
            ("DELETE", Some(id)) => {
                shelf.remove(id);
                (204, Value::Null)
            }
            _ => (405, Value::Null),
        }
    }

    fn config(&self) -> (u16, Value) {
        match self.patch_supported {
            None => (404, Value::Null),
            Some(supported) => (200, json!({"patch": {"supported": supported}})),
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(shelf: &BTreeMap<String, Value>, url: &Url, ignores_filters: bool) -> (u16, Value) {
    let asked = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let number = |name: &str, usual: usize| asked(name).map_or(usual, |text| text.parse().unwrap());
    let filter = asked("filter").filter(|_| !ignores_filters);
    let matches = |resource: &&Value| match filter.as_deref().and_then(|filter| filter.split_once(" eq ")) {
        Some((name, wanted)) => {
            text(resource, name).eq_ignore_ascii_case(&serde_json::from_str::<String>(wanted).unwrap())
        }
        None => true,
    };
    let found: Vec<&Value> = shelf.values().filter(matches).collect();
    let page: Vec<&&Value> = found
        .iter()
        .skip(number("startIndex", 1) - 1)
        .take(number("count", 100))
        .collect();
    (200, json!({"totalResults": found.len(), "Resources": page}))
}

fn patch(resource: &mut Value, body: &Value) -> (u16, Value) {
    for operation in body["Operations"].as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let value = &operation["value"];
        match (operation["op"].as_str().unwrap(), path) {
            ("add", "members") => {
                if value
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|member| text(member, "value").starts_with("bad"))
                {
                    return (400, json!({"detail": "a member is bad"}));
                }
                let mut members = resource["members"].as_array().cloned().unwrap_or_default();
                members.extend(
                    value
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|new| !members.contains(new))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                resource["members"] = members.into();
            }
            ("remove", path) if path.starts_with("members[") => {
                let id = path.trim_start_matches("members[value eq \"").trim_end_matches("\"]");
                if let Some(members) = resource["members"].as_array_mut() {
                    members.retain(|member| member["value"] != id);
                }
            }
            (op, path) => {
                let (parent, leaf) = if path.starts_with("urn:") {
                    path.rsplit_once(':')
                } else {
                    path.split_once('.')
                }
                .map_or((None, path), |(parent, leaf)| (Some(parent), leaf));
                let place = match parent {
                    Some(parent) => &mut resource[parent],
                    None => &mut *resource,
                };
                if op == "remove" {
                    place.as_object_mut().map(|place| place.remove(leaf));
                } else {
                    place[leaf] = value.clone();
                }
            }
        }
    }
    (200, resource.clone())
}
