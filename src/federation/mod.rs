//! The front door for people: identity providers, the just-in-time decision, the login, the account page.

pub mod account;
pub mod config;
pub mod error;
pub mod idp;
pub mod jit;
pub mod login;
pub mod rehearsal;
pub mod removal;
pub(crate) mod unlink;

use std::sync::Arc;

use account::Account;
pub(crate) use config::read_claims;
pub use config::{AccountRules, FederationConfig, MailCode, MailSender, Upstream, kept_attributes};
pub(crate) use error::FederationError;
pub use error::LoginError;
use jit::approval::Approvals;
use jit::lease::Leases;
pub use jit::unusable_claims::IgnoredClaims;
use login::Login;

use crate::directory::Directory;
use crate::storage::{Database, SecretBox};

/// The front door: one struct for each concern.
pub struct Federation {
    /// The logins.
    pub login: Arc<Login>,
    /// The account page.
    pub account: Account,
    /// The first logins that wait for approval.
    pub approvals: Arc<Approvals>,
    /// The accounts that end when their people stay away.
    pub leases: Leases,
}

impl Federation {
    /// Wires the front door of a configuration.
    pub fn new(
        directory: Arc<Directory>,
        database: Database,
        secrets: Arc<SecretBox>,
        config: FederationConfig,
    ) -> Self {
        let config = Arc::new(config.with_account_page());
        let clock = directory.clock().clone();
        let approvals = Arc::new(Approvals::new(database.clone(), Arc::clone(&secrets), clock));
        let login = Login::new(
            Arc::clone(&directory),
            database.clone(),
            secrets,
            Arc::clone(&config),
            Arc::clone(&approvals),
        );
        let login = Arc::new(login);
        let leased = config.upstreams.iter().filter_map(|upstream| {
            let lease = upstream.settings.jit.lease()?;
            Some((upstream.settings.name.clone(), lease))
        });
        Self {
            leases: Leases::new(directory, database, leased.collect()),
            account: Account::new(Arc::clone(&login)),
            login,
            approvals,
        }
    }
}
