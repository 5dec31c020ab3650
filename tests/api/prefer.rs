//! `Prefer: return=…` (RFC 7240 §4.2).

use serde_json::{Value, json};

use crate::support::{Caller, PATCH_OP, Reply, unique, wiki};

fn send(caller: &Caller, method: &str, path: &str, prefer: &str, body: &Value) -> Reply {
    caller.send(method, path, &[("prefer", prefer)], body.to_string())
}

#[test]
fn a_client_that_prefers_little_gets_no_body() {
    let (wiki, body) = (wiki(), json!({ "userName": unique("prefer") }));
    let made = send(&wiki, "POST", "/scim/v2/Users", "return=minimal", &body);
    let path = made.header("location").to_owned();
    let path = &path[path.find("/scim").unwrap()..];
    let patch = json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "add", "path": "title", "value": "T" }] });
    let patched = send(&wiki, "PATCH", path, "respond-async, Return=\"minimal\"", &patch);
    let replaced = send(&wiki, "PUT", path, "return=minimal; foo", &body);
    for (answer, status, version) in [(made, 201, 1), (patched, 204, 2), (replaced, 204, 3)] {
        assert_eq!((answer.status, answer.text.as_str()), (status, ""));
        assert_eq!(answer.header("preference-applied"), "return=minimal");
        assert_eq!(answer.header("etag"), format!("W/\"{version}\""));
        assert!(answer.header("location").ends_with(path));
    }
}

#[test]
fn a_client_that_prefers_all_gets_a_large_group_too() {
    let members: Vec<String> = (0..101).map(|n| format!("member-{n}")).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let (wiki, path) = (wiki(), wiki().group(&unique("prefer"), &members));
    let patch = json!({ "schemas": [PATCH_OP], "Operations": [{ "op": "add", "path": "members", "value": [{ "value": "x" }] }] });
    assert_eq!(wiki.send("PATCH", &path, &[], patch.to_string()).status, 204);
    let answer = send(&wiki, "PATCH", &path, "return=representation", &patch).gives(200);
    assert_eq!(answer.body["members"].as_array().unwrap().len(), 102);
    assert_eq!(answer.header("preference-applied"), "return=representation");
}
