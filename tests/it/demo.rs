//! The main use case, end to end, with the demo command.

use std::process::Command;

#[test]
fn the_scripted_demo_walks_every_step_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["demo", "--script"])
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (shown, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{shown}{errors}");
    for step in 1..=9 {
        assert!(shown.contains(&format!("[{step}/9] ")), "{shown}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
