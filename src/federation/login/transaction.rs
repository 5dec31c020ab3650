//! The login transaction: all state of a login, kept on the server under a random handle.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::domain::{Clock, IdentityProviderName, ResourceId, ServiceProviderName, StoreName, Timestamp};
use crate::federation::config::Upstream;
use crate::federation::error::LoginError;
use crate::federation::idp::provider::{Identity, LoginSecret};
use crate::federation::jit::admit::KnownAccount;
use crate::federation::jit::claim_mapping::ClaimMapping;
use crate::federation::jit::denial::Denial;
use crate::federation::jit::questions::{LoginPreferences, Questions};
use crate::federation::login::step::CodeError;
use crate::federation::login::visitor::SignedInUser;
use crate::storage::{Database, SecretBox, StorageError, login_transactions, random, sweep};

/// Lifetime of a login.
pub(crate) const LIFETIME: Duration = Duration::from_mins(10);

/// The state of a login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Transaction {
    /// The request of the application.
    pub(crate) request: AuthorizationRequest,
    /// The application.
    pub(crate) service_provider: ServiceProviderName,
    /// The stage of the login.
    pub(crate) state: LoginState,
    /// Number of wrong passwords and codes.
    pub(crate) failures: u32,
    /// Whether the last step was a wrong password or code.
    pub(crate) failed: bool,
    /// Reason why the last input did not count.
    pub(crate) wrong: Option<CodeError>,
    /// The user name or address that was typed last.
    pub(crate) username: String,
    /// The hash of the session that the login continues. It goes on only in the browser of that session.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// The account and the address that a code by e-mail proved in this login.
    #[serde(default)]
    pub(crate) mailed: Option<(ResourceId, String)>,
    /// Whether an authenticator was set up in this login: it proves nothing about who the person is.
    #[serde(default)]
    pub(crate) enrolled: bool,
    /// The identity that is linked once the account is proved.
    #[serde(default)]
    pub(crate) linking: Option<Linking>,
}

/// An identity that is to be linked to an account, which the person must prove first by all that it needs to be entered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Linking {
    /// The identity.
    pub(crate) asserted: AssertedIdentity,
    /// The store of the account.
    pub(crate) store: StoreName,
    /// The account.
    pub(crate) account: ResourceId,
    /// Its user name.
    pub(crate) username: String,
    /// The proofs that the account has.
    pub(crate) proofs: AccountProofs,
}

/// The first proofs that a person may give for an account.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AccountProofs {
    /// Whether it has a password.
    pub(crate) password: bool,
    /// The identity providers where it has an identity.
    pub(crate) providers: Vec<IdentityProviderName>,
    /// The code that can be sent to it by e-mail, where it has no other proof.
    pub(crate) mail: Option<MailedCode>,
}

impl Transaction {
    /// Starts at a stage.
    pub(crate) fn new(request: AuthorizationRequest, service_provider: ServiceProviderName, state: LoginState) -> Self {
        Self {
            request,
            service_provider,
            state,
            failures: 0,
            failed: false,
            wrong: None,
            username: String::new(),
            session: None,
            mailed: None,
            enrolled: false,
            linking: None,
        }
    }

    /// Returns the account that the login is about, as far as it is known, and the version of its credentials under which
    /// it was proved.
    pub(crate) fn proved_account(&self) -> Option<(&ResourceId, i64)> {
        if let LoginState::Asking { asserted, .. } = &self.state
            && let AccountAtFirst::Known(known) = &asserted.account
        {
            return Some((&known.id, known.credentials));
        }
        let authentication = self.authentication()?;
        Some((&authentication.user, authentication.credentials))
    }

    /// Returns the state of the adapter of an identity provider, if the browser is there, and the person who links an
    /// identity.
    pub(crate) fn pending(&self, provider: &IdentityProviderName) -> Option<(&LoginSecret, Option<&SignedInUser>)> {
        match &self.state {
            LoginState::Away {
                provider: asked,
                pending,
            } if asked == provider => Some((pending, None)),
            LoginState::Linking {
                provider: asked,
                pending,
                visitor,
            } if asked == provider => Some((pending, Some(visitor))),
            _ => None,
        }
    }

    /// The identity provider through which the login, or an account that an identity is to be linked to, is proved.
    pub(crate) fn proved_through(&self) -> Option<&IdentityProviderName> {
        self.authentication()?.identity_provider.as_ref()
    }

    /// Returns the login as far as it is proved, or the proof of an account that an identity is to be linked to.
    fn authentication(&self) -> Option<&Authentication> {
        match &self.state {
            LoginState::Challenging { authentication, .. }
            | LoginState::Mailed { authentication, .. }
            | LoginState::Enrolling { authentication, .. }
            | LoginState::Enrolled { authentication, .. } => Some(authentication),
            LoginState::Linking { visitor, .. } => Some(&visitor.authentication),
            LoginState::Asking { asserted, .. } => asserted.proof.as_ref(),
            LoginState::Choosing | LoginState::Away { .. } | LoginState::Proving | LoginState::Waiting { .. } => None,
        }
    }
}

