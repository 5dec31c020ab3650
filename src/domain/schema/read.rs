//! Reads one schema or resource type from its JSON.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::load::Problem;
use super::resolve::common_attributes;
use super::{Attribute, DataType, Mutability, Returned, Schema, Uniqueness};

const SCHEMA_KEYS: [&str; 6] = ["schemas", "id", "name", "description", "attributes", "meta"];
const TYPE_KEYS: [&str; 8] = [
    "schemas",
    "id",
    "name",
    "description",
    "endpoint",
    "schema",
    "schemaExtensions",
    "meta",
];
const ATTRIBUTE_KEYS: [&str; 13] = [
    "name",
    "type",
    "multiValued",
    "description",
    "required",
    "canonicalValues",
    "caseExact",
    "mutability",
    "returned",
    "uniqueness",
    "referenceTypes",
    "subAttributes",
    "indexed",
];
/// Endpoints that are ours (RFC 7644 §3.2).
const RESERVED: [&str; 6] = [
    "/Schemas",
    "/ResourceTypes",
    "/ServiceProviderConfig",
    "/Me",
    "/Bulk",
    "/.search",
];

/// Collects what is wrong with one file.
pub(super) struct Problems {
    pub(super) file: String,
    pub(super) found: Vec<Problem>,
}

impl Problems {
    pub(super) fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, detail: impl Into<String>) {
        self.found.push(Problem {
            file: self.file.clone(),
            detail: detail.into(),
        });
    }
}

/// A resource type whose schemas are still names.
pub(super) struct ReadType {
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) description: String,
    pub(super) schema: String,
    pub(super) extensions: Vec<(String, bool)>,
}

pub(super) fn read_type(object: &Map<String, Value>, problems: &mut Problems) -> ReadType {
    let name = text(object, "name");
    report_unknown(object, &TYPE_KEYS, &name, problems);
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        problems.add("a resource type needs a \"name\" of letters and digits");
    }
    let endpoint = text(object, "endpoint");
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if endpoint
        .strip_prefix('/')
        .is_none_or(|rest| rest.is_empty() || !rest.chars().all(plain))
    {
        problems.add(format!(
            "{name}: the endpoint must be a slash and a word, such as /Users"
        ));
    } else if RESERVED.iter().any(|own| own.eq_ignore_ascii_case(&endpoint)) {
        problems.add(format!("{name}: the endpoint {endpoint} is part of the protocol"));
    }
    let mut extensions = Vec::new();
    match object.get("schemaExtensions") {
        None => {}
        Some(Value::Array(entries)) => {
            for entry in entries {
                let urn = entry.get("schema").and_then(Value::as_str).unwrap_or_default();
                let required = entry.get("required").and_then(Value::as_bool).unwrap_or(false);
                extensions.push((urn.to_owned(), required));
            }
        }
        Some(_) => problems.add(format!("{name}: \"schemaExtensions\" must be a list")),
    }
    ReadType {
        name,
        endpoint,
        description: text(object, "description"),
        schema: text(object, "schema"),
        extensions,
    }
}

/// Reads one schema; the flag says whether it is good enough to be tied to a type.
pub(super) fn read_schema(entry: &Value, problems: &mut Problems) -> (Schema, bool) {
    let empty = Map::new();
    let object = entry.as_object().unwrap_or(&empty);
    let before = problems.found.len();
    let id = text(object, "id");
    report_unknown(object, &SCHEMA_KEYS, "", problems);
    if !id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
        problems.add("a schema needs an \"id\" that is a URN");
    }
    let attributes = read_attributes(object.get("attributes"), "", problems);
    let is_common = id == "urn:ietf:params:scim:schemas:core:2.0:Common";
    if !is_common {
        for attribute in &attributes {
            if common_attributes()
                .iter()
                .any(|common| common.name.eq_ignore_ascii_case(&attribute.name))
            {
                problems.add(format!("{}: every resource has this attribute already", attribute.name));
            }
        }
    }
    let schema = Schema {
        id,
        name: text(object, "name"),
        description: text(object, "description"),
        attributes,
    };
    let complete = problems.found.len() == before;
    (schema, complete)
}

