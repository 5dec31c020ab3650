//! Why somebody stays outside.

/// Why somebody stays outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// This application does not take people from there.
    #[error("the service provider does not accept this identity provider")]
    ProviderNotAllowed,
    /// Accounts are not made, and there is none.
    #[error("there is no account, and none is made")]
    NoAccount,
    /// The person's account was removed, and they may not come back.
    #[error("the account was removed")]
    AccountRemoved,
    /// The person does not agree to what must be kept.
    #[error("the person does not agree to what is kept")]
    ConsentRefused,
    /// Somebody decided not to let the person in.
    #[error("somebody decided not to let the person in")]
    NotApproved {
        /// What the person is told besides; empty for nothing.
        reason: String,
    },
    /// An identity of the person is locked.
    #[error("an identity of the person is locked")]
    IdentityLocked {
        /// What the person is told besides; empty for nothing.
        reason: String,
    },
    /// The identity opens another account.
    #[error("the identity is linked to another account")]
    IdentityTaken,
    /// Somebody else signed in than was asked to.
    #[error("another person signed in than was asked to")]
    AnotherPerson,
    /// The account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The name is somebody's.
    #[error("another account has the name")]
    NameTaken,
    /// A claim is needed and absent.
    #[error("the claim {claim} is missing")]
    MissingClaim {
        /// Which.
        claim: String,
    },
    /// A claim cannot be stored.
    #[error("the claim {claim} cannot be stored")]
    BadClaim {
        /// Which.
        claim: String,
    },
    /// No store belongs to the claim's value.
    #[error("no userstore belongs to the value of the claim {claim}")]
    UnknownStore {
        /// Which.
        claim: String,
    },
    /// The name that the rule gives is no name.
    #[error("the name cannot be used")]
    BadUsername,
    /// The address could be read in two ways.
    #[error("the e-mail address is not well-formed")]
    BadEmail,
    /// The provider does not speak for the address's domain.
    #[error("the identity provider may not speak for the domain of the e-mail address")]
    EmailDomain,
    /// The store refuses the attributes.
    #[error("the attributes do not fit the schema")]
    InvalidAttributes,
    /// There is no such login, or it took this step already.
    #[error("there is no such login, or this step was taken before")]
    NotUnderWay,
    /// There is no such provider.
    #[error("there is no such identity provider")]
    UnknownProvider,
    /// The application takes no passwords.
    #[error("the service provider accepts no local passwords")]
    NoLocalLogin,
    /// Too many wrong passwords in one login.
    #[error("there were too many wrong passwords")]
    TooManyAttempts,
    /// A code must go out by e-mail, and the account has no address that may be trusted.
    #[error("the account has no e-mail address that a code may go to")]
    NoMailAddress,
    /// The mail could not be handed over.
    #[error("the code could not be sent by e-mail")]
    MailUnavailable,
    /// The person or the provider said no.
    #[error("the sign-in was cancelled at the identity provider")]
    Declined,
    /// The provider's answer was no good; why is in the log under the reason.
    #[error("the identity provider's answer is not acceptable: {reason}")]
    BadAnswer {
        /// The word that the log has too.
        reason: &'static str,
    },
    /// The provider does not answer.
    #[error("the identity provider does not answer")]
    ProviderUnavailable,
}

impl Denial {
    /// A stable word for logs, audits and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ProviderNotAllowed => "idp_not_allowed",
            Self::NoAccount => "no_account",
            Self::AccountRemoved => "account_removed",
            Self::ConsentRefused => "consent_refused",
            Self::NotApproved { .. } => "approval_refused",
            Self::IdentityLocked { .. } => "identity_locked",
            Self::IdentityTaken => "identity_taken",
            Self::AnotherPerson => "another_person",
            Self::AccountDisabled => "account_disabled",
            Self::NameTaken => "name_taken",
            Self::MissingClaim { .. } => "claim_missing",
            Self::BadClaim { .. } => "claim_unusable",
            Self::UnknownStore { .. } => "store_unknown",
            Self::BadUsername => "username_unusable",
            Self::BadEmail => "email_malformed",
            Self::EmailDomain => "email_domain",
            Self::InvalidAttributes => "attributes_invalid",
            Self::NotUnderWay => "login_not_under_way",
            Self::UnknownProvider => "idp_unknown",
            Self::NoLocalLogin => "local_login_off",
            Self::TooManyAttempts => "too_many_attempts",
            Self::NoMailAddress => "mail_address_missing",
            Self::MailUnavailable => "mail_unavailable",
            Self::Declined => "idp_declined",
            Self::BadAnswer { reason } => reason,
            Self::ProviderUnavailable => "idp_unavailable",
        }
    }
}
