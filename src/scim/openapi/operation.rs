//! Builds the parts of a description: operations, their responses and their paths.

use serde_json::{Map, Value, json};

use super::schemas::reference;
use crate::scim::ScimErrorKind;

const JSON: &str = "application/scim+json";

/// One operation while it is being described.
pub(super) struct Operation(Value);

impl Operation {
    /// An operation that needs a token.
    pub(super) fn new(id: &str, tag: &str) -> Self {
        let operation = json!({ "operationId": id, "tags": [tag], "parameters": [], "responses": {} });
        Self(operation).fails(&[
            ScimErrorKind::InvalidValue,
            ScimErrorKind::Unauthorized,
            ScimErrorKind::Internal,
            ScimErrorKind::Unavailable,
        ])
    }

    /// An operation that needs the token of a person.
    pub(super) fn of_person(id: &str, tag: &str) -> Self {
        let mut operation = Self::new(id, tag);
        operation.0["security"] = json!([{ "person": [] }]);
        operation
    }

    /// An operation that needs no authentication.
    pub(super) fn open(id: &str, tag: &str) -> Self {
        let operation = json!({ "operationId": id, "tags": [tag], "security": [], "responses": {} });
        Self(operation).fails(&[ScimErrorKind::Forbidden])
    }

    /// Adds parameters by their names in the description.
    pub(super) fn takes(mut self, parameters: &[&str]) -> Self {
        for name in parameters {
            if let Some(all) = self.0["parameters"].as_array_mut() {
                all.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
            }
        }
        self
    }

    /// Adds a required body of this schema.
    pub(super) fn reads(mut self, schema: &str) -> Self {
        self.0["requestBody"] = json!({ "required": true, "content": { JSON: { "schema": reference(schema) } } });
        self.fails(&[ScimErrorKind::TooLarge, ScimErrorKind::MediaType])
    }

    /// Adds a response.
    pub(super) fn answers(mut self, status: u16, answer: Value) -> Self {
        self.0["responses"][status.to_string()] = answer;
        self
    }

    /// Adds the error responses of these faults.
    pub(super) fn fails(self, faults: &[ScimErrorKind]) -> Self {
        faults.iter().fold(self, |operation, fault| {
            let status = fault.row().0;
            let refusal = json!({ "$ref": format!("#/components/responses/Error{status}") });
            operation.answers(status, refusal)
        })
    }
}

/// One path: its operations, HEAD for GET, and OPTIONS.
pub(super) fn place(tag: &str, operations: Vec<(&str, Operation)>) -> Value {
    let mut place = Map::new();
    for (method, Operation(operation)) in operations {
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
    let mut answer = done("The methods of this path.");
    answer["headers"]["Allow"] = json!({ "required": true, "schema": { "type": "string", "const": allow.join(", ") } });
    let options = json!({ "tags": [tag], "security": [], "responses": { "204": answer } });
    place.insert("options".to_owned(), options);
    place.into()
}

/// A path that ends in an id.
pub(super) fn with_id(mut place: Value, schema: &Value) -> Value {
    place["parameters"] = json!([{ "name": "id", "in": "path", "required": true, "schema": schema }]);
    place
}

/// A response without a body.
pub(super) fn done(description: &str) -> Value {
    json!({ "description": description, "headers": { "X-Request-Id": header("X-Request-Id") } })
}

/// A response with a body.
pub(super) fn shows(schema: &Value) -> Value {
    let mut answer = done("Done.");
    answer["content"] = content(schema);
    answer
}

/// Adds the headers of one version of one resource to a response.
pub(super) fn versioned(mut answer: Value) -> Value {
    for name in ["ETag", "Location"] {
        answer["headers"][name] = header(name);
    }
    answer
}

/// Adds the `Preference-Applied` header to a response.
pub(super) fn preferred(mut answer: Value) -> Value {
    answer["headers"]["Preference-Applied"] = header("Preference-Applied");
    answer
}

/// The body of a response, also as `application/json` for clients that accept only that.
pub(super) fn content(schema: &Value) -> Value {
    json!({ JSON: { "schema": schema }, "application/json": { "schema": schema } })
}

/// A reference to a header of this description.
pub(super) fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}
