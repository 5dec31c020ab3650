//! Reads one schema or resource type from its JSON.

use std::fmt::Display;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::load::SchemaProblem;
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
const EXTENSION_KEYS: [&str; 2] = ["schema", "required"];
/// Endpoints that the protocol defines (RFC 7644 §3.2).
const RESERVED: [&str; 6] = [
    "/Schemas",
    "/ResourceTypes",
    "/ServiceProviderConfig",
    "/Me",
    "/Bulk",
    "/.search",
];

/// Collects the problems of one file and their places.
pub(super) struct Problems {
    pub(super) file: String,
    /// The current place as a JSON pointer (RFC 6901).
    pub(super) pointer: String,
    pub(super) found: Vec<SchemaProblem>,
}

impl Problems {
    pub(super) fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            pointer: String::new(),
            found: Vec::new(),
        }
    }

    /// Records a problem at the current place.
    pub(super) fn add(&mut self, detail: impl Into<String>) {
        self.found.push(SchemaProblem {
            file: self.file.clone(),
            pointer: self.pointer.clone(),
            detail: detail.into(),
        });
    }

    /// Records a problem one level further down.
    pub(super) fn add_at(&mut self, key: &str, detail: impl Into<String>) {
        self.within(key, |problems| problems.add(detail));
    }

    /// Reads the value one level further down.
    pub(super) fn within<T>(&mut self, key: impl Display, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.pointer.len();
        let key = key.to_string().replace('~', "~0").replace('/', "~1");
        self.pointer.push('/');
        self.pointer.push_str(&key);
        let read = read(self);
        self.pointer.truncate(length);
        read
    }
}

/// A resource type whose schemas are still URNs.
pub(super) struct ReadType {
    pub(super) name: String,
    pub(super) endpoint: String,
    pub(super) description: String,
    pub(super) schema: String,
    pub(super) extensions: Vec<(String, bool)>,
}

pub(super) fn read_type(object: &Map<String, Value>, problems: &mut Problems) -> ReadType {
    report_unknown(object, &TYPE_KEYS, problems);
    let name = text(object, "name", problems);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        problems.add_at(
            "name",
            "a resource type needs a name of letters and digits, at most 64, such as Device",
        );
    }
    let endpoint = text(object, "endpoint", problems);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if endpoint
        .strip_prefix('/')
        .is_none_or(|rest| rest.is_empty() || !rest.chars().all(plain))
    {
        problems.add_at("endpoint", "must be a slash and a word, such as /Devices");
    } else if RESERVED.iter().any(|own| own.eq_ignore_ascii_case(&endpoint)) {
        problems.add_at(
            "endpoint",
            format!("{endpoint} is part of the protocol; choose another endpoint"),
        );
    }
    ReadType {
        endpoint,
        description: text(object, "description", problems),
        schema: text(object, "schema", problems),
        extensions: read_extensions(object, problems),
        name,
    }
}

fn read_extensions(object: &Map<String, Value>, problems: &mut Problems) -> Vec<(String, bool)> {
    let entries = match object.get("schemaExtensions") {
        None => return Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => {
            problems.add_at("schemaExtensions", "must be a list");
            return Vec::new();
        }
    };
    let mut extensions: Vec<(String, bool)> = Vec::new();
    problems.within("schemaExtensions", |problems| {
        for (at, entry) in entries.iter().enumerate() {
            problems.within(at, |problems| {
                let Some(entry) = entry.as_object() else {
                    problems.add("must be an object with \"schema\" and \"required\"");
                    return;
                };
                report_unknown(entry, &EXTENSION_KEYS, problems);
                let urn = text(entry, "schema", problems);
                if extensions.iter().any(|(other, _)| other.eq_ignore_ascii_case(&urn)) {
                    problems.add_at("schema", format!("{urn} is listed twice; leave one out"));
                }
                let required = flag(entry, "required", problems);
                extensions.push((urn, required));
            });
        }
    });
    extensions
}

