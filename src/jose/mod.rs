//! JSON Web Signatures and keys (RFC 7515, RFC 7517): signing with our own keys, verifying with those of clients.

mod algorithm;
pub mod jws;
mod public_key;
pub mod signing_key;

pub use algorithm::Algorithm;
pub use public_key::{ALGORITHMS, PublicKey, read_set};
pub use signing_key::BadKey;
