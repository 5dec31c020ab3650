//! The JSON Schemas of bodies: protocol messages, and resources as their schemas define them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::ResourceId;
use crate::domain::name;
use crate::domain::schema::{Attribute, DataType, Mutability, Registry, ResourceType, Returned};
use crate::domain::validate::MOST_ELEMENTS;
use crate::scim::bulk;
use crate::scim::list::{DEFAULT_PAGE, LARGEST_PAGE};
use crate::scim::normalise;

/// The direction in which a resource is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the client: the attributes that it may send.
    In,
    /// To the client: the attributes that may be returned, and no others.
    Out,
}

/// A reference to a schema of this description.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Every schema by its name.
pub(super) fn all(registry: &Registry) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut every = Vec::new();
    for resource_type in registry.types() {
        let kind = &resource_type.kind;
        every.push(reference(kind.as_str()));
        schemas.insert(kind.to_string(), resource(resource_type, Direction::Out));
        schemas.insert(format!("{kind}Input"), resource(resource_type, Direction::In));
        schemas.insert(format!("{kind}Patch"), patch(resource_type));
        schemas.insert(format!("{kind}List"), list(&reference(kind.as_str())));
    }
    schemas.insert("List".to_owned(), list(&json!({ "anyOf": every })));
    schemas.insert("SearchRequest".to_owned(), search_request());
    schemas.insert("BulkRequest".to_owned(), bulk_request(registry));
    schemas.insert("BulkResponse".to_owned(), bulk_response());
    for name in ["Schema", "ResourceType"] {
        schemas.insert(name.to_owned(), described(name));
        schemas.insert(format!("{name}List"), list(&reference(name)));
    }
    schemas.insert("ServiceProviderConfig".to_owned(), described("ServiceProviderConfig"));
    schemas
}

/// A resource of a type.
fn resource(resource_type: &ResourceType, way: Direction) -> Value {
    let mut shown = writable(resource_type, way);
    let core = &resource_type.schema.id;
    let mut urns = vec![core];
    let mut required = vec!["schemas".to_owned()];
    for extension in &resource_type.extensions {
        urns.push(&extension.schema.id);
        if extension.required && way == Direction::In {
            required.push(extension.schema.id.clone());
        }
    }
    for found in resource_type.attributes().filter(|found| found.extension.is_none()) {
        let attribute = &found.attribute;
        let is_there = match way {
            Direction::In => attribute.required && attribute.mutability != Mutability::ReadOnly,
            Direction::Out => attribute.returned == Returned::Always,
        };
        if is_there && attribute.name != "schemas" {
            required.push(attribute.name.clone());
        }
    }
    shown["properties"]["schemas"] = json!({
        "type": "array", "items": { "enum": urns }, "contains": { "const": core }, "uniqueItems": true,
        "description": "The schemas of the attributes that are present.",
    });
    shown["required"] = json!(required);
    shown["description"] = resource_type.description.clone().into();
    shown
}

/// The attributes of a type, all of them optional and without `schemas`.
fn writable(resource_type: &ResourceType, way: Direction) -> Value {
    let mut properties = Map::new();
    for found in resource_type.attributes().filter(|found| found.extension.is_none()) {
        if found.attribute.name != "schemas" {
            properties.extend(property(&found.attribute, way));
        }
    }
    if let Some(unique) = resource_type.name_attribute()
        && way == Direction::In
        && let Some(property) = properties.get_mut(&unique.name)
    {
        property["pattern"] = name::pattern().into();
        property["maxLength"] = name::LONGEST.into();
    }
    if way == Direction::Out {
        properties["meta"]["properties"]["resourceType"] = json!({ "const": resource_type.kind.as_str() });
    }
    for extension in &resource_type.extensions {
        let mut shown = object(&extension.schema.attributes, way);
        shown["description"] = extension.schema.description.clone().into();
        properties.insert(extension.schema.id.clone(), shown);
    }
    closed(json!({ "type": "object", "properties": properties }))
}

fn object(attributes: &[Arc<Attribute>], way: Direction) -> Value {
    let properties: Map<String, Value> = attributes
        .iter()
        .filter_map(|attribute| property(attribute, way))
        .collect();
    let mut shown = json!({ "type": "object", "properties": properties });
    let required: Vec<&str> = attributes
        .iter()
        .filter(|attribute| attribute.required && attribute.mutability != Mutability::ReadOnly)
        .map(|attribute| attribute.name.as_str())
        .collect();
    if way == Direction::In && !required.is_empty() {
        shown["required"] = json!(required);
    }
    closed(shown)
}

/// Allows no properties except the described ones.
fn closed(mut object: Value) -> Value {
    object["additionalProperties"] = false.into();
    object
}

/// An attribute by its name; none in a response if it is never returned. In a request, read-only attributes are
/// ignored.
fn property(attribute: &Attribute, way: Direction) -> Option<(String, Value)> {
    let goes = way == Direction::In || attribute.returned != Returned::Never;
    goes.then(|| {
        let mut shown = values(attribute, way);
        if way == Direction::In && attribute.mutability == Mutability::ReadOnly {
            shown["readOnly"] = true.into();
        }
        (attribute.name.clone(), shown)
    })
}

