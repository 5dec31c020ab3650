//! The HTTP API, as a specification. One server serves all tests; each test creates its own users.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod access;
mod bulk;
mod clients;
mod converge;
mod dialect;
mod discovery;
mod documentation;
mod errors;
mod etags;
mod filter;
mod groups;
mod lessons;
mod me;
mod operations;
mod paging;
mod patch;
mod prefer;
mod sections;
mod security;
mod strict;
mod support;
mod tokens;
mod users;
