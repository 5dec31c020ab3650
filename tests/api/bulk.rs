//! Bulk (RFC 7644 §3.7).

use serde_json::{Value, json};

use crate::support::{Reply, USER, id_of, unique, wiki};

const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

fn bulk(operations: &Value) -> Reply {
    wiki().post(
        "/scim/v2/Bulk",
        &json!({ "schemas": [REQUEST], "Operations": operations }),
    )
}

fn statuses(answer: &Reply) -> Vec<String> {
    let operations = answer.body["Operations"].as_array().unwrap().iter();
    operations
        .map(|one| one["status"].as_str().unwrap().to_owned())
        .collect()
}

/// The path in the `location` of the operation at an index.
fn path_of(answer: &Reply, at: usize) -> String {
    let location = answer.body["Operations"][at]["location"].as_str().unwrap();
    location[location.find("/scim/").unwrap()..].to_owned()
}

fn user(bulk_id: &str, more: &Value) -> Value {
    let mut data = json!({ "schemas": [USER], "userName": unique("bulk") });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": data })
}

fn group(bulk_id: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|member| json!({ "value": member })).collect();
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": { "displayName": unique("bulk"), "members": members } })
}

#[test]
fn fail_on_errors_is_a_whole_number_however_it_is_written() {
    let sent = |most: Value| {
        let body = json!({ "schemas": [REQUEST], "failOnErrors": most, "Operations": [] });
        wiki().post("/scim/v2/Bulk", &body)
    };
    sent(json!(3.0)).gives(200);
    sent(json!(3.5)).refuses(400, Some("invalidValue"));
}

#[test]
fn location_of_a_missing_resource_is_a_valid_uri() {
    let answer = bulk(&json!([{ "method": "DELETE", "path": "/Users/ä b\u{90}" }])).gives(200);
    assert_eq!(statuses(&answer), ["404"]);
    let location = answer.body["Operations"][0]["location"].as_str().unwrap();
    assert!(location.ends_with("/Users/%C3%A4%20b%C2%90"), "{location}");
}

#[test]
fn each_method_is_carried_out_in_the_order_of_the_client() {
    let path = wiki().user(&unique("bulk"));
    let (short, name) = (path.trim_start_matches("/scim/v2"), unique("renamed"));
    let answer = bulk(&json!([
        user("a", &json!({})),
        { "method": "PUT", "path": short, "data": { "userName": name, "title": "one" } },
        { "method": "PATCH", "path": short, "data": { "Operations": [{ "op": "add", "path": "nickName", "value": "two" }] } },
        { "method": "DELETE", "path": short },
        { "method": "PATCH", "path": short, "data": { "Operations": [] } },
    ]))
    .gives(200);
    assert_eq!(answer.body["schemas"], json!([RESPONSE]));
    assert_eq!(statuses(&answer), ["201", "200", "200", "204", "404"]);
    let operations = answer.body["Operations"].as_array().unwrap();
    let versions: Vec<&Value> = operations.iter().map(|one| &one["version"]).collect();
    assert_eq!(
        versions,
        [
            &json!("W/\"1\""),
            &json!("W/\"2\""),
            &json!("W/\"3\""),
            &Value::Null,
            &Value::Null
        ]
    );
    assert_eq!(operations[0]["bulkId"], "a");
    assert!(operations.iter().all(|one| one["location"].is_string()));
    assert_eq!(operations[4]["response"]["status"], "404");
    wiki().get(&path).gives(404);
    wiki().get(&path_of(&answer, 0)).gives(200);
}

