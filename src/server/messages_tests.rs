use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;

fn places(text: &'static str) -> BTreeSet<&'static str> {
    parts(text)
        .filter_map(|part| match part {
            TextPart::Place(name) => Some(name),
            TextPart::Text(_) => None,
        })
        .collect()
}

/// The message keys that occur in the source and the templates.
fn keys_in_use() -> BTreeSet<String> {
    fn collect(folder: &std::path::Path, keys: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, keys);
            } else if path.extension().is_some_and(|found| found == "html" || found == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                for call in ["text(\"", "filled(\"", "phrase(\""] {
                    let found = source.split(call).skip(1).filter_map(|rest| rest.split('"').next());
                    keys.extend(
                        found
                            .filter(|key| key.contains('.') && !key.contains(' '))
                            .map(str::to_owned),
                    );
                }
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut keys = BTreeSet::new();
    collect(&root.join("templates"), &mut keys);
    collect(&root.join("src/server"), &mut keys);
    keys
}

#[test]
fn languages_have_the_same_keys_and_placeholders() {
    let shape = |language| -> BTreeMap<&str, BTreeSet<&str>> {
        texts(language)
            .iter()
            .map(|(key, text)| (key.as_str(), places(text)))
            .collect()
    };
    for language in Language::ALL {
        assert_eq!(shape(language), shape(Language::English), "{language:?}");
    }
}

#[test]
fn every_text_is_translated() {
    let same: Vec<&String> = texts(Language::German)
        .iter()
        .filter(|(key, text)| texts(Language::English).get(*key) == Some(text))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(same, ["way_out.code"]);
}

#[test]
fn every_text_that_a_page_asks_for_is_there() {
    let keys = keys_in_use();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        assert!(texts(Language::English).contains_key(&key), "{key}");
    }
}

#[test]
fn a_value_is_shown_as_text_and_set_apart() {
    let shown = phrase("sign_in.lead", &[("application", "<svg onload=alert(1)>")]).to_string();
    assert_eq!(shown, "to continue to <strong>&#60;svg onload=alert(1)&#62;</strong>");
    assert_eq!(
        filled("sign_in.title", &[("application", "{x} & y")]),
        "Sign in to {x} & y"
    );
}

#[test]
fn every_refusal_has_its_own_message() {
    let general = message("general");
    for code in [
        "invalid_client",
        "invalid_redirect_uri",
        "invalid_request",
        "expired_login",
        "too_many_guesses",
        "cancelled",
        "no_account",
        "account_disabled",
        "account_locked",
        "name_taken",
        "value_taken",
        "not_reauthenticated",
        "email_not_verified",
        "missing_claim",
        "invalid_name",
        "provider_unavailable",
        "provider_error",
        "provider_refused",
        "wrong_browser",
        "unknown_provider",
        "internal",
    ] {
        assert_ne!(message(code), general, "{code}");
    }
}

#[test]
fn an_unknown_code_gets_the_general_message() {
    assert_eq!(message("<svg onload=alert(1)>"), message("general"));
    assert_eq!(message(""), message("general"));
}

#[test]
fn every_message_is_made_of_whole_sentences() {
    for language in Language::ALL {
        let mut titles = HashSet::new();
        let is_title = |key: &str| key.starts_with("error.") && key.rsplit('.').next() == Some("title");
        for (key, title) in texts(language).iter().filter(|(key, _)| is_title(key)) {
            let text = &texts(language)[&key.replace(".title", ".text")];
            assert!(title.chars().next().is_some_and(char::is_uppercase), "{key}");
            assert!(title.chars().count() < 66, "{key}");
            assert!(text.ends_with('.') && text.len() > 30, "{key}");
            assert!(titles.insert(title), "{key}: the title is another's");
        }
    }
}
