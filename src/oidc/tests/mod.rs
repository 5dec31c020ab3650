//! Tests of the whole provider on a database.

mod assertions;
mod backchannel;
mod client_credentials;
mod codes;
mod introspection;
mod keys;
mod logout;
mod pushed;
mod refresh;
mod revocation;
mod sessions;
