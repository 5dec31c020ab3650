//! Identity providers (seam 2): the adapters for OpenID Connect and OAuth 2.0, and what they share.

pub(crate) mod calls;
pub(crate) mod claim;
pub mod groups_endpoint;
pub mod id_token;
mod jws;
pub mod metadata;
pub mod oauth2;
pub mod openid;
pub mod preset;
pub mod provider;
pub mod tenant;
pub(crate) mod userinfo_claims;
