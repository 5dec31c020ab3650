//! Text of other parties, as a terminal may show it.

/// Leaves out characters that a terminal would act on, and quotes what has blanks.
pub(super) fn printable(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|character| if is_unfit(character) { '\u{fffd}' } else { character })
        .collect();
    if clean.contains(' ') {
        format!("{clean:?}")
    } else {
        clean
    }
}

/// Whether a terminal would act on a character: control characters, and those that change the direction of text.
fn is_unfit(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(printable("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(printable("two words"), "\"two words\"");
        assert_eq!(printable("ärger"), "ärger");
    }
}
