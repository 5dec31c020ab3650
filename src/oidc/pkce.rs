//! Proof Key for Code Exchange (RFC 7636), with the method S256 only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::storage::random;

/// Returns whether a text is a well-formed S256 challenge: a base64url-encoded SHA-256 (§4.2).
pub(super) fn is_challenge(text: &str) -> bool {
    text.len() == 43
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Returns whether the verifier matches the challenge (§4.6). A verifier without a challenge is refused as well: it
/// shows that the challenge was removed from the request.
pub(super) fn holds(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            is_verifier(verifier)
                && random::equal(&URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())), challenge)
        }
        _ => false,
    }
}

/// Returns whether a text has 43 to 128 unreserved characters (§4.1).
fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_rfc_example_holds() {
        assert!(is_challenge(CHALLENGE));
        assert!(holds(Some(CHALLENGE), Some(VERIFIER)));
    }

    #[test]
    fn every_mismatch_fails() {
        assert!(!holds(Some(CHALLENGE), None));
        assert!(!holds(None, Some(VERIFIER)));
        assert!(!holds(Some(CHALLENGE), Some(CHALLENGE)));
        assert!(!holds(Some(VERIFIER), Some(VERIFIER)), "plain");
        assert!(!holds(Some(CHALLENGE), Some("")));
    }

    #[test]
    fn verifiers_have_43_to_128_unreserved_characters() {
        for (length, good) in [(42, false), (43, true), (128, true), (129, false)] {
            let verifier = "a".repeat(length);
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
            assert_eq!(holds(Some(&challenge), Some(&verifier)), good, "{length}");
        }
        let verifier = format!("{}+", "a".repeat(50));
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        assert!(!holds(Some(&challenge), Some(&verifier)));
    }
}
