//! Reads schema files. Every problem is collected, so that an administrator corrects a file once.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::read::{Problems, ReadType, read_schema, read_type};
use super::{Extension, Mutability, Registry, ResourceType, Schema, Uniqueness};
use crate::domain::ids::Kind;
use crate::domain::schema::AttributeRef;

/// A problem in a schema file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaProblem {
    /// The file's name.
    pub file: String,
    /// The place in the file as a JSON pointer (RFC 6901); empty for the whole file.
    pub pointer: String,
    /// The problem and how to fix it.
    pub detail: String,
}

/// All problems in the schema files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SchemaError {
    /// At least one problem.
    pub problems: Vec<SchemaProblem>,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: ", problem.file)?;
            if !problem.pointer.is_empty() {
                write!(f, "{}: ", problem.pointer)?;
            }
            f.write_str(&problem.detail)?;
        }
        Ok(())
    }
}

struct TypeEntry {
    file: String,
    pointer: String,
    builtin: bool,
    read: ReadType,
}

struct SchemaEntry {
    builtin: bool,
    schema: Arc<Schema>,
}

/// Reads the files in order, then links resource types to their schemas.
#[derive(Default)]
pub(super) struct Loader {
    schemas: Vec<SchemaEntry>,
    types: Vec<TypeEntry>,
    problems: Vec<SchemaProblem>,
}

impl Loader {
    /// Reads one file.
    pub(super) fn read(&mut self, file: &str, text: &str) {
        let mut problems = Problems::of(file);
        match serde_json::from_str(text) {
            Ok(Value::Array(entries)) => {
                for (at, entry) in entries.iter().enumerate() {
                    problems.within(at, |problems| self.entry(entry, problems));
                }
            }
            Ok(entry) => self.entry(&entry, &mut problems),
            Err(error) => problems.add(format!("not valid JSON: {error}")),
        }
        self.problems.append(&mut problems.found);
    }

    /// Marks everything read so far as built-in: a later file may replace each of these definitions once.
    pub(super) fn builtin_ends(&mut self) {
        self.schemas.iter_mut().for_each(|entry| entry.builtin = true);
        self.types.iter_mut().for_each(|entry| entry.builtin = true);
    }

    fn entry(&mut self, entry: &Value, problems: &mut Problems) {
        let Some(object) = entry.as_object() else {
            problems.add("expected a schema or a resource type, which is a JSON object");
            return;
        };
        if object.contains_key("endpoint") {
            let read = read_type(object, problems);
            self.add_type(read, problems);
        } else {
            let (schema, complete) = read_schema(entry, problems);
            if complete {
                self.add_schema(schema, problems);
            }
        }
    }

    fn add_schema(&mut self, schema: Schema, problems: &mut Problems) {
        let known = self
            .schemas
            .iter_mut()
            .find(|entry| entry.schema.id.eq_ignore_ascii_case(&schema.id));
        let new = SchemaEntry {
            builtin: false,
            schema: Arc::new(schema),
        };
        match known {
            Some(entry) if entry.builtin => *entry = new,
            Some(_) => problems.add_at("id", format!("{} is defined twice; leave one out", new.schema.id)),
            None => self.schemas.push(new),
        }
    }

    fn add_type(&mut self, read: ReadType, problems: &mut Problems) {
        let new = TypeEntry {
            file: problems.file.clone(),
            pointer: problems.pointer.clone(),
            builtin: false,
            read,
        };
        match self.types.iter_mut().find(|entry| entry.read.name == new.read.name) {
            Some(entry) if entry.builtin => *entry = new,
            Some(_) => problems.add_at("name", format!("{} is defined twice; leave one out", new.read.name)),
            None => self.types.push(new),
        }
    }

