//! Checks in the source which room may use which. The table of rooms is in `ARCHITECTURE.md`.

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use imports::is_test;

/// Each room and the other rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("gate", &[]),
    ("storage", &["domain"]),
    ("audit", &["domain", "gate", "storage"]),
    ("http_client", &["domain"]),
    ("mail", &["domain", "storage"]),
    ("jose", &["domain"]),
    ("userstore", &["domain", "gate", "audit"]),
    ("directory", &["domain", "userstore", "storage"]),
    ("scim", &["domain", "directory", "storage", "audit"]),
    (
        "federation",
        &["domain", "directory", "gate", "storage", "http_client", "mail", "audit"],
    ),
    (
        "oidc",
        &["domain", "directory", "gate", "storage", "http_client", "jose", "audit"],
    ),
    ("provisioning", &["domain", "directory", "storage", "http_client"]),
    (
        "operations",
        &[
            "domain",
            "directory",
            "storage",
            "scim",
            "oidc",
            "provisioning",
            "federation",
            "audit",
        ],
    ),
    (
        "server",
        &[
            "app",
            "operations",
            "domain",
            "directory",
            "storage",
            "scim",
            "federation",
            "oidc",
            "provisioning",
            "mail",
            "audit",
        ],
    ),
    ("app", EVERYTHING),
    ("config", EVERYTHING),
    ("cli", EVERYTHING),
    ("demo", EVERYTHING),
    ("main", EVERYTHING),
    ("lib", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "app",
    "audit",
    "cli",
    "config",
    "demo",
    "directory",
    "domain",
    "federation",
    "http_client",
    "jose",
    "mail",
    "oidc",
    "operations",
    "provisioning",
    "scim",
    "server",
    "storage",
    "userstore",
];

/// The types of `userstore` that every area may use: errors and password verdicts, but no store itself.
const ANSWERS: &[&str] = &["StoreError", "PasswordCheck"];

/// The places where crates that shape the architecture may be used.
const CRATES: &[(&str, &[&str])] = &[
    ("diesel", &["src/storage/", "src/userstore/sql/"]),
    ("diesel_migrations", &["src/storage/"]),
    ("actix_web", &["src/server/", "src/demo/", "src/cli/"]),
    ("lettre", &["src/mail/"]),
    ("reqwest", &["src/http_client/", "src/demo/", "src/cli/health.rs"]),
    ("ldap3", &["src/userstore/ldap/"]),
];

/// The crates that `domain` may use.
const PURE: &[&str] = &[
    "chrono",
    "icu_casemap",
    "icu_normalizer",
    "proptest",
    "scim_v2",
    "serde",
    "serde_json",
    "thiserror",
];

/// The comments between which the code map of `ARCHITECTURE.md` stands.
const MAP_BEGINS: &str = "<!-- begin code map -->\n";
const MAP_ENDS: &str = "<!-- end code map -->";

/// The longest name of a test, in characters.
const LONGEST_TEST_NAME: usize = 60;

/// The maximum length of a file, in lines.
const LONGEST: usize = 500;

#[test]
fn rooms_name_only_what_the_table_allows() {
    let crates = dependencies();
    let offences: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| {
            offences(path, text, &crates)
                .into_iter()
                .map(move |(line, what)| format!("{path}:{line}: {what}"))
        })
        .collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn a_planted_import_is_found() {
    let crates: BTreeSet<String> = ["diesel", "actix_web", "url"].map(str::to_owned).into();
    let found = |path: &str, text: &str| -> Vec<usize> {
        let found = offences(path, text, &crates);
        found.into_iter().map(|(line, _)| line).collect()
    };
    assert_eq!(
        found("src/scim/mod.rs", "use std::fmt;\nuse crate::oidc::Client;\n"),
        [2]
    );
    assert_eq!(found("src/scim/list.rs", "fn f() { crate::server::serve(); }"), [1]);
    assert_eq!(found("src/scim/list.rs", "use super::super::server::serve;"), [1]);
    assert_eq!(found("src/scim/list.rs", "use crate::{server, oidc};"), [1]);
    assert_eq!(
        found("src/oidc/mod.rs", "use crate::userstore::sql::SqlUserstore;"),
        [1]
    );
    assert_eq!(
        found("src/oidc/mod.rs", "use crate::userstore::{StoreError, Userstore};"),
        [1]
    );
    assert_eq!(found("src/federation/mod.rs", "use diesel::prelude::*;"), [1]);
    assert_eq!(
        found("src/provisioning/mod.rs", "let server = actix_web::App::new();"),
        [1]
    );
    assert_eq!(
        found("src/domain/mod.rs", "use crate::storage::Database;\nuse url::Url;"),
        [1, 2]
    );
    assert_eq!(found("src/userstore/memory.rs", "use crate::storage::random;"), [1]);
    assert_eq!(found("src/newroom/mod.rs", ""), [1]);
}

