//! Reads schema files. Every problem is collected, so that an administrator corrects a file once.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::read::{Problems, ReadType, read_schema, read_type};
use super::{DataType, Extension, Registry, ResourceType, Schema, Uniqueness};
use crate::domain::ids::Kind;

/// One thing that is wrong with a schema file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong.
    pub detail: String,
}

/// Everything that is wrong with the schema files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SchemaError {
    /// At least one problem.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}: {}", problem.file, problem.detail)?;
        }
        Ok(())
    }
}

struct TypeEntry {
    file: String,
    builtin: bool,
    read: ReadType,
}

struct SchemaEntry {
    builtin: bool,
    schema: Arc<Schema>,
}

/// Reads files one after the other, then ties types to their schemas.
#[derive(Default)]
pub(super) struct Loader {
    schemas: Vec<SchemaEntry>,
    types: Vec<TypeEntry>,
    problems: Vec<Problem>,
}

impl Loader {
    /// Reads one file.
    pub(super) fn read(&mut self, file: &str, text: &str) {
        let mut problems = Problems::of(file);
        match serde_json::from_str(text) {
            Ok(Value::Array(entries)) => entries.iter().for_each(|entry| self.entry(entry, &mut problems)),
            Ok(entry) => self.entry(&entry, &mut problems),
            Err(error) => problems.add(format!("not valid JSON: {error}")),
        }
        self.problems.append(&mut problems.found);
    }

    /// From here on, a file may take the place of what was read before, once.
    pub(super) fn builtin_ends(&mut self) {
        self.schemas.iter_mut().for_each(|entry| entry.builtin = true);
        self.types.iter_mut().for_each(|entry| entry.builtin = true);
    }

    fn entry(&mut self, entry: &Value, problems: &mut Problems) {
        let Some(object) = entry.as_object() else {
            problems.add("expected a schema or a resource type, each a JSON object");
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
            Some(_) => problems.add(format!("{}: this schema is defined twice", new.schema.id)),
            None => self.schemas.push(new),
        }
    }

    fn add_type(&mut self, read: ReadType, problems: &mut Problems) {
        let new = TypeEntry {
            file: problems.file.clone(),
            builtin: false,
            read,
        };
        match self.types.iter_mut().find(|entry| entry.read.name == new.read.name) {
            Some(entry) if entry.builtin => *entry = new,
            Some(_) => problems.add(format!("{}: this resource type is defined twice", new.read.name)),
            None => self.types.push(new),
        }
    }

    /// Ties types to schemas. Schemas that no type uses are not part of the registry.
    pub(super) fn finish(mut self) -> Result<Registry, SchemaError> {
        let mut types: Vec<ResourceType> = Vec::new();
        for entry in &self.types {
            let mut problems = Problems::of(&entry.file);
            if types
                .iter()
                .any(|other| other.endpoint.eq_ignore_ascii_case(&entry.read.endpoint))
            {
                problems.add(format!(
                    "{}: the endpoint {} belongs to another resource type",
                    entry.read.name, entry.read.endpoint
                ));
            }
            types.extend(self.tie(&entry.read, &mut problems));
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

    fn tie(&self, entry: &ReadType, problems: &mut Problems) -> Option<ResourceType> {
        let mut find = |urn: &str| {
            let found = self
                .schemas
                .iter()
                .find(|known| known.schema.id.eq_ignore_ascii_case(urn));
            if found.is_none() {
                problems.add(format!("{}: there is no schema {urn}", entry.name));
            }
            found.map(|known| Arc::clone(&known.schema))
        };
        let schema = find(&entry.schema);
        let mut extensions = Vec::new();
        for (urn, required) in &entry.extensions {
            extensions.extend(find(urn).map(|schema| Extension {
                schema,
                required: *required,
            }));
        }
        let resource_type = ResourceType {
            kind: Kind::new(entry.name.clone()),
            endpoint: entry.endpoint.clone(),
            description: entry.description.clone(),
            schema: schema?,
            extensions,
        };
        check_uniqueness(&resource_type, problems);
        Some(resource_type)
    }
}

/// A store enforces the uniqueness of one text per resource. What it does not enforce must not be announced.
fn check_uniqueness(resource_type: &ResourceType, problems: &mut Problems) {
    let mut unique = 0;
    for found in resource_type
        .attributes()
        .filter(|found| found.extension.is_some() || found.path() != "id")
    {
        let attribute = &found.attribute;
        let subs = attribute
            .sub_attributes
            .iter()
            .any(|sub| sub.uniqueness != Uniqueness::None);
        if attribute.uniqueness == Uniqueness::None && !subs {
            continue;
        }
        unique += 1;
        let single_text = attribute.data_type == DataType::String && !attribute.multi_valued;
        if unique > 1 || subs || !single_text || found.extension.is_some() || attribute.uniqueness == Uniqueness::Global
        {
            problems.add(format!(
                "{}: {}: only one single-valued string of the core schema can be unique, with \"uniqueness\": \"server\"",
                resource_type.kind, attribute.name
            ));
        }
    }
}
