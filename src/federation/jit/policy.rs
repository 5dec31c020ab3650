//! The rules for first and later logins, as identity providers and applications configure them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::{IdentityProviderName, ServiceProviderName, StoreName};

/// How a first login makes an account, and what later logins change.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JitPolicy {
    /// Whether accounts are made, and what the person is asked.
    pub mode: JitMode,
    /// Where accounts are made.
    pub userstore: StoreRule,
    /// How they are named.
    pub username: UsernameRule,
    /// What later logins write.
    pub sync: SyncMode,
    /// What happens if the name is taken.
    pub on_conflict: OnConflict,
    /// What happens if the account that the person had was removed.
    pub returning: Returning,
    /// The groups that the provider asserts.
    pub groups: Option<GroupPolicy>,
    /// The purposes that people agree to, by name; the account itself if there are none.
    pub purposes: Vec<String>,
    /// Whose first login waits until somebody approves of it.
    pub approval: ApprovalRule,
    /// How many days it waits.
    pub approval_days: Option<u32>,
    /// How many days an account lasts after its person's last login; for ever if this is none.
    pub lease_days: Option<u32>,
    /// How many days it is only switched off then.
    pub lease_grace_days: Option<u32>,
}

/// How long an account lasts that logins made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// After the last login, until it is switched off.
    pub span: Duration,
    /// From then on, until it is removed.
    pub grace: Duration,
}

impl JitPolicy {
    /// How long a first login waits, and then how long an approval can be used.
    pub fn approval_span(&self) -> Duration {
        days(self.approval_days.unwrap_or(14))
    }

    /// How long accounts last; for ever if there is none.
    pub fn lease(&self) -> Option<Lease> {
        self.lease_days.map(|span| Lease {
            span: days(span),
            grace: days(self.lease_grace_days.unwrap_or(30)),
        })
    }
}

fn days(days: u32) -> Duration {
    Duration::from_hours(24 * u64::from(days))
}

/// Whether a first login makes an account, and what the person is asked. Each asks for more than the one before; `off`
/// is the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitMode {
    /// The person is asked nothing.
    #[default]
    Silent,
    /// The person sees what is kept and agrees to it.
    Consent,
    /// And chooses a password.
    PasswordConsent,
    /// And a user name.
    UsernamePasswordConsent,
    /// No account is made: only linked people enter.
    Off,
}

impl JitMode {
    /// Whether the person agrees to what is kept.
    pub fn asks_consent(self) -> bool {
        !matches!(self, Self::Silent | Self::Off)
    }

    /// Whether the person chooses a password.
    pub fn asks_password(self) -> bool {
        matches!(self, Self::PasswordConsent | Self::UsernamePasswordConsent)
    }

    /// Whether the person chooses a user name.
    pub fn asks_username(self) -> bool {
        self == Self::UsernamePasswordConsent
    }
}

/// What happens if the account that a person had through an identity provider was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Returning {
    /// They are as new as anybody.
    #[default]
    Recreate,
    /// They stay outside.
    Refuse,
}

/// Which store an account is made in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum StoreRule {
    /// Always this one.
    Fixed(StoreName),
    /// The one that `stores` names for the claim's value. Any other value refuses the login.
    Claim {
        /// The claim.
        claim: String,
        /// Claim value → store.
        stores: BTreeMap<String, StoreName>,
    },
}

impl StoreRule {
    /// Every store that the rule can name.
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

/// What an account is named after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernameRule {
    /// A claim's value.
    Claim(String),
    /// The subject as the issuer has it.
    Subject,
    /// A name of ours that stands for (identity provider, issuer, subject) and never collides.
    #[default]
    FederatedId,
}

/// What later logins write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// What it sends; and what it wrote earlier and no longer sends is cleared.
    #[default]
    Override,
    /// What it sends; only what it sends as `null` or empty, and wrote itself, is cleared.
    PreserveLocal,
    /// Nothing.
    None,
}

