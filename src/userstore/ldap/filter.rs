//! LDAP search filters (RFC 4515) as trees; values are escaped in one place.

use std::fmt;

use ldap3::ldap_escape;

/// A search filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LdapFilter {
    /// Every entry.
    All,
    /// No entry.
    None,
    /// All of these match.
    And(Vec<LdapFilter>),
    /// At least one of these matches.
    Or(Vec<LdapFilter>),
    /// This does not match.
    Not(Box<LdapFilter>),
    /// The attribute is present.
    Present(String),
    /// The attribute has this value.
    Equal(String, String),
    /// The attribute has this binary value.
    Bytes(String, Vec<u8>),
    /// A value of the attribute starts with the first piece, ends with the last, and has the others in between in this
    /// order. An empty first or last piece matches anything.
    Pieces(String, Vec<String>),
}

impl LdapFilter {
    /// Combines both filters and drops parts without effect.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (Self::None, _) | (_, Self::None) => Self::None,
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// Creates an equality match.
    pub(super) fn equal(attribute: &str, value: &str) -> Self {
        Self::Equal(attribute.to_owned(), value.to_owned())
    }
}

/// Formats the filter. Values are escaped (RFC 4515 §3); attribute names come only from the configuration.
impl fmt::Display for LdapFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |f: &mut fmt::Formatter<'_>, sign: &str, terms: &[LdapFilter]| {
            write!(f, "({sign}")?;
            terms.iter().try_for_each(|term| term.fmt(f))?;
            f.write_str(")")
        };
        match self {
            Self::All => f.write_str("(objectClass=*)"),
            Self::None => f.write_str("(!(objectClass=*))"),
            Self::And(terms) => all(f, "&", terms),
            Self::Or(terms) => all(f, "|", terms),
            Self::Not(inner) => write!(f, "(!{inner})"),
            Self::Present(attribute) => write!(f, "({attribute}=*)"),
            Self::Equal(attribute, value) => write!(f, "({attribute}={})", ldap_escape(value.as_str())),
            Self::Bytes(attribute, bytes) => {
                write!(f, "({attribute}=")?;
                bytes.iter().try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
                f.write_str(")")
            }
            Self::Pieces(attribute, pieces) => {
                let pieces: Vec<_> = pieces.iter().map(|piece| ldap_escape(piece.as_str())).collect();
                write!(f, "({attribute}={})", pieces.join("*"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_stays_a_value() {
        for value in ["*", "*)(uid=*", "admin)(&", "\\2a", "a\0b", ")(", "\\"] {
            let text = LdapFilter::equal("uid", value).to_string();
            assert_eq!(text.matches(['(', ')', '*']).count(), 2, "{text}");
        }
    }

    #[test]
    fn stars_in_values_are_escaped() {
        let filter = LdapFilter::Pieces("cn".into(), vec![String::new(), "a*b".into(), String::new()]);
        assert_eq!(filter.to_string(), "(cn=*a\\2ab*)");
    }

    proptest! {
        #[test]
        fn an_independent_parser_reads_one_comparison(value in "\\PC{0,16}|[()*\\\\&|!=\u{0}]{0,8}") {
            let text = LdapFilter::And(vec![LdapFilter::equal("uid", &value), LdapFilter::All]).to_string();
            prop_assert!(ldap3::parse_filter(&text).is_ok());
            let inner = text.strip_prefix("(&(uid=").unwrap().strip_suffix(")(objectClass=*))").unwrap();
            prop_assert!(!inner.contains(['(', ')', '*', '\0']));
            let plain = ldap3::ldap_unescape(inner).unwrap();
            prop_assert_eq!(plain.as_ref(), value.as_str());
        }
    }
}
