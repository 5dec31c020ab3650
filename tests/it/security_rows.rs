//! Checks that `docs/security.md` answers every row, and that the tests it names exist.
use std::collections::BTreeSet;
use std::path::Path;

/// The number of rows of each chapter.
const ROWS: [(&str, u32); 4] = [("J", 38), ("O", 30), ("PW", 24), ("L", 11)];

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/security.md")).unwrap()
}

fn rows() -> Vec<(String, String)> {
    let page = page();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines = page.lines().filter(|line| line.starts_with("| ")).map(cells);
    let is_row = |cells: &Vec<String>| cells.len() == 5 && cells[1].ends_with(|last: char| last.is_ascii_digit());
    lines
        .filter(is_row)
        .map(|cells| (cells[1].clone(), cells[3].clone()))
        .collect()
}

/// Collects the names of all test functions in the files under a folder.
fn tests_under(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_under(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[") && line.contains("test]") {
                    is_test = true;
                } else if line.starts_with("fn ")
                    && (line.contains("(world: &World)") || path.ends_with("contract/ldap.rs"))
                {
                    // A test of the userstore contract, or of a directory server.
                    found.insert(line[3..].split('(').next().unwrap().to_owned());
                } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                    found.insert(rest.split('(').next().unwrap().to_owned());
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_row_is_answered_once_and_in_order() {
    let expected: Vec<String> = ROWS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number:02}")))
        .collect();
    let found: Vec<String> = rows().into_iter().map(|(row, _)| row).collect();
    assert_eq!(found, expected);
}

#[test]
fn every_row_names_existing_tests_or_says_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    tests_under(&root.join("src"), &mut tests);
    tests_under(&root.join("tests"), &mut tests);
    for (row, answer) in rows() {
        let named: Vec<&str> = answer
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| !name.contains("::"))
            .collect();
        let says_why = answer.starts_with("Not there") || answer.starts_with("Owed");
        assert!(says_why || !named.is_empty(), "{row}: {answer}");
        for name in named {
            assert!(tests.contains(name), "{row}: there is no test {name}");
        }
    }
}
