//! The codes of an authenticator app (RFC 6238), computed apart from the code under test.

use data_encoding::BASE32_NOPAD;
use ring::hmac;

/// The code of a key in a period of 30 seconds.
pub(crate) fn code(key: &str, period: i64) -> String {
    let seed = BASE32_NOPAD.decode(key.as_bytes()).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &seed);
    let hash = hmac::sign(&key, &period.to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

#[test]
fn the_code_of_the_standard_comes_out() {
    // RFC 6238, appendix B, shortened to six digits.
    assert_eq!(code("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", 1), "287082");
}
