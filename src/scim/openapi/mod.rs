//! This API in the words of OpenAPI 3.1. It is made of the resource types that are there, so that those of an
//! installation's own appear by themselves. Requests are described in strict form; what is tolerated beyond it is not.

mod schemas;

use serde_json::{Map, Value, json};

use self::schemas::reference;
use super::Fault;
use super::list::{DEFAULT_PAGE, LARGEST_PAGE};
use crate::domain::Kind;
use crate::domain::schema::{Registry, ResourceType};

const JSON: &str = "application/scim+json";

/// Every fault that a client can meet. Their table says which answers there are.
const FAULTS: [Fault; 17] = [
    Fault::InvalidFilter,
    Fault::InvalidSyntax,
    Fault::InvalidPath,
    Fault::InvalidValue,
    Fault::NoTarget,
    Fault::Mutability,
    Fault::TooMany,
    Fault::Unauthorized,
    Fault::Forbidden,
    Fault::NotFound,
    Fault::MethodNotAllowed,
    Fault::Uniqueness,
    Fault::Stale,
    Fault::TooLarge,
    Fault::MediaType,
    Fault::Internal,
    Fault::Unavailable,
];
/// What can go wrong wherever a token is needed.
const ANYWHERE: [Fault; 4] = [
    Fault::InvalidValue,
    Fault::Unauthorized,
    Fault::Internal,
    Fault::Unavailable,
];
/// What can be wrong with a body.
const BODY: [Fault; 2] = [Fault::TooLarge, Fault::MediaType];

/// What a search is made of, in a query or in a body (RFC 7644 §3.4.2, §3.4.3).
const SEARCH: [(&str, fn() -> Value); 7] = [
    (
        "filter",
        || json!({ "type": "string", "format": "scim-filter", "description": "A filter (RFC 7644 §3.4.2.2)." }),
    ),
    ("sortBy", || {
        let pattern = r#"^\s*[^\s\[\]()";\u0000-\u001f\u007f-\u009f]*\s*$"#;
        json!({ "type": "string", "pattern": pattern, "description": "The attribute to sort by; an unknown one sorts nothing." })
    }),
    (
        "sortOrder",
        || json!({ "type": "string", "enum": ["ascending", "descending"], "default": "ascending" }),
    ),
    (
        "startIndex",
        || json!({ "type": "integer", "default": 1, "description": "The place of the first resource, counted from 1; less counts as 1." }),
    ),
    (
        "count",
        || json!({ "type": "integer", "default": DEFAULT_PAGE, "description": format!("How many resources to give at most; never more than {LARGEST_PAGE}, and less than 0 counts as 0.") }),
    ),
    ("attributes", || {
        names("Shows these attributes, and those that are always shown.")
    }),
    ("excludedAttributes", || {
        names("Leaves these attributes out. Ignored beside attributes.")
    }),
];

fn names(description: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": description })
}

/// The description of the API under `base_url`.
pub fn describe(registry: &Registry, base_url: &str) -> Value {
    let mut paths = Map::new();
    for resource_type in registry.types() {
        of_type(resource_type, &mut paths);
    }
    let search = search("searchEverything", "Everything", "List");
    paths.insert("/.search".to_owned(), place("Everything", vec![("post", search)]));
    discovery(registry, &mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vestibule SCIM 2.0",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
            "description": "SCIM 2.0 (RFC 7643, RFC 7644). Answers are application/json for those who accept that alone. \
                A method that a path does not have is answered 405 (see the response Error405).",
        },
        "servers": [{ "url": base_url }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas::all(registry),
            "parameters": parameters(),
            "responses": refusals(),
            "headers": headers(),
            "securitySchemes": { "token": {
                "type": "http", "scheme": "bearer",
                "description": "A token of a service provider, made with `vestibule token create`.",
            } },
        },
    })
}

