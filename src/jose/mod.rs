//! JSON Web Signatures and keys (RFC 7515, RFC 7517): signing with our own keys, verifying with those of clients.

mod algorithm;
pub(crate) mod jws;
mod public_key;
pub(crate) mod signing_key;

pub(crate) use algorithm::Algorithm;
pub(crate) use public_key::{ALGORITHMS, PublicKey, read_set};
