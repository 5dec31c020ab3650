//! Replays the requests of known clients and compares the answers. Each has a transcript in `tests/clients`: a line
//! that describes the client, then one line for each step.
//!
//! A step has a `request`, optionally `headers`, a `body` or a `raw` one; the `status` and parts of the body that it
//! expects, by JSON pointer, where null means absent; the `rules` that it needs, each counted once; and the values that
//! it keeps for later steps, which use them as `${name}`. `${run}` differs in each run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::support::{Caller, anonymous, app, transcripts, unique};

/// The first line of a transcript: the client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    #[serde(rename = "client")]
    pub(crate) name: String,
    pub(crate) about: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// One request and its expected answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    #[serde(rename = "step")]
    what: String,
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    raw: Option<String>,
    status: u16,
    #[serde(default)]
    expect: Map<String, Value>,
    #[serde(default)]
    keep: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) rules: BTreeSet<String>,
}

/// The lines of a transcript: the client, and the steps as written.
pub(crate) fn transcript(name: &str) -> (Client, Vec<String>) {
    let path = format!("{}/tests/clients/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines();
    let client = serde_json::from_str(lines.next().unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"));
    (client, lines.map(str::to_owned).collect())
}

/// Reads a step, with kept values substituted.
pub(crate) fn step(line: &str, kept: &BTreeMap<String, String>) -> Step {
    let filled = kept.iter().fold(line.to_owned(), |line, (name, value)| {
        line.replace(&format!("${{{name}}}"), value)
    });
    serde_json::from_str(&filled).unwrap_or_else(|error| panic!("{filled}: {error}"))
}

/// The counter of each rule for a service provider.
fn counted(service_provider: &str) -> BTreeMap<String, u64> {
    let start = format!("vestibule_scim_deviations_total{{service_provider=\"{service_provider}\",rule=\"");
    let metrics = anonymous().get("/metrics").gives(200).text;
    let rules = metrics
        .lines()
        .filter_map(|line| line.strip_prefix(&start)?.split_once("\"} "));
    rules
        .map(|(rule, count)| (rule.to_owned(), count.parse().unwrap()))
        .collect()
}

/// Sends a step's request and returns the differences from what is expected.
fn replay(
    name: &str,
    client: &Client,
    caller: &Caller,
    step: &Step,
    kept: &mut BTreeMap<String, String>,
) -> Vec<String> {
    let (method, path) = step.request.split_once(' ').unwrap();
    let headers: BTreeMap<&String, &String> = client.headers.iter().chain(&step.headers).collect();
    let headers: Vec<(&str, &str)> = headers
        .into_iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let body = step
        .body
        .as_ref()
        .map(Value::to_string)
        .or(step.raw.clone())
        .unwrap_or_default();
    let before = counted(name);
    let reply = caller.send(method, &format!("/scim/v2{path}"), &headers, body);
    let rules: BTreeSet<String> = counted(name)
        .into_iter()
        .filter(|(rule, count)| before.get(rule) != Some(count))
        .map(|(rule, _)| rule)
        .collect();
    let mut wrong = Vec::new();
    if reply.status != step.status {
        wrong.push(format!("{}, not {}: {}", reply.status, step.status, reply.text));
    }
    for (place, expected) in &step.expect {
        let found = reply.body.pointer(place).unwrap_or(&Value::Null);
        if found != expected {
            wrong.push(format!("{place} is {found}, not {expected}"));
        }
    }
    if rules != step.rules {
        wrong.push(format!("{rules:?} counted, not {:?}", step.rules));
    }
    for (name, place) in &step.keep {
        let value = reply.body.pointer(place).and_then(Value::as_str).unwrap_or_default();
        kept.insert(name.clone(), value.to_owned());
    }
    wrong
}

#[test]
fn every_client_gets_what_its_transcript_says() {
    let mut wrong = Vec::new();
    for name in transcripts() {
        let (client, lines) = transcript(&name);
        let caller = Caller::with_token(&app().token(&name, Duration::from_hours(1)).1);
        let mut kept = BTreeMap::from([("run".to_owned(), unique("r"))]);
        for line in lines {
            let step = step(&line, &kept);
            let problems = replay(&name, &client, &caller, &step, &mut kept);
            wrong.extend(
                problems
                    .into_iter()
                    .map(|problem| format!("{name} {}: {problem}", step.what)),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
