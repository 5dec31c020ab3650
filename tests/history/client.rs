//! Clients that send random SCIM operations and keep a history of calls and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::linear::Call;
use super::objects::{Group, GroupOperation, Id, NameOperation, Step, User, UserOperation, Values};

/// How long an operation without an answer may still take effect: the server's retries and time limits.
const LATE: Duration = Duration::from_secs(20);
/// How many names users take turns with.
const NAMES: u32 = 40;
/// Member values that are no users, and can be selected by filters: `tmp-0`, `tmp-1`, …
pub(crate) const STRANGERS: u32 = 12;
/// The most users that clients work with at a time.
const USERS: usize = 60;

/// What one operation was about.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Group(Id, GroupOperation),
    User(Id, UserOperation),
    Name(u32, NameOperation),
    /// A user is created under this token (`externalId`) without an answer.
    UnansweredCreate {
        token: u32,
        name: u32,
        values: Values,
    },
    /// A user was seen with the token of its creation.
    Seen {
        token: u32,
        user: Id,
    },
}

/// The history that all clients write, and what they know.
pub(crate) struct History {
    began: Instant,
    pub(crate) shared: Mutex<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) calls: Vec<Recorded>,
    pub(crate) kills: Vec<Kill>,
    /// Ids of resources and members as numbers.
    pub(crate) numbers: BTreeMap<String, Id>,
    /// Users that are believed to exist: id, last version seen.
    pub(crate) users: Vec<(String, i64)>,
    pub(crate) groups: Vec<String>,
    pub(crate) versions: BTreeMap<String, i64>,
    next: u32,
    pub(crate) requests: usize,
    pub(crate) unanswered: usize,
    /// Answers that the protocol does not allow there.
    pub(crate) odd: Vec<String>,
    /// Times (seconds since the beginning) and statuses of server errors.
    pub(crate) failures: Vec<(f64, u16, String)>,
    /// Windows in which faults were in force.
    pub(crate) faults: Vec<(f64, f64)>,
}

impl Shared {
    pub(crate) fn number(&mut self, id: &str) -> Id {
        let next = Id::try_from(self.numbers.len()).unwrap();
        *self.numbers.entry(id.to_owned()).or_insert(next)
    }

    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }
}

impl History {
    pub(crate) fn begin() -> Arc<Self> {
        let mut shared = Shared::default();
        for stranger in 0..STRANGERS {
            shared.number(&format!("tmp-{stranger}"));
        }
        Arc::new(Self {
            began: Instant::now(),
            shared: Mutex::new(shared),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Shared) -> T) -> T {
        work(&mut self.shared.lock().unwrap())
    }
}

/// A process was killed.
pub(crate) struct Kill {
    pub(crate) process: usize,
    pub(crate) at: u64,
    /// The time after which nothing that the process was asked for takes effect.
    pub(crate) end: u64,
}

/// A client with its own connections.
pub(crate) struct Client {
    pub(crate) history: Arc<History>,
    pub(crate) urls: Vec<String>,
    pub(crate) token: String,
    pub(crate) http: reqwest::blocking::Client,
    pub(crate) dice: u64,
    /// The process that got the last request.
    process: usize,
}

/// A call and the process that got it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) process: usize,
    pub(crate) call: Call<Event>,
}

/// A request that was sent, with its condition and its answer.
struct Sent {
    began: u64,
    expected: Option<i64>,
    answer: Option<Answer>,
}

struct Answer {
    status: u16,
    body: Value,
    version: Option<i64>,
}

fn version_of(tag: &str) -> Option<i64> {
    tag.trim_start_matches("W/").trim_matches('"').parse().ok()
}

fn numbered(text: Option<&str>, prefix: &str) -> u32 {
    text.and_then(|text| text.strip_prefix(prefix)?.split('@').next()?.parse().ok())
        .unwrap_or(0)
}

/// Spellings of a name differ in case and are the same name: `2n` is name n in small letters, `2n + 1` in capitals.
fn name_text(spelling: u32) -> String {
    let text = format!("name-{}", spelling / 2);
    if spelling % 2 == 1 { text.to_uppercase() } else { text }
}