/// The paths of one resource type.
fn of_type(resource_type: &ResourceType, paths: &mut Map<String, Value>) {
    let (kind, endpoint) = (&resource_type.kind, &resource_type.endpoint);
    let (tag, one) = (kind.as_str(), reference(kind.as_str()));
    let (input, patch) = (format!("{kind}Input"), format!("{kind}Patch"));
    let all: Vec<&str> = SEARCH.iter().map(|(name, _)| *name).collect();
    let mut get = shown(200, &one, true);
    get.extend(answer(304, "The client has this version.", true));
    let mut patched = shown(200, &one, true);
    if *kind == Kind::GROUP {
        patched.extend(answer(204, "Done; the group is too large to be shown unasked.", true));
    }
    let mut created = shown(201, &one, true);
    created["201"]["links"] = ["get", "replace", "patch", "delete"]
        .map(|verb| {
            let id = json!({ "path.id": "$response.body#/id" });
            (
                verb.to_owned(),
                json!({ "operationId": format!("{verb}{kind}"), "parameters": id }),
            )
        })
        .into_iter()
        .collect();
    let on_one = [&ANYWHERE[..], &[Fault::NotFound]].concat();
    let on_change = [&on_one[..], &[Fault::Stale]].concat();
    let on_write = [&on_change[..], &BODY, &[Fault::Uniqueness]].concat();
    let on_create = [&ANYWHERE[..], &BODY, &[Fault::Uniqueness]].concat();
    let attributes = ["attributes", "excludedAttributes"];
    let conditions = ["ifMatch", "ifNoneMatch"];
    let both = [attributes, conditions].concat();
    let verb = |verb: &str| format!("{verb}{kind}");
    let operations = vec![
        (
            "get",
            operation(
                &verb("list"),
                tag,
                &all,
                None,
                (shown(200, &reference(&format!("{kind}List")), false), &ANYWHERE),
            ),
        ),
        (
            "post",
            operation(&verb("create"), tag, &attributes, Some(&input), (created, &on_create)),
        ),
    ];
    paths.insert(endpoint.clone(), place(tag, operations));
    let search = search(&verb("search"), tag, &format!("{kind}List"));
    paths.insert(format!("{endpoint}/.search"), place(tag, vec![("post", search)]));
    let gone = answer(204, "Done.", false);
    let operations = vec![
        (
            "get",
            operation(
                &verb("get"),
                tag,
                &[&attributes[..], &["ifNoneMatch"]].concat(),
                None,
                (get, &on_one),
            ),
        ),
        (
            "put",
            operation(
                &verb("replace"),
                tag,
                &both,
                Some(&input),
                (shown(200, &one, true), &on_write),
            ),
        ),
        (
            "patch",
            operation(&verb("patch"), tag, &both, Some(&patch), (patched, &on_write)),
        ),
        (
            "delete",
            operation(&verb("delete"), tag, &conditions, None, (gone, &on_change)),
        ),
    ];
    paths.insert(
        format!("{endpoint}/{{id}}"),
        with_id(place(tag, operations), &json!({ "type": "string", "minLength": 1 })),
    );
}

/// A search by POST (RFC 7644 §3.4.3).
fn search(id: &str, tag: &str, list: &str) -> Value {
    let faults = [&ANYWHERE[..], &BODY].concat();
    operation(
        id,
        tag,
        &[],
        Some("SearchRequest"),
        (shown(200, &reference(list), false), &faults),
    )
}

/// The paths that are open to everybody (RFC 7644 §4).
fn discovery(registry: &Registry, paths: &mut Map<String, Value>) {
    let tag = "Discovery";
    let open = |id: &str, schema: &str, faults: &[Fault]| {
        let faults = [faults, &[Fault::Forbidden]].concat();
        let mut open = operation(id, tag, &[], None, (shown(200, &reference(schema), false), &faults));
        open["security"] = json!([]);
        place(tag, vec![("get", open)])
    };
    let config = open("getServiceProviderConfig", "ServiceProviderConfig", &[]);
    paths.insert("/ServiceProviderConfig".to_owned(), config);
    let urns: Vec<&str> = registry.schemas().iter().map(|schema| schema.id.as_str()).collect();
    let types: Vec<&str> = registry.types().iter().map(|one| one.kind.as_str()).collect();
    for (path, name, ids) in [("/Schemas", "Schema", urns), ("/ResourceTypes", "ResourceType", types)] {
        let list = open(&format!("list{name}"), &format!("{name}List"), &[]);
        paths.insert(path.to_owned(), list);
        let one = open(&format!("get{name}"), name, &[Fault::NotFound]);
        paths.insert(format!("{path}/{{id}}"), with_id(one, &json!({ "enum": ids })));
    }
    let mut this = open("getDescription", "Schema", &[]);
    this["get"]["responses"]["200"]["content"] = json!({ "application/json": { "schema": { "type": "object" } } });
    paths.insert("/openapi.json".to_owned(), this);
}

/// One operation: what it takes, what it answers when all is well, and what can go wrong.
fn operation(
    id: &str,
    tag: &str,
    parameters: &[&str],
    body: Option<&str>,
    (mut responses, faults): (Map<String, Value>, &[Fault]),
) -> Value {
    for fault in faults {
        let status = fault.row().0;
        let refused = json!({ "$ref": format!("#/components/responses/Error{status}") });
        responses.insert(status.to_string(), refused);
    }
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }))
        .collect();
    let mut operation = json!({ "operationId": id, "tags": [tag], "parameters": parameters, "responses": responses });
    if let Some(schema) = body {
        operation["requestBody"] = json!({ "required": true, "content": { JSON: { "schema": reference(schema) } } });
    }
    operation
}

