//! What is known of the kinds of directory servers.

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

/// How an account is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// The attribute has this value.
    Value(&'static str, &'static str),
    /// The attribute, a number, has this bit.
    Bit(&'static str, u32),
}

/// What Active Directory says of an account, in bits.
pub(super) const CONTROL: &str = "userAccountControl";
/// An ordinary account.
pub(super) const NORMAL_ACCOUNT: u32 = 0x200;
/// The account is switched off.
const ACCOUNT_DISABLED: u32 = 0x2;
/// The account needs no password: else one could not be made before it has one.
pub(super) const PASSWORD_NOT_REQUIRED: u32 = 0x20;

impl Flavour {
    /// The attribute by which the server knows an entry, whatever it is renamed to.
    pub(super) fn entry_id(self) -> &'static str {
        match self {
            Self::OpenLdap => "entryUUID",
            Self::Ds389 => "nsUniqueId",
            Self::ActiveDirectory => "objectGUID",
        }
    }

    /// The attributes that together are different after each change of an entry.
    pub(super) fn stamps(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap => &["entryCSN"],
            Self::Ds389 => &["entryusn", "modifyTimestamp"],
            Self::ActiveDirectory => &["uSNChanged"],
        }
    }

    /// Where the server tells how far its changes have come: the base, and how the attributes begin. Read from the
    /// naming context if the base is none.
    pub(super) fn progress(self) -> (Option<&'static str>, &'static str) {
        match self {
            Self::OpenLdap => (None, "contextCSN"),
            Self::Ds389 => (Some(""), "lastusn"),
            Self::ActiveDirectory => (Some(""), "highestCommittedUSN"),
        }
    }

    /// The attribute that names new people's entries.
    pub(super) fn user_rdn(self) -> &'static str {
        match self {
            Self::OpenLdap | Self::Ds389 => "uid",
            Self::ActiveDirectory => "cn",
        }
    }

    /// The object classes of new people's entries; the last tells people from other entries.
    pub(super) fn user_object_classes(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap | Self::Ds389 => &["inetOrgPerson"],
            Self::ActiveDirectory => &["user"],
        }
    }

    /// The object classes of new groups' entries; the last tells groups from other entries.
    pub(super) fn group_object_classes(self) -> &'static [&'static str] {
        match self {
            Self::OpenLdap | Self::Ds389 => &["groupOfNames"],
            Self::ActiveDirectory => &["group"],
        }
    }

    /// What must not be an object class of people although it is below theirs.
    pub(super) fn not_people(self) -> Option<&'static str> {
        (self == Self::ActiveDirectory).then_some("computer")
    }

    /// Whether a group must have a member at all times. The base of the groups stands in for none.
    pub(super) fn groups_need_a_member(self) -> bool {
        self == Self::OpenLdap
    }

    /// How accounts are switched off.
    pub(super) fn switch(self) -> Switch {
        match self {
            // Locked for good, as slapo-ppolicy(5) has it; other values are locks that end by themselves.
            Self::OpenLdap => Switch::Value("pwdAccountLockedTime", "000001010000Z"),
            Self::Ds389 => Switch::Value("nsAccountLock", "true"),
            Self::ActiveDirectory => Switch::Bit(CONTROL, ACCOUNT_DISABLED),
        }
    }

    /// The attribute by which the server locks an account for a time.
    pub(super) fn lock(self) -> &'static str {
        match self {
            Self::OpenLdap => "pwdAccountLockedTime",
            Self::Ds389 => "accountUnlockTime",
            Self::ActiveDirectory => "lockoutTime",
        }
    }

    /// SCIM paths of people and the LDAP attributes that hold them.
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

    /// Attributes that hold one value at most.
    pub(super) fn is_single_valued(self, attribute: &str) -> bool {
        let everywhere = ["displayname", "preferredlanguage", "employeenumber"];
        let attribute = attribute.to_ascii_lowercase();
        self == Self::ActiveDirectory || everywhere.contains(&attribute.as_str())
    }

    /// How many characters an attribute takes at most, where the server's schema says so.
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

/// Attributes that hold ASCII alone (`IA5String`).
pub(super) const ASCII: [&str; 1] = ["mail"];
