//! Administrators and their rights.

use std::collections::BTreeSet;
use std::fmt;

use super::error::OperationError;

/// A right of an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Read what operations show.
    Read,
    /// Create users, set their passwords, and transfer values.
    ManagePeople,
    /// Unlock accounts, and remove second factors.
    RecoverAccounts,
    /// Lock and unlock external identities.
    LockIdentities,
    /// Approve and refuse first logins.
    DecideApprovals,
    /// Create and revoke SCIM tokens, and reset the counts of their clients.
    ManageTokens,
    /// Remove and restore identity providers.
    ManageProviders,
    /// Accept the content of directories.
    ManageUserstores,
    /// Pause, resume and replay targets.
    ManageTargets,
    /// Rotate signing keys.
    ManageKeys,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::ManagePeople,
        Self::RecoverAccounts,
        Self::LockIdentities,
        Self::DecideApprovals,
        Self::ManageTokens,
        Self::ManageProviders,
        Self::ManageUserstores,
        Self::ManageTargets,
        Self::ManageKeys,
    ];
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read this",
            Self::ManagePeople => "manage people",
            Self::RecoverAccounts => "recover accounts",
            Self::LockIdentities => "lock identities",
            Self::DecideApprovals => "decide on first logins",
            Self::ManageTokens => "manage tokens",
            Self::ManageProviders => "manage identity providers",
            Self::ManageUserstores => "manage userstores",
            Self::ManageTargets => "manage targets",
            Self::ManageKeys => "manage signing keys",
        })
    }
}

/// A person who administers, with their rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    name: String,
    rights: BTreeSet<Right>,
}

impl Administrator {
    /// An administrator with some rights. The name appears in the journal.
    pub fn new(name: impl Into<String>, rights: impl IntoIterator<Item = Right>) -> Self {
        Self {
            name: name.into(),
            rights: rights.into_iter().collect(),
        }
    }

    /// A person with access to the configuration and the database of the server. They may do everything.
    pub(crate) fn at_the_shell(name: impl Into<String>) -> Self {
        Self::new(name, Right::ALL)
    }

    /// The name in the journal.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks that the administrator has a right.
    pub fn must(&self, right: Right) -> Result<(), OperationError> {
        if self.rights.contains(&right) {
            return Ok(());
        }
        Err(OperationError::Forbidden {
            administrator: self.name.clone(),
            right,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_has_the_given_rights_alone() {
        let helpdesk = Administrator::new("ann", [Right::Read, Right::RecoverAccounts]);
        for right in Right::ALL {
            let has = [Right::Read, Right::RecoverAccounts].contains(&right);
            assert_eq!(helpdesk.must(right).is_ok(), has, "{right}");
        }
        let error = helpdesk.must(Right::ManageKeys).unwrap_err();
        assert_eq!(error.to_string(), "ann may not manage signing keys");
    }
}