/// One path: its operations, HEAD beside each GET, and OPTIONS.
fn place(tag: &str, operations: Vec<(&str, Value)>) -> Value {
    let mut place = Map::new();
    for (method, operation) in operations {
        if method == "get" {
            let mut head = operation.clone();
            head["operationId"] = format!("{}Head", head["operationId"].as_str().unwrap_or_default()).into();
            place.insert("head".to_owned(), head);
        }
        place.insert(method.to_owned(), operation);
    }
    let mut allow: Vec<String> = place.keys().map(|method| method.to_uppercase()).collect();
    allow.push("OPTIONS".to_owned());
    allow.sort();
    let allow = json!({ "required": true, "schema": { "type": "string", "const": allow.join(", ") } });
    let mut options = answer(204, "The methods of this path.", false);
    options["204"]["headers"]["Allow"] = allow;
    place.insert(
        "options".to_owned(),
        json!({ "tags": [tag], "security": [], "responses": options }),
    );
    place.into()
}

fn with_id(mut place: Value, schema: &Value) -> Value {
    place["parameters"] = json!([{ "name": "id", "in": "path", "required": true, "schema": schema }]);
    place
}

/// An answer without a body; with `ETag` and `Location` if it is about one resource.
fn answer(status: u16, description: &str, versioned: bool) -> Map<String, Value> {
    let mut headers = json!({ "X-Request-Id": header("X-Request-Id") });
    if versioned {
        headers["ETag"] = header("ETag");
        headers["Location"] = header("Location");
    }
    let response = json!({ "description": description, "headers": headers });
    Map::from_iter([(status.to_string(), response)])
}

/// An answer with a body.
fn shown(status: u16, schema: &Value, versioned: bool) -> Map<String, Value> {
    let mut response = answer(status, "Done.", versioned);
    response[&status.to_string()]["content"] = content(schema);
    response
}

/// A body of an answer, in either media type.
fn content(schema: &Value) -> Value {
    json!({ JSON: { "schema": schema }, "application/json": { "schema": schema } })
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn headers() -> Value {
    let text = |description: &str, pattern: &str| json!({ "required": true, "description": description, "schema": { "type": "string", "pattern": pattern } });
    json!({
        "ETag": text("The resource's version; the same as meta.version.", "^W/\"[0-9]+\"$"),
        "Location": { "required": true, "description": "The resource's address; the same as meta.location.", "schema": { "type": "string", "format": "uri" } },
        "X-Request-Id": text("Finds the request in the log.", "^[0-9a-f]{16}$"),
        "WWW-Authenticate": text("How to authenticate (RFC 6750).", "^Bearer "),
        "Retry-After": text("Seconds after which to try again.", "^[0-9]+$"),
        "Allow": text("The methods of this path.", "^[A-Z]+(, [A-Z]+)*$"),
    })
}

fn parameters() -> Value {
    let mut parameters = Map::new();
    for (name, describe) in SEARCH {
        let mut schema = describe();
        let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({ "name": name, "in": "query", "schema": schema, "allowEmptyValue": true });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        if schema_is_list(&parameter) {
            parameter["style"] = "form".into();
            parameter["explode"] = false.into();
        }
        parameters.insert(name.to_owned(), parameter);
    }
    let tag = "(W/)?\"[!#-~]*\"";
    let tags = format!("^(\\*|{tag}(, *{tag})*)$");
    for (key, name) in [("ifMatch", "If-Match"), ("ifNoneMatch", "If-None-Match")] {
        let schema = json!({ "type": "string", "pattern": tags });
        parameters.insert(
            key.to_owned(),
            json!({ "name": name, "in": "header", "schema": schema, "description": "Entity tags (RFC 9110 §13.1)." }),
        );
    }
    parameters.into()
}

fn schema_is_list(parameter: &Value) -> bool {
    parameter["schema"]["type"] == "array"
}

/// The errors by their status.
fn refusals() -> Value {
    let mut refusals = Map::new();
    for fault in FAULTS {
        let status = fault.row().0;
        let same = FAULTS.iter().map(|other| other.row()).filter(|row| row.0 == status);
        let types: Vec<&str> = same.filter_map(|row| row.1).collect();
        let mut headers = json!({ "X-Request-Id": header("X-Request-Id") });
        let (description, more) = match status {
            400 => ("The request is not understood, or not possible.", None),
            401 => (
                "There is no token, or it is unknown, expired or revoked.",
                Some("WWW-Authenticate"),
            ),
            403 => ("Discovery takes no filter.", None),
            404 => ("There is no such resource where this client may look.", None),
            405 => ("This path does not have this method.", Some("Allow")),
            409 => ("A value that must be unique is taken.", None),
            412 => ("The resource's version is another one.", None),
            413 => ("The body is too large.", None),
            415 => ("The body says that it is no JSON.", None),
            503 => ("The userstore does not answer at the moment.", Some("Retry-After")),
            _ => ("Something went wrong here.", None),
        };
        if let Some(name) = more {
            headers[name] = header(name);
        }
        let refusal = json!({ "description": description, "headers": headers, "content": content(&schemas::error(status, &types)) });
        refusals.insert(format!("Error{status}"), refusal);
    }
    refusals.into()
}
