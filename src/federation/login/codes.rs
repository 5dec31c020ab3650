//! Codes as people type them, and addresses as pages show them.

use crate::domain::Secret;

/// The longest code that is compared, in characters.
const LONGEST: usize = 64;

/// A code without the spaces and hyphens that people put between its groups, in capitals.
pub(super) fn typed(code: &Secret) -> String {
    normalised(code.expose())
}

/// A code without spaces and hyphens, in capitals.
pub(super) fn normalised(code: &str) -> String {
    code.chars()
        .filter(|character| !character.is_whitespace() && *character != '-')
        .take(LONGEST)
        .map(|character| character.to_ascii_uppercase())
        .collect()
}

/// Masks an address: its owner recognises it, and others do not learn the mailbox.
pub(super) fn masked(address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    let mut characters = local.chars();
    let first = characters.next().filter(|_| characters.next().is_some());
    format!("{}•••@{domain}", first.map_or_else(String::new, String::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_its_first_letter_and_domain() {
        for (address, shown) in [
            ("alice@example.com", "a•••@example.com"),
            ("al@example.com", "a•••@example.com"),
            ("a@example.com", "•••@example.com"),
            ("ünal@example.com", "ü•••@example.com"),
        ] {
            assert_eq!(masked(address), shown);
        }
    }
}
