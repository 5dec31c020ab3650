//! Changes going out: what every connector promises, and what the engine does with a target that fails in every way.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod connector;
mod crash;
mod engine;
mod fake_target;
mod faults;
mod peers;
mod world;
