//! SCIM attribute paths (RFC 7644 §3.10): as text, resolved against a resource type, and as places in a document.

mod attribute;
mod location;
mod resolved;

pub(crate) use attribute::{AttributePath, Selector};
pub use location::Location;
pub use resolved::{Path, tolerance};
