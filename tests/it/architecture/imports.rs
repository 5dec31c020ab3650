//! Files name only files of their own layer and below, and no circle of files crosses folders.

use std::collections::{BTreeMap, BTreeSet};

use super::{names, root, sources};

/// The layers of the federation, from the lowest: a file may name its own layer and those below it.
const STOREYS: &[&[&str]] = &[
    &["federation/idp/", "federation/error.rs", "federation/jit/denial.rs"],
    &["federation/jit/"],
    &["federation/config.rs", "federation/unlink.rs"],
    &["federation/login/"],
    &[
        "federation/account/",
        "federation/removal.rs",
        "federation/rehearsal.rs",
    ],
    &["federation/mod.rs"],
];

#[test]
fn the_federation_is_built_in_storeys() {
    let wrong: Vec<String> = imports()
        .into_iter()
        .filter(|(from, to)| storey(from).is_some_and(|own| storey(to).is_some_and(|other| other > own)))
        .map(|(from, to)| format!("{from} names {to}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_circle_crosses_folders() {
    let circles: Vec<String> = circles(&imports())
        .into_iter()
        .filter(|circle| circle.iter().any(|file| folder(file) != folder(&circle[0])))
        .map(|circle| circle.join(" - "))
        .collect();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn a_planted_circle_is_found() {
    let arrow = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let arrows = [
        arrow("a/x.rs", "b/y.rs"),
        arrow("b/y.rs", "c.rs"),
        arrow("c.rs", "a/x.rs"),
        arrow("c.rs", "d.rs"),
    ];
    assert_eq!(circles(&arrows.into()), [["a/x.rs", "b/y.rs", "c.rs"]]);
}

fn storey(file: &str) -> Option<usize> {
    let named = |storey: &&&[&str]| storey.contains(&file);
    let within = |storey: &&&[&str]| storey.iter().any(|place| file.starts_with(place));
    let exact = STOREYS.iter().position(|storey| named(&storey));
    exact.or_else(|| STOREYS.iter().position(|storey| within(&storey)))
}

/// The folder of a file. `app.rs` counts as a file of `app/`.
fn folder(file: &str) -> &str {
    let stem = file.trim_end_matches(".rs");
    if root().join("src").join(stem).is_dir() {
        return stem;
    }
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the pairs of files of which the first names something of the second, without tests. Paths are below `src`.
fn imports() -> BTreeSet<(String, String)> {
    let texts: Vec<(String, String)> = sources()
        .into_iter()
        .map(|(path, text)| (path.trim_start_matches("src/").to_owned(), text))
        .collect();
    let files: BTreeSet<String> = texts.iter().map(|(file, _)| file.clone()).collect();
    let exports: BTreeMap<(String, String), String> = texts
        .iter()
        .flat_map(|(file, text)| paths(file, text, true).into_iter().map(move |path| (file, path)))
        .filter_map(|(file, path)| {
            let name = path.last()?.clone();
            Some(((file.clone(), name), file_of(&path, &files)?))
        })
        .collect();
    let mut found = BTreeSet::new();
    for (file, text) in texts.iter().filter(|(file, _)| !is_test(file)) {
        for path in paths(file, text, false) {
            let Some(mut to) = file_of(&path, &files) else { continue };
            // A re-exported name belongs to the file that defines it.
            while let Some(defined) = path.last().and_then(|name| exports.get(&(to.clone(), name.clone()))) {
                if *defined == to {
                    break;
                }
                to.clone_from(defined);
            }
            if to != *file && !is_test(&to) {
                found.insert((file.clone(), to));
            }
        }
    }
    found
}

/// Returns the paths that a file names outside its tests, from the crate's root: its re-exports (`pub use`), or all
/// others.
fn paths(file: &str, text: &str, passed_on: bool) -> Vec<Vec<String>> {
    let module = module_of(file);
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let code: Vec<&str> = code.filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut found = Vec::new();
    for statement in statements(&code) {
        if statement.starts_with("pub use ") != passed_on {
            continue;
        }
        // A visibility names no import.
        let statement = match statement.strip_prefix("pub(in ") {
            Some(item) => item.split_once(')').map_or(item, |(_, item)| item).to_owned(),
            None => statement,
        };
        for name in names(&statement) {
            let (base, leaves) = name.split_once('{').unwrap_or((&name, ""));
            let base = base.trim_end_matches("::");
            let mut leaves: Vec<&str> = leaves.trim_end_matches('}').split(',').map(str::trim).collect();
            leaves.retain(|leaf| !leaf.is_empty() && *leaf != "self");
            let named = leaves.iter().map(|leaf| format!("{base}::{leaf}"));
            let named: Vec<String> = if leaves.is_empty() {
                vec![base.to_owned()]
            } else {
                named.collect()
            };
            found.extend(named.iter().filter_map(|name| absolute(&module, name)));
        }
    }
    found
}

/// The lines of code, with each `use` that spans lines as one.
fn statements(code: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut open = false;
    for line in code {
        let line = line.trim();
        if open {
            if let Some(last) = found.last_mut() {
                last.push_str(line);
            }
        } else {
            found.push(line.to_owned());
        }
        let begins = line.starts_with("use ") || line.starts_with("pub use ");
        open = (open || begins) && !line.ends_with(';');
    }
    found
}

pub(super) fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs")
        || file.contains("/tests/")
        || file.ends_with("fixtures.rs")
        || file.ends_with("test_database.rs")
}

fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// A path as it stands from the crate's root; none for other crates. `child::Name` in a module counts if the child exists.
fn absolute(module: &[String], name: &str) -> Option<Vec<String>> {
    let segments: Vec<&str> = name.split("::").collect();
    let supers = segments.iter().take_while(|segment| **segment == "super").count();
    let (base, rest): (&[String], &[&str]) = match segments[0] {
        "crate" => (&[], &segments[1..]),
        "self" => (module, &segments[1..]),
        "super" => (module.get(..module.len().checked_sub(supers)?)?, &segments[supers..]),
        _ => (module, &segments[..]),
    };
    let rest = rest.iter().take_while(|segment| !segment.starts_with('{'));
    Some(
        base.iter()
            .cloned()
            .chain(rest.map(|&segment| segment.to_owned()))
            .collect(),
    )
}

/// The file of the deepest module that a path goes through.
fn file_of(path: &[String], files: &BTreeSet<String>) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| {
        let stem = path[..length].join("/");
        [format!("{stem}.rs"), format!("{stem}/mod.rs")]
            .into_iter()
            .find(|file| files.contains(file))
    })
}

/// The groups of files that reach each other, each sorted.
fn circles(arrows: &BTreeSet<(String, String)>) -> Vec<Vec<String>> {
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            for (_, to) in arrows.iter().filter(|(source, _)| *source == file) {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let files: BTreeSet<&String> = arrows.iter().map(|(from, _)| from).collect();
    let reached: Vec<(&String, BTreeSet<String>)> = files.into_iter().map(|file| (file, reach(file))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (file, seen) in reached.iter().filter(|(file, seen)| seen.contains(*file)) {
        let back = |other: &&(&String, BTreeSet<String>)| seen.contains(other.0) && other.1.contains(*file);
        found.insert(reached.iter().filter(back).map(|(other, _)| (*other).clone()).collect());
    }
    found.into_iter().collect()
}
