//! The indexed attribute values of a resource, the form they are stored in, and how they are written.

use std::borrow::Cow;
use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::Text;
use serde_json::Value;

use super::reindex;
use crate::domain::name::canonical;
use crate::domain::schema::AttributeRef;
use crate::domain::schema::{Attribute, DataType, ResourceType};
use crate::domain::{Attributes, Kind, ResourceId};
use crate::storage::SqlConnection;
use crate::storage::connection::MultiBackend;
use crate::storage::random::fingerprint;

/// The most characters of a value that an index entry holds; PostgreSQL's limit is 2,700 bytes.
pub(super) const WIDTH: usize = 200;

/// Returns the form of a value in the index. A long value keeps its beginning, for prefix searches, and its
/// fingerprint, so that equality stays exact.
pub(super) fn capped(value: &str) -> Cow<'_, str> {
    match value.char_indices().nth(WIDTH) {
        None => Cow::Borrowed(value),
        Some((end, _)) => Cow::Owned(format!("{}\u{1}{}", &value[..end], fingerprint(value))),
    }
}

/// Returns a text in the form in which its attribute is compared: case-folded unless the attribute is case-exact.
pub(super) fn folded(attribute: &Attribute, text: &str) -> String {
    if attribute.case_exact {
        text.to_owned()
    } else {
        canonical(text)
    }
}

/// The type of the resources that are searched, and the indexes that may not be used yet.
#[derive(Clone, Copy)]
pub(super) struct Searched<'a> {
    pub(super) kind: &'a Kind,
    pub(super) unfinished: &'a BTreeSet<String>,
}

impl Searched<'_> {
    pub(super) fn is_indexed(self, attribute: &AttributeRef) -> bool {
        is_indexed(attribute)
            && (self.unfinished.is_empty() || !self.unfinished.contains(&reindex::name(self.kind, &attribute.path())))
    }

    /// Whether names can be looked up by their canonical form.
    pub(super) fn has_names(self) -> bool {
        !self.unfinished.contains(reindex::NAMES)
    }
}

/// Whether the schema marks the attribute as indexed.
fn is_indexed(attribute: &AttributeRef) -> bool {
    attribute.leaf().indexed && is_text(attribute.leaf())
}

fn is_text(attribute: &Attribute) -> bool {
    matches!(attribute.data_type, DataType::String | DataType::Reference)
}

/// Returns the paths of the attributes of a type that the schema marks as indexed, each with whether it is compared with
/// case.
pub(super) fn paths(resource_type: &ResourceType) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut add_all = |prefix: &str, attributes: &[std::sync::Arc<Attribute>]| {
        for attribute in attributes {
            let path = format!("{prefix}{}", attribute.name);
            let subs = attribute
                .sub_attributes
                .iter()
                .map(|sub| (format!("{path}.{}", sub.name), sub));
            for (path, leaf) in subs.chain([(path.clone(), attribute)]) {
                if leaf.indexed && is_text(leaf) {
                    found.push((path, leaf.case_exact));
                }
            }
        }
    };
    add_all("", &resource_type.schema.attributes);
    for extension in &resource_type.extensions {
        add_all(&format!("{}:", extension.schema.id), &extension.schema.attributes);
    }
    found
}

/// Returns the (path, value) pairs of a resource's indexed attributes.
pub(super) fn values(resource_type: &ResourceType, attributes: &Attributes) -> BTreeSet<(String, String)> {
    let mut values = BTreeSet::new();
    collect(&resource_type.schema.attributes, "", attributes, &mut values);
    for extension in &resource_type.extensions {
        if let Some(Value::Object(inner)) = attributes.get(&extension.schema.id) {
            collect(
                &extension.schema.attributes,
                &format!("{}:", extension.schema.id),
                inner,
                &mut values,
            );
        }
    }
    values
}

/// Inserts (path, value) pairs of a resource.
pub(super) fn insert(
    connection: &mut SqlConnection,
    resource: &ResourceId,
    values: &[&(String, String)],
) -> QueryResult<()> {
    if values.is_empty() {
        return Ok(());
    }
    let pairs = serde_json::to_string(values).expect("a list of texts always serialises");
    let resource = resource.as_str().to_owned();
    Insert { resource, pairs }.execute(connection).map(|_| ())
}

/// Inserts the pairs as one bound value, so that one prepared statement writes any number of them.
#[derive(QueryId)]
struct Insert {
    resource: String,
    pairs: String,
}

impl QueryFragment<MultiBackend> for Insert {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, MultiBackend>) -> QueryResult<()> {
        let (begin, end) = match out.backend() {
            MultiBackend::Postgres(_) => ("pair ->> 0, pair ->> 1 FROM json_array_elements(", "::json) pair"),
            MultiBackend::Sqlite(_) => ("value ->> 0, value ->> 1 FROM json_each(", ")"),
        };
        out.push_sql("INSERT INTO attribute_values (resource_id, path, value) SELECT ");
        out.push_bind_param::<Text, _>(&self.resource)?;
        out.push_sql(", ");
        out.push_sql(begin);
        out.push_bind_param::<Text, _>(&self.pairs)?;
        out.push_sql(end);
        Ok(())
    }
}

impl RunQueryDsl<SqlConnection> for Insert {}

fn collect(
    definitions: &[std::sync::Arc<Attribute>],
    prefix: &str,
    from: &Attributes,
    into: &mut BTreeSet<(String, String)>,
) {
    for attribute in definitions {
        let Some(value) = from.get(&attribute.name) else {
            continue;
        };
        let path = format!("{prefix}{}", attribute.name);
        for element in elements(value) {
            add(attribute, &path, element, into);
            if let Value::Object(parts) = element {
                for sub in &attribute.sub_attributes {
                    if let Some(part) = parts.get(&sub.name) {
                        add(sub, &format!("{path}.{}", sub.name), part, into);
                    }
                }
            }
        }
    }
}

fn add(attribute: &Attribute, path: &str, value: &Value, into: &mut BTreeSet<(String, String)>) {
    if let (true, true, Value::String(text)) = (attribute.indexed, is_text(attribute), value) {
        into.insert((path.to_owned(), capped(&folded(attribute, text)).into_owned()));
    }
}

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Array(elements) => elements,
        single => std::slice::from_ref(single),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_keep_their_beginning_and_stay_different() {
        let (one, other) = ("x".repeat(300), format!("{}y", "x".repeat(299)));
        assert!(capped(&one).starts_with(&"x".repeat(WIDTH)));
        assert_ne!(capped(&one), capped(&other));
        assert_eq!(capped("short"), "short");
        assert_eq!(capped(&"ü".repeat(WIDTH)), "ü".repeat(WIDTH));
    }
}
