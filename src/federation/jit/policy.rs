//! Rules for first and later logins, as configured for identity providers and applications.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::domain::{IdentityProviderName, ServiceProviderName, StoreName};

/// Provisioning policy: how a first login makes an account, and what later logins change.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JitPolicy {
    /// Whether accounts are made, and which questions the person is asked.
    pub mode: JitMode,
    /// The userstore of new accounts.
    pub userstore: StoreRule,
    /// The user name of new accounts.
    pub username: UsernameRule,
    /// The attributes that later logins write.
    pub sync: SyncMode,
    /// The rule for a user name that is taken.
    pub on_conflict: OnConflict,
    /// The rule for a person whose account was removed.
    pub returning: Returning,
    /// The groups that the provider asserts.
    pub groups: Option<GroupPolicy>,
    /// The purposes that people agree to, by name; the built-in purpose of the account if empty.
    pub purposes: Vec<String>,
    /// The first logins that wait for approval.
    pub approval: ApprovalRule,
    /// Days that a first login waits for approval.
    pub approval_days: Option<u32>,
    /// Days that an account lasts after its last login; without limit if `None`.
    pub lease_days: Option<u32>,
    /// Days between disabling an account and deleting it.
    pub lease_grace_days: Option<u32>,
}

/// The lease of accounts that logins made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountLease {
    /// Time from the last login until the account is disabled.
    pub span: Duration,
    /// Time from then until the account is deleted.
    pub grace: Duration,
}

impl JitPolicy {
    /// Returns the time that a first login waits, and then the time that an approval can be used.
    pub(crate) fn approval_span(&self) -> Duration {
        days(self.approval_days.unwrap_or(14))
    }

    /// Returns the lease of accounts; `None` if they last without limit.
    pub fn lease(&self) -> Option<AccountLease> {
        self.lease_days.map(|span| AccountLease {
            span: days(span),
            grace: days(self.lease_grace_days.unwrap_or(30)),
        })
    }
}

fn days(days: u32) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}

/// Whether a first login makes an account, and which questions the person is asked. Each mode asks for more than the
/// one before; `off` is the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitMode {
    /// No questions.
    #[default]
    Silent,
    /// The person sees which attributes are stored and agrees to it.
    Consent,
    /// As `consent`, and the person chooses a password.
    PasswordConsent,
    /// As `password_consent`, and the person chooses a user name.
    UsernamePasswordConsent,
    /// No account is made: only linked people can sign in.
    Off,
}

impl JitMode {
    /// Whether the person is asked for consent.
    pub(crate) fn asks_consent(self) -> bool {
        !matches!(self, Self::Silent | Self::Off)
    }

    /// Whether the person chooses a password.
    pub(crate) fn asks_password(self) -> bool {
        matches!(self, Self::PasswordConsent | Self::UsernamePasswordConsent)
    }

    /// Whether the person chooses a user name.
    pub(crate) fn asks_username(self) -> bool {
        self == Self::UsernamePasswordConsent
    }
}

/// The rule for a person whose account from an identity provider was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returning {
    /// They get a new account like any new person.
    #[default]
    Recreate,
    /// The login is refused.
    Refuse,
}

/// The userstore that an account is made in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum StoreRule {
    /// Always this userstore.
    Fixed(StoreName),
    /// The userstore that `stores` has for the claim's value. Any other value refuses the login.
    Claim {
        /// The claim.
        claim: String,
        /// Claim value → store.
        stores: BTreeMap<String, StoreName>,
    },
}

impl StoreRule {
    /// Returns every userstore that the rule can select.
    pub fn stores(&self) -> Vec<&StoreName> {
        match self {
            Self::Fixed(store) => vec![store],
            Self::Claim { stores, .. } => stores.values().collect(),
        }
    }
}

impl Default for StoreRule {
    fn default() -> Self {
        Self::Fixed(StoreName::PRIMARY)
    }
}

/// The source of the user name of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameRule {
    /// The value of the first of these claims that the identity has.
    Claim(#[serde(deserialize_with = "one_or_several")] Vec<String>),
    /// The subject as the issuer has it.
    Subject,
    /// A generated name, unique for (identity provider, issuer, subject).
    #[default]
    FederatedId,
}

/// Reads a text, or a list of texts that is not empty.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be the name of a claim, or a list of names")]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    let names = match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(D::Error::custom("must name a claim"));
    }
    Ok(names)
}

/// The attributes that later logins write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// Values that the provider sends. Values that it wrote earlier and no longer sends are cleared.
    #[default]
    Override,
    /// Values that the provider sends. Its own earlier values are cleared only if it sends `null` or an empty value.
    PreserveLocal,
    /// Nothing.
    None,
}

/// The rule for a user name that an unlinked account has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The person proves that the account is theirs, and it is linked.
    #[default]
    Ask,
    /// Linked without a question if a verified address proves it; otherwise as `ask`.
    LinkVerifiedEmail,
    /// The login is refused.
    Refuse,
}