fn spelling(text: &str) -> u32 {
    let name = numbered(Some(&text.to_lowercase()), "name-");
    2 * name + u32::from(text.starts_with('N'))
}

impl Client {
    pub(crate) fn new(history: &Arc<History>, urls: Vec<String>, token: &str, seed: u64) -> Self {
        Self {
            history: Arc::clone(history),
            urls,
            token: token.to_owned(),
            http: reqwest::blocking::Client::builder()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
            dice: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            process: 0,
        }
    }

    fn record(&self, began: u64, answered: bool, events: Vec<Event>) {
        let now = self.history.now();
        let ended = if answered {
            now
        } else {
            now + u64::try_from(LATE.as_nanos()).unwrap()
        };
        self.history.with(|shared| {
            shared.calls.extend(events.into_iter().map(|operation| Recorded {
                process: self.process,
                call: Call {
                    began,
                    ended,
                    answered,
                    operation,
                },
            }));
        });
    }

    fn roll(&mut self, of: u32) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        u32::try_from(self.dice >> 33).unwrap() % of
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.roll(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let at = self.roll(u32::try_from(from.len()).unwrap());
        from.get(at as usize).cloned()
    }

    /// Sends a request. `None` if its outcome is unknown.
    fn send(&mut self, method: &str, path: &str, body: Option<&Value>, if_match: Option<i64>) -> Option<Answer> {
        self.process = self.roll(u32::try_from(self.urls.len()).unwrap()) as usize;
        let url = format!("{}/scim/v2{path}", self.urls[self.process]);
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(&self.token)
            .header("Accept", "application/scim+json");
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/scim+json")
                .body(body.to_string());
        }
        if let Some(version) = if_match {
            request = request.header("If-Match", format!("W/\"{version}\""));
        }
        // Now and then a client gives up at once.
        if self.roll(1000) < 4 {
            request = request.timeout(Duration::from_micros(u64::from(self.roll(8000)) + 200));
        }
        self.history.with(|shared| shared.requests += 1);
        let answer = request.send().and_then(|answer| {
            let status = answer.status().as_u16();
            let version = answer
                .headers()
                .get("ETag")
                .and_then(|tag| version_of(tag.to_str().ok()?));
            Ok((status, version, answer.text()?))
        });
        let (status, version, text) = match answer {
            Ok(answer) => answer,
            // It never left: the server is down. Another one, or the same later, takes it.
            Err(error) if error.is_connect() => {
                std::thread::sleep(Duration::from_millis(20));
                return self.send(method, path, body, if_match);
            }
            Err(_) => {
                self.history.with(|shared| shared.unanswered += 1);
                std::thread::sleep(Duration::from_millis(20));
                return None;
            }
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status >= 500 {
            let at = self.history.seconds();
            self.history.with(|shared| {
                shared.unanswered += 1;
                shared.failures.push((at, status, format!("{method} {path}: {text}")));
            });
            return None;
        }
        let version = version.or_else(|| version_of(body["meta"]["version"].as_str()?));
        Some(Answer { status, body, version })
    }

    fn odd(&self, what: &str, answer: &Answer) {
        let line = format!("{what}: {} {}", answer.status, answer.body);
        self.history.with(|shared| shared.odd.push(line));
    }

    /// Creates the groups that all clients share.
    pub(crate) fn create_groups(&mut self, count: u32) {
        for number in 0..count {
            let members: BTreeSet<Id> = (0..3).map(|_| self.roll(STRANGERS)).collect();
            self.create_group(number, &members);
        }
    }

