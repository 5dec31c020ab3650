//! Reads a TOML table strictly: unknown keys are errors.
//!
//! Every error is collected with its dotted key, so that one run reports all of them.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use toml::{Table, Value};
use url::Url;

use crate::domain::Secret;

/// One error in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The dotted key, such as `server.listen` or `targets[0].base_url`.
    pub key: String,
    /// The error, and what to write instead.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// One table of the configuration, and the list of problems that all its readers share.
pub(super) struct TableReader {
    path: String,
    table: Table,
    problems: Rc<RefCell<Vec<ConfigProblem>>>,
}

impl TableReader {
    /// A reader over the whole file.
    pub(super) fn new(table: Table) -> Self {
        Self {
            path: String::new(),
            table,
            problems: Rc::default(),
        }
    }

    /// The dotted form of a key of this table.
    pub(super) fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a problem with a key of this table.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(ConfigProblem {
            key: self.dotted(key),
            message: message.into(),
        });
    }

    fn take<T>(&mut self, key: &str, expected: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = self.table.remove(key)?;
        let read = read(value);
        if read.is_none() {
            self.problem(key, format!("must be {expected}"));
        }
        read
    }

    /// A text that may be missing.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key, "a string in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// A text that must be there and not be empty.
    pub(super) fn needed(&mut self, key: &str) -> String {
        if !self.table.contains_key(key) {
            self.problem(key, "is missing");
        }
        let text = self.text(key);
        if text.as_ref().is_some_and(String::is_empty) {
            self.problem(key, "must not be empty");
        }
        text.unwrap_or_default()
    }

    /// A flag, `default` when missing; from the environment it comes as a text.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> bool {
        let read = |value: Value| match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_bool(),
        };
        self.take(key, "true or false", read).unwrap_or(default)
    }

    /// A whole number from 1 to `most`, `default` when missing; from the environment it comes as a text.
    pub(super) fn number(&mut self, key: &str, default: u32, most: u32) -> u32 {
        let within = |value: Value| {
            let number = match &value {
                Value::String(text) => text.parse().ok(),
                other => other.as_integer(),
            };
            number
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| (1..=most).contains(n))
        };
        self.take(key, &format!("a whole number from 1 to {most}"), within)
            .unwrap_or(default)
    }

    /// A span such as `30s`, `10m`, `12h` or `90d`.
    pub(super) fn span(&mut self, key: &str, default: Duration) -> Duration {
        self.take(key, "a time span such as 30s, 10m, 12h or 90d", |value| {
            parse_span(value.as_str()?)
        })
        .unwrap_or(default)
    }

    /// A list of texts, empty when missing.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let all = |value: Value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        self.take(key, "a list of strings", all).unwrap_or_default()
    }

    /// A value that implements `FromStr`, its default when missing.
    pub(super) fn parsed<T: DeserializeOwned + Default>(&mut self, key: &str) -> T {
        match self.table.remove(key).map(Value::try_into) {
            None => T::default(),
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                self.problem(key, plain(error.message()));
                T::default()
            }
        }
    }

    /// A list of values that implement `FromStr`, empty when missing; each invalid one is its own problem.
    pub(super) fn list<T: DeserializeOwned>(&mut self, key: &str) -> Vec<T> {
        let tables = self.tables(key);
        let read = |r: Self| match Value::Table(r.table.clone()).try_into() {
            Ok(value) => Some(value),
            Err(error) => {
                r.problems.borrow_mut().push(ConfigProblem {
                    key: r.path.clone(),
                    message: plain(error.message()),
                });
                None
            }
        };
        tables.into_iter().filter_map(read).collect()
    }

    /// One of the given words, the first when missing.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> T {
        let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let find = |value: Value| {
            words
                .iter()
                .find(|(word, _)| value.as_str() == Some(word))
                .map(|(_, meaning)| *meaning)
        };
        self.take(key, &format!("one of {}", list.join(", ")), find)
            .unwrap_or(words[0].1)
    }

    /// An `http` or `https` URL that must be there; its trailing slash, if any, is kept.
    pub(super) fn url(&mut self, key: &str) -> String {
        let text = self.needed(key);
        if !text.is_empty() {
            self.check_url(key, &text);
        }
        text
    }

    /// Notes a problem unless the text is an `http` or `https` URL with a host and without a fragment or a user.
    pub(super) fn check_url(&self, key: &str, text: &str) {
        let good = Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.fragment().is_none()
                && url.username().is_empty()
        });
        if !good {
            self.problem(
                key,
                "must be a URL that begins with https:// (or http://), without a user or a # part",
            );
        }
    }

    /// A secret that may be missing: a text, `{ env = "NAME" }` or `{ file = "path" }`.
    pub(super) fn secret(&mut self, key: &str, environment: &dyn Fn(&str) -> Option<String>) -> Option<Secret> {
        let value = self.table.remove(key)?;
        let found = match &value {
            Value::String(text) if text.starts_with("${") || text.starts_with("env:") => {
                Err(format!("looks like the name of a variable: it {SECRET_FORMS}"))
            }
            Value::String(text) => Ok(text.clone()),
            Value::Table(table) if table.len() == 1 => match (table.get("env"), table.get("file")) {
                (Some(Value::String(name)), None) => {
                    environment(name).ok_or_else(|| format!("the environment variable {name} is not set"))
                }
                (None, Some(Value::String(path))) => std::fs::read_to_string(path)
                    .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                    .map_err(|error| format!("{path} cannot be read: {error}")),
                _ => Err(SECRET_FORMS.to_owned()),
            },
            _ => Err(SECRET_FORMS.to_owned()),
        };
        match found {
            Ok(text) if text.is_empty() => self.problem(key, "must not be empty"),
            Ok(text) => return Some(Secret::new(text)),
            Err(message) => self.problem(key, message),
        }
        None
    }

    /// A path that may be missing.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    /// A table, empty when missing.
    pub(super) fn table(&mut self, key: &str) -> Self {
        let table = self
            .take(key, "a table", |value| value.as_table().cloned())
            .unwrap_or_default();
        Self {
            path: self.dotted(key),
            table,
            problems: Rc::clone(&self.problems),
        }
    }

    /// A list of tables, empty when missing.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Self> {
        let all = |value: Value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_table().cloned())
                .collect::<Option<Vec<_>>>()
        };
        let tables = self
            .take(key, &format!("a list of tables, each starting with [[{key}]]"), all)
            .unwrap_or_default();
        let name = self.dotted(key);
        tables
            .into_iter()
            .enumerate()
            .map(|(at, table)| Self {
                path: format!("{name}[{at}]"),
                table,
                problems: Rc::clone(&self.problems),
            })
            .collect()
    }

    /// A reader over another table with the same dotted key.
    pub(super) fn with(&self, table: Table) -> Self {
        Self {
            path: self.path.clone(),
            table,
            problems: Rc::clone(&self.problems),
        }
    }

    /// Whether a key is there.
    /// Whether a flag is set, without taking it.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.table.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Adds defaults for keys that this table does not have.
    pub(super) fn fill(&mut self, defaults: Table) {
        for (key, value) in defaults {
            self.table.entry(key).or_insert(value);
        }
    }

    /// An `http` or `https` URL that may be missing.
    pub(super) fn optional_url(&mut self, key: &str) -> Option<Url> {
        let text = self.text(key)?;
        self.check_url(key, &text);
        Url::parse(&text).ok()
    }

    /// Takes a value without conversion.
    pub(super) fn raw(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// Reports every unread key as a problem. Returns all problems so far, of this table and of others.
    pub(super) fn done(self) -> Vec<ConfigProblem> {
        for key in self.table.keys() {
            self.problem(key, "is not a known setting; check its spelling and its section");
        }
        self.problems.borrow().clone()
    }
}

const SECRET_FORMS: &str = "must be a string, { env = \"NAME\" } or { file = \"path\" }";

/// Says in plain words what serde says about a value.
fn plain(message: &str) -> String {
    let Some((before, after)) = message.split_once("expected struct ") else {
        return message.to_owned();
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    format!("{before}expected a table of settings in braces{rest}")
}

/// Reads `30s`, `10m`, `12h` or `90d`.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    // The limit of a hundred years is enough for any expiry.
    number
        .checked_mul(seconds)
        .filter(|total| *total <= 3_155_760_000)
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_unit() {
        assert_eq!(parse_span("90d"), Some(Duration::from_hours(90 * 24)));
        assert_eq!(parse_span("30s"), Some(Duration::from_secs(30)));
        for bad in [
            "",
            "d",
            "0s",
            "-1s",
            "1w",
            "10",
            "99999999999999999999d",
            "1000000d",
            "ü",
        ] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
