//! What must agree at the end, when the faults have stopped: journal, store, index, counts and target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use serde_json::Value;
use vestibule::domain::change::{Action, JournalPosition};
use vestibule::storage::{Database, SqlConnection, StorageError, each, journal};

use super::world::World;

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    one: String,
    #[diesel(sql_type = Text)]
    other: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Text)]
    one: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn pairs(database: &Database, sql: &str) -> Vec<(String, String)> {
    let load = |connection: &mut SqlConnection| each!(connection, c => diesel::sql_query(sql).load::<Pair>(c));
    let rows: Vec<Pair> = database.read::<_, StorageError>(load).unwrap();
    rows.into_iter().map(|row| (row.one, row.other)).collect()
}

fn counts(database: &Database, sql: &str) -> BTreeMap<String, i64> {
    let load = |connection: &mut SqlConnection| each!(connection, c => diesel::sql_query(sql).load::<Count>(c));
    let rows: Vec<Count> = database.read::<_, StorageError>(load).unwrap();
    rows.into_iter()
        .filter(|row| row.count != 0)
        .map(|row| (row.one, row.count))
        .collect()
}

/// The state of all users and groups: documents by id, and members by group.
#[derive(Default, PartialEq, Debug)]
struct Content {
    documents: BTreeMap<String, BTreeMap<String, String>>,
    members: BTreeMap<String, BTreeSet<String>>,
}

/// The attributes that are compared.
const COMPARED: [&str; 5] = ["userName", "displayName", "title", "externalId", "emails"];

fn compared(attributes: &Value) -> BTreeMap<String, String> {
    COMPARED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), attributes.get(*name)?.to_string())))
        .collect()
}

fn stored(database: &Database) -> Content {
    let documents = pairs(database, "SELECT id AS one, document AS other FROM resources");
    let mut content = Content::default();
    for (id, document) in documents {
        content
            .documents
            .insert(id, compared(&serde_json::from_str(&document).unwrap()));
    }
    for (group, member) in pairs(database, "SELECT group_id AS one, member_id AS other FROM members") {
        content.members.entry(group).or_default().insert(member);
    }
    content
}

/// Rebuilds the state from the journal. Notes records that come in another order than the changes of members happened.
fn replayed(database: &Database, found: &mut Vec<String>) -> Content {
    let (mut content, mut last_versions) = (Content::default(), BTreeMap::new());
    let mut deleted = BTreeSet::new();
    let mut position = JournalPosition::default();
    loop {
        let records = database
            .read::<_, StorageError>(|connection| journal::after(connection, position, 1000))
            .unwrap();
        let Some(last) = records.last() else { break };
        position = last.position;
        for record in records {
            let id = record.id.as_str().to_owned();
            if deleted.contains(&id) {
                found.push(format!("journal: {id} changes after its deletion"));
            }
            // Changes of other attributes may be told in any order.
            if record.action == Action::Delete || !record.members.is_empty() {
                let last = last_versions.insert(id.clone(), record.version);
                if last.is_some_and(|last| last >= record.version) {
                    let version = record.version;
                    found.push(format!("journal: version {version:?} of {id} is told after {last:?}"));
                }
            }
            if record.action == Action::Delete {
                deleted.insert(id.clone());
                content.documents.remove(&id);
                content.members.remove(&id);
                continue;
            }
            let document = content.documents.entry(id.clone()).or_default();
            for name in COMPARED {
                match record.diff.get(name) {
                    Some(Value::Null) => drop(document.remove(name)),
                    Some(value) => drop(document.insert(name.to_owned(), value.to_string())),
                    None => {}
                }
            }
            let members = content.members.entry(id).or_default();
            members.extend(record.members.joined.iter().map(|member| member.as_str().to_owned()));
            members.retain(|member| !record.members.left.iter().any(|left| left.as_str() == member));
        }
    }
    content.members.retain(|_, members| !members.is_empty());
    content
}

fn difference(what: &str, one: &Content, other: &Content, found: &mut Vec<String>) {
    for id in one
        .documents
        .keys()
        .chain(other.documents.keys())
        .collect::<BTreeSet<_>>()
    {
        let (left, right) = (one.documents.get(id), other.documents.get(id));
        if left != right {
            found.push(format!("{what}: {id}: {left:?} and {right:?}"));
        }
    }
    for id in one.members.keys().chain(other.members.keys()).collect::<BTreeSet<_>>() {
        let (left, right) = (one.members.get(id), other.members.get(id));
        if left != right {
            found.push(format!("{what}: members of {id}: {left:?} and {right:?}"));
        }
    }
}

/// Returns what does not agree.
pub(crate) fn disagreements(world: &World) -> Vec<String> {
    let (database, mut found) = (&world.database, Vec::new());
    let stored_content = stored(database);
    // The journal shows what no open transaction can come before.
    let began = Instant::now();
    loop {
        found.clear();
        let replayed = replayed(database, &mut found);
        difference("store and journal", &stored_content, &replayed, &mut found);
        if found.is_empty() || began.elapsed() > Duration::from_secs(20) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }

    let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
    for (id, document) in &stored_content.documents {
        let emails: Value = document
            .get("emails")
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        for email in emails.as_array().into_iter().flatten() {
            wanted.insert((id.clone(), email["value"].as_str().unwrap_or_default().to_lowercase()));
        }
    }
    let index: BTreeSet<(String, String)> = pairs(
        database,
        "SELECT resource_id AS one, value AS other FROM attribute_values WHERE path = 'emails.value'",
    )
    .into_iter()
    .collect();
    found.extend(
        wanted
            .symmetric_difference(&index)
            .map(|row| format!("index and documents: {row:?}")),
    );

    let counted = counts(
        database,
        "SELECT kind AS one, COUNT(*) AS count FROM resources GROUP BY kind",
    );
    let kept = counts(
        database,
        "SELECT kind AS one, CAST(SUM(amount) AS BIGINT) AS count FROM resource_counts GROUP BY kind",
    );
    if counted != kept {
        found.push(format!("counts: {counted:?} resources, {kept:?} counted"));
    }
    found.extend(target_disagreements(world, &stored_content));
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
