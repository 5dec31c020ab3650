//! A database that is migrated and has its signing keys: each world begins with a copy, which saves its making.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use vestibule::app::App;
use vestibule::app::surroundings::Surroundings;
use vestibule::config::Config;
use vestibule::domain::Clock;

use crate::fixtures::stores::START;

/// Copies the template into the folder of a world.
pub(crate) fn copy_into(folder: &Path) {
    static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let template = TEMPLATE.get_or_init(make).path();
    for name in ["vestibule.db", "vestibule.db-wal", "master.key"] {
        let from: PathBuf = template.join(name);
        if from.exists() {
            std::fs::copy(from, folder.join(name)).unwrap();
        }
    }
}

fn make() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let text = format!(
        r#"
        server = {{ listen = "127.0.0.1:1", public_url = "https://id.example" }}
        database.url = "sqlite:{path}/vestibule.db"
        security.master_key = {{ file = "{path}/master.key" }}
        userstores = [{{ name = "PRIMARY", kind = "sql" }}]
        "#
    );
    let config = Config::read(&text, &[]).unwrap();
    let surroundings = Surroundings {
        clock: Clock::fixed(START),
        ..Surroundings::default()
    };
    let app = App::open(&config, surroundings).unwrap_or_else(|error| panic!("{error}"));
    app.stop();
    folder
}
