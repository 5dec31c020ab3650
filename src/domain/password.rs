//! The rules for passwords (NIST SP 800-63B-4 §3.1.1.2): a minimum length and no easily guessed ones. No composition
//! rules.

use serde::{Deserialize, Serialize};

use super::name;

/// The longest password that is accepted, in bytes, so that a request cannot make hashing expensive.
const LONGEST: usize = 1024;

/// The policy for new passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    /// The minimum number of characters.
    pub min_length: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { min_length: 12 }
    }
}

/// The reason why a password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PasswordDefect {
    /// It has too few characters.
    #[error("the password is too short")]
    Short,
    /// It has too many bytes.
    #[error("the password is too long")]
    Long,
    /// It is the user name with few additions.
    #[error("the password holds the user name and little else")]
    Username,
    /// It is one of the first that an attacker would try.
    #[error("the password is easily guessed")]
    Common,
}

impl PasswordPolicy {
    /// Checks whether the user `username` may choose `password`.
    pub fn check(&self, password: &str, username: &str) -> Result<(), PasswordDefect> {
        if password.chars().count() < self.min_length {
            return Err(PasswordDefect::Short);
        }
        if password.len() > LONGEST {
            return Err(PasswordDefect::Long);
        }
        let canonical = name::canonical(password);
        let person = username.split('@').next().unwrap_or_default();
        let parts = [username, person].into_iter().chain(person.split(['.', '-', '_', ' ']));
        let mut own: Vec<String> = parts
            .map(name::canonical)
            .filter(|part| part.chars().count() > 3)
            .collect();
        own.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let without = own.iter().fold(canonical.clone(), |rest, part| rest.replace(part, ""));
        if without != canonical && without.chars().filter(|sign| sign.is_alphabetic()).count() < self.min_length / 2 {
            return Err(PasswordDefect::Username);
        }
        if is_common(&canonical) {
            return Err(PasswordDefect::Common);
        }
        Ok(())
    }
}

/// Words that common passwords are made of. Matched after usual replacements such as `0` for `o`.
const WORDS: &[&str] = &[
    "administrator",
    "password",
    "passwort",
    "passwd",
    "iloveyou",
    "princess",
    "superman",
    "football",
    "baseball",
    "basketball",
    "starwars",
    "sunshine",
    "internet",
    "computer",
    "michelle",
    "liverpool",
    "whatever",
    "trustno",
    "changeme",
    "temporary",
    "default",
    "welcome",
    "letmein",
    "monkey",
    "dragon",
    "master",
    "shadow",
    "qwertyuiop",
    "qwertz",
    "qwerty",
    "asdfghjkl",
    "asdfgh",
    "zxcvbnm",
    "zxcvbn",
    "yxcvbnm",
    "azerty",
    "summer",
    "sommer",
    "winter",
    "spring",
    "autumn",
    "herbst",
    "january",
    "february",
    "october",
    "november",
    "december",
    "company",
    "secret",
    "geheim",
    "login",
    "access",
    "please",
    "freedom",
    "hello",
    "hallo",
    "charlie",
    "jordan",
    "hunter",
    "killer",
    "pepper",
    "batman",
    "admin",
    "guest",
    "root",
    "test",
    "user",
    "pass",
    "love",
    "abcdefghijklmnopqrstuvwxyz",
    "abcdef",
    "abc",
    "aaa",
    "xyz",
    "qwe",
    "asd",
    "and",
    "the",
    "my",
    "is",
];

fn is_common(canonical: &str) -> bool {
    let digits: Vec<u32> = canonical.chars().filter_map(|sign| sign.to_digit(10)).collect();
    if digits.len() == canonical.chars().count() {
        return digits
            .windows(2)
            .all(|pair| (10 + pair[1] - pair[0]) % 10 <= 1 || (10 + pair[0] - pair[1]) % 10 <= 1);
    }
    let signs: std::collections::BTreeSet<char> = canonical.chars().collect();
    if signs.len() < 5 {
        return true;
    }
    let decorated = canonical.trim_matches(|sign: char| !sign.is_alphanumeric());
    let plain: String = decorated
        .chars()
        .map(plain)
        .filter(|sign| sign.is_alphabetic())
        .collect();
    let mut rest = plain.as_str();
    while let Some(word) = WORDS.iter().find(|word| rest.starts_with(**word)) {
        rest = &rest[word.len()..];
    }
    let known = plain.chars().count() - rest.chars().count();
    // One or more known words with only a few other letters; digits and signs do not count.
    known > 3 && rest.chars().count() < 4
}

fn plain(sign: char) -> char {
    match sign {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), PasswordDefect> {
        PasswordPolicy::default().check(password, "alice.martin@example.com")
    }

    #[test]
    fn a_long_phrase_is_accepted() {
        for good in [
            "correct horse battery",
            "x7#kPq!w92Lm",
            "ein Hund kam in die Küche",
            "9f2c7b1e4d8a",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn too_short_and_too_long_passwords_are_refused() {
        assert_eq!(check("x7#kPq!w92L"), Err(PasswordDefect::Short));
        assert_eq!(
            check("üüüüüü"),
            Err(PasswordDefect::Short),
            "characters count, not bytes"
        );
        assert_eq!(check(&"x7#kPq!w92Lm".repeat(100)), Err(PasswordDefect::Long));
        let shorter = PasswordPolicy { min_length: 8 };
        assert_eq!(shorter.check("x7#kPq!w", "alice"), Ok(()));
    }

    #[test]
    fn common_passwords_are_refused() {
        for bad in [
            "Password1234",
            "P@ssw0rd2026",
            "passwordpassword",
            "123456789012",
            "987654321098",
            "111111111111",
            "qwertyuiop12",
            "Welcome2026!!",
            "letmeinletmein",
            "abababababab",
            "Sommer2026!!!",
            "iloveyou1234",
        ] {
            assert_eq!(check(bad), Err(PasswordDefect::Common), "{bad}");
        }
    }

    #[test]
    fn the_user_name_is_refused_in_any_spelling() {
        for bad in [
            "alice.martin@example.com",
            "ALICE.MARTIN1",
            "alicemartin2026",
            "martin-12345!",
        ] {
            assert_eq!(check(bad), Err(PasswordDefect::Username), "{bad}");
        }
        assert_eq!(check("alice keeps seven brown hens"), Ok(()));
    }
}