fn read_attributes(entries: Option<&Value>, parent: &str, problems: &mut Problems) -> Vec<Arc<Attribute>> {
    let Some(entries) = entries.and_then(Value::as_array) else {
        if parent.is_empty() {
            problems.add("a schema needs a list of \"attributes\"");
        }
        return Vec::new();
    };
    let mut read: Vec<Arc<Attribute>> = Vec::new();
    for entry in entries {
        let Some(object) = entry.as_object() else {
            problems.add("each attribute must be a JSON object");
            continue;
        };
        let attribute = read_attribute(object, parent, problems);
        if read
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&attribute.name))
        {
            problems.add(format!(
                "{parent}{}: this name is taken; case does not tell names apart",
                attribute.name
            ));
        }
        read.push(Arc::new(attribute));
    }
    read
}

fn read_attribute(object: &Map<String, Value>, parent: &str, problems: &mut Problems) -> Attribute {
    let name = text(object, "name");
    let path = format!("{parent}{name}");
    report_unknown(object, &ATTRIBUTE_KEYS, &path, problems);
    if !is_attribute_name(&name) {
        problems.add(format!(
            "{path}: an attribute's name is a letter, then letters, digits, '-' or '_'"
        ));
    }
    let data_type = word(object, "type", DataType::String, &path, problems);
    let uniqueness = word(object, "uniqueness", Uniqueness::None, &path, problems);
    let sub_attributes = match object.get("subAttributes") {
        Some(subs) if data_type == DataType::Complex => read_attributes(Some(subs), &format!("{path}."), problems),
        Some(_) => {
            problems.add(format!("{path}: only a complex attribute has sub-attributes"));
            Vec::new()
        }
        None => Vec::new(),
    };
    if data_type == DataType::Complex {
        let detail = if !parent.is_empty() {
            Some("a sub-attribute cannot be complex")
        } else if sub_attributes.is_empty() {
            Some("a complex attribute needs \"subAttributes\"")
        } else if uniqueness != Uniqueness::None {
            Some("a complex attribute cannot be unique")
        } else {
            None
        };
        if let Some(detail) = detail {
            problems.add(format!("{path}: {detail}"));
        }
    }
    Attribute {
        data_type,
        multi_valued: flag(object, "multiValued", &path, problems),
        description: text(object, "description"),
        required: flag(object, "required", &path, problems),
        canonical_values: texts(object, "canonicalValues"),
        case_exact: flag(object, "caseExact", &path, problems),
        mutability: word(object, "mutability", Mutability::ReadWrite, &path, problems),
        returned: word(object, "returned", Returned::Default, &path, problems),
        uniqueness,
        reference_types: texts(object, "referenceTypes"),
        indexed: flag(object, "indexed", &path, problems),
        sub_attributes,
        name,
    }
}

/// `ATTRNAME` of RFC 7643 §2.1, with the `$` of `$ref` (erratum 8924).
fn is_attribute_name(name: &str) -> bool {
    let rest = name.strip_prefix('$').unwrap_or(name);
    rest.starts_with(|first: char| first.is_ascii_alphabetic())
        && rest
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
}

fn report_unknown(object: &Map<String, Value>, known: &[&str], place: &str, problems: &mut Problems) {
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        let place = if place.is_empty() {
            String::new()
        } else {
            format!("{place}: ")
        };
        problems.add(format!("{place}{key} is not a characteristic of RFC 7643 §7"));
    }
}

fn text(object: &Map<String, Value>, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = object.get(key).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn flag(object: &Map<String, Value>, key: &str, path: &str, problems: &mut Problems) -> bool {
    match object.get(key) {
        None => false,
        Some(Value::Bool(set)) => *set,
        Some(_) => {
            problems.add(format!("{path}: \"{key}\" must be true or false"));
            false
        }
    }
}

/// A characteristic that has one of a few words as its value.
trait Word: Copy + Sized + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The word for this one.
    fn shown(self) -> &'static str;
}

macro_rules! words {
    ($name:ident: $($variant:ident),+) => {
        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn shown(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

words!(DataType: String, Boolean, Decimal, Integer, DateTime, Binary, Reference, Complex);
words!(Mutability: ReadOnly, ReadWrite, Immutable, WriteOnly);
words!(Returned: Always, Never, Default, Request);
words!(Uniqueness: None, Server, Global);

fn word<W: Word>(object: &Map<String, Value>, key: &str, absent: W, path: &str, problems: &mut Problems) -> W {
    let Some(value) = object.get(key) else { return absent };
    W::ALL
        .iter()
        .copied()
        .find(|word| value.as_str() == Some(word.shown()))
        .unwrap_or_else(|| {
            let words: Vec<_> = W::ALL.iter().map(|word| word.shown()).collect();
            problems.add(format!("{path}: \"{key}\" must be one of {}", words.join(", ")));
            absent
        })
}
