//! Security events: what happened to somebody's access, and who did it.

use super::{IdentityProviderName, ResourceId, ServiceProviderName, Timestamp};

/// Defines the kinds of events with their stable codes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kind of a security event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SecurityEventKind {
            $($(#[$doc])* $name,)*
        }

        impl SecurityEventKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable code, in the log, the journal and the metrics.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

kinds! {
    /// A person signed in: a session began.
    Login = "login",
    /// A login or an entry was refused; the reason says why.
    LoginRefused = "login_refused",
    /// A password was wrong, or came while the account was locked.
    PasswordRefused = "password_refused",
    /// A code of a second factor was wrong, or came while it was locked.
    CodeRefused = "code_refused",
    /// Wrong passwords or codes locked an account for a while.
    AccountLocked = "account_locked",
    /// A session ended because the person signed out.
    Logout = "logout",
    /// An application received tokens for a person, or for itself.
    TokenIssued = "token_issued",
    /// An application, or a SCIM client, was refused.
    TokenRefused = "token_refused",
    /// An identity was linked to an account.
    Linked = "linked",
    /// An identity was unlinked from an account.
    Unlinked = "unlinked",
    /// A client that knows the subjects gave an account to another one: every way into it ended.
    SubjectChanged = "subject_changed",
    /// A person agreed to a purpose.
    ConsentGiven = "consent_given",
    /// A person withdrew the consent to a purpose.
    ConsentWithdrawn = "consent_withdrawn",
    /// A password was set or removed.
    PasswordChanged = "password_changed",
    /// An authenticator was set up, its recovery codes were renewed, one was used, or it was removed.
    AuthenticatorChanged = "authenticator_changed",
    /// A first login asked for approval, or an administrator decided about it.
    Approval = "approval",
    /// An administrator did something that concerns the whole system; the reason names it.
    Administration = "administration",
}

impl SecurityEventKind {
    /// Returns the kind with this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.code() == code)
    }
}

/// Where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The id of the request.
    pub request_id: Option<String>,
    /// The network address of the sender, if it is known.
    pub address: Option<String>,
}

/// A security event. It never has a secret, nor a name that somebody typed: people type passwords there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityEvent {
    /// The time.
    pub at: Timestamp,
    /// The kind.
    pub kind: SecurityEventKind,
    /// The account that it is about, if it is known.
    pub user: Option<ResourceId>,
    /// The writer, as provenance names it (`self`, `admin:ann`, `scim:hr`); `None` if nobody has proved who they are.
    pub actor: Option<String>,
    /// The identity provider that it went through.
    pub identity_provider: Option<IdentityProviderName>,
    /// The application or SCIM client that it went through.
    pub service_provider: Option<ServiceProviderName>,
    /// A stable code that says why or what exactly, such as `wrong_password`.
    pub reason: Option<String>,
    /// The thing that it is about, other than the account: a purpose, the id of a token, the subject of an identity.
    pub object: Option<String>,
    /// Where the request came from; empty for commands and jobs.
    pub origin: RequestOrigin,
}

impl SecurityEvent {
    /// An event about nobody yet.
    pub fn new(kind: SecurityEventKind, at: Timestamp) -> Self {
        Self {
            at,
            kind,
            user: None,
            actor: None,
            identity_provider: None,
            service_provider: None,
            reason: None,
            object: None,
            origin: RequestOrigin::default(),
        }
    }

    /// The parts that are known, by name, in the order in which they are shown.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let provider = self.identity_provider.as_ref();
        let application = self.service_provider.as_ref();
        let parts = [
            ("reason", self.reason.as_deref()),
            ("user", self.user.as_ref().map(ResourceId::as_str)),
            ("by", self.actor.as_deref()),
            ("identity_provider", provider.map(IdentityProviderName::as_str)),
            ("service_provider", application.map(ServiceProviderName::as_str)),
            ("object", self.object.as_deref()),
            ("address", self.origin.address.as_deref()),
            ("request_id", self.origin.request_id.as_deref()),
        ];
        let known = parts.into_iter().filter_map(|(name, text)| Some((name, text?)));
        known.filter(|(_, text)| !text.is_empty())
    }
}