/// Reads one schema; the flag says whether it has no problems and can be linked to a type.
pub(super) fn read_schema(entry: &Value, problems: &mut Problems) -> (Schema, bool) {
    let empty = Map::new();
    let object = entry.as_object().unwrap_or(&empty);
    let before = problems.found.len();
    report_unknown(object, &SCHEMA_KEYS, problems);
    let id = text(object, "id", problems);
    if !id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("urn:")) {
        problems.add_at(
            "id",
            "a schema needs an id that is a URN, such as urn:example:schemas:2.0:Device",
        );
    }
    let is_common = id == "urn:ietf:params:scim:schemas:core:2.0:Common";
    let mut attributes = read_attributes(object, "attributes", None, problems);
    for (at, attribute) in attributes.iter().enumerate().filter(|_| !is_common) {
        let mut common = common_attributes().iter();
        if common.any(|common| common.name.eq_ignore_ascii_case(&attribute.name)) {
            let place = format!("attributes/{at}/name");
            let detail = format!("every resource has {} already; choose another name", attribute.name);
            problems.found.push(SchemaProblem {
                file: problems.file.clone(),
                pointer: format!("{}/{place}", problems.pointer),
                detail,
            });
        }
    }
    if let Some(name) = attributes.iter_mut().find(|attribute| can_be_name(attribute)) {
        name.is_name = true;
    }
    let schema = Schema {
        id,
        name: text(object, "name", problems),
        description: text(object, "description", problems),
        attributes: attributes.into_iter().map(Arc::new).collect(),
    };
    let complete = problems.found.len() == before;
    (schema, complete)
}

/// Whether the attribute can be the name of a resource: always present, and case-insensitive in every store.
fn can_be_name(attribute: &Attribute) -> bool {
    attribute.required
        && attribute.uniqueness == Uniqueness::Server
        && attribute.data_type == DataType::String
        && !attribute.multi_valued
        && !attribute.case_exact
}

fn read_attributes(
    holder: &Map<String, Value>,
    key: &str,
    parent: Option<&str>,
    problems: &mut Problems,
) -> Vec<Attribute> {
    let Some(entries) = holder.get(key).and_then(Value::as_array) else {
        problems.add_at(key, "a list of attributes is needed here");
        return Vec::new();
    };
    let mut read: Vec<Attribute> = Vec::new();
    problems.within(key, |problems| {
        for (at, entry) in entries.iter().enumerate() {
            problems.within(at, |problems| {
                let Some(object) = entry.as_object() else {
                    problems.add("each attribute must be a JSON object");
                    return;
                };
                let attribute = read_attribute(object, parent, problems);
                if read
                    .iter()
                    .any(|other| other.name.eq_ignore_ascii_case(&attribute.name))
                {
                    let detail = format!("{} is already defined; names are compared without case", attribute.name);
                    problems.add_at("name", detail);
                }
                read.push(attribute);
            });
        }
    });
    read
}

fn read_attribute(object: &Map<String, Value>, parent: Option<&str>, problems: &mut Problems) -> Attribute {
    report_unknown(object, &ATTRIBUTE_KEYS, problems);
    let name = text(object, "name", problems);
    if !is_attribute_name(&name) {
        problems.add_at(
            "name",
            "an attribute's name is a letter, then letters, digits, '-' or '_', at most 64",
        );
    }
    let data_type = word(object, "type", DataType::String, problems);
    let mutability = word(object, "mutability", Mutability::ReadWrite, problems);
    // A write-only attribute is never returned (RFC 7643 §7).
    let (hidden, usual) = match mutability {
        Mutability::WriteOnly => (true, Returned::Never),
        _ => (false, Returned::Default),
    };
    let returned = word(object, "returned", usual, problems);
    if hidden && returned != Returned::Never {
        problems.add_at(
            "returned",
            "a writeOnly attribute is never returned; set never, or leave this out",
        );
    }
    // Both are case exact by their type (RFC 7643 §2.3.6, §2.3.7).
    let exact = matches!(data_type, DataType::Binary | DataType::Reference) && !object.contains_key("caseExact");
    let attribute = Attribute {
        data_type,
        multi_valued: flag(object, "multiValued", problems),
        description: text(object, "description", problems),
        required: flag(object, "required", problems),
        canonical_values: texts(object, "canonicalValues", problems),
        case_exact: exact || flag(object, "caseExact", problems),
        mutability,
        returned,
        uniqueness: word(object, "uniqueness", Uniqueness::None, problems),
        is_name: false,
        reference_types: texts(object, "referenceTypes", problems),
        indexed: flag(object, "indexed", problems),
        sub_attributes: read_parts(object, data_type, &name, problems),
        name,
    };
    check_type(&attribute, parent, problems);
    attribute
}

