//! `vestibule journal`: shows who got in, who was refused, and what was changed, by whom and from where.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::text::printable;
use super::{CommandError, operations};
use crate::config::{Config, parse_span};
use crate::domain::SecurityEventKind;
use crate::domain::change::JournalRecord;
use crate::operations::journal::{self, JournalLine, JournalQuery};
use crate::storage::security_events::EventFilter;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this account: its user name (CORP/ann in another store than PRIMARY) or its id.
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only security events of this kind, such as `login_refused`.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    event: Option<SecurityEventKind>,
    /// Only events through this identity provider.
    #[arg(long, value_name = "NAME")]
    identity_provider: Option<String>,
    /// Only what this application or SCIM client did.
    #[arg(long, value_name = "NAME")]
    service_provider: Option<String>,
    /// Only events from this address.
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Only from this long ago on, such as 30m, 12h or 7d.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    since: Option<Duration>,
    /// At most so many lines, the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u16,
    /// Leave out the changes of users and groups.
    #[arg(long)]
    events_only: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text).ok_or_else(|| "use a number and s, m, h or d, such as 7d".to_owned())
}

fn kind(text: &str) -> Result<SecurityEventKind, String> {
    SecurityEventKind::from_code(text).ok_or_else(|| {
        let known: Vec<&str> = SecurityEventKind::ALL.iter().map(|kind| kind.code()).collect();
        format!("the kinds are {}", known.join(", "))
    })
}

pub(super) fn run(arguments: &Arguments, config: &Config, json: bool) -> Result<(), CommandError> {
    let context = operations(config)?;
    let query = JournalQuery {
        events: EventFilter {
            kind: arguments.event,
            identity_provider: arguments.identity_provider.as_deref().map(Into::into),
            service_provider: arguments.service_provider.as_deref().map(Into::into),
            address: arguments.address.clone(),
            since: arguments.since.map(|span| context.clock.now().minus(span)),
            ..EventFilter::default()
        },
        user: arguments.user.clone(),
        without_changes: arguments.events_only,
    };
    let lines = journal::newest(&context, &query, arguments.limit)?;
    if json {
        let lines: Vec<Value> = lines.iter().map(as_json).collect();
        println!("{}", Value::Array(lines));
        return Ok(());
    }
    if lines.is_empty() {
        println!("Nothing fits.");
    }
    for line in &lines {
        println!("{}", as_text(line));
    }
    Ok(())
}

fn as_json(line: &JournalLine) -> Value {
    match line {
        JournalLine::Event(event) => {
            let mut value = json!({ "at": event.at.to_string(), "event": event.kind.code() });
            for (name, text) in event.parts() {
                value[name] = text.into();
            }
            value
        }
        JournalLine::Change(change) => json!({
            "at": change.at.to_string(),
            "change": change.action.as_str(),
            "type": change.kind,
            "id": change.id,
            "userstore": change.store,
            "version": change.version.0,
            "by": change.actor,
            "service_provider": change.service_provider,
            "values": change.diff,
            "joined": change.members.joined,
            "left": change.members.left,
        }),
    }
}

fn as_text(line: &JournalLine) -> String {
    match line {
        JournalLine::Event(event) => {
            let mut text = format!("{}  {:<21}", event.at, event.kind.code());
            for (name, value) in event.parts() {
                let _ = write!(text, "  {name}={}", printable(value));
            }
            text
        }
        JournalLine::Change(change) => as_change(change),
    }
}

fn as_change(change: &JournalRecord) -> String {
    let JournalRecord {
        at, kind, id, actor, ..
    } = change;
    let mut text = format!(
        "{at}  {:<21}  {kind} {id}  by={}",
        format!("change ({})", change.action.as_str()),
        printable(actor)
    );
    let paths: Vec<&str> = change
        .diff
        .as_object()
        .into_iter()
        .flat_map(|diff| diff.keys().map(String::as_str))
        .collect();
    for (name, count) in [
        ("joined", change.members.joined.len()),
        ("left", change.members.left.len()),
    ] {
        if count > 0 {
            let _ = write!(text, "  {name}={count}");
        }
    }
    if !paths.is_empty() {
        let _ = write!(text, "  values={}", printable(&paths.join(",")));
    }
    text
}
