//! E-mail addresses, as far as a rule depends on them.

use icu_normalizer::ComposingNormalizer;

/// The longest address that is accepted, in bytes (RFC 5321 §4.5.3.1.3, without the angle brackets).
const LONGEST: usize = 254;

/// An address that means the same to every program that reads it: one `@`, no quoting, no separators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Email<'a> {
    local: &'a str,
    domain: &'a str,
}

impl<'a> Email<'a> {
    /// Reads an address; `None` if programs could disagree about it.
    ///
    /// Quoted local parts, comments, several `@`, and characters that become special when normalised (`＠`) are refused:
    /// valid or not, they are how one mailbox is made to look like another's.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let unchanged = ComposingNormalizer::new_nfkc().normalize(local) == local;
        let plain = local.chars().all(is_plain) && !local.is_empty() && local.len() <= 64;
        (text.len() <= LONGEST && unchanged && plain && is_domain(domain)).then_some(Self { local, domain })
    }

    /// Whether the address belongs to exactly this domain, not to one below it.
    pub(crate) fn is_at(&self, domain: &str) -> bool {
        self.domain.eq_ignore_ascii_case(domain)
    }

    /// The mailbox in canonical form: the domain in lower case.
    pub(crate) fn mailbox(&self) -> String {
        format!("{}@{}", self.local, self.domain.to_ascii_lowercase())
    }

    /// Whether both are the same mailbox for linking accounts: the domain in any case, the local part exactly.
    pub(crate) fn same_mailbox(&self, other: &Self) -> bool {
        self.mailbox() == other.mailbox()
    }
}

fn is_plain(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
    } else {
        character.is_alphanumeric()
    }
}

/// Letters, digits and hyphens in labels of 1 to 63 (RFC 1035 §2.3.1); other scripts come as `xn--`.
fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken() {
        for text in [
            "alice@example.com",
            "a.b+tag@corp.example",
            "o'neil@example.com",
            "ünal@example.com",
            "a@xn--bcher-kva.example",
        ] {
            assert!(Email::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn addresses_that_programs_read_differently_are_refused() {
        let bad = [
            "",
            "alice",
            "@example.com",
            "alice@",
            "a@evil@corp.example",
            "\"a@evil \"@corp.example",
            "a＠evil@corp.example",
            "a﹫evil@corp.example",
            "a\0@corp.example",
            "a\r\n@corp.example",
            "a,b@corp.example",
            "<a@corp.example>",
            "a b@corp.example",
            "a@corp.example ",
            "a@corp..example",
            "a@-corp.example",
            "a@cörp.example",
            "a;b@corp.example",
            "a(b)@corp.example",
            "a@corp.example\u{200b}",
            "a\u{202e}@corp.example",
        ];
        for text in bad {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
        assert_eq!(Email::parse(&format!("{}@example.com", "x".repeat(65))), None);
    }

    #[test]
    fn a_domain_is_matched_whole() {
        assert!(Email::parse("a@Corp.Example").unwrap().is_at("corp.example"));
        for text in [
            "a@corp.example.evil",
            "a@xcorp.example",
            "a@sub.corp.example",
            "a@xn--crp-sna.example",
        ] {
            assert!(!Email::parse(text).unwrap().is_at("corp.example"), "{text}");
        }
    }

    #[test]
    fn mailboxes_differ_by_the_case_of_the_local_part() {
        let mailbox = |text| Email::parse(text).unwrap();
        assert!(mailbox("a@example.com").same_mailbox(&mailbox("a@EXAMPLE.com")));
        assert!(!mailbox("a@example.com").same_mailbox(&mailbox("A@example.com")));
    }
}