    /// Links resource types to their schemas. Schemas that no type uses are left out of the registry.
    pub(super) fn finish(mut self) -> Result<Registry, SchemaError> {
        let mut types: Vec<ResourceType> = Vec::new();
        for entry in &self.types {
            let mut problems = Problems::of(&entry.file);
            problems.pointer.clone_from(&entry.pointer);
            if types
                .iter()
                .any(|other| other.endpoint.eq_ignore_ascii_case(&entry.read.endpoint))
            {
                let detail = format!(
                    "{} belongs to another resource type; choose another",
                    entry.read.endpoint
                );
                problems.add_at("endpoint", detail);
            }
            types.extend(self.link_schemas(&entry.read, &mut problems));
            self.problems.append(&mut problems.found);
        }
        if !self.problems.is_empty() {
            return Err(SchemaError {
                problems: self.problems,
            });
        }
        let used = |schema: &Arc<Schema>| {
            types.iter().any(|entry| {
                entry.schema.id == schema.id
                    || entry
                        .extensions
                        .iter()
                        .any(|extension| extension.schema.id == schema.id)
            })
        };
        let schemas = self
            .schemas
            .into_iter()
            .map(|entry| entry.schema)
            .filter(used)
            .collect();
        Ok(Registry { schemas, types })
    }

    fn link_schemas(&self, entry: &ReadType, problems: &mut Problems) -> Option<ResourceType> {
        let find = |urn: &str, problems: &mut Problems| {
            let mut schemas = self.schemas.iter();
            let found = schemas.find(|known| known.schema.id.eq_ignore_ascii_case(urn));
            if found.is_none() {
                problems.add_at(
                    "schema",
                    match urn {
                        "" => "the id of a schema is needed here".to_owned(),
                        _ => {
                            format!("there is no schema {urn}; check that its file is in the folder and has no errors")
                        }
                    },
                );
            }
            found.map(|known| Arc::clone(&known.schema))
        };
        let schema = find(&entry.schema, problems);
        let mut extensions = Vec::new();
        for (at, (urn, required)) in entry.extensions.iter().enumerate() {
            let found = problems.within("schemaExtensions", |problems| {
                problems.within(at, |problems| {
                    if urn.eq_ignore_ascii_case(&entry.schema) {
                        problems.add_at(
                            "schema",
                            "this is the type's own schema; an extension must be a different one",
                        );
                    }
                    find(urn, problems)
                })
            });
            extensions.extend(found.map(|schema| Extension {
                schema,
                required: *required,
            }));
        }
        let mut tied = ResourceType {
            kind: Kind::new(entry.name.clone()),
            endpoint: entry.endpoint.clone(),
            description: entry.description.clone(),
            schema: schema?,
            extensions,
            unique: Vec::new(),
        };
        check_relations(&tied, problems);
        tied.unique = unique_of(&tied);
        Some(tied)
    }
}

/// Refuses other uses of the names `members` and `groups`: memberships are stored outside the documents under these
/// names.
fn check_relations(resource_type: &ResourceType, problems: &mut Problems) {
    for attribute in &resource_type.schema.attributes {
        if attribute.name == "members" && resource_type.kind != Kind::GROUP {
            problems.add_at(
                "schema",
                "the attribute name members is reserved for Group; choose another name",
            );
        }
        if attribute.name == "groups" && attribute.mutability != Mutability::ReadOnly {
            problems.add_at(
                "schema",
                "the attribute name groups is reserved for memberships; make it readOnly or choose another name",
            );
        }
    }
}

/// Returns the unique attributes and sub-attributes of a type, except its name and `id`, which is unique by
/// construction.
fn unique_of(resource_type: &ResourceType) -> Vec<AttributeRef> {
    let mut unique = Vec::new();
    for found in resource_type.attributes().filter(|found| found.path() != "id") {
        let is_name = found.extension.is_none() && found.attribute.is_name;
        let subs = found.attribute.sub_attributes.iter().cloned().map(Some);
        for sub in std::iter::once(None).filter(|_| !is_name).chain(subs) {
            let one = AttributeRef { sub, ..found.clone() };
            if one.leaf().uniqueness != Uniqueness::None {
                unique.push(one);
            }
        }
    }
    unique
}
