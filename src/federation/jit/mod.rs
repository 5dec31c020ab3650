//! The just-in-time decision: facts and policy in, an account or a question or a denial out.

pub(crate) mod admit;
pub mod approval;
pub mod attribute_path;
pub mod claim_mapping;
pub(crate) mod decide;
pub mod denial;
pub(crate) mod entry;
pub(crate) mod facts;
pub mod groups;
mod groups_claim;
pub mod lease;
pub mod policy;
pub mod purpose;
pub mod questions;
pub mod settings;
pub(crate) mod template;
pub mod unusable_claims;
pub mod username;
mod wildcard;