#[test]
fn a_reference_may_come_before_what_it_refers_to() {
    let answer = bulk(&json!([
        group("g", &["bulkId:u"]),
        user(
            "u",
            &json!({ "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "manager": { "value": "bulkId:boss" } } })
        ),
        user("boss", &json!({})),
    ]));
    assert_eq!(statuses(&answer), ["201", "201", "201"]);
    assert_eq!(wiki().members(&path_of(&answer, 0)), [id_of(&path_of(&answer, 1))]);
    let report = wiki().get(&path_of(&answer, 1)).body;
    let manager = &report["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]["manager"];
    assert_eq!(manager["value"], id_of(&path_of(&answer, 2)));
}

#[test]
fn circular_bulk_references_are_resolved() {
    let answer = bulk(&json!([
        group("a", &["bulkId:b"]),
        group("b", &["bulkId:a"]),
        group("self", &["bulkId:self"])
    ]));
    assert_eq!(statuses(&answer), ["201", "201", "201"]);
    let paths: Vec<String> = (0..3).map(|at| path_of(&answer, at)).collect();
    assert_eq!(wiki().members(&paths[0]), [id_of(&paths[1])]);
    assert_eq!(wiki().members(&paths[1]), [id_of(&paths[0])]);
    assert_eq!(wiki().members(&paths[2]), [id_of(&paths[2])]);
}

#[test]
fn a_reference_may_stand_in_a_path_and_in_operations() {
    let path = wiki().group(&unique("bulk"), &["somebody"]);
    let answer = bulk(&json!([
        { "method": "PATCH", "path": path.trim_start_matches("/scim/v2"), "data": { "Operations": [{ "op": "add", "path": "members", "value": [{ "value": "bulkId:u" }] }] } },
        { "method": "PATCH", "path": "/Users/bulkId:u", "data": [{ "op": "add", "path": "title", "value": "T" }] },
        user("u", &json!({})),
        { "method": "PATCH", "path": path, "data": [{ "op": "remove", "path": "members[value eq \"bulkId:u\"]" }] },
    ]));
    assert_eq!(statuses(&answer), ["200", "200", "201", "200"]);
    let user = path_of(&answer, 2);
    assert_eq!(wiki().members(&path), ["somebody"]);
    assert_eq!(wiki().get(&path).body["meta"]["version"], "W/\"3\"");
    assert_eq!(wiki().get(&user).body["title"], "T");
}

#[test]
fn operation_that_refers_to_a_failed_one_fails_entirely() {
    let taken = unique("bulk");
    wiki().user(&taken);
    let mut twin = user("u", &json!({}));
    twin["data"]["userName"] = json!(taken);
    let staff = group("g", &["bulkId:u"]);
    let name = staff["data"]["displayName"].as_str().unwrap().to_owned();
    let answer = bulk(&json!([
        staff,
        twin,
        group("later", &["bulkId:u"]),
        group("never", &["bulkId:nobody"])
    ]));
    assert_eq!(statuses(&answer), ["409", "409", "409", "409"]);
    assert!(answer.body["Operations"][0].get("location").is_none());
    assert_eq!(
        wiki().find("Groups", &format!("displayName eq \"{name}\"")).body["totalResults"],
        0
    );
}

#[test]
fn it_stops_after_as_many_errors_as_the_client_allows() {
    let operations = json!([
        { "method": "DELETE", "path": "/Users/none" },
        user("a", &json!({})),
        { "method": "DELETE", "path": "/Users/none" },
        user("b", &json!({})),
    ]);
    for (most, expected) in [
        (json!(1), vec!["404"]),
        (json!(2), vec!["404", "201", "404"]),
        (json!(0), vec!["404", "409", "404", "201"]),
    ] {
        let body = json!({ "schemas": [REQUEST], "failOnErrors": most, "Operations": operations });
        let answer = wiki().post("/scim/v2/Bulk", &body).gives(200);
        assert_eq!(statuses(&answer), expected, "{most}");
    }
}

#[test]
fn a_version_is_a_condition() {
    let path = wiki().user(&unique("bulk"));
    let patch = |version: &str| json!({ "method": "PATCH", "path": path, "version": version, "data": [{ "op": "add", "path": "title", "value": "T" }] });
    assert_eq!(
        statuses(&bulk(&json!([patch("W/\"7\""), patch("W/\"1\"")]))),
        ["412", "200"]
    );
}

#[test]
fn duplicate_bulk_id_is_refused_only_where_referenced() {
    assert_eq!(
        statuses(&bulk(&json!([user("a", &json!({})), user("a", &json!({}))]))),
        ["201", "201"]
    );
    let answer = bulk(&json!([
        user("a", &json!({})),
        user("a", &json!({})),
        group("g", &["bulkId:a"])
    ]));
    assert_eq!(statuses(&answer), ["201", "400", "201"]);
}

#[test]
fn malformed_bulk_request_is_refused_before_any_operation() {
    let good = user("a", &json!({}));
    for bad in [
        json!({ "method": "POST", "path": "/Users", "data": {} }),
        json!({ "method": "POST", "bulkId": "b", "data": {} }),
        json!({ "path": "/Users", "bulkId": "b", "data": {} }),
        json!({ "method": "POST", "path": "/Users", "bulkId": "b" }),
        json!({ "method": "GET", "path": "/Users" }),
        json!({ "method": "POST", "path": 7, "bulkId": "b", "data": {} }),
        json!("DELETE /Users/1"),
    ] {
        bulk(&json!([good, bad])).refuses(400, Some("invalidSyntax"));
    }
    for body in [json!([]), json!({}), json!({ "Operations": {} })] {
        wiki().post("/scim/v2/Bulk", &body).refuses(400, Some("invalidSyntax"));
    }
    let body = json!({ "failOnErrors": "many", "Operations": [] });
    wiki().post("/scim/v2/Bulk", &body).refuses(400, Some("invalidValue"));
    let name = good["data"]["userName"].as_str().unwrap();
    assert_eq!(
        wiki().find("Users", &format!("userName eq \"{name}\"")).body["totalResults"],
        0
    );
}

#[test]
fn the_limits_are_announced_and_kept() {
    let announced = wiki().get("/scim/v2/ServiceProviderConfig").body["bulk"].clone();
    assert_eq!(
        announced,
        json!({ "supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576 })
    );
    let many: Vec<Value> = (0..1001)
        .map(|_| json!({ "method": "DELETE", "path": "/Users/none" }))
        .collect();
    let refused = bulk(&json!(many)).refuses(413, None);
    assert!(refused.body["detail"].as_str().unwrap().contains("1000"));
    let large = json!({ "method": "DELETE", "path": "/Users/none", "data": "x".repeat(1_048_576) });
    bulk(&json!([large])).refuses(413, None);
    assert_eq!(statuses(&bulk(&json!(many[..1000]))), vec!["404"; 1000]);
}

#[test]
fn spellings_of_clients_are_understood() {
    let path = wiki().user(&unique("bulk"));
    let body = json!({ "operations": [
        { "Method": "patch", "path": path.trim_start_matches('/'), "data": { "operations": [{ "op": "Add", "path": "title", "value": "T" }] } },
        { "method": "delete", "path": crate::support::app().url(&path) },
    ] });
    let answer = wiki().post("/scim/v2/Bulk", &body).gives(200);
    assert_eq!(statuses(&answer), ["200", "204"]);
}

#[test]
fn passwords_never_come_back() {
    let answer = bulk(&json!([
        user("a", &json!({ "password": "s3cret-in-bulk" })),
        user("b", &json!({ "password": "s3cret-in-bulk", "active": {} }))
    ]));
    assert_eq!(statuses(&answer), ["201", "400"]);
    assert!(!answer.text.contains("s3cret-in-bulk"));
}