/// The second factor that people need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactor {
    /// None, unless they have set one up and sign in with a password.
    #[default]
    None,
    /// A code of an authenticator app (RFC 6238), which is set up at the next login.
    Totp,
    /// A code that is sent by e-mail.
    EmailOtp,
    /// Either of them, as the person chooses.
    Any,
}

impl SecondFactor {
    /// Combines the requirements of two parties. A code by e-mail is weaker and never replaces an authenticator.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, one) | (one, Self::None) => one,
            (Self::Totp, _) | (_, Self::Totp) => Self::Totp,
            (Self::EmailOtp, _) | (_, Self::EmailOtp) => Self::EmailOtp,
            (Self::Any, Self::Any) => Self::Any,
        }
    }

    /// Whether it may send e-mail.
    pub(crate) fn mails(self) -> bool {
        matches!(self, Self::EmailOtp | Self::Any)
    }

    /// Returns the methods (`amr`, RFC 8176) of which a login must have used one; empty if any login is enough.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Totp => &["mfa"],
            Self::EmailOtp | Self::Any => &["mfa", "otp"],
        }
    }
}

/// The login policy of one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProviderPolicy {
    /// Its name.
    pub name: ServiceProviderName,
    /// Its display name, as in "Sign in to …".
    pub display_name: String,
    /// The identity providers that its users may come through, in the order of the buttons.
    pub identity_providers: Vec<IdentityProviderName>,
    /// Whether sign-in with a local user name and password is allowed.
    pub local_login: bool,
    /// The userstore for local passwords; all userstores if `None`.
    pub inbound_userstore: Option<StoreName>,
    /// The least that its users are asked, whatever the identity provider's policy.
    pub jit_mode: Option<JitMode>,
    /// Further purposes that people agree to for this application, by name.
    pub purposes: Vec<String>,
    /// The second factor that its people need.
    pub mfa: SecondFactor,
}

impl ServiceProviderPolicy {
    /// Returns the mode of a login through an identity provider. An application can ask for more than the provider,
    /// never for less.
    pub fn mode(&self, jit: &JitPolicy) -> JitMode {
        self.jit_mode.map_or(jit.mode, |mode| mode.max(jit.mode))
    }
}

/// The first logins that wait for approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// None.
    #[default]
    None,
    /// All.
    Always,
    /// First logins that meet one of these conditions.
    When(Vec<Condition>),
    /// All first logins except those that meet one of these conditions.
    Unless(Vec<Condition>),
}

/// A condition on the claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The claim: a name, or a JSON Pointer.
    pub claim: String,
    /// Pattern for its value or one of its values, case-insensitive; `*` stands for any text.
    pub like: String,
}

/// The mapping of groups of an identity provider to groups here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPolicy {
    /// The claim with their names: a list of strings, a list of objects with a `name`, or one string.
    pub claim: String,
    /// The member of each object that is its name: its key, or a JSON Pointer.
    #[serde(default)]
    pub name: Option<String>,
    /// The separator of names in one string; a comma if `None`, no separator if empty.
    #[serde(default)]
    pub separator: Option<String>,
    /// The meaning of an absent claim.
    #[serde(default)]
    pub absent: AbsentGroups,
    /// The group for each name; the first match counts.
    #[serde(default)]
    pub map: Vec<GroupMapping>,
    /// The rule for names without a match.
    #[serde(default)]
    pub unmapped: UnmappedGroups,
    /// The rule for memberships that the provider does not assert.
    #[serde(default)]
    pub mode: GroupMode,
    /// Groups that every user of this provider is a member of.
    #[serde(default)]
    pub default: Vec<String>,
}

/// The meaning of a groups claim that is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsentGroups {
    /// The provider says nothing: memberships stay as they are.
    #[default]
    Keep,
    /// The person is in no group, as with providers that leave out empty lists.
    None,
}

/// One line of the map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMapping {
    /// A name at the provider; `*` stands for any text.
    pub from: String,
    /// The group's `displayName` here.
    pub to: String,
}

/// The rule for names that the map does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnmappedGroups {
    /// Nothing.
    #[default]
    Drop,
    /// The group with this name, if it exists.
    SameName,
    /// The group with this name, created if needed.
    Create,
}

/// The rule for memberships that the provider does not assert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMode {
    /// Memberships that the provider granted are withdrawn, the others stay.
    #[default]
    Merge,
    /// All are withdrawn: the provider alone decides the memberships.
    Override,
}

#[cfg(test)]
/// An application that takes people from google, and local passwords.
pub(crate) fn wiki() -> ServiceProviderPolicy {
    ServiceProviderPolicy {
        name: ServiceProviderName::from("wiki"),
        display_name: "Wiki".to_owned(),
        identity_providers: vec!["google".into()],
        local_login: true,
        inbound_userstore: None,
        jit_mode: None,
        purposes: Vec::new(),
        mfa: SecondFactor::None,
    }
}
