//! Describes this API in OpenAPI 3.1. The description is generated from the registered resource types, so custom ones
//! are included. Requests are described in strict form, without the tolerances.

mod operation;
mod schemas;

use serde_json::{Map, Value, json};

use self::operation::{Operation, content, done, header, place, preferred, shows, versioned, with_id};
use self::schemas::{reference, search};
use super::{Prefer, ScimErrorKind};
use crate::domain::Kind;
use crate::domain::schema::{Registry, ResourceType};

/// Every fault that a client can get. Their table determines the error responses.
const FAULTS: [ScimErrorKind; 19] = [
    ScimErrorKind::InvalidFilter,
    ScimErrorKind::InvalidSyntax,
    ScimErrorKind::InvalidPath,
    ScimErrorKind::InvalidValue,
    ScimErrorKind::NoTarget,
    ScimErrorKind::Mutability,
    ScimErrorKind::TooMany,
    ScimErrorKind::InvalidCursor,
    ScimErrorKind::ExpiredCursor,
    ScimErrorKind::Unauthorized,
    ScimErrorKind::Forbidden,
    ScimErrorKind::NotFound,
    ScimErrorKind::MethodNotAllowed,
    ScimErrorKind::Uniqueness,
    ScimErrorKind::Stale,
    ScimErrorKind::TooLarge,
    ScimErrorKind::MediaType,
    ScimErrorKind::Internal,
    ScimErrorKind::Unavailable,
];
/// The parameters that select the attributes of a response (RFC 7644 §3.9).
const SHOWN: [&str; 2] = ["attributes", "excludedAttributes"];
/// The conditional headers (RFC 7644 §3.14): the names of their parameters in this description, and the header names.
const CONDITIONS: [(&str, &str); 2] = [("ifMatch", "If-Match"), ("ifNoneMatch", "If-None-Match")];
/// The values of `Prefer` for the response to a write (RFC 7240 §4.2).
const PREFERENCES: [&str; 2] = [Prefer::Minimal.as_str(), Prefer::Representation.as_str()];

/// The description of the API under `base_url`.
pub fn describe(registry: &Registry, base_url: &str) -> Value {
    let mut paths = Map::new();
    for resource_type in registry.types() {
        paths.insert(resource_type.endpoint.clone(), collection(resource_type));
        let tag = resource_type.kind.as_str();
        let search = searching(&format!("search{tag}"), tag, &format!("{tag}List"));
        paths.insert(format!("{}/.search", resource_type.endpoint), search);
        paths.insert(format!("{}/{{id}}", resource_type.endpoint), resource(resource_type));
    }
    let everything = searching("searchEverything", "Everything", "List");
    paths.insert("/.search".to_owned(), everything);
    paths.insert("/".to_owned(), root());
    paths.insert("/Bulk".to_owned(), bulk());
    paths.insert("/Me".to_owned(), me());
    discovery(registry, &mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vestibule SCIM 2.0",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
            "description": "SCIM 2.0 (RFC 7643, RFC 7644). A method that a path does not have is answered 405, as the response Error405 says.",
        },
        "servers": [{ "url": base_url }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas::all(registry),
            "parameters": parameters(),
            "responses": refusals(),
            "headers": headers(),
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "A token of a service provider, made with `vestibule token create`.",
                },
                "person": {
                    "type": "http", "scheme": "bearer",
                    "description": "An access token of a person, with the scope openid.",
                },
            },
        },
    })
}

/// A query over every resource type (RFC 7644 §3.4.2.1).
fn root() -> Value {
    let parameters = search().map(|(name, _)| name);
    let list = Operation::new("listEverything", "Everything")
        .takes(&parameters)
        .answers(200, shows(&reference("List")));
    place("Everything", vec![("get", list)])
}

/// A collection, such as `/Users`.
fn collection(resource_type: &ResourceType) -> Value {
    let kind = resource_type.kind.as_str();
    let parameters = search().map(|(name, _)| name);
    let list = Operation::new(&format!("list{kind}"), kind)
        .takes(&parameters)
        .answers(200, shows(&reference(&format!("{kind}List"))));
    let mut created = preferred(versioned(shows(&reference(kind))));
    for verb in ["get", "replace", "patch", "delete"] {
        let id = json!({ "path.id": "$response.body#/id" });
        created["links"][verb] = json!({ "operationId": format!("{verb}{kind}"), "parameters": id });
    }
    let create = Operation::new(&format!("create{kind}"), kind)
        .takes(&SHOWN)
        .takes(&["prefer"])
        .reads(&format!("{kind}Input"))
        .answers(201, created)
        .fails(&[ScimErrorKind::Uniqueness]);
    place(kind, vec![("get", list), ("post", create)])
}

