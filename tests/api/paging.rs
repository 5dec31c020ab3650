//! Paging by cursor over HTTP (RFC 9865); `tests/scim_paging.rs` tests the cursors themselves.

use serde_json::json;

use crate::support::{anonymous, unique, wiki};

#[test]
fn empty_cursor_gets_the_first_page_and_next_cursor() {
    let stem = unique("cursor");
    for n in 0..3 {
        wiki().user(&format!("{stem}-{n}"));
    }
    let base = format!("/scim/v2/Users?filter=userName%20sw%20%22{stem}-%22&count=2&cursor");
    let first = wiki().get(&base).gives(200).body;
    assert_eq!(
        (&first["totalResults"], &first["itemsPerPage"], first.get("startIndex")),
        (&json!(3), &json!(2), None)
    );
    let second = wiki()
        .get(&format!("{base}={}", first["nextCursor"].as_str().unwrap()))
        .gives(200)
        .body;
    assert_eq!(second["Resources"][0]["userName"], format!("{stem}-2"));
    assert!(second.get("nextCursor").is_none() && second["previousCursor"].is_string());
}

#[test]
fn unknown_cursor_is_an_invalid_cursor() {
    wiki()
        .get("/scim/v2/Users?cursor=bogus")
        .refuses(400, Some("invalidCursor"));
    wiki()
        .get("/scim/v2/Users?cursor=&startIndex=1")
        .refuses(400, Some("invalidCursor"));
}

#[test]
fn both_ways_of_paging_are_announced() {
    let announced = anonymous().get("/scim/v2/ServiceProviderConfig").body["pagination"].clone();
    let expected = json!({
        "cursor": true, "index": true, "defaultPaginationMethod": "index",
        "defaultPageSize": 100, "maxPageSize": 1000, "cursorTimeout": 3600,
    });
    assert_eq!(announced, expected);
}