/// What happens if an account that is not linked has the name already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The person proves that the account is theirs, and it is linked.
    #[default]
    Ask,
    /// Linked without asking if a verified address proves it; asked otherwise.
    LinkVerifiedEmail,
    /// The login is refused.
    Refuse,
}

/// Which second factor people need beside their first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondFactor {
    /// None, unless they have set one up and sign in with a password.
    #[default]
    None,
    /// The codes of an authenticator (RFC 6238); it is set up at the next login.
    Totp,
    /// A code that is sent by e-mail.
    EmailOtp,
    /// Either, as people like it.
    Any,
}

impl SecondFactor {
    /// What two parties ask for together. A code by e-mail is the weaker one, and stands for no authenticator.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, one) | (one, Self::None) => one,
            (Self::Totp, _) | (_, Self::Totp) => Self::Totp,
            (Self::EmailOtp, _) | (_, Self::EmailOtp) => Self::EmailOtp,
            (Self::Any, Self::Any) => Self::Any,
        }
    }

    /// Whether it may take mail.
    pub fn mails(self) -> bool {
        matches!(self, Self::EmailOtp | Self::Any)
    }

    /// The methods (`amr`, RFC 8176) of which a login must have used one. None if any login will do.
    pub fn methods(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Totp => &["mfa"],
            Self::EmailOtp | Self::Any => &["mfa", "otp"],
        }
    }
}

/// What one service provider allows at the front door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProviderPolicy {
    /// Its name.
    pub name: ServiceProviderName,
    /// What people read: "Sign in to …".
    pub display_name: String,
    /// The identity providers that its users may come through, in the order of the buttons.
    pub identity_providers: Vec<IdentityProviderName>,
    /// Whether a local user name and password will do.
    pub local_login: bool,
    /// The store whose users have local passwords, if it is one alone.
    pub inbound_userstore: Option<StoreName>,
    /// What its people are asked at the least, whatever the identity provider's policy.
    pub jit_mode: Option<JitMode>,
    /// The purposes that people agree to for this application alone, by name.
    pub purposes: Vec<String>,
    /// The second factor that its people need.
    pub mfa: SecondFactor,
}

impl ServiceProviderPolicy {
    /// The mode of a login through an identity provider: an application can ask for more than it, never for less.
    pub fn mode(&self, jit: &JitPolicy) -> JitMode {
        self.jit_mode.map_or(jit.mode, |mode| mode.max(jit.mode))
    }
}

/// Which first logins wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// None.
    #[default]
    None,
    /// All.
    Always,
    /// Those of which one of these is true.
    When(Vec<Condition>),
    /// All but those of which one of these is true.
    Unless(Vec<Condition>),
}

/// What may be true of somebody's claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The claim: a name, or a JSON Pointer.
    pub claim: String,
    /// What its value, or one of its values, is like, in any case; `*` stands for any text.
    pub like: String,
}

/// How groups of an identity provider become groups here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPolicy {
    /// The claim that holds their names: a list of texts, or one text.
    pub claim: String,
    /// Which name becomes which; the first that fits counts.
    #[serde(default)]
    pub map: Vec<GroupMapping>,
    /// What happens to a name that nothing fits.
    #[serde(default)]
    pub unmapped: Unmapped,
    /// What happens to memberships that the provider does not assert.
    #[serde(default)]
    pub mode: GroupMode,
    /// Groups that everybody of this provider is in.
    #[serde(default)]
    pub default: Vec<String>,
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

/// What happens to a name that the map does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    /// Nothing.
    #[default]
    Drop,
    /// The group of the same name, if it is here.
    SameName,
    /// The group of the same name, made if need be.
    Create,
}

/// What happens to memberships that the provider does not assert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMode {
    /// Those that it granted are taken back, the others stay.
    #[default]
    Merge,
    /// All are taken back: the provider alone says who is in which group.
    Override,
}
