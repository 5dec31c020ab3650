//! The product over HTTP, as a specification. One server serves all tests; each test makes its own people.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod access;
mod discovery;
mod errors;
mod etags;
mod filter;
mod groups;
mod lessons;
mod operations;
mod patch;
mod security;
mod support;
mod tokens;
mod users;
