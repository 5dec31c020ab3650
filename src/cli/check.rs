//! `vestibule check`: reaching this point, the configuration was read without a problem; what it refers to is looked at.

use std::path::Path;

use serde_json::json;

use super::{Failure, plural};
use crate::app;
use crate::config::Config;

pub(super) fn run(config: &Config, path: &Path, json: bool) -> Result<(), Failure> {
    let registry = app::registry(config)?;
    if json {
        let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
        println!("{}", json!({ "ok": true, "resource_types": types }));
        return Ok(());
    }
    println!("{} is fine.", path.display());
    println!(
        "{}, {}, {}, {}; {} and {}.",
        plural(config.userstores.len(), "userstore"),
        plural(config.identity_providers.len(), "identity provider"),
        plural(config.service_providers.len(), "service provider"),
        plural(config.targets.len(), "target"),
        plural(registry.types().len(), "resource type"),
        plural(registry.schemas().len(), "schema"),
    );
    Ok(())
}