/// A resource, such as `/Users/{id}`.
fn resource(resource_type: &ResourceType) -> Value {
    let kind = resource_type.kind.as_str();
    let on_one = |verb: &str| Operation::new(&format!("{verb}{kind}"), kind).fails(&[ScimErrorKind::NotFound]);
    let on_version = |verb: &str| {
        on_one(verb)
            .takes(&CONDITIONS.map(|(key, _)| key))
            .fails(&[ScimErrorKind::Stale])
    };
    let one = || versioned(shows(&reference(kind)));
    let write = |verb: &str, body: &str| {
        let unshown =
            done("Done. The client prefers no body, or the group is too large to be returned unless requested.");
        on_version(verb)
            .takes(&SHOWN)
            .takes(&["prefer"])
            .reads(&format!("{kind}{body}"))
            .answers(200, preferred(one()))
            .answers(204, preferred(versioned(unshown)))
            .fails(&[ScimErrorKind::Uniqueness])
    };
    let get = on_one("get")
        .takes(&SHOWN)
        .takes(&["ifNoneMatch"])
        .answers(200, one())
        .answers(304, versioned(done("The client has this version.")));
    let (replace, patch) = (write("replace", "Input"), write("patch", "Patch"));
    let delete = on_version("delete").answers(204, done("Done."));
    let verbs = vec![("get", get), ("put", replace), ("patch", patch), ("delete", delete)];
    with_id(place(kind, verbs), &json!({ "type": "string", "minLength": 1 }))
}

/// A search by POST (RFC 7644 §3.4.3).
fn searching(id: &str, tag: &str, list: &str) -> Value {
    let search = Operation::new(id, tag)
        .reads("SearchRequest")
        .answers(200, shows(&reference(list)));
    place(tag, vec![("post", search)])
}

/// `/Bulk` (RFC 7644 §3.7).
fn bulk() -> Value {
    let bulk = Operation::new("bulk", "Everything")
        .reads("BulkRequest")
        .answers(200, shows(&reference("BulkResponse")));
    place("Everything", vec![("post", bulk)])
}

/// `/Me` (RFC 7644 §3.11).
fn me() -> Value {
    let user = || versioned(shows(&reference(Kind::USER.as_str())));
    let get = Operation::of_person("getMe", Kind::USER.as_str())
        .takes(&SHOWN)
        .takes(&["ifNoneMatch"])
        .answers(200, user())
        .answers(304, versioned(done("The client has this version.")))
        .fails(&[ScimErrorKind::Forbidden, ScimErrorKind::NotFound]);
    place(Kind::USER.as_str(), vec![("get", get)])
}

/// The paths that need no authentication (RFC 7644 §4).
fn discovery(registry: &Registry, paths: &mut Map<String, Value>) {
    let open = |id: &str, answer: Value, faults: &[ScimErrorKind]| {
        let get = Operation::open(id, "Discovery").answers(200, answer).fails(faults);
        place("Discovery", vec![("get", get)])
    };
    let config = shows(&reference("ServiceProviderConfig"));
    paths.insert(
        "/ServiceProviderConfig".to_owned(),
        open("getServiceProviderConfig", config, &[]),
    );
    let urns: Vec<&str> = registry.schemas().iter().map(|schema| schema.id.as_str()).collect();
    let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
    for (path, name, ids) in [("/Schemas", "Schema", urns), ("/ResourceTypes", "ResourceType", types)] {
        let list = shows(&reference(&format!("{name}List")));
        paths.insert(path.to_owned(), open(&format!("list{name}"), list, &[]));
        let one = open(
            &format!("get{name}"),
            shows(&reference(name)),
            &[ScimErrorKind::NotFound],
        );
        paths.insert(format!("{path}/{{id}}"), with_id(one, &json!({ "enum": ids })));
    }
    let mut description = done("This description.");
    description["content"] = json!({ "application/json": { "schema": { "type": "object" } } });
    paths.insert("/openapi.json".to_owned(), open("getOpenApi", description, &[]));
}

