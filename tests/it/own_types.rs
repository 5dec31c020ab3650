//! An administrator's own schemas: a resource type and an extension that are defined by files only, over HTTP with the
//! shipped binary. No attribute that is named here is named in the code.

mod server;

use serde_json::{Value, json};
use server::{Reply, Server, check};

const DEVICE: &str = "urn:example:schemas:2.0:Device";
const BADGE: &str = "urn:example:schemas:2.0:Badge";
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

fn device(serial: &str, more: Value) -> Value {
    let mut device = json!({"schemas": [DEVICE], "serialNumber": serial});
    device
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    device
}

fn make(server: &Server, serial: &str, more: Value) -> String {
    let made = server.post("/Devices", &device(serial, more)).gives(201);
    format!("/Devices/{}", made.body["id"].as_str().unwrap())
}

fn patch(server: &Server, path: &str, operations: Value) -> Reply {
    server.send(
        "PATCH",
        path,
        Some(&json!({"schemas": [PATCH_OP], "Operations": operations})),
    )
}

fn set(path: &str, value: Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

/// The serial numbers of the devices that a query finds, in its order.
fn found(server: &Server, query: &[(&str, &str)]) -> Vec<String> {
    let answer = server.query("/Devices", query).gives(200);
    let all = answer.body["Resources"].as_array().unwrap();
    all.iter()
        .map(|one| one["serialNumber"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn discovery_shows_what_the_files_say() {
    let server = Server::start();
    let types = server.get("/ResourceTypes").gives(200).body;
    let names: Vec<&Value> = types["Resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["User", "Group", "Device"]);
    let user = server.get("/ResourceTypes/User").gives(200).body;
    assert_eq!(user["schemaExtensions"][1], json!({"schema": BADGE, "required": false}));
    let shown = server.get(&format!("/Schemas/{DEVICE}")).gives(200).body;
    let file: Value = serde_json::from_str(include_str!("own_types/schemas/device.json")).unwrap();
    let written = file[0]["attributes"].as_array().unwrap();
    assert_eq!(shown["attributes"].as_array().unwrap().len(), written.len());
    for (written, shown) in written.iter().zip(shown["attributes"].as_array().unwrap()) {
        for (name, value) in written.as_object().unwrap() {
            let is_ours = name == "indexed" || name == "subAttributes";
            assert!(
                is_ours || shown[name] == *value,
                "{name} of {written} is shown as {shown}"
            );
        }
    }
    assert_eq!(shown["attributes"][10]["returned"], "never");
}

#[test]
fn a_resource_of_an_own_type_is_made_read_changed_and_deleted() {
    let server = Server::start();
    let all = json!({"label": "Printer", "slots": 2, "weight": 1.5, "lent": false, "bought": "2026-01-31T08:00:00Z",
        "manual": "https://example.com/m", "photo": "AAEC", "tags": ["a", "b"], "maker": {"value": "m", "contact": "x"},
        "cards": [{"value": "c1", "type": "wlan", "speed": 100, "up": true, "primary": true}, {"value": "c2"}]});
    let made = server.post("/Devices", &device("S1", all.clone())).gives(201);
    let path = format!("/Devices/{}", made.body["id"].as_str().unwrap());
    assert!(made.header("location").ends_with(&path));
    assert_eq!(made.body["meta"]["resourceType"], "Device");
    assert_eq!(made.header("etag"), made.body["meta"]["version"]);
    for (name, value) in all.as_object().unwrap() {
        assert_eq!(made.body[name], *value, "{name}");
    }
    assert_eq!(server.get(&path).gives(200).body, made.body);

    let operations = json!([
        {"op": "Add", "path": "cards", "value": [{"value": "c3"}]},
        {"op": "replace", "path": "cards[type eq \"wlan\"].speed", "value": "200"},
        {"op": "remove", "path": "cards[value eq \"c2\"]"},
        {"op": "add", "value": {"lent": "True", "maker.contact": "y"}},
        {"op": "remove", "path": "weight"}]);
    let patched = patch(&server, &path, operations).gives(200).body;
    assert_eq!(
        patched["cards"],
        json!([{"value": "c1", "type": "wlan", "speed": 200, "up": true, "primary": true}, {"value": "c3"}])
    );
    assert_eq!(
        (&patched["lent"], &patched["maker"]),
        (&json!(true), &json!({"value": "m", "contact": "y"}))
    );
    assert_eq!(patched.get("weight"), None);

    let replaced = server
        .send("PUT", &path, Some(&device("S1", json!({"label": "Scanner"}))))
        .gives(200)
        .body;
    assert_eq!(
        (&replaced["label"], replaced.get("slots"), replaced.get("cards")),
        (&json!("Scanner"), None, None)
    );
    server.send("DELETE", &path, None).gives(204);
    server.get(&path).gives(404);
}

/// A server with three devices, A, B and C.
fn three_devices() -> Server {
    let server = Server::start();
    let one = json!({"label": "x", "slots": 2, "weight": 0.5, "lent": true, "bought": "2026-01-01T00:00:00Z", "photo": "AAEC",
        "manual": "https://example.com/A", "tags": ["red"], "cards": [{"value": "1", "speed": 10, "up": true}, {"value": "2", "speed": 1000}]});
    let other = json!({"label": "Y", "slots": 10, "weight": 12, "lent": false, "bought": "2026-01-01T02:00:00+01:00", "tags": ["Blue"],
        "cards": [{"value": "3", "speed": 100, "up": false}]});
    make(&server, "A", one);
    make(&server, "B", other);
    make(&server, "C", json!({"diagnosis": "fine"}));
    server
}

#[test]
fn every_kind_of_attribute_can_be_part_of_a_filter() {
    let server = three_devices();
    for (filter, expected) in [
        ("slots gt 2", "B"),
        ("slots ge 2 and weight lt 1.0", "A"),
        ("weight eq 0.5", "A"),
        ("lent eq true", "A"),
        ("not (lent eq true)", "BC"),
        ("bought gt \"2026-01-01T00:30:00Z\"", "B"),
        ("bought eq \"2026-01-01T01:00:00+01:00\"", "A"),
        ("manual sw \"https://example.com/A\"", "A"),
        ("manual eq \"https://example.com/a\"", ""),
        ("photo eq \"AAEC\"", "A"),
        ("photo eq \"aaec\"", ""),
        ("tags eq \"BLUE\"", "B"),
        ("label pr", "AB"),
        ("label co \"y\"", "B"),
        ("cards[speed gt 50 and up eq true]", ""),
        ("cards[speed lt 50 and up eq true]", "A"),
        ("cards eq \"3\" or diagnosis eq \"FINE\"", "BC"),
        ("cards.speed ge 1000", "A"),
        ("serialNumber eq \"a\"", ""),
        (&format!("{DEVICE}:slots eq 10"), "B"),
        ("meta.resourceType eq \"Device\"", "ABC"),
        ("maker pr", ""),
    ] {
        assert_eq!(found(&server, &[("filter", filter)]).concat(), expected, "{filter}");
    }
    server
        .query("/Devices", &[("filter", "lent gt true")])
        .refuses(400, "invalidFilter");
}

#[test]
fn every_kind_of_attribute_can_be_sorted_by_and_searched_for() {
    let server = three_devices();
    for (by, order, expected) in [
        ("slots", "ascending", "ABC"),
        ("slots", "descending", "CBA"),
        ("weight", "ascending", "ABC"),
        ("label", "ascending", "ABC"),
        ("bought", "descending", "CBA"),
        ("lent", "ascending", "BAC"),
        ("cards.speed", "ascending", "ABC"),
        ("serialNumber", "descending", "CBA"),
    ] {
        let query = [("sortBy", by), ("sortOrder", order)];
        assert_eq!(found(&server, &query).concat(), expected, "{by} {order}");
    }
    assert_eq!(found(&server, &[("startIndex", "2"), ("count", "1")]), ["B"]);
    let request = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "slots pr", "attributes": ["label"]});
    for place in ["/Devices/.search", "/.search"] {
        let answer = server.post(place, &request).gives(200).body;
        assert_eq!(answer["totalResults"], 2, "{place}");
        assert_eq!(
            (&answer["Resources"][0]["label"], answer["Resources"][0].get("slots")),
            (&json!("x"), None)
        );
    }
}

#[test]
fn schema_decides_who_reads_and_writes_an_attribute() {
    let server = Server::start();
    let path = make(
        &server,
        "S1",
        json!({"pin": "1234", "diagnosis": "fine", "firmware": "9", "maker": {"value": "m"}}),
    );
    let shown = server.get(&path).gives(200).body;
    for hidden in ["pin", "diagnosis", "firmware"] {
        assert_eq!(shown.get(hidden), None, "{hidden}");
    }
    let asked = server.query(&path, &[("attributes", "diagnosis,pin")]).gives(200).body;
    assert_eq!(
        (&asked["diagnosis"], asked.get("pin"), asked.get("maker")),
        (&json!("fine"), None, None)
    );

    patch(&server, &path, set("serialNumber", json!("S2"))).refuses(400, "mutability");
    patch(&server, &path, set("serialNumber", json!("S1"))).gives(200);
    patch(&server, &path, set("maker.value", json!("n"))).refuses(400, "mutability");
    patch(&server, &path, set("firmware", json!("10"))).refuses(400, "mutability");
    server
        .send("PUT", &path, Some(&device("S2", json!({}))))
        .refuses(400, "mutability");
    server
        .send("PUT", &path, Some(&device("S1", json!({"maker": {"value": "n"}}))))
        .refuses(400, "mutability");
    patch(&server, &path, set("pin", json!("5678"))).gives(200);
    // A filter cannot reveal a value that is never returned.
    server
        .query("/Devices", &[("filter", "pin eq \"5678\"")])
        .refuses(400, "invalidFilter");
    make(&server, "S0", json!({"pin": "0000"}));
    assert_eq!(found(&server, &[("sortBy", "pin")]), ["S1", "S0"]);
}

#[test]
fn required_attributes_and_types_are_checked() {
    let server = Server::start();
    server
        .post("/Devices", &json!({"schemas": [DEVICE], "label": "x"}))
        .refuses(400, "invalidValue");
    for wrong in [
        json!({"slots": 1.5}),
        json!({"slots": "many"}),
        json!({"weight": "heavy"}),
        json!({"lent": "perhaps"}),
        json!({"bought": "yesterday"}),
        json!({"manual": {"x": 1}}),
        json!({"cards": [{"speed": "fast"}]}),
        json!({"maker": "m", "tags": [{"x": 1}]}),
    ] {
        let refused = server
            .post("/Devices", &device("S1", wrong.clone()))
            .refuses(400, "invalidValue");
        let name = wrong.as_object().unwrap().keys().next_back().unwrap().clone();
        assert!(
            refused.body["detail"].as_str().unwrap().contains(&name),
            "{wrong}: {}",
            refused.body
        );
    }
    let path = make(&server, "S1", json!({}));
    patch(&server, &path, json!([{"op": "remove", "path": "serialNumber"}])).refuses(400, "mutability");

    let user = |more: Value| json!({"userName": "ann", BADGE: more});
    server
        .post("/Users", &user(json!({"colour": "red"})))
        .refuses(400, "invalidValue");
    let ann = server.post("/Users", &user(json!({"number": 7}))).gives(201).body;
    let ann = format!("/Users/{}", ann["id"].as_str().unwrap());
    patch(
        &server,
        &ann,
        json!([{"op": "remove", "path": format!("{BADGE}:number")}]),
    )
    .refuses(400, "mutability");
    patch(
        &server,
        &ann,
        json!([{"op": "add", "value": {BADGE: {"colour": "red"}}}]),
    )
    .gives(200);
    let filter = format!("{BADGE}:colour eq \"RED\" and {BADGE}:number lt 8");
    assert_eq!(
        server.query("/Users", &[("filter", &filter)]).gives(200).body["totalResults"],
        1
    );
}

#[test]
fn unique_value_is_taken_in_every_spelling() {
    let server = Server::start();
    let one = make(
        &server,
        "S1",
        json!({"assetTag": "T1", "port": 1, "cards": [{"value": "c1"}, {"value": "c2"}]}),
    );
    for (wrong, attribute) in [
        (device("S1", json!({})), "serialNumber"),
        (device("S2", json!({"assetTag": "t1"})), "assetTag"),
        (device("S2", json!({"port": "1"})), "port"),
        (
            device("S2", json!({"cards": [{"value": "c3"}, {"value": "C2"}]})),
            "cards.value",
        ),
    ] {
        let refused = server.post("/Devices", &wrong).refuses(409, "uniqueness");
        assert!(
            refused.body["detail"].as_str().unwrap().starts_with(attribute),
            "{}",
            refused.body
        );
    }
    // The serial number is case-exact, and a refused device reserved no values.
    make(&server, "s1", json!({"port": 2}));
    let other = make(
        &server,
        "S2",
        json!({"assetTag": "T2", "port": 3, "cards": [{"value": "c3"}]}),
    );
    patch(&server, &other, set("port", json!(1))).refuses(409, "uniqueness");
    patch(
        &server,
        &other,
        json!([{"op": "add", "path": "cards", "value": [{"value": "c1"}]}]),
    )
    .refuses(409, "uniqueness");
    server
        .send("PUT", &other, Some(&device("S2", json!({"assetTag": "T1"}))))
        .refuses(409, "uniqueness");
    assert_eq!(server.get(&other).body["assetTag"], "T2");
    // A device may keep its own value, and a removed value is free again.
    patch(&server, &other, set("port", json!(3))).gives(200);
    patch(&server, &one, json!([{"op": "remove", "path": "port"}])).gives(200);
    patch(&server, &other, set("port", json!(1))).gives(200);
    server.send("DELETE", &one, None).gives(204);
    make(&server, "S1", json!({"assetTag": "T1", "cards": [{"value": "c1"}]}));

    let badge = |name: &str, number: i64| json!({"userName": name, BADGE: {"number": number}});
    server.post("/Users", &badge("ann", 7)).gives(201);
    let refused = server.post("/Users", &badge("bob", 7)).refuses(409, "uniqueness");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{BADGE}:number"))
    );
    server.post("/Users", &badge("bob", 8)).gives(201);
}

#[test]
fn uniqueness_server_is_per_store_and_global_spans_all() {
    let server = Server::start();
    let elsewhere = server.as_client_of("branch");
    make(&server, "S1", json!({"assetTag": "T1", "port": 1}));
    make(&elsewhere, "S1", json!({"assetTag": "T2", "port": 1}));
    elsewhere
        .post("/Devices", &device("S3", json!({"assetTag": "T1"})))
        .refuses(409, "uniqueness");
}

#[test]
fn parallel_claims_of_one_unique_value_admit_one() {
    let server = Server::start();
    let made = std::thread::scope(|scope| {
        let create = |at: usize| {
            server
                .post(
                    "/Devices",
                    &device(&format!("S{at}"), json!({"port": 1, "assetTag": "T"})),
                )
                .status
        };
        let threads: Vec<_> = (0..12).map(|at| scope.spawn(move || create(at))).collect();
        let statuses: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(
            statuses.iter().all(|status| matches!(status, 201 | 409)),
            "{statuses:?}"
        );
        statuses.iter().filter(|status| **status == 201).count()
    });
    assert_eq!(made, 1);
}

#[test]
fn a_bad_file_is_told_by_its_name_its_place_and_what_to_do() {
    for (text, message) in [
        ("{", "bad.json: not valid JSON"),
        ("[1]", "bad.json: /0: expected a schema or a resource type"),
        (
            r#"{"id": "urn:x:y", "name": "X", "attributes": [{"name": "a", "type": "int"}]}"#,
            "bad.json: /attributes/0/type: must be one of string, boolean,",
        ),
        (
            r#"{"id": "urn:x:y", "name": "X", "attributes": [{"name": "pin", "mutability": "writeOnly", "returned": "always"}]}"#,
            "bad.json: /attributes/0/returned: a writeOnly attribute is never returned",
        ),
        (
            r#"{"name": "Thing", "endpoint": "/Things", "schema": "urn:nowhere"}"#,
            "bad.json: /schema: there is no schema urn:nowhere",
        ),
        (
            r#"{"name": "Thing", "endpoint": "/Users", "schema": "urn:ietf:params:scim:schemas:core:2.0:User"}"#,
            "bad.json: /endpoint: /Users belongs to another resource type",
        ),
    ] {
        let (status, said) = check(text);
        assert_eq!(status, 2, "{text}: {said}");
        assert_eq!(said.matches("bad.json").count(), 1, "{said}");
        assert!(said.contains(message), "{message} is missing in: {said}");
    }
}