    fn create_group(&mut self, number: u32, members: &BTreeSet<Id>) {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": format!("group {number}"),
            "members": self.values(members),
        });
        let began = self.history.now();
        let answer = self
            .send("POST", "/Groups", Some(&body), None)
            .expect("no fault is in force yet");
        assert_eq!(answer.status, 201, "{}", answer.body);
        let id = answer.body["id"].as_str().unwrap().to_owned();
        let group = self.history.with(|shared| {
            shared.groups.push(id.clone());
            shared.number(&id)
        });
        let create = GroupOperation::Create(vec![Step::Set(members.clone())]);
        self.record(began, true, vec![Event::Group(group, create)]);
    }

    /// Does one random operation.
    pub(crate) fn act(&mut self) {
        let users = self.history.with(|shared| shared.users.len());
        match self.roll(100) {
            _ if users < 8 => self.create_user(),
            0..=9 if users < USERS => self.create_user(),
            0..=16 => self.delete_user(),
            17..=27 => self.change_user(),
            28..=33 => self.rename_user(),
            34..=39 => self.read_user(),
            40..=45 => self.find(),
            46..=52 => self.bulk(),
            53..=59 => self.read_group(),
            60..=64 => self.put_group(),
            _ => self.patch_group(),
        }
    }

    fn some_user(&mut self) -> Option<(String, i64)> {
        let users = self.history.with(|shared| shared.users.clone());
        self.pick(&users)
    }

    fn user_number(&self, id: &str) -> Id {
        self.history.with(|shared| shared.number(id))
    }

    /// A name in one of its spellings.
    fn some_name(&mut self) -> u32 {
        2 * (self.roll(NAMES) + 1) + u32::from(self.chance(30))
    }

    fn fresh_values(&mut self, name: u32) -> (Values, u32) {
        let (title, email, token) = self
            .history
            .with(|shared| (shared.fresh(), shared.fresh(), shared.fresh()));
        let values = Values {
            title: Some(title),
            email: Some(email),
            name: Some(name),
        };
        (values, token)
    }

    fn user_body(values: &Values, token: u32) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": name_text(values.name.unwrap_or(0)),
            "externalId": format!("token-{token}"),
            "title": format!("title-{}", values.title.unwrap_or(0)),
            "emails": [{"value": format!("mail-{}@example.com", values.email.unwrap_or(0)), "type": "work"}],
        })
    }

    fn create_user(&mut self) {
        let name = self.some_name();
        let (values, token) = self.fresh_values(name);
        let body = Self::user_body(&values, token);
        let began = self.history.now();
        let answer = self.send("POST", "/Users", Some(&body), None);
        self.created(began, answer, values, token);
    }

    fn created(&mut self, began: u64, answer: Option<Answer>, values: Values, token: u32) {
        let name = values.name.unwrap_or(0) / 2;
        match answer {
            None => self.record(began, false, vec![Event::UnansweredCreate { token, name, values }]),
            Some(answer) if answer.status == 201 => {
                let id = answer.body["id"]
                    .as_str()
                    .or_else(|| answer.body["location"].as_str()?.rsplit('/').next());
                let id = id.unwrap().to_owned();
                let user = self.history.with(|shared| {
                    shared.users.push((id.clone(), 1));
                    shared.number(&id)
                });
                let events = vec![
                    Event::User(user, UserOperation::Create(values)),
                    Event::Name(name, NameOperation::Take(user)),
                    Event::Seen { token, user },
                ];
                self.record(began, true, events);
            }
            Some(answer) if answer.status == 409 => {
                let taken = NameOperation::Taken { by_other_than: None };
                self.record(began, true, vec![Event::Name(name, taken)]);
            }
            Some(answer) => self.odd("create a user", &answer),
        }
    }

    fn delete_user(&mut self) {
        let Some((id, version)) = self.some_user() else { return };
        let expected = self.chance(20).then_some(version);
        let began = self.history.now();
        let answer = self.send("DELETE", &format!("/Users/{id}"), None, expected);
        self.deleted(began, answer, &id, expected);
    }

    fn deleted(&mut self, began: u64, answer: Option<Answer>, id: &str, expected: Option<i64>) {
        let user = self.user_number(id);
        let groups: Vec<Id> = self.history.with(|shared| {
            let groups = shared.groups.clone();
            groups.iter().map(|group| shared.number(group)).collect()
        });
        let answered = answer.is_some();
        match answer {
            None => {}
            Some(answer) if answer.status == 204 => {}
            Some(answer) if answer.status == 404 => {
                self.forget(id);
                return self.record(began, true, vec![Event::User(user, UserOperation::Missing)]);
            }
            Some(answer) if answer.status == 412 => {
                let refused = UserOperation::Refused {
                    expected: expected.unwrap_or(0),
                };
                return self.record(began, true, vec![Event::User(user, refused)]);
            }
            Some(answer) => return self.odd("delete a user", &answer),
        }
        if answered {
            self.forget(id);
        }
        let mut events = vec![Event::User(user, UserOperation::Delete { expected })];
        events.extend(
            groups
                .into_iter()
                .map(|group| Event::Group(group, GroupOperation::Leave(user))),
        );
        events.extend((1..=NAMES).map(|name| Event::Name(name, NameOperation::GiveUp(user))));
        self.record(began, answered, events);
    }

    fn forget(&self, id: &str) {
        self.history
            .with(|shared| shared.users.retain(|(other, _)| other != id));
    }

    fn change_user(&mut self) {
        let Some((id, version)) = self.some_user() else { return };
        let expected = self.chance(30).then_some(version);
        let (title, email) = self.history.with(|shared| (shared.fresh(), shared.fresh()));
        let values = Values {
            title: Some(title),
            email: self.chance(40).then_some(email),
            name: None,
        };
        let mut operations = vec![json!({"op": "replace", "path": "title", "value": format!("title-{title}")})];
        if let Some(email) = values.email {
            operations.push(
                json!({"op": "replace", "path": "emails", "value": [{"value": format!("mail-{email}@example.com"), "type": "work"}]}),
            );
        }
        let began = self.history.now();
        let answer = self.send("PATCH", &format!("/Users/{id}"), Some(&patch(&operations)), expected);
        self.changed(
            Sent {
                began,
                expected,
                answer,
            },
            &id,
            values,
        );
    }

    fn rename_user(&mut self) {
        let Some((id, _)) = self.some_user() else { return };
        let name = self.some_name();
        let values = Values {
            name: Some(name),
            ..Values::default()
        };
        let body = patch(&[json!({"op": "replace", "path": "userName", "value": name_text(name)})]);
        let began = self.history.now();
        let answer = self.send("PATCH", &format!("/Users/{id}"), Some(&body), None);
        self.changed(
            Sent {
                began,
                expected: None,
                answer,
            },
            &id,
            values,
        );
    }

    fn changed(&mut self, sent: Sent, id: &str, values: Values) {
        let Sent {
            began,
            expected,
            answer,
        } = sent;
        let user = self.user_number(id);
        let name = values.name.map(|spelling| spelling / 2);
        let mut events = Vec::new();
        let answered = answer.is_some();
        match answer {
            Some(answer) if answer.status == 404 => {
                self.forget(id);
                events.push(Event::User(user, UserOperation::Missing));
            }
            Some(answer) if answer.status == 412 => {
                let expected = expected.unwrap_or(0);
                events.push(Event::User(user, UserOperation::Refused { expected }));
            }
            Some(answer) if answer.status == 409 => {
                events.push(Event::User(user, UserOperation::Taken));
                let taken = NameOperation::Taken {
                    by_other_than: Some(user),
                };
                events.extend(name.map(|name| Event::Name(name, taken)));
            }
            answer => {
                if let Some(answer) = answer.as_ref().filter(|answer| !matches!(answer.status, 200 | 204)) {
                    return self.odd("change a user", answer);
                }
                let version = answer.and_then(|answer| answer.version);
                if let Some(version) = version {
                    self.saw(id, version);
                }
                let change = UserOperation::Change {
                    values,
                    expected,
                    version,
                };
                events.push(Event::User(user, change));
                if let Some(name) = name {
                    events.push(Event::Name(name, NameOperation::Take(user)));
                    let others = (1..=NAMES).filter(|other| *other != name);
                    events.extend(others.map(|other| Event::Name(other, NameOperation::GiveUp(user))));
                }
            }
        }
        self.record(began, answered, events);
    }

    fn saw(&self, id: &str, version: i64) {
        self.history.with(|shared| {
            if let Some(known) = shared.users.iter_mut().find(|(other, _)| other == id) {
                known.1 = version;
            }
        });
    }

    fn read_user(&mut self) {
        let Some((id, _)) = self.some_user() else { return };
        let began = self.history.now();
        let Some(answer) = self.send("GET", &format!("/Users/{id}"), None, None) else {
            return;
        };
        let user = self.user_number(&id);
        let event = match answer.status {
            200 => {
                self.saw(&id, answer.version.unwrap_or(0));
                UserOperation::Read(user_in(&answer.body, answer.version))
            }
            404 => UserOperation::Missing,
            _ => return self.odd("read a user", &answer),
        };
        self.record(began, true, vec![Event::User(user, event)]);
    }

    fn find(&mut self) {
        let name = self.some_name();
        let path = format!("/Users?filter=userName%20eq%20%22{}%22", name_text(name));
        let began = self.history.now();
        let Some(answer) = self.send("GET", &path, None, None) else {
            return;
        };
        self.found(began, &answer, name / 2);
    }

    fn found(&mut self, began: u64, answer: &Answer, name: u32) {
        let resources = answer.body["Resources"].as_array().cloned().unwrap_or_default();
        if answer.status != 200 || resources.len() > 1 {
            return self.odd("find a user", answer);
        }
        let Some(found) = resources.first() else {
            return self.record(began, true, vec![Event::Name(name, NameOperation::Found(None))]);
        };
        let id = found["id"].as_str().unwrap().to_owned();
        let seen = user_in(found, version_of(found["meta"]["version"].as_str().unwrap()));
        let user = self.history.with(|shared| {
            if !shared.users.iter().any(|(other, _)| *other == id) {
                shared.users.push((id.clone(), seen.version));
            }
            shared.number(&id)
        });
        let token = numbered(found["externalId"].as_str(), "token-");
        let events = vec![
            Event::Name(name, NameOperation::Found(Some(user))),
            Event::User(user, UserOperation::Read(seen)),
            Event::Seen { token, user },
        ];
        self.record(began, true, events);
    }

    // --- groups -----------------------------------------------------------------------------------

    fn some_group(&mut self) -> String {
        let groups = self.history.with(|shared| shared.groups.clone());
        self.pick(&groups).unwrap()
    }

    /// Some members: users and strangers.
    fn some_members(&mut self) -> BTreeSet<Id> {
        let count = self.roll(4) + 1;
        let mut members = BTreeSet::new();
        for _ in 0..count {
            if self.chance(50) {
                members.insert(self.roll(STRANGERS));
            } else if let Some((id, _)) = self.some_user() {
                members.insert(self.user_number(&id));
            }
        }
        members
    }

    fn texts(&self, ids: &BTreeSet<Id>) -> Vec<String> {
        self.history.with(|shared| {
            let named = shared.numbers.iter().filter(|(_, number)| ids.contains(number));
            named.map(|(id, _)| id.clone()).collect()
        })
    }

    fn values(&self, ids: &BTreeSet<Id>) -> Value {
        self.texts(ids).iter().map(|id| json!({"value": id})).collect()
    }

    fn patch_group(&mut self) {
        let group = self.some_group();
        let (mut steps, mut operations) = (Vec::new(), Vec::new());
        for _ in 0..=u32::from(self.chance(20)) {
            let ids = self.some_members();
            let values = self.values(&ids);
            match self.roll(100) {
                0..=44 => {
                    operations.push(json!({"op": "add", "path": "members", "value": values}));
                    steps.push(Step::Add(ids));
                }
                45..=59 => {
                    let one: BTreeSet<Id> = ids.into_iter().take(1).collect();
                    for id in self.texts(&one) {
                        operations.push(json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")}));
                    }
                    steps.push(Step::Remove(one));
                }
                60..=67 => {
                    operations.push(json!({"op": "remove", "path": "members", "value": values}));
                    steps.push(Step::Remove(ids));
                }
                68..=79 => {
                    let matching: BTreeSet<Id> = if self.chance(50) {
                        operations.push(json!({"op": "remove", "path": "members[value sw \"tmp-1\"]"}));
                        (0..STRANGERS).filter(|id| id.to_string().starts_with('1')).collect()
                    } else {
                        operations.push(json!({"op": "remove", "path": "members[value sw \"tmp-\"]"}));
                        (0..STRANGERS).collect()
                    };
                    steps.push(Step::RemoveMatching(matching));
                }
                80..=86 => {
                    operations.push(json!({"op": "replace", "path": "members", "value": values}));
                    steps.push(Step::Set(ids));
                }
                _ => {
                    let external = self.history.with(Shared::fresh);
                    operations.push(json!({"op": "replace", "path": "externalId", "value": format!("ext-{external}")}));
                    steps.push(Step::External(external));
                }
            }
        }
        if operations.is_empty() {
            return;
        }
        let known = self.history.with(|shared| shared.versions.get(&group).copied());
        let expected = known.filter(|_| self.chance(15));
        let began = self.history.now();
        let path = self.group_path(&group);
        let answer = self.send("PATCH", &path, Some(&patch(&operations)), expected);
        self.group_changed(
            Sent {
                began,
                expected,
                answer,
            },
            &group,
            steps,
        );
    }

    /// The address of a change of a group; its answer tells the members or not.
    fn group_path(&mut self, group: &str) -> String {
        let without = if self.chance(50) {
            "?excludedAttributes=members"
        } else {
            ""
        };
        format!("/Groups/{group}{without}")
    }

    fn put_group(&mut self) {
        let group = self.some_group();
        let ids = self.some_members();
        let external = self.history.with(Shared::fresh);
        let place = self
            .history
            .with(|shared| shared.groups.iter().position(|other| *other == group).unwrap());
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
            "displayName": format!("group {place}"),
            "externalId": format!("ext-{external}"),
            "members": self.values(&ids),
        });
        let began = self.history.now();
        let path = self.group_path(&group);
        let answer = self.send("PUT", &path, Some(&body), None);
        self.group_changed(
            Sent {
                began,
                expected: None,
                answer,
            },
            &group,
            vec![Step::Set(ids), Step::External(external)],
        );
    }

    fn group_changed(&mut self, sent: Sent, group: &str, steps: Vec<Step>) {
        let Sent {
            began,
            expected,
            answer,
        } = sent;
        let number = self.user_number(group);
        let answered = answer.is_some();
        let mut events = Vec::new();
        match answer {
            Some(answer) if answer.status == 412 => events.push(GroupOperation::Refused {
                expected: expected.unwrap_or(0),
            }),
            Some(answer) if !matches!(answer.status, 200 | 204) => return self.odd("change a group", &answer),
            answer => {
                let version = answer.as_ref().and_then(|answer| answer.version);
                if let Some(version) = version {
                    self.history
                        .with(|shared| shared.versions.insert(group.to_owned(), version));
                }
                // An answer with members shows the group as it was read after the change, with the version of then.
                let shown = answer.filter(|answer| answer.body["members"].is_array());
                let seen = shown.map(|answer| self.group_in(&answer.body));
                events.push(GroupOperation::Change {
                    steps,
                    expected,
                    version: version.filter(|_| seen.is_none()),
                });
                events.extend(seen.map(GroupOperation::Read));
            }
        }
        let events = events.into_iter().map(|event| Event::Group(number, event)).collect();
        self.record(began, answered, events);
    }

    fn read_group(&mut self) {
        let group = self.some_group();
        let began = self.history.now();
        let Some(answer) = self.send("GET", &format!("/Groups/{group}"), None, None) else {
            return;
        };
        if answer.status != 200 {
            return self.odd("read a group", &answer);
        }
        self.saw_group(began, &answer.body);
    }

    fn saw_group(&self, began: u64, body: &Value) {
        let seen = self.group_in(body);
        let id = body["id"].as_str().unwrap().to_owned();
        let number = self.history.with(|shared| {
            shared.versions.insert(id.clone(), seen.version);
            shared.number(&id)
        });
        self.record(began, true, vec![Event::Group(number, GroupOperation::Read(seen))]);
    }

    fn group_in(&self, body: &Value) -> Group {
        let members = body["members"].as_array().cloned().unwrap_or_default();
        let id_of = |member: &Value| member["value"].as_str().unwrap().to_owned();
        Group {
            version: version_of(body["meta"]["version"].as_str().unwrap()).unwrap(),
            external: numbered(body["externalId"].as_str(), "ext-"),
            members: self
                .history
                .with(|shared| members.iter().map(|member| shared.number(&id_of(member))).collect()),
        }
    }

    // --- bulk -------------------------------------------------------------------------------------

    /// Creates a user, adds a member to a group and deletes a user, in one request. Each is one operation, done at some
    /// moment of the request.
    fn bulk(&mut self) {
        let name = self.some_name();
        let (values, token) = self.fresh_values(name);
        let group = self.some_group();
        let ids = self.some_members();
        let goner = self.some_user().filter(|_| self.chance(30));
        let mut operations = vec![
            json!({"method": "POST", "path": "/Users", "bulkId": "new", "data": Self::user_body(&values, token)}),
            json!({"method": "PATCH", "path": format!("/Groups/{group}"), "data": patch(&[json!({"op": "add", "path": "members", "value": self.values(&ids)})])}),
        ];
        if let Some((id, _)) = &goner {
            operations.push(json!({"method": "DELETE", "path": format!("/Users/{id}")}));
        }
        let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations});
        let began = self.history.now();
        let answer = self.send("POST", "/Bulk", Some(&body), None);
        if let Some(odd) = answer.as_ref().filter(|answer| answer.status != 200) {
            return self.odd("bulk", odd);
        }
        let each = |at: usize| -> Option<Answer> {
            let result = answer.as_ref()?.body["Operations"].get(at)?.clone();
            let status: u16 = result["status"].as_str()?.parse().ok()?;
            if status >= 500 {
                let at = self.history.seconds();
                self.history
                    .with(|shared| shared.failures.push((at, status, format!("bulk: {result}"))));
                return None;
            }
            let version = result["version"].as_str().and_then(version_of);
            Some(Answer {
                status,
                body: result,
                version,
            })
        };
        let (first, second, third) = (each(0), each(1), each(2));
        self.created(began, first, values, token);
        self.group_changed(
            Sent {
                began,
                expected: None,
                answer: second,
            },
            &group,
            vec![Step::Add(ids)],
        );
        if let Some((id, _)) = goner {
            self.deleted(began, third, &id, None);
        }
    }

    // --- the end ----------------------------------------------------------------------------------

    /// Reads everything once, when nothing is changed any more.
    pub(crate) fn read_all(&mut self) {
        for group in self.history.with(|shared| shared.groups.clone()) {
            let began = self.history.now();
            let answer = self
                .send("GET", &format!("/Groups/{group}"), None, None)
                .expect("no fault is in force any more");
            self.saw_group(began, &answer.body);
        }
        for name in 1..=NAMES {
            let path = format!("/Users?filter=userName%20eq%20%22{}%22", name_text(2 * name));
            let began = self.history.now();
            let answer = self
                .send("GET", &path, None, None)
                .expect("no fault is in force any more");
            self.found(began, &answer, name);
        }
    }
}

fn patch(operations: &[Value]) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations})
}

fn user_in(body: &Value, version: Option<i64>) -> User {
    User {
        version: version.unwrap_or(0),
        title: numbered(body["title"].as_str(), "title-"),
        email: numbered(body["emails"][0]["value"].as_str(), "mail-"),
        name: spelling(body["userName"].as_str().unwrap_or_default()),
    }
}