fn values(attribute: &Attribute, way: Direction) -> Value {
    let mut one = match attribute.data_type {
        // A null character is refused, because not every database accepts one.
        DataType::String | DataType::Binary | DataType::Reference if way == Direction::In => {
            json!({ "type": "string", "pattern": "^[^\\u0000]*$" })
        }
        DataType::String | DataType::Binary | DataType::Reference => json!({ "type": "string" }),
        DataType::Boolean => json!({ "type": "boolean" }),
        DataType::Decimal => json!({ "type": "number" }),
        DataType::Integer => {
            json!({ "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX })
        }
        DataType::DateTime => json!({ "type": "string", "format": "date-time" }),
        DataType::Complex => object(&attribute.sub_attributes, way),
    };
    if attribute.data_type == DataType::Reference && way == Direction::In {
        one["minLength"] = 1.into();
    }
    if !attribute.canonical_values.is_empty() {
        one["examples"] = json!(attribute.canonical_values);
    }
    // Only groups have an attribute of this name.
    if attribute.name == "members" && way == Direction::In {
        let value = &mut one["properties"]["value"];
        value["minLength"] = 1.into();
        value["maxLength"] = ResourceId::LONGEST.into();
    }
    if attribute.multi_valued {
        one = json!({ "type": "array", "items": one });
        if way == Direction::In && !attribute.is_identified_by_value() {
            one["maxItems"] = MOST_ELEMENTS.into();
        }
    }
    one["description"] = attribute.description.clone().into();
    one
}

/// A protocol message with its URN.
fn message(urn: &str, required: &[&str], mut properties: Value) -> Value {
    let urn = format!("urn:ietf:params:scim:api:messages:2.0:{urn}");
    properties["schemas"] = json!({ "type": "array", "items": { "const": urn }, "minItems": 1, "maxItems": 1 });
    let required: Vec<&str> = std::iter::once("schemas").chain(required.iter().copied()).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A list response (RFC 7644 §3.4.2).
fn list(of: &Value) -> Value {
    let whole = json!({ "type": "integer", "minimum": 0 });
    let properties = json!({
        "totalResults": whole,
        "startIndex": { "type": "integer", "minimum": 1 },
        "nextCursor": { "type": "string", "minLength": 1 },
        "previousCursor": { "type": "string", "minLength": 1 },
        "itemsPerPage": { "type": "integer", "minimum": 0, "maximum": LARGEST_PAGE },
        "Resources": { "type": "array", "items": of, "maxItems": LARGEST_PAGE },
    });
    // Paging by cursor has no `startIndex`, and `totalResults` only on the first page.
    let always = ["itemsPerPage", "Resources"];
    closed(message("ListResponse", &always, properties))
}

/// The parameters of a search, in a query or in a body (RFC 7644 §3.4.2, §3.4.3; RFC 9865).
pub(super) fn search() -> [(&'static str, Value); 8] {
    let names = |description| json!({ "type": "array", "items": { "type": "string" }, "description": description });
    let sortable = r#"^\s*[^\s\[\]()";\u0000-\u001f\u007f-\u009f]*\s*$"#;
    let orders = ["ascending", "descending"];
    let count = format!("The maximum number of resources; at most {LARGEST_PAGE}, and less than 0 counts as 0.");
    [
        (
            "filter",
            json!({ "type": "string", "format": "scim-filter", "description": "RFC 7644 §3.4.2.2." }),
        ),
        (
            "sortBy",
            json!({ "type": "string", "pattern": sortable, "description": "An attribute; an unknown one is ignored." }),
        ),
        (
            "sortOrder",
            json!({ "type": "string", "enum": orders, "default": "ascending" }),
        ),
        (
            "startIndex",
            json!({ "type": "integer", "default": 1, "description": "The position of the first resource, counted from 1; less counts as 1." }),
        ),
        (
            "count",
            json!({ "type": "integer", "default": DEFAULT_PAGE, "description": count }),
        ),
        (
            "cursor",
            json!({ "type": "string", "format": "scim-cursor", "description": "Of the same search; an empty one asks for its first page. Cannot be combined with startIndex." }),
        ),
        ("attributes", names("Shows these, and those that are always shown.")),
        (
            "excludedAttributes",
            names("Does not show these. Ignored if attributes is given."),
        ),
    ]
}

/// A search request (RFC 7644 §3.4.3).
fn search_request() -> Value {
    let properties: Map<String, Value> = search()
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    let mut request = message("SearchRequest", &[], properties.into());
    request["not"] = json!({ "required": ["cursor", "startIndex"] });
    request
}

/// A PATCH request (RFC 7644 §3.5.2). The grammar of a path cannot be expressed in the schema.
fn patch(resource_type: &ResourceType) -> Value {
    let path = json!({ "type": "string", "format": "scim-path", "minLength": 1, "description": "An attribute path (RFC 7644 §3.5.2, PATH)." });
    let sets = json!({ "enum": ["add", "replace"] });
    let operation = json!({ "type": "object", "anyOf": [
        { "properties": { "op": sets, "path": path, "value": {} }, "required": ["op", "path", "value"] },
        { "properties": { "op": sets, "path": false, "value": writable(resource_type, Direction::In) }, "required": ["op", "value"] },
        { "properties": { "op": { "const": "remove" }, "path": path }, "required": ["op", "path"] },
    ] });
    let properties = json!({ "Operations": { "type": "array", "items": operation, "minItems": 1, "maxItems": normalise::MOST_OPERATIONS } });
    message("PatchOp", &["Operations"], properties)
}

/// RFC 7644 §3.7.
fn bulk_request(registry: &Registry) -> Value {
    let text = json!({ "type": "string" });
    let name = json!({ "type": "string", "minLength": 1 });
    let path = json!({ "type": "string", "pattern": "^/[^/]+/[^/]+$", "examples": ["/Users/2819c223", "/Groups/bulkId:tour"] });
    let endpoints: Vec<&str> = registry.types().iter().map(|one| one.endpoint.as_str()).collect();
    let data = json!({ "type": "object", "description": "The body of the request that this stands for." });
    let kinds = json!([
        {
            "properties": { "method": { "const": "POST" }, "path": { "enum": endpoints }, "bulkId": name, "data": data },
            "required": ["method", "path", "bulkId", "data"],
        },
        {
            "properties": { "method": { "enum": ["PUT", "PATCH"] }, "path": path, "version": text, "data": data },
            "required": ["method", "path", "data"],
        },
        {
            "properties": { "method": { "const": "DELETE" }, "path": path, "version": text },
            "required": ["method", "path"],
        },
    ]);
    let operation = json!({ "type": "object", "anyOf": kinds });
    let properties = json!({
        "failOnErrors": { "type": "integer", "minimum": 1, "maximum": i64::MAX, "description": "The number of errors after which to stop." },
        "Operations": { "type": "array", "items": operation, "maxItems": bulk::MOST_OPERATIONS },
    });
    message("BulkRequest", &["Operations"], properties)
}

/// A bulk response (RFC 7644 §3.7.3). The statuses and errors are those of the single operations.
fn bulk_response() -> Value {
    let text = json!({ "type": "string" });
    let refused = json!({ "status": { "type": "string" }, "detail": text, "scimType": text });
    let result = json!({
        "type": "object",
        "properties": {
            "method": { "enum": ["POST", "PUT", "PATCH", "DELETE"] },
            "bulkId": text,
            "location": { "type": "string", "format": "uri" },
            "version": text,
            "status": { "type": "string", "pattern": "^[1-5][0-9][0-9]$" },
            "response": closed(message("Error", &["status", "detail"], refused)),
        },
        "required": ["method", "status"],
    });
    let properties = json!({
        "Operations": { "type": "array", "items": closed(result), "maxItems": bulk::MOST_OPERATIONS },
    });
    closed(message("BulkResponse", &["Operations"], properties))
}

/// An error response (RFC 7644 §3.12) for one status.
pub(super) fn error(status: u16, types: &[&str]) -> Value {
    let mut properties = json!({
        "status": { "const": status.to_string() },
        "detail": { "type": "string", "minLength": 1 },
    });
    let mut required = vec!["status", "detail"];
    if !types.is_empty() {
        properties["scimType"] = json!({ "enum": types });
        required.push("scimType");
    }
    closed(message("Error", &required, properties))
}

/// The documents of discovery (RFC 7643 §5 to §7).
fn described(name: &str) -> Value {
    let text = json!({ "type": "string" });
    let flag =
        json!({ "type": "object", "properties": { "supported": { "type": "boolean" } }, "required": ["supported"] });
    let (required, mut properties) = match name {
        "Schema" => (
            vec!["id", "name", "attributes"],
            json!({ "id": text, "name": text, "description": text, "attributes": { "type": "array", "items": { "type": "object" } } }),
        ),
        "ResourceType" => (
            vec!["id", "name", "endpoint", "schema"],
            json!({
                "id": text, "name": text, "description": text, "endpoint": text, "schema": text,
                "schemaExtensions": { "type": "array", "items": {
                    "type": "object", "properties": { "schema": text, "required": { "type": "boolean" } }, "required": ["schema", "required"],
                } },
            }),
        ),
        _ => {
            let features = ["patch", "bulk", "filter", "changePassword", "sort", "etag"];
            let mut properties = json!({
                "documentationUri": text,
                "authenticationSchemes": { "type": "array", "minItems": 1, "items": { "type": "object" } },
                "pagination": { "type": "object" },
            });
            for feature in features {
                properties[feature] = flag.clone();
            }
            let required = features.into_iter().chain(["authenticationSchemes"]).collect();
            (required, properties)
        }
    };
    properties["schemas"] = json!({ "type": "array", "items": { "const": format!("urn:ietf:params:scim:schemas:core:2.0:{name}") }, "minItems": 1 });
    properties["meta"] = json!({ "type": "object", "properties": { "resourceType": { "const": name }, "location": { "type": "string", "format": "uri" } } });
    let required: Vec<&str> = required.into_iter().chain(["schemas", "meta"]).collect();
    closed(json!({ "type": "object", "properties": properties, "required": required }))
}
