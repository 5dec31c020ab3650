//! Reads a filter's text from left to right.

use crate::domain::validate::{Invalid, InvalidKind};

/// A position in a filter's text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A value as it stands in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// In quotes, unescaped.
    Quoted(String),
    /// Without quotes.
    Bare(String),
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The rest of the text that has not been read yet.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// An error at the current position. It names the position and never repeats the text.
    pub(super) fn error(&self, expected: &str) -> Invalid {
        let position = self.text[..self.at].chars().count() + 1;
        Invalid::new(
            InvalidKind::Filter,
            format!("the filter is not understood at character {position}: {expected}"),
        )
    }

    /// Skips blanks; returns whether there were any, and whether any was not a plain space, such as `+`.
    pub(super) fn blanks(&mut self) -> Blanks {
        let rest = self.rest();
        let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '+']).len();
        self.at += length;
        Blanks {
            any: length > 0,
            odd: rest[..length].contains(['+', '\t', '\r', '\n']),
        }
    }

    pub(super) fn next_is(&self, expected: char) -> bool {
        self.rest().starts_with(expected)
    }

    /// Skips one character if it comes next.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let there = self.next_is(expected);
        if there {
            self.at += expected.len_utf8();
        }
        there
    }

    /// Returns the next word, up to a blank, bracket or quote, without consuming it.
    pub(super) fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest
            .find([' ', '\t', '\r', '\n', '+', '(', ')', '[', ']', '"'])
            .unwrap_or(rest.len())]
    }

    /// Consumes the next word.
    pub(super) fn word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.at += word.len();
        word
    }

    /// Consumes a keyword, in any case, if it comes next.
    pub(super) fn eat_keyword(&mut self, keyword: &str) -> bool {
        let there = self.peek_word().eq_ignore_ascii_case(keyword);
        if there {
            self.at += keyword.len();
        }
        there
    }

    /// Consumes a value, if there is one.
    pub(super) fn literal(&mut self) -> Result<Option<Literal>, Invalid> {
        if self.next_is('"') {
            return self.quoted().map(Some);
        }
        let rest = self.rest();
        let bare = &rest[..rest
            .find([' ', '\t', '\r', '\n', '(', ')', '[', ']', '"'])
            .unwrap_or(rest.len())];
        if bare.is_empty() {
            return Ok(None);
        }
        if bare.starts_with('\'') {
            return Err(self.error("a string must be in double quotes"));
        }
        if bare.contains('\0') {
            return Err(self.error("a text cannot hold a null character"));
        }
        self.at += bare.len();
        Ok(Some(Literal::Bare(bare.to_owned())))
    }

    /// A JSON string.
    fn quoted(&mut self) -> Result<Literal, Invalid> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest.bytes().enumerate().skip(1).find_map(|(index, byte)| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes.then_some(index)
        });
        let Some(end) = end else {
            return Err(self.error("the closing quote is missing"));
        };
        let Ok(text) = serde_json::from_str::<String>(&rest[..=end]) else {
            return Err(self.error("the text is not a JSON string"));
        };
        if text.contains('\0') {
            return Err(self.error("a text cannot hold a null character"));
        }
        self.at += end + 1;
        Ok(Literal::Quoted(text))
    }
}

/// The blanks that [`Scanner::blanks`] skipped.
pub(super) struct Blanks {
    /// There was at least one.
    pub(super) any: bool,
    /// At least one was not a plain space.
    pub(super) odd: bool,
}
