//! Unguessable random values, and the hashes in which they are stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;

/// 256 random bits from the operating system, as 43 URL-safe characters.
pub fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// Random bytes from the operating system.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has randomness");
    bytes
}

/// Returns the SHA-256 of a random value in hexadecimal, for storage. A value of 256 bits needs neither salt nor
/// stretching.
pub fn fingerprint(value: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, value.as_bytes()).as_ref())
}

/// Compares in constant time.
pub fn equal(one: &str, other: &str) -> bool {
    // Compare digests, so that the lengths are equal for any input.
    let (one, other) = (digest(&SHA256, one.as_bytes()), digest(&SHA256, other.as_bytes()));
    one.as_ref().ct_eq(other.as_ref()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_43_url_safe_characters_and_never_repeat() {
        let tokens: std::collections::HashSet<String> = (0..10_000).map(|_| token()).collect();
        assert_eq!(tokens.len(), 10_000);
        assert!(tokens.iter().all(|token| {
            token.len() == 43
                && token
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }));
    }

    #[test]
    fn a_fingerprint_is_the_sha_256_in_hexadecimal() {
        assert_eq!(
            fingerprint("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn equal_compares_whole_texts() {
        assert!(equal("abc", "abc"));
        assert!(!equal("abc", "ab"));
        assert!(!equal("abc", "abd"));
    }
}
