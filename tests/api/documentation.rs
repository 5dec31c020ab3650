//! The tables of `docs/scim.md` that are generated from the code, the transcripts and the tests. With `UPDATE_DOCS=1`
//! they are written, otherwise compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use crate::clients;
use crate::sections::SECTIONS;
use crate::support::transcripts;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files that define rules, each as a constant with a one-sentence doc comment.
const RULES: [&str; 3] = [
    "src/scim/normalise/mod.rs",
    "src/domain/path/resolved.rs",
    "src/domain/filter/mod.rs",
];

/// The meaning of the first letter of a rule's name.
const KINDS: [(&str, &str); 4] = [
    ("R", "Rules for bodies and values"),
    ("P", "Rules for PATCH"),
    ("F", "Rules for filters"),
    ("B", "Rules for bulk requests"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// The rules by letter and number: the name and its description.
fn rules() -> BTreeMap<(String, u32), (String, String)> {
    let mut rules = BTreeMap::new();
    for file in RULES {
        let mut about: Vec<String> = Vec::new();
        for line in read(file).lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("/// ") {
                about.push(text.to_owned());
                continue;
            }
            let constant = ["pub const ", "pub(crate) const "]
                .iter()
                .find_map(|start| line.strip_prefix(start));
            let name = constant.and_then(|line| line.split('"').nth(1));
            if let Some((letter, number)) = name.and_then(place_of) {
                let text = about.join(" ").trim_end_matches('.').replace('|', "\\|");
                rules.insert((letter, number), (name.unwrap().to_owned(), text));
            }
            about.clear();
        }
    }
    rules
}

/// `P10-missing-bracket` is the tenth rule of `P`.
fn place_of(name: &str) -> Option<(String, u32)> {
    let (letter, rest) = name.split_at_checked(1)?;
    let (number, _) = rest.split_once('-')?;
    Some((letter.to_owned(), number.parse().ok()?))
}

/// The rules that a client needs, in order, and the number of its steps.
fn needs(name: &str) -> (BTreeSet<(String, u32)>, usize) {
    let (_, lines) = clients::transcript(name);
    let rules = lines
        .iter()
        .flat_map(|line| clients::step(line, &BTreeMap::new()).rules);
    (rules.filter_map(|rule| place_of(&rule)).collect(), lines.len())
}

fn tables_of_rules() -> String {
    let mut needed: BTreeMap<(String, u32), Vec<String>> = BTreeMap::new();
    for name in transcripts() {
        for rule in needs(&name).0 {
            needed.entry(rule).or_default().push(name.clone());
        }
    }
    let rules = rules();
    let mut text = String::new();
    for (letter, title) in KINDS {
        let rows: Vec<_> = rules.iter().filter(|((kind, _), _)| kind == letter).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "{title}.\n\n| rule | what is understood | seen from |\n| --- | --- | --- |\n"
        );
        for (place, (name, about)) in rows {
            let by = needed.get(place).map_or_else(String::new, |by| by.join(", "));
            let _ = writeln!(text, "| `{name}` | {about} | {by} |");
        }
        text.push('\n');
    }
    text
}

fn table_of_clients() -> String {
    let mut text = "| client | behaviour | needed rules | steps |\n| --- | --- | --- | --- |\n".to_owned();
    for name in transcripts() {
        let (client, _) = clients::transcript(&name);
        let (rules, steps) = needs(&name);
        let rules: Vec<String> = rules
            .iter()
            .map(|(letter, number)| format!("{letter}{number}"))
            .collect();
        let rules = if rules.is_empty() {
            "none".to_owned()
        } else {
            rules.join(", ")
        };
        let _ = writeln!(text, "| {} | {} | {rules} | {steps} |", client.name, client.about);
    }
    text.push('\n');
    text
}

fn table_of_sections() -> String {
    let mut text = "| section | subject | supported | tests |\n| --- | --- | --- | --- |\n".to_owned();
    for section in SECTIONS {
        let tests: Vec<String> = section.tests.iter().map(|test| format!("`{test}`")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            section.place,
            section.about,
            section.here,
            tests.join(", ")
        );
    }
    text.push('\n');
    text
}

/// Replaces the content between the markers of a block of the page.
fn with_block(page: &str, name: &str, content: &str) -> String {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no block {name}"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{begin}\n{content}<!-- end -->{after}")
}

#[test]
fn the_page_about_scim_says_what_the_code_does() {
    let page = read("docs/scim.md");
    let mut made = page.clone();
    for (name, content) in [
        ("rules", tables_of_rules()),
        ("clients", table_of_clients()),
        ("sections", table_of_sections()),
    ] {
        made = with_block(&made, name, &content);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(Path::new(ROOT).join("docs/scim.md"), made).unwrap();
        return;
    }
    assert!(page == made, "docs/scim.md is stale: run this test with UPDATE_DOCS=1");
}

#[test]
fn every_rule_that_a_transcript_names_exists() {
    let known: BTreeSet<String> = rules().into_values().map(|(name, _)| name).collect();
    for name in transcripts() {
        for line in clients::transcript(&name).1 {
            let step = clients::step(&line, &BTreeMap::new());
            assert!(step.rules.is_subset(&known), "{name}: {:?}", step.rules);
        }
    }
    assert!(known.len() > 30);
}

#[test]
fn every_section_is_held_by_tests_that_exist() {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        collect(&Path::new(ROOT).join(folder), &mut sources);
    }
    for section in SECTIONS {
        assert!(!section.tests.is_empty(), "{}", section.place);
        for test in section.tests {
            assert!(sources.contains(&format!("fn {test}(")), "{}: {test}", section.place);
        }
    }
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
