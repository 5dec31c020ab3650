//! Distinguished names (RFC 4514): parsing, comparison and escaping.

use ldap3::dn_escape;

use crate::domain::name::canonical;
use crate::storage::random;

/// A distinguished name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dn(String);

impl Dn {
    /// Creates a name from a text of the server or the configuration.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is a valid distinguished name.
    pub(crate) fn is_well_formed(&self) -> bool {
        parts(&self.0).is_some()
    }

    /// The name as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name directly below this one. The value is escaped, so it always remains one value.
    pub(super) fn child(&self, attribute: &str, value: &str) -> Self {
        Self(format!("{},{}", rdn(attribute, value), self.0))
    }

    /// The normalized form for comparisons, as it is stored: a very long one by its beginning and its fingerprint. `None` if
    /// it is not a valid distinguished name.
    pub(super) fn key(&self) -> Option<String> {
        self.normalized().map(capped)
    }

    /// Like [`Dn::key`]; a name that is not valid stands for itself.
    pub(super) fn stored_key(&self) -> String {
        capped(self.normalized().unwrap_or_else(|| self.0.to_lowercase()))
    }

    fn normalized(&self) -> Option<String> {
        let parts = parts(&self.0)?;
        let keys = parts.iter().map(|values| {
            let mut values: Vec<String> = values
                .iter()
                .map(|(attribute, value)| {
                    let value = canonical(value)
                        .replace('\\', "\\5c")
                        .replace(',', "\\2c")
                        .replace('+', "\\2b");
                    format!("{}={value}", attribute.to_ascii_lowercase())
                })
                .collect();
            values.sort();
            values.join("+")
        });
        Some(keys.collect::<Vec<_>>().join(","))
    }

    /// Whether it equals the base or is below it.
    pub(super) fn is_within(&self, base: &Self) -> bool {
        match (self.normalized(), base.normalized()) {
            (Some(key), Some(base)) => key == base || key.strip_suffix(&base).is_some_and(|rest| rest.ends_with(',')),
            _ => false,
        }
    }

    /// The attribute and value of the leaf RDN; `None` for the root.
    pub(super) fn leaf(&self) -> Option<(String, String)> {
        parts(&self.0)?.into_iter().next()?.into_iter().next()
    }
}

impl std::fmt::Display for Dn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Formats a relative distinguished name.
pub(super) fn rdn(attribute: &str, value: &str) -> String {
    format!("{attribute}={}", dn_escape(value))
}

/// Parses the RDNs from the leaf up, each with its attributes and unescaped values; `None` if it is not a valid DN.
fn parts(text: &str) -> Option<Vec<Vec<(String, String)>>> {
    let mut parts = Vec::new();
    if text.trim().is_empty() {
        return Some(parts);
    }
    let mut rest = text;
    loop {
        let mut values = Vec::new();
        loop {
            let (attribute, after) = rest.split_once('=')?;
            let attribute = attribute.trim();
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_');
            if attribute.is_empty() || !attribute.chars().all(is_name) {
                return None;
            }
            let (value, end) = value(after)?;
            values.push((attribute.to_owned(), value));
            rest = &after[end..];
            match rest.strip_prefix('+') {
                Some(more) => rest = more,
                None => break,
            }
        }
        parts.push(values);
        match rest.strip_prefix([',', ';']) {
            Some(more) => rest = more,
            None if rest.is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// Parses a value and returns the position after it.
fn value(text: &str) -> Option<(String, usize)> {
    let (mut bytes, mut chars) = (Vec::new(), text.char_indices().peekable());
    // Blanks around a value are insignificant, unless they are escaped.
    let mut kept = 0;
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | '+' | ';' => {
                bytes.truncate(kept);
                return Some((String::from_utf8_lossy(&bytes).into_owned(), at));
            }
            '\\' => {
                let (_, next) = chars.next()?;
                match (next.to_digit(16), chars.peek().and_then(|(_, low)| low.to_digit(16))) {
                    (Some(high), Some(low)) => {
                        chars.next();
                        bytes.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    _ => bytes.extend(next.encode_utf8(&mut [0; 4]).as_bytes()),
                }
                kept = bytes.len();
            }
            ' ' if bytes.is_empty() => {}
            plain => {
                bytes.extend(plain.encode_utf8(&mut [0; 4]).as_bytes());
                if plain != ' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    Some((String::from_utf8_lossy(&bytes).into_owned(), text.len()))
}

/// The most bytes of a key that are stored; a database's index entries are limited.
const LONGEST_KEY: usize = 1000;

fn capped(key: String) -> String {
    if key.len() <= LONGEST_KEY {
        return key;
    }
    let end = key.floor_char_boundary(LONGEST_KEY / 2);
    format!("{}#{}", &key[..end], random::fingerprint(&key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Option<String> {
        Dn::new(text).key()
    }

    #[test]
    fn names_compare_whatever_their_case_and_blanks() {
        let plain = key("uid=alice,ou=people,dc=example,dc=com");
        assert!(plain.is_some());
        assert_eq!(key("UID=Alice , OU=People, dc=EXAMPLE,dc=com"), plain);
        assert_ne!(key("uid=alicia,ou=people,dc=example,dc=com"), plain);
    }

    #[test]
    fn an_escaped_comma_is_part_of_a_value() {
        assert_eq!(key("cn=Lee\\, Bruce,dc=x"), key("cn=Lee\\2C Bruce,dc=x"));
        assert_ne!(key("cn=Lee\\, o=Bruce,dc=x"), key("cn=Lee,o=Bruce,dc=x"));
    }

    #[test]
    fn an_invalid_name_has_no_key() {
        for text in ["alice", "=x", "uid=a,,dc=x", "uid=a\\", "u*d=a"] {
            assert_eq!(key(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_is_below_a_base_is_within_it() {
        let base = Dn::new("ou=people,dc=x");
        for (text, within) in [
            ("uid=a,OU=People,dc=x", true),
            ("ou=people,dc=x", true),
            ("uid=a,ou=morepeople,dc=x", false),
            ("uid=a\\,ou=people,dc=x", false),
            ("dc=x", false),
        ] {
            assert_eq!(Dn::new(text).is_within(&base), within, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_value_becomes_one_part_and_comes_back(value in "\\PC{0,12}|[ #,+=\\\\\"<>;\u{0}a]{0,8}") {
            let base = Dn::new("ou=people,dc=example,dc=com");
            let child = base.child("uid", &value);
            let parts = parts(child.as_str()).unwrap();
            prop_assert_eq!(parts.len(), 4);
            prop_assert_eq!(&parts[0], &vec![("uid".to_owned(), value)]);
            prop_assert!(child.is_within(&base));
        }
    }
}
