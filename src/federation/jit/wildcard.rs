//! Patterns with `*`, as group maps and approval rules use them.

/// Whether a name fits a pattern in which each `*` stands for any text.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_star_stands_for_any_text() {
        for (pattern, name, fitting) in [
            ("eng", "eng", true),
            ("eng", "engine", false),
            ("eng-*", "eng-", true),
            ("eng-*", "eng-web", true),
            ("eng-*", "x-eng-web", false),
            ("*-web", "eng-web", true),
            ("e*-*b", "eng-web", true),
            ("e*b*w", "eng-web", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), fitting, "{pattern} {name}");
        }
    }
}
