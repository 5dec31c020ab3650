//! The tests that need no peer: the front door, the command line, the configuration, the structure of the code.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod account_page;
mod approvals;
mod architecture;
mod command_line;
mod config;
mod config_identity_providers;
mod config_mistakes;
mod demo;
mod entry;
mod federation_details;
mod federation_groups;
mod federation_http;
mod federation_login;
mod federation_openid;
mod federation_ownership;
mod federation_presets;
mod fuzz_corpora;
mod known_subjects;
mod leases;
mod mail_codes;
mod off_means_off;
mod own_types;
mod patch_properties;
mod pending_steps;
mod rehearsal;
mod removal;
mod scim_search;
mod scim_stores;
mod scim_v2_models;
mod second_factor;
mod security_events;
mod security_rows;
mod stalls;
mod vectors;
