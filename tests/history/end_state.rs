//! What must agree at the end, when the faults have stopped: journal, store, index, counts and target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fixtures::journal_replay::{self, Content, counts};
use super::world::World;

/// Returns what does not agree.
pub(crate) fn disagreements(world: &World) -> Vec<String> {
    let mut found = journal_replay::disagreements(&world.database);
    found.extend(target_disagreements(world, &journal_replay::stored(&world.database)));
    found
}

/// The target has everything, once, and nothing else. It gets a while to catch up.
fn target_disagreements(world: &World, stored: &Content) -> Vec<String> {
    let began = Instant::now();
    loop {
        let found = target_differences(world, stored);
        if found.is_empty() {
            return found;
        }
        if began.elapsed() > Duration::from_mins(3) {
            let rows = counts(
                &world.database,
                "SELECT state AS one, COUNT(*) AS count FROM outbound GROUP BY state",
            );
            let mut found = found;
            found.insert(0, format!("target: after three minutes, the rows are {rows:?}"));
            return found;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn target_differences(world: &World, stored: &Content) -> Vec<String> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let is_user = |id: &str| {
        stored
            .documents
            .get(id)
            .is_some_and(|document| document.contains_key("userName"))
    };
    world.target.with(|state| {
        let mut found = Vec::new();
        let mut local: BTreeMap<String, String> = BTreeMap::new();
        for (remote, user) in &state.users {
            let id = text(user, "externalId");
            // A user that was deleted here stays, deactivated.
            if !stored.documents.contains_key(&id) {
                if user["active"] != Value::Bool(false) {
                    found.push(format!("target: {id} is active, and deleted here"));
                }
                continue;
            }
            let document = &stored.documents[&id];
            for name in ["userName", "title"] {
                let (there, here) = (user[name].to_string(), document.get(name).cloned().unwrap_or_default());
                if there != here {
                    found.push(format!("target: {name} of {id} is {there}, here {here}"));
                }
            }
            if local.insert(remote.clone(), id.clone()).is_some() {
                found.push(format!("target: {id} is there twice"));
            }
        }
        let there: BTreeSet<&String> = local.values().collect();
        let missing = stored.documents.keys().filter(|id| is_user(id) && !there.contains(id));
        found.extend(missing.map(|id| format!("target: {id} is missing")));
        let groups: BTreeMap<String, &Value> = state
            .groups
            .values()
            .map(|group| (text(group, "externalId"), group))
            .collect();
        for (id, members) in &stored.members {
            let wanted: BTreeSet<&String> = members.iter().filter(|member| is_user(member)).collect();
            let there = groups
                .get(id)
                .and_then(|group| group["members"].as_array())
                .cloned()
                .unwrap_or_default();
            let there: BTreeSet<String> = there.iter().map(|member| text(member, "value")).collect();
            let there: BTreeSet<&String> = there.iter().filter_map(|remote| local.get(remote)).collect();
            if wanted != there {
                found.push(format!("target: members of {id} are {there:?}, here {wanted:?}"));
            }
        }
        found
    })
}