#[test]
fn allowed_imports_are_no_offence() {
    let crates: BTreeSet<String> = ["diesel", "actix_web", "url"].map(str::to_owned).into();
    for (path, text) in [
        (
            "src/scim/mod.rs",
            "//! See [`crate::server::scim`].\nuse crate::domain::Kind;",
        ),
        ("src/scim/error.rs", "use crate::userstore::StoreError;"),
        (
            "src/oidc/login.rs",
            "use crate::userstore::{PasswordCheck, StoreError};",
        ),
        (
            "src/userstore/sql/row.rs",
            "use crate::storage::tables;\nuse diesel::prelude::*;",
        ),
        ("src/server/scim.rs", "use crate::scim::Scim;\nuse actix_web::web;"),
        ("src/app.rs", "use crate::userstore::sql::SqlUserstore;"),
        (
            "src/provisioning/mod.rs",
            "use super::provisioning::scim;\nlet url = url::Url::parse;",
        ),
    ] {
        assert_eq!(offences(path, text, &crates), [], "{path}: {text}");
    }
}

#[test]
fn no_file_is_too_long_or_vaguely_named() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{path}: {lines} lines; at most {LONGEST}"));
        }
        for (at, line) in text.lines().enumerate() {
            if let Some(name) = declared(line).filter(|name| is_drawer(name)) {
                wrong.push(format!("{path}:{}: {name} is too vague a name", at + 1));
            }
        }
        let stem = Path::new(&path).file_stem().unwrap().to_str().unwrap();
        if is_drawer(stem) {
            wrong.push(format!("{path}: its name is too vague"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_code_map_holds_every_file_with_its_first_sentence() {
    let path = root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(MAP_BEGINS).unwrap();
    let (map, tail) = rest.split_once(MAP_ENDS).unwrap();
    let expected = code_map(&sources());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{MAP_BEGINS}{expected}{MAP_ENDS}{tail}")).unwrap();
        return;
    }
    assert!(
        map == expected,
        "the code map is stale: UPDATE_DOCS=1 cargo test --test it architecture writes it"
    );
}

#[test]
fn names_outside_the_code_map_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (head, rest) = text.split_once(MAP_BEGINS).unwrap();
    let prose = format!("{head}{}", rest.split_once(MAP_ENDS).unwrap().1);
    let files: Vec<String> = sources().into_iter().map(|(path, _)| path).collect();
    let missing: Vec<&str> = prose
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "rs") && !name.contains('*'))
        .filter(|name| !root().join(name).exists() && !files.iter().any(|file| file.ends_with(&format!("/{name}"))))
        .collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names what is not there: {}",
        missing.join(", ")
    );
}

#[test]
fn every_page_of_the_docs_is_linked() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let contributing = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let pages = std::fs::read_dir(root().join("docs")).unwrap();
    let names = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    for name in names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md")) {
        let link = format!("docs/{name}");
        assert!(readme.contains(&link), "README.md does not link {link}");
        assert!(contributing.contains(&link), "CONTRIBUTING.md does not link {link}");
    }
}

#[test]
fn test_names_are_short_claims() {
    let mut long = Vec::new();
    for (path, text) in sources_below(&["src", "tests"]) {
        let mut is_test = false;
        for line in text.lines() {
            is_test |= line.trim_start().starts_with("#[test]") || line.contains("_web::test]");
            if let Some(name) = line.trim_start().split("fn ").nth(1).filter(|_| is_test) {
                let name = name.split('(').next().unwrap();
                if name.len() > LONGEST_TEST_NAME {
                    long.push(format!("{path}: {name} ({})", name.len()));
                }
                is_test = false;
            }
        }
    }
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

#[test]
fn comments_state_their_subject_first() {
    let (mut lines, mut riddles) = (0, Vec::new());
    for (path, text) in sources_below(&["src", "tests"]) {
        for (at, line) in text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                continue;
            };
            lines += 1;
            let first = comment
                .trim_start_matches(['/', '!'])
                .split_whitespace()
                .next()
                .unwrap_or_default();
            if ["What", "Who", "Whom", "Whose", "Nobody", "Whoever"].contains(&first) {
                riddles.push(format!("{path}:{}", at + 1));
            }
        }
    }
    assert!(
        riddles.len() * 100 < lines,
        "{} of {lines}:\n{}",
        riddles.len(),
        riddles.join("\n")
    );
}

