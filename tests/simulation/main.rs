//! A simulation of the front door: random events against rules that hold after each of them.
//!
//! `SIM_SECONDS` sets how long a run takes (20), or `SIM_EVENTS` how many events it has; `SIM_SEED` sets its first seed.
//! `SIM_ONE` runs one seed alone, `SIM_TRACE` prints each request.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests; they send requests to servers of their own"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod browser;
mod clients;
mod event;
mod facts;
mod happen;
mod logs;
mod page;
mod people;
mod provider;
mod random;
mod rules;
mod run;
mod settle;
mod shape;
mod simulation;
mod template;
mod totp;
mod truth;
mod world;
