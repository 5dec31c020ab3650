//! The front door for people: identity providers, what their claims become, who is let in, and the login in between.

pub mod account;
mod admit;
mod calls;
pub mod claims;
pub mod decide;
pub mod denial;
mod facts;
pub mod fetch;
pub mod groups;
pub mod id_token;
pub mod login;
pub mod mail;
mod mailed;
mod metadata;
pub mod oauth2;
pub mod openid;
pub mod policy;
pub mod preset;
mod prompts;
pub mod provider;
pub mod purpose;
pub mod questions;
pub mod removal;
mod second_factor;
mod step;
mod target;
pub mod template;
pub mod tenant;
mod totp;
mod transaction;
mod unlink;
mod upstream;
pub mod username;

pub use login::{Federation, FederationError, Started};
pub use step::{Choice, Details, FactorPage, Local, Page, Screen, Standing, Step, Wrong};
pub use upstream::{FrontDoor, MailCode, Post, Tie, Upstream, kept_attributes};
