//! Outbound provisioning: the contract of every connector, and how the engine handles failing targets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod bounds;
mod connector;
mod crash;
mod engine;
mod faults;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod peers;
mod world;
