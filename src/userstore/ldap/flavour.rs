//! The differences between kinds of directory servers.

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `OpenLDAP` with `inetOrgPerson` and `groupOfNames`.
    OpenLdap,
    /// 389 Directory Server, also as part of `FreeIPA` and Red Hat Directory Server.
    Ds389,
    /// Active Directory and Samba.
    ActiveDirectory,
}

/// The way in which an account is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DisableRule {
    /// The attribute with this value.
    Value(&'static str, &'static str),
    /// A bit in this numeric attribute.
    Bit(&'static str, u32),
}

/// The account flags of Active Directory.
pub(super) const CONTROL: &str = "userAccountControl";
/// An ordinary account.
pub(super) const NORMAL_ACCOUNT: u32 = 0x200;
/// The account is disabled.
const ACCOUNT_DISABLED: u32 = 0x2;
/// The account needs no password, so that it can be created before it has one.
pub(super) const PASSWORD_NOT_REQUIRED: u32 = 0x20;

impl Flavour {
    /// The attribute with the server's permanent id of an entry, which survives renames.
    pub(super) fn entry_id(self) -> &'static str {
        match self {
            Self::OpenLdap => "entryUUID",
            Self::Ds389 => "nsUniqueId",
            Self::ActiveDirectory => "objectGUID",
        }
    }

    /// The attributes that together form the entry version: they differ after each change of an entry.
    pub(super) fn version_attributes(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap => &["entryCSN"],
            Self::Ds389 => &["entryusn", "modifyTimestamp"],
            Self::ActiveDirectory => &["uSNChanged"],
        }
    }

    /// The base and the attribute prefix of the server's change counter. Without a base, it is read from the naming
    /// context.
    pub(super) fn progress(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::OpenLdap => (None, "contextCSN"),
            Self::Ds389 => (Some(""), "lastusn"),
            Self::ActiveDirectory => (Some(""), "highestCommittedUSN"),
        }
    }

    /// The naming attribute of new user entries.
    pub(super) fn user_rdn(self) -> &'static str {
        match self {
            Self::OpenLdap | Self::Ds389 => "uid",
            Self::ActiveDirectory => "cn",
        }
    }

    /// The object classes of new user entries; the last distinguishes users from other entries.
    pub(super) fn user_object_classes(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap | Self::Ds389 => &["inetOrgPerson"],
            Self::ActiveDirectory => &["user"],
        }
    }

    /// The object classes of new group entries; the last distinguishes groups from other entries.
    pub(super) fn group_object_classes(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap | Self::Ds389 => &["groupOfNames"],
            Self::ActiveDirectory => &["group"],
        }
    }

    /// An object class derived from that of users whose entries are not users.
    pub(super) fn not_people(self) -> Option<&'static str> {
        (self == Self::ActiveDirectory).then_some("computer")
    }

    /// Whether a group must always have a member. The DN of the group base stands in for an empty list.
    pub(super) fn groups_need_a_member(self) -> bool {
        self == Self::OpenLdap
    }

    /// The way in which accounts are disabled.
    pub(super) fn switch(self) -> DisableRule {
        match self {
            // This value locks permanently (slapo-ppolicy(5)); other values are temporary locks.
            Self::OpenLdap => DisableRule::Value("pwdAccountLockedTime", "000001010000Z"),
            Self::Ds389 => DisableRule::Value("nsAccountLock", "true"),
            Self::ActiveDirectory => DisableRule::Bit(CONTROL, ACCOUNT_DISABLED),
        }
    }

    /// The attribute with which the server locks an account temporarily.
    pub(super) fn lock(self) -> &'static str {
        match self {
            Self::OpenLdap => "pwdAccountLockedTime",
            Self::Ds389 => "accountUnlockTime",
            Self::ActiveDirectory => "lockoutTime",
        }
    }

    /// SCIM paths of users and the LDAP attributes that hold them.
    pub(super) fn user_attributes(self) -> Vec<(&'static str, &'static str)> {
        let mut attributes = vec![
            ("name.givenName", "givenName"),
            ("name.familyName", "sn"),
            ("displayName", "displayName"),
            ("title", "title"),
            ("emails", "mail"),
            ("phoneNumbers[type eq \"work\"].value", "telephoneNumber"),
            ("phoneNumbers[type eq \"mobile\"].value", "mobile"),
            ("phoneNumbers[type eq \"fax\"].value", "facsimileTelephoneNumber"),
            ("preferredLanguage", "preferredLanguage"),
            (EMPLOYEE_NUMBER, "employeeNumber"),
        ];
        attributes.extend(match self {
            Self::OpenLdap | Self::Ds389 => [
                ("userName", "uid"),
                ("name.formatted", "cn"),
                ("userType", "employeeType"),
                (DEPARTMENT, "departmentNumber"),
                (ORGANIZATION, "o"),
            ],
            Self::ActiveDirectory => [
                ("userName", "sAMAccountName"),
                ("userType", "employeeType"),
                (DEPARTMENT, "department"),
                (ORGANIZATION, "company"),
                (DIVISION, "division"),
            ],
        });
        attributes
    }

    /// SCIM paths of groups and the LDAP attributes that hold them.
    pub(super) fn group_attributes(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::OpenLdap | Self::Ds389 => vec![("displayName", "cn")],
            Self::ActiveDirectory => vec![("displayName", "sAMAccountName")],
        }
    }

    /// Whether an attribute holds at most one value.
    pub(super) fn is_single_valued(self, attribute: &str) -> bool {
        let everywhere = ["displayname", "preferredlanguage", "employeenumber"];
        let attribute = attribute.to_ascii_lowercase();
        self == Self::ActiveDirectory || everywhere.contains(&attribute.as_str())
    }

    /// The maximum length of an attribute in characters, where the server's schema limits it.
    pub(super) fn longest(self, attribute: &str) -> usize {
        let is_ad = self == Self::ActiveDirectory;
        match attribute.to_ascii_lowercase().as_str() {
            "givenname"
            | "sn"
            | "department"
            | "company"
            | "telephonenumber"
            | "mobile"
            | "facsimiletelephonenumber"
                if is_ad =>
            {
                64
            }
            "title" if is_ad => 128,
            "mail" | "displayname" | "employeetype" | "division" if is_ad => 256,
            "employeenumber" if is_ad => 512,
            _ => usize::MAX,
        }
    }
}

const EMPLOYEE_NUMBER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber";
const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const ORGANIZATION: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:organization";
const DIVISION: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:division";

/// Attributes that hold only ASCII (`IA5String`).
pub(super) const ASCII: [&str; 1] = ["mail"];