impl LoginState {
    /// The identity provider of the stage, if there is one.
    pub(crate) fn provider(&self) -> Option<&IdentityProviderName> {
        match self {
            Self::Away { provider, .. } | Self::Linking { provider, .. } | Self::Waiting { provider, .. } => {
                Some(provider)
            }
            Self::Asking { asserted, .. } => Some(&asserted.provider),
            Self::Challenging { authentication, .. }
            | Self::Mailed { authentication, .. }
            | Self::Enrolling { authentication, .. }
            | Self::Enrolled { authentication, .. } => authentication.identity_provider.as_ref(),
            Self::Choosing | Self::Proving => None,
        }
    }
}

/// The stage of a login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum LoginState {
    /// The person chooses how to sign in.
    Choosing,
    /// The browser is at an identity provider.
    Away {
        /// The identity provider.
        provider: IdentityProviderName,
        /// The state of the adapter, which the answer is checked against.
        pending: LoginSecret,
    },
    /// The browser is at an identity provider, for an identity that a person adds to their account.
    Linking {
        /// The identity provider.
        provider: IdentityProviderName,
        /// The state of the adapter, which the answer is checked against.
        pending: LoginSecret,
        /// The person.
        visitor: SignedInUser,
    },
    /// An identity is known, and another account has its user name; the person must prove that account first.
    /// `linking` of the transaction has both.
    Proving,
    /// An identity is known, and the person must answer questions first.
    Asking {
        /// The identity.
        asserted: Box<AssertedIdentity>,
        /// The questions.
        questions: Questions,
    },
    /// An identity is known, and its first login waits for approval.
    Waiting {
        /// The identity provider.
        provider: IdentityProviderName,
        /// The reference of the request for approval.
        reference: String,
    },
    /// The first factor is proved, and the second must be.
    Challenging {
        /// The login as far as it is proved.
        authentication: Authentication,
        /// The mail that would do as well.
        mail: Option<MailedCode>,
    },
    /// The first factor is proved, and the second must be, by a code that went out by e-mail.
    Mailed {
        /// The login as far as it is proved.
        authentication: Authentication,
        /// The mail.
        mail: MailedCode,
    },
    /// The first factor is proved, and a second one is being set up.
    Enrolling {
        /// The login as far as it is proved.
        authentication: Authentication,
        /// The user name, which the authenticator shows.
        username: String,
        /// The seed that the authenticator is given.
        seed: [u8; 20],
        /// The mail that would do as well.
        mail: Option<MailedCode>,
    },
    /// Both factors are proved, and the person reads the new recovery codes.
    Enrolled {
        /// The login.
        authentication: Authentication,
        /// The codes, shown only here.
        codes: Vec<String>,
    },
}

/// A code by e-mail. It is valid only in this login.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MailedCode {
    /// The address.
    pub(crate) address: String,
    /// Number of codes sent.
    pub(crate) sent: u32,
    /// Salt of the fingerprint, against precomputed tables.
    pub(crate) salt: String,
    /// Fingerprint of the last code.
    pub(crate) fingerprint: Option<String>,
    /// Whether an authenticator would do as well.
    pub(crate) or_authenticator: bool,
}

/// An identity that an identity provider asserted in this login.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AssertedIdentity {
    /// The identity provider.
    pub(crate) provider: IdentityProviderName,
    /// The identity at that provider.
    pub(crate) identity: Identity,
    /// The time at which the person proved who they are there, as far as the provider says.
    #[serde(default)]
    pub(crate) authenticated_at: Option<Timestamp>,
    /// The account of the identity at the first decision on it. A later step that finds another, or the same one with
    /// other credentials, begins again.
    #[serde(default)]
    pub(crate) account: AccountAtFirst,
    /// The proof of the account that the person showed to be theirs, in this login.
    pub(crate) proof: Option<Authentication>,
    /// Choices of the person that deviate from the policy.
    pub(crate) wishes: LoginPreferences,
    /// The lines of the claim mapping whose claims cannot be stored.
    #[serde(default)]
    pub(crate) left_out: BTreeSet<String>,
}

/// The account of an identity at the first decision on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AccountAtFirst {
    /// There was no decision yet.
    #[default]
    NotDecided,
    /// It had none.
    Nobodys,
    /// This one.
    Known(KnownAccount),
}

impl From<Option<KnownAccount>> for AccountAtFirst {
    fn from(account: Option<KnownAccount>) -> Self {
        account.map_or(Self::Nobodys, Self::Known)
    }
}

