//! Counts the PATCH requests of known clients that the models of the `scim_v2` crate read: the reason why this server
//! reads PATCH requests itself (see `ARCHITECTURE.md`).

use serde_json::Value;
use vestibule::domain::Kind;
use vestibule::domain::schema::ResourceType;
use vestibule::scim::normalise::{Deviations, patch};

/// The PATCH requests of the transcripts in `tests/clients` that are expected to succeed: the resource type, the body.
fn patches() -> Vec<(&'static ResourceType, Value)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    let transcripts = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = transcripts
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect::<String>();
    let steps = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    steps
        .filter_map(|step| {
            let target = step["request"].as_str()?.strip_prefix("PATCH ")?;
            let kind = if target.to_lowercase().contains("/groups") {
                Kind::GROUP
            } else {
                Kind::USER
            };
            let body = step.get("body")?.clone();
            let types = crate::fixtures::generate::registry().types().iter();
            let found = types.into_iter().find(|found| found.kind == kind)?;
            (step["status"].as_u64()? < 300).then_some((found, body))
        })
        .collect()
}

#[test]
fn patches_of_known_clients_are_all_read() {
    for (resource_type, body) in patches() {
        let read = patch(resource_type, body.clone(), &mut Deviations::default());
        assert!(read.is_ok(), "{body}: {read:?}");
    }
}

#[test]
fn scim_v2_reads_only_some_patches_of_known_clients() {
    let patches = patches();
    let read = patches
        .iter()
        .filter(|(_, body)| serde_json::from_value::<scim_v2::models::others::PatchOp>(body.clone()).is_ok());
    let (read, all) = (read.count(), patches.len());
    assert_eq!((read, all), (50, 56), "ARCHITECTURE.md names these numbers");
}