fn parameters() -> Value {
    let mut parameters = Map::new();
    for (name, schema) in search() {
        let mut parameter = json!({ "name": name, "in": "query", "schema": schema });
        if schema["type"] == "array" {
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameters.insert(name.to_owned(), parameter);
    }
    let tag = "(W/)?\"[!#-~]*\"";
    let tags = json!({ "type": "string", "pattern": format!("^(\\*|{tag}(, *{tag})*)$") });
    for (key, name) in CONDITIONS {
        let parameter =
            json!({ "name": name, "in": "header", "schema": tags, "description": "Entity tags (RFC 9110 §13.1)." });
        parameters.insert(key.to_owned(), parameter);
    }
    let preference = json!({ "type": "string", "examples": PREFERENCES });
    let prefer = json!({ "name": "Prefer", "in": "header", "schema": preference, "description": "RFC 7240; others are ignored." });
    parameters.insert("prefer".to_owned(), prefer);
    parameters.into()
}

fn headers() -> Value {
    let text = |description: &str, pattern: &str| json!({ "required": true, "description": description, "schema": { "type": "string", "pattern": pattern } });
    json!({
        "ETag": text("The resource's version, as in meta.version.", "^W/\"[0-9]+\"$"),
        "Location": {
            "required": true,
            "description": "The resource's address, as in meta.location.",
            "schema": { "type": "string", "format": "uri" },
        },
        "X-Request-Id": text("Finds the request in the log.", "^[0-9a-f]{16}$"),
        "WWW-Authenticate": text("How to authenticate (RFC 6750).", "^Bearer "),
        "Retry-After": text("Seconds after which to try again.", "^[0-9]+$"),
        "Preference-Applied": {
            "description": "The preference that was applied; with return=minimal there is no body.",
            "schema": { "type": "string", "enum": PREFERENCES },
        },
        "Allow": text("The methods of this path.", "^[A-Z]+(, [A-Z]+)*$"),
    })
}

/// The errors by their status.
fn refusals() -> Value {
    let mut refusals = Map::new();
    for fault in FAULTS {
        let status = fault.row().0;
        let same = FAULTS.iter().map(|other| other.row()).filter(|row| row.0 == status);
        let types: Vec<&str> = same.filter_map(|row| row.1).collect();
        let (description, more) = match status {
            400 => ("The request is invalid or cannot be carried out.", None),
            401 => (
                "There is no token, or it is unknown, expired or revoked.",
                Some("WWW-Authenticate"),
            ),
            403 => (
                "Discovery takes no filter; Me takes a token with the scope openid.",
                None,
            ),
            404 => ("There is no such resource, or this client cannot see it.", None),
            405 => ("This path does not have this method.", Some("Allow")),
            409 => ("A value that must be unique is taken.", None),
            412 => ("The resource has another version.", None),
            413 => ("The body is too large.", None),
            415 => ("The content type of the body is not JSON.", None),
            503 => ("The userstore does not answer at the moment.", Some("Retry-After")),
            _ => ("Internal server error.", None),
        };
        let mut refusal = done(description);
        refusal["content"] = content(&schemas::error(status, &types));
        if let Some(name) = more {
            refusal["headers"][name] = header(name);
        }
        refusals.insert(format!("Error{status}"), refusal);
    }
    refusals.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = r#"[{"id": "urn:example:2.0:Device", "name": "Device", "attributes": [
            {"name": "label", "required": true, "uniqueness": "server"}, {"name": "number", "type": "integer"},
            {"name": "pin", "mutability": "writeOnly", "returned": "never"}, {"name": "serial", "mutability": "readOnly"}]},
        {"name": "Device", "endpoint": "/Devices", "schema": "urn:example:2.0:Device"}]"#;

    fn description() -> Value {
        let registry = Registry::load(&[("device.json".to_owned(), DEVICE.to_owned())]).expect("valid");
        describe(&registry, "https://id.example.com/scim/v2")
    }

    #[test]
    fn custom_resource_types_are_described() {
        let described = description();
        for path in ["/Devices", "/Devices/.search", "/Devices/{id}"] {
            assert!(described["paths"][path].is_object(), "{path}");
        }
        let ids = &described["paths"]["/ResourceTypes/{id}"]["parameters"][0]["schema"]["enum"];
        assert_eq!(*ids, json!(["User", "Group", "Device"]));
    }

    #[test]
    fn input_marks_read_only_and_output_has_no_secrets() {
        let schemas = &description()["components"]["schemas"];
        let (input, output) = (&schemas["DeviceInput"], &schemas["Device"]);
        assert_eq!(input["required"], json!(["schemas", "label"]));
        assert_eq!(output["required"], json!(["schemas", "id"]));
        let has = |of: &Value, name: &str| of["properties"].get(name).is_some();
        assert!(has(input, "pin"));
        assert_eq!(input["properties"]["serial"]["readOnly"], true);
        assert!(!has(output, "pin") && has(output, "serial") && has(output, "meta"));
        assert_eq!(input["properties"]["number"]["type"], "integer");
    }

    #[test]
    fn every_schema_reference_resolves() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let (described, mut found) = (description(), Vec::new());
        references(&described, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let place = reference.strip_prefix('#').expect("within the description");
            assert!(described.pointer(place).is_some(), "{reference}");
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let described = description();
        let places = described["paths"].as_object().expect("an object").values();
        let ids: Vec<&str> = places
            .flat_map(|place| place.as_object().expect("an object").values())
            .filter_map(|operation| operation.get("operationId")?.as_str())
            .collect();
        let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