impl AssertedIdentity {
    /// Creates it for a person who has just come back from an identity provider.
    pub(crate) fn new(provider: &IdentityProviderName, identity: Identity, left_out: BTreeSet<String>) -> Self {
        Self {
            provider: provider.clone(),
            identity,
            authenticated_at: None,
            account: AccountAtFirst::NotDecided,
            proof: None,
            wishes: LoginPreferences::default(),
            left_out,
        }
    }

    /// Whether the identity has another account than at the first decision on it, or the account has other credentials
    /// than at that time, or than at its proof in this login.
    pub(crate) fn has_another_account(&self, now: Option<&KnownAccount>) -> bool {
        match (&self.account, now) {
            (AccountAtFirst::NotDecided, _) | (AccountAtFirst::Nobodys, None) => false,
            (AccountAtFirst::Known(then), Some(now)) => {
                let proof = self.proof.as_ref().filter(|proof| proof.user == then.id);
                let credentials = proof.map_or(then.credentials, |proof| proof.credentials);
                then.id != now.id || then.is_linked != now.is_linked || credentials != now.credentials
            }
            _ => true,
        }
    }

    /// Returns the lines of the provider's claim mapping whose claims can be stored.
    pub(crate) fn mappings(&self, upstream: &Upstream) -> Vec<ClaimMapping> {
        let is_usable = |mapping: &&ClaimMapping| !self.left_out.contains(&mapping.key());
        upstream.claims.iter().filter(is_usable).cloned().collect()
    }
}

/// A transaction with the revision that was read: a step that names an older revision is denied.
pub(crate) struct LoadedTransaction {
    hash: String,
    revision: i64,
    /// The state that was read.
    pub(crate) transaction: Transaction,
}

/// The transactions in the database.
pub(crate) struct Transactions {
    pub(crate) database: Database,
    pub(crate) secrets: Arc<SecretBox>,
    pub(crate) clock: Clock,
}

impl Transactions {
    /// Starts a transaction and returns the handle that the browser keeps.
    pub(crate) fn start(&self, transaction: &Transaction) -> Result<String, StorageError> {
        let handle = random::token();
        let hash = random::fingerprint(&handle);
        let sealed = self.seal(&hash, transaction);
        let now = self.clock.now();
        self.database
            .write(move |connection| {
                login_transactions::insert(connection, &hash, &sealed, now, now.plus(LIFETIME))
                    .map_err(StorageError::from)
            })
            .map(|()| handle)
    }

    /// Returns the transaction of a handle. `None` if it has ended or expired, or was sealed under another master key.
    pub(crate) fn find(&self, handle: &str) -> Result<Option<LoadedTransaction>, StorageError> {
        let hash = random::fingerprint(handle);
        let now = self.clock.now();
        let found = self
            .database
            .read::<_, StorageError>(|connection| login_transactions::find(connection, &hash, now))?;
        Ok(found.and_then(|row| {
            let Ok(plain) = self.secrets.open(&context(&hash), &row.sealed) else {
                log::error!("a login transaction cannot be opened: is this the master key that sealed it?");
                return None;
            };
            let Ok(transaction) = serde_json::from_slice(&plain) else {
                log::warn!("a login that another version of Vestibule began cannot go on: the person must start again");
                return None;
            };
            Some(LoadedTransaction {
                hash,
                revision: row.revision,
                transaction,
            })
        }))
    }

    /// Stores a step; denied if another step came first.
    pub(crate) fn advance(&self, loaded: &mut LoadedTransaction) -> Result<(), LoginError> {
        let (hash, seen) = (loaded.hash.clone(), loaded.revision);
        let sealed = self.seal(&hash, &loaded.transaction);
        let done = self.database.write(move |connection| {
            login_transactions::advance(connection, &hash, seen, &sealed).map_err(StorageError::from)
        })?;
        if !done {
            return Err(Denial::NotUnderWay.into());
        }
        loaded.revision += 1;
        Ok(())
    }

    /// Ends a login; denied if another step came first.
    pub(crate) fn finish(&self, loaded: &LoadedTransaction) -> Result<(), LoginError> {
        let (hash, seen) = (loaded.hash.clone(), loaded.revision);
        let done = self
            .database
            .write(move |connection| login_transactions::finish(connection, &hash, seen).map_err(StorageError::from))?;
        if done { Ok(()) } else { Err(Denial::NotUnderWay.into()) }
    }

    /// Removes expired transactions and returns their number.
    pub(crate) fn sweep(&self) -> Result<usize, StorageError> {
        let now = self.clock.now();
        sweep::in_steps(&self.database, move |connection, limit| {
            login_transactions::delete_expired(connection, now, limit)
        })
    }

    fn seal(&self, hash: &str, transaction: &Transaction) -> Vec<u8> {
        let plain = serde_json::to_vec(transaction).expect("a transaction holds nothing that JSON cannot");
        self.secrets.seal(&context(hash), &plain)
    }
}

fn context(hash: &str) -> String {
    format!("login_transactions/{hash}")
}
