//! Types and pure rules that all modules share: no HTTP, no SQL, and time only as an argument.

pub mod address;
pub mod backoff;
pub mod change;
pub mod clock;
pub mod email;
pub mod filter;
pub mod ids;
pub mod lockout;
pub mod login;
pub mod multi_valued;
pub mod name;
pub mod ownership;
pub mod password;
pub mod patch;
pub mod path;
pub mod projection;
pub mod provenance;
pub mod query;
pub mod replace;
pub mod resource;
pub mod schema;
pub mod secret;
pub mod security_event;
pub mod unique;
pub mod validate;

pub use change::{Actor, Change, Consent, JournalEntry, Link, Operation, Principal, SideRecord};

pub(crate) use change::MembershipGrant;
pub use clock::{Clock, Timestamp};
pub use ids::{IdentityProviderName, Kind, ResourceId, ServiceProviderName, StoreName, TargetName, Version};
pub(crate) use resource::Membership;
pub use resource::{Attributes, Document, Member, Precondition, Relations, Resource};
pub use secret::Secret;
pub use security_event::{RequestOrigin, SecurityEvent, SecurityEventKind};
