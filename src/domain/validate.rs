//! Whether attributes are a valid resource of their type.

/// What is wrong with a resource or a change, in the standard's terms (RFC 7644 §3.12).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// Which of the standard's kinds of error it is.
    pub kind: InvalidKind,
    /// What to tell the client: names the attribute, never repeats a value.
    pub detail: String,
}

/// The kinds of invalid input that RFC 7644 §3.12 tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// `invalidFilter`
    Filter,
    /// `invalidSyntax`
    Syntax,
    /// `invalidPath`
    Path,
    /// `invalidValue`
    Value,
    /// `noTarget`
    NoTarget,
    /// `mutability`
    Mutability,
    /// `tooMany`
    TooMany,
}
