//! Names that people type: kept as typed, compared in canonical form.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

/// The longest name that is accepted, in characters.
pub const LONGEST: usize = 255;

/// The canonical form in which names are compared: NFKC, case-folded, NFKC again. Idempotent, and the same on every
/// store because it does not depend on a database's collation.
pub fn canonical(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    let normalizer = ComposingNormalizer::new_nfkc();
    let folded = CaseMapper::new().fold_string(&normalizer.normalize(name)).into_owned();
    // Folding can undo the composition, and composing can make a foldable letter: two rounds suffice.
    let again = CaseMapper::new()
        .fold_string(&normalizer.normalize(&folded))
        .into_owned();
    normalizer.normalize(&again).into_owned()
}

/// The number of the canonical form: another one whenever [`canonical`] returns another text for any name, as newer Unicode
/// tables do. What is stored in canonical form is then rebuilt.
pub(crate) const CANONICAL_FORM: u32 = 1;

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has only whitespace.
    #[error("the name is empty")]
    Empty,
    /// Longer than [`LONGEST`].
    #[error("the name is longer than 255 characters")]
    TooLong,
    /// It holds a control, bidirectional or zero-width character.
    #[error("the name has an invisible character")]
    Invisible,
}

/// Checks whether `name` is a valid name: not empty, not too long, every character visible.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.trim().is_empty() {
        return Err(NameError::Empty);
    }
    // Some characters expand to several when folded; an index holds the canonical form.
    if name.chars().count() > LONGEST || canonical(name).chars().count() > 2 * LONGEST {
        return Err(NameError::TooLong);
    }
    if name.chars().any(is_invisible) {
        return Err(NameError::Invisible);
    }
    Ok(())
}

/// Control, bidirectional-control, zero-width and line-separating characters, as ranges with both ends.
const INVISIBLE: [(char, char); 14] = [
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{e0000}', '\u{e0fff}'),
];

fn is_invisible(character: char) -> bool {
    INVISIBLE
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&character))
}

/// Returns a regular expression (ECMA 262, with `u`) that matches a text of visible characters of which at least one is
/// not a blank. With [`LONGEST`] it is equivalent to [`check`], except for names whose canonical form is more than
/// twice that long.
pub(crate) fn pattern() -> String {
    let mut ranges = String::new();
    for (first, last) in INVISIBLE {
        ranges += &escaped(first);
        ranges.push('-');
        ranges += &escaped(last);
    }
    // The blanks that are not invisible.
    let blanks = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000";
    format!("^[^{ranges}]*[^{ranges}{blanks}][^{ranges}]*$")
}

/// Escapes a character for a regular expression. Escapes of more than four digits differ between dialects, so those
/// characters are written literally.
fn escaped(character: char) -> String {
    match u16::try_from(u32::from(character)) {
        Ok(code) => format!("\\u{code:04x}"),
        Err(_) => character.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the form 1.
    const HASH: u64 = 17_122_429_202_085_722_461;

    #[test]
    fn spellings_of_one_name_have_one_canonical_form() {
        for (one, other) in [
            ("Bob", "bob"),
            ("ＢＯＢ", "bob"),
            ("Straße", "STRASSE"),
            ("e\u{301}", "É"),
            ("ΟΔΟΣ", "οδος"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one} {other}");
        }
        assert_ne!(canonical("bob"), canonical("bób"));
    }

    #[test]
    fn names_with_invisible_characters_are_refused() {
        assert_eq!(check("bob\u{200b}"), Err(NameError::Invisible));
        assert_eq!(check("\u{202e}bob"), Err(NameError::Invisible));
        assert_eq!(check("bob\n"), Err(NameError::Invisible));
        assert_eq!(check("  "), Err(NameError::Empty));
        assert_eq!(check(&"x".repeat(256)), Err(NameError::TooLong));
        assert_eq!(check("bob@corp/EU ünal"), Ok(()));
    }

    #[test]
    fn the_canonical_form_has_another_number_when_it_changes() {
        // An FNV-1a hash over the canonical form of every character.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let canonical = canonical(character.encode_utf8(&mut [0; 4]));
            for byte in canonical.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!(
            (CANONICAL_FORM, hash),
            (1, HASH),
            "the canonical form has changed: count CANONICAL_FORM up, so that names and indexes are rebuilt"
        );
    }

    proptest! {
        #[test]
        fn canonical_form_is_idempotent(name in "\\PC{0,12}") {
            let once = canonical(&name);
            prop_assert_eq!(canonical(&once), once);
        }

        #[test]
        fn text_that_matches_the_pattern_is_a_valid_name(
            name in proptest::string::string_regex(pattern().trim_matches(['^', '$'])).expect("a regular expression"),
        ) {
            prop_assert_eq!(check(&name), Ok(()));
        }
    }
}