#[test]
fn every_operation_checks_a_right() {
    let mut unchecked = Vec::new();
    for (path, text) in sources_below(&["src/operations"]) {
        for function in text.split("\npub").skip(1).filter(|item| item.contains("fn ")) {
            let (head, body) = function.split_once("{\n").unwrap_or_default();
            let body = body.split("\n}\n").next().unwrap_or_default();
            if head.contains("&Context") && !body.contains(".must(Right::") {
                unchecked.push(format!("{path}: {}", head.trim()));
            }
        }
    }
    assert!(unchecked.is_empty(), "\n{}\n", unchecked.join("\n"));
}

#[test]
fn secrets_are_compared_in_constant_time() {
    // The text of a secret, and texts that are secret by name, as operands of a comparison. `Secret` itself compares in
    // constant time; texts go through `storage::random::equal`.
    let secret = [
        "expose()",
        "csrf",
        "code_hash",
        "fingerprint",
        "verifier",
        "handle",
        "cookie",
        "nonce",
        "access_token",
    ];
    let mut found = Vec::new();
    for (path, text) in sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.trim();
            for operator in [" == ", " != "] {
                let Some((left, right)) = line.split_once(operator) else {
                    continue;
                };
                let left = left.rsplit(['(', '!', ' ', '|', '*', '&']).next().unwrap_or_default();
                let right = right.split([' ', ',', ';', '{']).next().unwrap_or_default();
                let is_secret = |operand: &str| {
                    let last = operand.rsplit_once('.').map_or(operand, |(_, last)| last);
                    secret.contains(&last.trim_start_matches(['*', '&']))
                };
                if !line.starts_with("//") && [left, right].into_iter().any(is_secret) {
                    found.push(format!("{path}:{}: {line}", number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_tuple_hides_a_sixth_parameter() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let mut rest = &text[..];
        while let Some(at) = rest.find("fn ") {
            rest = &rest[at + 3..];
            let Some((name, parameters)) = signature(rest) else {
                continue;
            };
            let flattened: usize = parameters.iter().map(|one| members(one)).sum();
            if parameters.iter().any(|one| one.starts_with('(')) && flattened > 5 {
                wrong.push(format!("{path}: {name} takes {flattened}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The name and the parameters of a function, from behind `fn`.
fn signature(text: &str) -> Option<(&str, Vec<String>)> {
    let open = text.find('(')?;
    let name = text[..open].split('<').next()?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(())?;
    let (mut depth, mut parameters, mut current) = (0, Vec::new(), String::new());
    for sign in text[open..].replace("->", "  ").chars() {
        match sign {
            '(' | '[' | '<' | '{' => depth += 1,
            ')' | ']' | '>' | '}' => depth -= 1,
            _ => {}
        }
        match (sign, depth) {
            (_, 0) => break,
            (',', 1) => parameters.push(std::mem::take(&mut current)),
            ('(', 1) => {}
            _ => current.push(sign),
        }
    }
    parameters.push(current);
    parameters.retain(|one| !one.trim().is_empty());
    Some((name, parameters.iter().map(|one| one.trim().to_owned()).collect()))
}

/// The number of names that a parameter binds.
fn members(parameter: &str) -> usize {
    match parameter.strip_prefix('(').and_then(|rest| rest.split_once("):")) {
        Some((names, _)) => names.split(',').filter(|name| !name.trim().is_empty()).count(),
        None => 1,
    }
}

/// The map of all files that are not tests: a table for each room, made from the first sentence of each file.
fn code_map(sources: &[(String, String)]) -> String {
    let mut rooms: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in sources {
        let file = path.trim_start_matches("src/");
        if is_test(file) || file == "lib.rs" {
            continue;
        }
        let room = file.split('/').next().unwrap().trim_end_matches(".rs");
        let row = format!("| `{path}` | {} |", first_sentence(path, text));
        rooms.entry(room).or_default().push(row);
    }
    let table = |(room, rows): (&&str, &Vec<String>)| {
        format!(
            "\n### `{room}`\n\n| file | holds |\n| --- | --- |\n{}\n",
            rows.join("\n")
        )
    };
    rooms.iter().map(table).collect::<String>() + "\n"
}

/// The first sentence of the comment that opens a file.
fn first_sentence(path: &str, text: &str) -> String {
    let opening = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .take_while(|line| !line.is_empty());
    let opening: Vec<&str> = opening.map(str::trim).collect();
    assert!(!opening.is_empty(), "{path} has no opening comment");
    let opening = opening.join(" ");
    let sentence = opening.split(". ").next().unwrap();
    sentence
        .trim_end_matches('.')
        .replace("[`", "`")
        .replace("`]", "`")
        .replace('|', "\\|")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `src`: its path and its text.
fn sources() -> Vec<(String, String)> {
    sources_below(&["src"])
}

/// Every Rust file below some folders by its path, and its text.
fn sources_below(folders: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The dependencies in `Cargo.toml`, as Rust spells them.
fn dependencies() -> BTreeSet<String> {
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let names = manifest["dependencies"].as_table().unwrap().keys();
    names.map(|name| name.replace('-', "_")).collect()
}

/// The lines with a forbidden import, counted from 1, and the reason.
fn offences(path: &str, text: &str, crates: &BTreeSet<String>) -> Vec<(usize, String)> {
    let room = path
        .trim_start_matches("src/")
        .split('/')
        .next()
        .unwrap()
        .trim_end_matches(".rs");
    let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
        return vec![(1, format!("the table of rooms has no {room}"))];
    };
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for name in names(line) {
            let segments: Vec<&str> = name.split("::").collect();
            let complaint = match ours(&segments) {
                Some(rest) => room_offence(path, room, allowed, rest),
                None => crate_offence(path, room, segments[0], crates),
            };
            found.extend(complaint.map(|complaint| (at + 1, complaint)));
        }
    }
    found
}

/// The path after `crate::`, or after enough `super::` to leave the room.
fn ours<'a>(segments: &'a [&'a str]) -> Option<&'a [&'a str]> {
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    let rest = &segments[supers..];
    match segments[0] {
        "crate" => Some(&segments[1..]),
        "super" if supers > 1 && rest.first().is_some_and(|name| EVERYTHING.contains(name)) => Some(rest),
        _ => None,
    }
}

fn room_offence(path: &str, room: &str, allowed: &[&str], rest: &[&str]) -> Option<String> {
    let other = rest.first().copied().unwrap_or_default();
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.ends_with("fixtures.rs");
    if other.is_empty() {
        return Some("import each room in its own `use`, not several in braces".to_owned());
    }
    let is_allowed = other == room
        || allowed.contains(&other)
        || !EVERYTHING.contains(&other)
        || (other == "storage" && keeps_records(path))
        // Tests of HTTP use a real store.
        || (other == "userstore" && room == "server" && is_test)
        || (other == "userstore" && answers_alone(rest));
    (!is_allowed).then(|| format!("{room} may not use {}", rest.join("::")))
}

/// Whether it is a userstore that keeps records in our database: the SQL store, or the copy of a directory.
fn keeps_records(path: &str) -> bool {
    path.starts_with("src/userstore/sql/") || path.starts_with("src/userstore/ldap/")
}

/// Whether a path into `userstore` names only types from `ANSWERS`.
fn answers_alone(rest: &[&str]) -> bool {
    let inner = rest.get(1).copied().unwrap_or_default();
    let mut names = inner.trim_matches(['{', '}']).split(',').map(str::trim);
    names.all(|name| ANSWERS.contains(&name))
}

fn crate_offence(path: &str, room: &str, name: &str, crates: &BTreeSet<String>) -> Option<String> {
    let fixed = CRATES.iter().find(|(of, _)| *of == name);
    let misplaced = fixed.is_some_and(|(_, places)| !places.iter().any(|place| path.starts_with(place)));
    let impure = room == "domain" && crates.contains(name) && !PURE.contains(&name);
    (misplaced || impure).then(|| format!("{room} may not use the crate {name}"))
}

/// The paths in a line: names joined by `::`, the last of which may be a list in braces.
fn names(line: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("::") {
        let begin = rest[..at].rfind(|c: char| !is_name(c)).map_or(0, |before| before + 1);
        let path = &rest[begin..];
        let mut end = path.find(|c: char| !is_name(c) && c != ':').unwrap_or(path.len());
        if path[..end].ends_with("::") && path[end..].starts_with('{') {
            end += path[end..].find('}').map_or(1, |close| close + 1);
        }
        let name = path[..end].trim_end_matches("::").replace("crate::{", "crate::::{");
        if !name.starts_with(':') && !name.is_empty() {
            found.push(name);
        }
        rest = &path[end.max(2)..];
    }
    found
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.find(|word| ["struct", "enum", "trait", "mod", "type"].contains(word))?;
    words.next()
}

fn is_drawer(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["util", "utils", "helper", "helpers", "misc"].contains(&lower.as_str()) || lower.ends_with("manager")
}
