//! Looks up the texts of pages and mails in `locales/`, by key and language.
//!
//! Texts come only from `locales/`. Content from a URL or another server appears only as a value of a placeholder.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use askama::filters::{Escaper, Html, HtmlSafe};

use super::language::{self, Language};

type Texts = HashMap<String, String>;

static ENGLISH: LazyLock<Texts> = LazyLock::new(|| read(include_str!("../../locales/en.toml")));
static GERMAN: LazyLock<Texts> = LazyLock::new(|| read(include_str!("../../locales/de.toml")));

fn texts(language: Language) -> &'static Texts {
    match language {
        Language::English => &ENGLISH,
        Language::German => &GERMAN,
    }
}

/// Reads a file of texts: `[a.b] c = "text"` is the text `a.b.c`.
fn read(file: &str) -> Texts {
    fn collect(prefix: &str, table: toml::Table, texts: &mut Texts) {
        for (name, value) in table {
            let key = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}.{name}")
            };
            match value {
                toml::Value::Table(table) => collect(&key, table, texts),
                toml::Value::String(text) => {
                    texts.insert(key, text);
                }
                _ => {}
            }
        }
    }
    let mut texts = Texts::new();
    collect(
        "",
        file.parse().expect("the files of texts are TOML; a test reads them"),
        &mut texts,
    );
    texts
}

/// The text of a key that is built at run time, if there is one.
pub fn find(key: &str) -> Option<&'static str> {
    texts(language::current()).get(key).map(String::as_str)
}

/// The text of a key, in the language of the current request.
pub fn text(key: &'static str) -> &'static str {
    find(key).unwrap_or(key)
}

/// A text with values for its placeholders, without markup, such as a title.
pub fn filled(key: &'static str, values: &[(&str, impl AsRef<str>)]) -> String {
    let mut filled = String::new();
    for part in parts(text(key)) {
        filled.push_str(match part {
            TextPart::Text(text) => text,
            TextPart::Place(name) => value(values, name),
        });
    }
    filled
}

/// A text with values for its placeholders, each in `<strong>`.
pub(crate) fn phrase(key: &'static str, values: &[(&str, impl AsRef<str>)]) -> Phrase {
    let mut html = String::new();
    // Writing into a String does not fail.
    for part in parts(text(key)) {
        let _ = match part {
            TextPart::Text(text) => Html.write_escaped_str(&mut html, text),
            TextPart::Place(name) => {
                html.push_str("<strong>");
                let written = Html.write_escaped_str(&mut html, value(values, name));
                html.push_str("</strong>");
                written
            }
        };
    }
    Phrase(html)
}

/// A text as escaped HTML.
#[derive(Clone, Debug)]
pub(crate) struct Phrase(String);

impl fmt::Display for Phrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl HtmlSafe for Phrase {}

fn value<'a>(values: &'a [(&str, impl AsRef<str>)], name: &str) -> &'a str {
    values
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value.as_ref())
}

enum TextPart {
    Text(&'static str),
    Place(&'static str),
}

fn parts(text: &'static str) -> impl Iterator<Item = TextPart> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (part, left) = match (rest.find('{'), rest.find('}')) {
            (Some(0), Some(end)) => (TextPart::Place(&rest[1..end]), &rest[end + 1..]),
            (Some(start), Some(_)) => (TextPart::Text(&rest[..start]), &rest[start..]),
            _ if rest.is_empty() => return None,
            _ => (TextPart::Text(rest), ""),
        };
        rest = left;
        Some(part)
    })
}

/// The title and the text of an error code: what happened, and what to do next. An unknown code gets a general text.
pub fn message(code: &str) -> (&'static str, &'static str) {
    let part = |code: &str, part: &str| find(&format!("error.{code}.{part}"));
    match (part(code, "title"), part(code, "text")) {
        (Some(title), Some(text)) => (title, text),
        _ => (text("error.general.title"), text("error.general.text")),
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
