//! One newtype per name or identifier, so that they cannot be mixed up.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// Wraps a text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Cow::Owned(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }
    };
}

text_newtype!(
    /// The `id` of a resource (RFC 7643 §3.1): assigned by this server, opaque, unique across stores, never reused.
    ResourceId
);
text_newtype!(
    /// The name of a userstore, such as `PRIMARY`.
    StoreName
);
text_newtype!(
    /// The name of a service provider: an application that sends its users here and syncs through SCIM.
    ServiceProviderName
);
text_newtype!(
    /// The name under which an identity provider is configured.
    IdentityProviderName
);
text_newtype!(
    /// The name of a downstream target.
    TargetName
);
text_newtype!(
    /// The name of a resource type, such as `User` (RFC 7643 §6). Types are data: see [`super::schema`].
    Kind
);

impl ResourceId {
    /// The most characters of an id and of a reference to one, such as the `value` of a member. It fits every key and
    /// index that holds ids, several of them together included.
    pub const LONGEST: usize = 256;

    /// Whether this text can be stored as an id or as a reference to one.
    pub fn is_storable(&self) -> bool {
        (1..=Self::LONGEST).contains(&self.0.chars().count()) && !self.0.contains('\0')
    }
}

impl Kind {
    /// The resource type `User`.
    pub const USER: Self = Self(Cow::Borrowed("User"));
    /// The resource type `Group`.
    pub const GROUP: Self = Self(Cow::Borrowed("Group"));
}

impl StoreName {
    /// The store that exists in every installation.
    pub const PRIMARY: Self = Self(Cow::Borrowed("PRIMARY"));
}

impl ServiceProviderName {
    /// Stands for changes that no service provider initiated: the console, the command line, self-service, jobs.
    pub const RESIDENT: Self = Self(Cow::Borrowed("resident"));
}

/// Counts the states of one resource, from 1. Shown to clients as a weak `ETag` (RFC 7644 §3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

impl Version {
    /// The version of a resource that was just created.
    pub const FIRST: Self = Self(1);

    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    /// The entity tag, `W/"3"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{}\"", self.0)
    }
}
