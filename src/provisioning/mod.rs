//! Outbound provisioning: pushes changes from the journal to targets.
//!
//! The journal is read into one row per (target, resource), and workers bring each target to the state that its rows
//! ask for. A local change never waits for a target, and no target waits for another.

mod batch_writes;
mod circuit_breaker;
pub mod connector;
mod consume;
pub mod engine;
mod kinds;
mod lease;
mod member_push;
mod metrics;
pub mod operate;
pub mod plan;
pub mod preview;
mod push;
mod push_outcome;
mod scim;
pub mod settings;
mod source;
mod target_context;
mod worker;

pub use connector::{Connector, PushError, RemoteId};
pub use engine::Engine;
pub use kinds::connect;
pub use operate::ReplayScope;
pub(crate) use operate::TargetStatus;
pub use scim::{Auth, ScimConnector, ScimTargetSettings, Verb};
pub(crate) use settings::Profile;
pub use settings::{ConnectorSettings, Deprovision, OutboundRule, Settings, TargetSettings};
pub use source::Source;
