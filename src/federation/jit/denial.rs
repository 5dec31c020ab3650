//! Reasons to refuse a login.

/// A reason to refuse a login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The application does not accept this identity provider.
    #[error("the service provider does not accept this identity provider")]
    ProviderNotAllowed,
    /// There is no account, and none is created.
    #[error("there is no account, and none is created")]
    NoAccount,
    /// The account was removed, and the policy does not create another.
    #[error("the account was removed")]
    AccountRemoved,
    /// The person refused consent.
    #[error("the person refused consent")]
    ConsentRefused,
    /// The request for approval was refused.
    #[error("the request for approval was refused")]
    NotApproved {
        /// An additional message for the person; empty if there is none.
        reason: String,
    },
    /// An identity of the person is locked.
    #[error("an identity of the person is locked")]
    IdentityLocked {
        /// An additional message for the person; empty if there is none.
        reason: String,
    },
    /// The identity is linked to another account.
    #[error("the identity is linked to another account")]
    IdentityTaken,
    /// Another user signed in than the one that the request names.
    #[error("another user signed in than the request names")]
    AnotherPerson,
    /// The account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The application accepts people of another userstore.
    #[error("the application accepts people of another userstore")]
    OtherStore,
    /// The application wants a recent proof, and the identity provider does not say when the person proved who they are.
    #[error("the identity provider does not say when the person proved who they are")]
    NotReauthenticated,
    /// A trusted SCIM client keeps several accounts for the subject.
    #[error("a SCIM client keeps several accounts under this subject")]
    SeveralAccounts,
    /// Another account has the user name.
    #[error("another account has the user name")]
    NameTaken,
    /// Another account has a value that must be unique.
    #[error("another account has the same {attribute}")]
    ValueTaken {
        /// The attribute.
        attribute: String,
    },
    /// A required claim is missing.
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
    /// No userstore is configured for the claim's value.
    #[error("no userstore belongs to the value of the claim {claim}")]
    UnknownStore {
        /// Which.
        claim: String,
    },
    /// The user name by the rule is not valid.
    #[error("the user name is not valid")]
    BadUsername,
    /// The e-mail address is malformed or ambiguous.
    #[error("the e-mail address is not well-formed")]
    BadEmail,
    /// The provider is not trusted for the domain of the e-mail address.
    #[error("the identity provider is not trusted for the domain of the e-mail address")]
    EmailDomain,
    /// The attributes do not fit the schema.
    #[error("the attributes do not fit the schema")]
    InvalidAttributes,
    /// The account of the person changed while the login waited for them.
    #[error("the account changed while the login waited")]
    AccountChanged,
    /// There is no such login, or it has taken this step already.
    #[error("there is no such login, or this step was taken before")]
    NotUnderWay,
    /// There is no such provider.
    #[error("there is no such identity provider")]
    UnknownProvider,
    /// The application accepts no local passwords.
    #[error("the service provider accepts no local passwords")]
    NoLocalLogin,
    /// Too many wrong passwords in one login.
    #[error("there were too many wrong passwords")]
    TooManyAttempts,
    /// A code must be sent by e-mail, and the account has no trusted address.
    #[error("the account has no e-mail address that a code may go to")]
    NoMailAddress,
    /// The mail could not be sent.
    #[error("the code could not be sent by e-mail")]
    MailUnavailable,
    /// The person or the provider refused (`access_denied`).
    #[error("the sign-in was cancelled at the identity provider")]
    Declined,
    /// The provider's answer is not acceptable; the log has the cause under the reason.
    #[error("the identity provider's answer is not acceptable: {reason}")]
    BadAnswer {
        /// The code that the log has too.
        reason: &'static str,
    },
    /// The provider does not answer.
    #[error("the identity provider does not answer")]
    ProviderUnavailable,
}

impl Denial {
    /// Returns a stable code for logs, audits and tests.
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
            Self::OtherStore => "store_not_accepted",
            Self::NotReauthenticated => "not_reauthenticated",
            Self::SeveralAccounts => "several_accounts",
            Self::NameTaken => "name_taken",
            Self::ValueTaken { .. } => "value_taken",
            Self::MissingClaim { .. } => "missing_claim",
            Self::BadClaim { .. } => "claim_unusable",
            Self::UnknownStore { .. } => "store_unknown",
            Self::BadUsername => "invalid_name",
            Self::BadEmail => "email_malformed",
            Self::EmailDomain => "email_domain",
            Self::InvalidAttributes => "attributes_invalid",
            Self::AccountChanged => "account_changed",
            Self::NotUnderWay => "expired_login",
            Self::UnknownProvider => "unknown_provider",
            Self::NoLocalLogin => "local_login_off",
            Self::TooManyAttempts => "too_many_attempts",
            Self::NoMailAddress => "no_mail_address",
            Self::MailUnavailable => "mail_unavailable",
            Self::Declined => "provider_refused",
            Self::BadAnswer { reason } => reason,
            Self::ProviderUnavailable => "provider_unavailable",
        }
    }
}
