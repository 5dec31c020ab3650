//! Outbound provisioning: pushes changes from the journal to targets.
//!
//! The journal is read into one row per (target, resource), and workers bring each target to the state that its rows
//! ask for. A local change never waits for a target, and no target waits for another.

mod answer;
pub mod connector;
mod consume;
pub mod engine;
mod gate;
mod http;
mod lane;
mod lease;
mod member_push;
mod metrics;
pub mod operate;
pub mod plan;
pub mod preview;
mod push;
mod scim;
pub mod settings;
mod settle;
mod source;
mod worker;

pub use connector::{Connector, PushError, RemoteId};
pub use engine::Engine;
pub use metrics::TargetMetrics;
pub use operate::{TargetStatus, Which};
pub use scim::ScimConnector;
pub use settings::{Auth, Backoff, Deprovision, OutboundRule, Profile, Settings, TargetSettings, Verb};
pub use source::Source;
