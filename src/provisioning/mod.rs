//! Outbound provisioning: pushes changes from the journal to targets.
//!
//! The journal is read into one row per (target, resource), and workers bring each target to the state that its rows
//! ask for. A local change never waits for a target, and no target waits for another.

mod circuit_breaker;
pub mod connector;
mod consume;
pub mod engine;
mod http;
mod lease;
mod member_push;
mod metrics;
pub mod operate;
pub mod plan;
pub mod preview;
mod push;
mod push_outcome;
mod response;
mod scim;
pub mod settings;
mod source;
mod target_context;
mod worker;

pub use connector::{Connector, PushError, RemoteId};
pub use engine::Engine;
pub use metrics::TargetMetrics;
pub use operate::{ReplayScope, TargetStatus};
pub use scim::ScimConnector;
pub use settings::{Auth, Backoff, Deprovision, OutboundRule, Profile, Settings, TargetSettings, Verb};
pub use source::Source;
