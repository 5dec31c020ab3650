//! What a step of a login leads to, and what its pages show.

use serde::{Deserialize, Serialize};

use crate::domain::IdentityProviderName;
use crate::domain::login::{Authentication, AuthorizationRequest};
use crate::federation::jit::attribute_path::AttributePath;
use crate::federation::jit::questions::Questions;

/// What happens after a step.
#[derive(Debug)]
pub enum Step {
    /// The person is in; the login is over.
    Complete(Box<AuthorizationRequest>, Authentication),
    /// The person sees a page.
    Show(Screen),
}

/// A page with the login that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// The login.
    pub context: LoginContext,
    /// What the page shows.
    pub page: Page,
}

/// What every page of a login shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginContext {
    /// What people call the application.
    pub application: String,
    /// The languages that the application asks for, best first.
    pub ui_locales: Vec<String>,
}

/// What a page shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// The ways to sign in.
    SignIn {
        /// The buttons.
        providers: Vec<Choice>,
        /// The form for an e-mail address, whose domain tells which of them it is.
        by_email: Option<ByEmail>,
        /// The form for name and password, if the application takes them.
        local: Option<Local>,
    },
    /// The proof of an account that has the wanted name.
    LinkProof {
        /// What people call the identity provider.
        provider: String,
        /// The account's name.
        username: String,
        /// Whether the person may have an account of another name instead.
        may_rename: bool,
        /// Whether the last password was wrong.
        failed: bool,
    },
    /// What an account is made with.
    Details(Box<Details>),
    /// Somebody else must let the person in.
    Waiting {
        /// What people call the identity provider.
        provider: String,
        /// What the request is called.
        reference: String,
    },
    /// The second factor is asked for, or set up.
    SecondFactor(FactorPage),
}

/// A page of the second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactorPage {
    /// The code of an authenticator is asked for.
    Code {
        /// Why the last code did not count.
        wrong: Option<Wrong>,
        /// Whether a code by e-mail would do as well.
        or_mail: bool,
    },
    /// A code that went out by e-mail is asked for.
    MailCode {
        /// Where it went, as far as the person needs to see that.
        address: String,
        /// Why the last code did not count, or no further one was sent.
        wrong: Option<Wrong>,
        /// Whether an authenticator would do as well.
        or_authenticator: bool,
    },
    /// An authenticator is set up.
    Enrol {
        /// What an authenticator reads off a picture.
        uri: String,
        /// What people type into it without a camera.
        key: String,
        /// Whether the last code was wrong.
        wrong: Option<Wrong>,
        /// Whether a code by e-mail would do as well.
        or_mail: bool,
    },
    /// The recovery codes, shown once.
    RecoveryCodes(Vec<String>),
}

/// Why a code did not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wrong {
    /// No identity provider speaks for the domain of the address.
    Address,
    /// It is not the code, or was used before.
    Code,
    /// There were too many wrong ones; later ones are not looked at for a while.
    Locked,
    /// None was sent: the one before is too fresh.
    TooSoon,
    /// None was sent: there were too many.
    TooMany,
}

/// What a person sees and is asked before an account is made or used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// What people call the identity provider.
    pub provider: String,
    /// What it says of the person and is kept.
    pub known: Vec<(AttributePath, String)>,
    /// What the person is asked.
    pub questions: Questions,
}

/// The form for an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByEmail {
    /// The address to prefill.
    pub address: String,
    /// Whether no identity provider speaks for the domain of the last one.
    pub is_unknown: bool,
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The identity provider.
    pub name: IdentityProviderName,
    /// What people call it.
    pub display_name: String,
}

/// The form for name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The name to prefill.
    pub username: String,
    /// Whether the last password was wrong.
    pub failed: bool,
}
