//! The contracts: what every userstore, database and peer is held to. What is not configured is reported as ignored.

#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod federation_peer;
mod filter_agreement;
mod journal_order;
mod ldap;
mod limits;
mod mail_peer;
mod migrations;
mod scim_paging;
mod scim_parallel;
mod userstore;

use libtest_mimic::Arguments;

fn main() {
    let trials = [
        federation_peer::trials(),
        filter_agreement::trials(),
        journal_order::trials(),
        ldap::trials(),
        limits::trials(),
        mail_peer::trials(),
        migrations::trials(),
        scim_paging::trials(),
        scim_parallel::trials(),
        userstore::trials(),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit();
}
