//! Outbound provisioning: the contract of every connector, and how the engine handles failing targets.
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail the test")]

mod connector;
mod crash;
mod engine;
mod fake_target;
mod faults;
mod peers;
mod world;