fn read_parts(
    object: &Map<String, Value>,
    data_type: DataType,
    name: &str,
    problems: &mut Problems,
) -> Vec<Arc<Attribute>> {
    if data_type == DataType::Complex {
        let parts = read_attributes(object, "subAttributes", Some(name), problems);
        return parts.into_iter().map(Arc::new).collect();
    }
    if object.contains_key("subAttributes") {
        problems.add_at(
            "subAttributes",
            "only a complex attribute has these; set \"type\": \"complex\"",
        );
    }
    Vec::new()
}

/// Checks that the type, the parent and the uniqueness of an attribute fit together.
fn check_type(attribute: &Attribute, parent: Option<&str>, problems: &mut Problems) {
    if attribute.data_type == DataType::Complex && parent.is_some() {
        problems.add_at("type", "a sub-attribute cannot be complex");
    }
    if attribute.uniqueness == Uniqueness::None {
        return;
    }
    if attribute.data_type == DataType::Complex {
        problems.add_at(
            "uniqueness",
            "a complex attribute cannot be unique; one of its parts can",
        );
    } else if matches!(
        parent.unwrap_or(&attribute.name),
        "password" | "members" | "groups" | "meta"
    ) {
        // These are stored outside the resource's document.
        problems.add_at("uniqueness", "cannot be unique; set none, or leave this out");
    }
}

/// The most characters of the name of an attribute or a resource type: names stand in keys of the database.
const LONGEST_NAME: usize = 64;

/// `ATTRNAME` of RFC 7643 §2.1, with the `$` of `$ref` (erratum 8924).
fn is_attribute_name(name: &str) -> bool {
    if name.len() > LONGEST_NAME {
        return false;
    }
    let rest = name.strip_prefix('$').unwrap_or(name);
    rest.starts_with(|first: char| first.is_ascii_alphabetic())
        && rest
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
}

fn report_unknown(object: &Map<String, Value>, known: &[&str], problems: &mut Problems) {
    for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
        problems.add_at(key, format!("is not known here; known are {}", known.join(", ")));
    }
}

fn text(object: &Map<String, Value>, key: &str, problems: &mut Problems) -> String {
    match object.get(key) {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(_) => {
            problems.add_at(key, "must be a string");
            String::new()
        }
    }
}

fn texts(object: &Map<String, Value>, key: &str, problems: &mut Problems) -> Vec<String> {
    let list = match object.get(key) {
        None => Some(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    list.unwrap_or_else(|| {
        problems.add_at(key, "must be a list of strings");
        Vec::new()
    })
}

fn flag(object: &Map<String, Value>, key: &str, problems: &mut Problems) -> bool {
    match object.get(key) {
        None => false,
        Some(Value::Bool(set)) => *set,
        Some(_) => {
            problems.add_at(key, "must be true or false");
            false
        }
    }
}

/// A characteristic whose value is one of a few words.
trait Keyword: Copy + Sized + 'static {
    /// Every value.
    const ALL: &'static [Self];
    /// The word for this one.
    fn shown(self) -> &'static str;
}

macro_rules! words {
    ($name:ident: $($variant:ident),+) => {
        impl Keyword for $name {
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

fn word<W: Keyword>(object: &Map<String, Value>, key: &str, absent: W, problems: &mut Problems) -> W {
    let Some(value) = object.get(key) else { return absent };
    W::ALL
        .iter()
        .copied()
        .find(|word| value.as_str() == Some(word.shown()))
        .unwrap_or_else(|| {
            let words: Vec<_> = W::ALL.iter().map(|word| word.shown()).collect();
            problems.add_at(key, format!("must be one of {}", words.join(", ")));
            absent
        })
}
