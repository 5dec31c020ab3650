//! Outcomes of a login step, and the contents of its pages.

use serde::{Deserialize, Serialize};

use crate::domain::IdentityProviderName;
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::federation::jit::attribute_path::WritablePath;
use crate::federation::jit::questions::Questions;

/// The outcome of a login step.
#[derive(Debug)]
pub enum LoginStep {
    /// The login is complete.
    Complete(Box<AuthorizationRequest>, Authentication),
    /// A page is shown.
    Show(Screen),
}

/// A page with the login that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// The login.
    pub context: LoginContext,
    /// The content of the page.
    pub page: LoginPage,
}

/// The context that every page of a login needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginContext {
    /// Display name of the application.
    pub application: String,
    /// The languages that the application requests, best first (`ui_locales`).
    pub ui_locales: Vec<String>,
    /// Whether the person is signed in already, which is not enough.
    pub again: bool,
}

/// The content of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginPage {
    /// The choice of ways to sign in.
    SignIn {
        /// The buttons.
        providers: Vec<ProviderOption>,
        /// The form for an e-mail address, whose domain selects one of them.
        by_email: Option<EmailLookupForm>,
        /// The form for user name and password, if the application accepts them.
        local: Option<LocalLoginForm>,
    },
    /// The proofs of an account that has the user name, one of which must be given.
    LinkProof(LinkProofPage),
    /// The questions before an account is made or used.
    Details(Box<Details>),
    /// The login waits for approval.
    Waiting {
        /// The display name of the identity provider.
        provider: String,
        /// The reference of the request for approval.
        reference: String,
    },
    /// The second factor is asked for, or set up.
    SecondFactor(FactorPage),
}

impl LoginPage {
    /// Leaves out the buttons of some identity providers.
    pub(crate) fn leave_out(&mut self, is_left_out: impl Fn(&IdentityProviderName) -> bool) {
        match self {
            Self::SignIn { providers, .. } | Self::LinkProof(LinkProofPage { providers, .. }) => {
                providers.retain(|provider| !is_left_out(&provider.name));
            }
            Self::Details(_) | Self::Waiting { .. } | Self::SecondFactor(_) => {}
        }
    }

    /// Whether it says that the last password or code was wrong.
    pub(crate) fn shows_a_wrong_guess(&self) -> bool {
        match self {
            Self::SignIn { local, .. } => local.as_ref().is_some_and(|form| form.failed),
            Self::LinkProof(proof) => proof.failed,
            Self::SecondFactor(
                FactorPage::Code { wrong, .. } | FactorPage::MailCode { wrong, .. } | FactorPage::Enrol { wrong, .. },
            ) => matches!(wrong, Some(CodeError::Code | CodeError::Locked)),
            Self::Details(_) | Self::Waiting { .. } | Self::SecondFactor(FactorPage::RecoveryCodes(_)) => false,
        }
    }
}

/// A page that asks to prove an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkProofPage {
    /// The display name of the identity provider.
    pub provider: String,
    /// The user name of the account.
    pub username: String,
    /// Whether the account has a password.
    pub password: bool,
    /// The identity providers where the account has an identity.
    pub providers: Vec<ProviderOption>,
    /// The masked address that a code can be sent to, if there is no other proof.
    pub mail: Option<String>,
    /// Whether the person may choose another user name instead.
    pub may_rename: bool,
    /// Whether the last password was wrong.
    pub failed: bool,
}

/// A page of the second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorPage {
    /// The code of an authenticator is asked for.
    Code {
        /// Reason why the last code did not count.
        wrong: Option<CodeError>,
        /// Whether a code by e-mail would do as well.
        or_mail: bool,
    },
    /// A code that went out by e-mail is asked for.
    MailCode {
        /// The masked address that it was sent to.
        address: String,
        /// Reason why the last code did not count, or why no other code was sent.
        wrong: Option<CodeError>,
        /// Whether an authenticator would do as well.
        or_authenticator: bool,
    },
    /// An authenticator is set up.
    Enrol {
        /// The `otpauth` URI for the QR code.
        uri: String,
        /// The seed in base 32, for typing it in.
        key: String,
        /// Reason why the last code did not count.
        wrong: Option<CodeError>,
        /// Whether a code by e-mail would do as well.
        or_mail: bool,
    },
    /// The recovery codes, shown once.
    RecoveryCodes(Vec<String>),
}

/// Reason why an input did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeError {
    /// No identity provider is trusted for the domain of the address.
    Address,
    /// The code is wrong or was used before.
    Code,
    /// There were too many wrong codes; later ones are refused for a while.
    Locked,
    /// No code was sent, because the last one was sent a moment ago.
    TooSoon,
    /// No code was sent, because too many were sent already.
    TooMany,
}

/// The attributes that a person sees and the questions before an account is made or used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The display name of the identity provider.
    pub provider: String,
    /// The attributes that the claims give and that are stored.
    pub known: Vec<(WritablePath, String)>,
    /// The questions.
    pub questions: Questions,
    /// The least number of characters of a password.
    pub shortest_password: usize,
}

/// The form for an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailLookupForm {
    /// The address to prefill.
    pub address: String,
    /// Whether no identity provider is trusted for the domain of the last address.
    pub is_unknown: bool,
}

/// The button of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderOption {
    /// The identity provider.
    pub name: IdentityProviderName,
    /// Its display name.
    pub display_name: String,
}

/// The form for user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalLoginForm {
    /// The user name to prefill.
    pub username: String,
    /// Whether the last password was wrong.
    pub failed: bool,
}
