//! Time-based one-time passwords (RFC 6238, on RFC 4226). Pure.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, TOTP};

use crate::domain::Timestamp;
use crate::storage::random;

/// Lifetime of a code (RFC 6238 §5.2).
const STEP: Duration = Duration::from_secs(30);
/// Accepted clock drift in steps, in each direction.
const DRIFT: i64 = 1;
const DIGITS: usize = 6;

/// A new seed: 160 bits, as long as the hash (RFC 4226 §4).
pub(crate) fn seed() -> [u8; 20] {
    random::bytes()
}

/// Returns the time step of a code, if it is at most `DRIFT` steps from `now` and later than `last`.
pub(crate) fn step_of(seed: &[u8], code: &str, now: Timestamp, last: i64) -> Option<i64> {
    let present = now.0.div_euclid(i64::try_from(STEP.as_millis()).unwrap_or(i64::MAX));
    let mut found = None;
    // All steps are compared, so that the duration does not reveal which one matched.
    for step in present - DRIFT..=present + DRIFT {
        let is_code = code_at(seed, step).is_some_and(|expected| random::equal(&expected, code));
        if is_code && step > last {
            found = Some(step);
        }
    }
    found
}

/// The code of a step; none before 1970 and for a seed that is too short.
fn code_at(seed: &[u8], step: i64) -> Option<String> {
    let at = u64::try_from(step).ok()?.checked_mul(STEP.as_secs())?;
    let codes = TOTP::new(Algorithm::SHA1, DIGITS, 0, STEP.as_secs(), seed.to_vec()).ok()?;
    Some(codes.generate(at))
}

/// Returns the `otpauth` URI that the QR code holds.
pub(crate) fn uri(seed: &[u8], issuer: &str, account: &str) -> String {
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let (issuer, account) = (encode(issuer), encode(account));
    format!(
        "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}",
        base32(seed)
    )
}

/// Encodes in base 32 without padding (RFC 4648 §6), for people who type the seed instead of scanning it.
pub(crate) fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &[u8] = b"12345678901234567890";

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    #[test]
    fn codes_match_the_test_vectors_of_rfc_6238() {
        // RFC 6238 appendix B, the last six of eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(SEED, code, at(seconds), 0), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_clock_may_be_one_step_off_and_no_more() {
        for (seconds, taken) in [(59 - 60, false), (59 - 30, true), (59 + 30, true), (59 + 61, false)] {
            assert_eq!(step_of(SEED, "287082", at(seconds), -1).is_some(), taken, "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_once_and_only_after_the_last_one() {
        let step = step_of(SEED, "287082", at(59), 0).unwrap();
        assert_eq!(step_of(SEED, "287082", at(59), step), None);
        assert_eq!(step_of(SEED, &code_at(SEED, step - 1).unwrap(), at(59), step), None);
        assert_eq!(
            step_of(SEED, &code_at(SEED, step + 1).unwrap(), at(59), step),
            Some(step + 1)
        );
    }

    #[test]
    fn malformed_codes_are_rejected() {
        for text in ["", "28708", "2870820", " 287082", "２８７０８２", "abcdef"] {
            assert_eq!(step_of(SEED, text, at(59), 0), None, "{text:?}");
        }
    }

    #[test]
    fn a_seed_is_written_as_authenticators_read_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert_eq!(
            uri(SEED, "Vestibule", "bob@x&y"),
            "otpauth://totp/Vestibule:bob%40x%26y?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Vestibule"
        );
    }
}
