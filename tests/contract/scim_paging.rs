//! Paging by cursor (RFC 9865) on every store. A database that is not configured is reported as ignored.

use std::time::Duration;

use crate::fixtures::service::{Case, Service};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use vestibule::domain::Kind;
use vestibule::scim::{ResourceRef, ScimErrorKind};

const CASES: &[(&str, Case)] = &[
    (
        "cursors_lead_through_every_order_and_back",
        cursors_lead_through_every_order_and_back,
    ),
    (
        "the_first_page_tells_the_total_and_has_no_previous",
        the_first_page_tells_the_total_and_has_no_previous,
    ),
    (
        "cursor_is_stable_across_creates_and_deletes",
        cursor_is_stable_across_creates_and_deletes,
    ),
    (
        "a_cursor_is_good_for_its_own_search_alone",
        a_cursor_is_good_for_its_own_search_alone,
    ),
    ("a_cursor_expires", a_cursor_expires),
    (
        "a_cursor_goes_on_with_another_count",
        a_cursor_goes_on_with_another_count,
    ),
    ("a_page_of_none_leads_nowhere", a_page_of_none_leads_nowhere),
    (
        "a_search_at_the_root_goes_on_from_type_to_type",
        a_search_at_the_root_goes_on_from_type_to_type,
    ),
    (
        "cursor_and_start_index_exclude_each_other",
        cursor_and_start_index_exclude_each_other,
    ),
];

/// Sorts by an index, in memory, by attributes that some resources lack, and by values that all share.
fn cursors_lead_through_every_order_and_back(service: &Service) {
    people(service, 11);
    for filter in [json!(null), json!("userName co \"1\""), json!("title eq \"T1\"")] {
        for sort in [
            "id",
            "userName",
            "meta.created",
            "meta.lastModified",
            "title",
            "active",
            "emails",
            "nothing",
        ] {
            for order in ["ascending", "descending"] {
                let search = json!({"filter": filter, "sortBy": sort, "sortOrder": order});
                let whole = names(&service.search(Some(&Kind::USER), &search).unwrap());
                for count in [1, 2, 3, 100] {
                    let context = format!("{search} by {count}");
                    let pages = forward(service, &search, count);
                    assert_eq!(pages.iter().flat_map(names).collect::<Vec<_>>(), whole, "{context}");
                    assert_eq!(
                        back(service, &search, count, &pages),
                        pages_before_the_last(&pages),
                        "{context}"
                    );
                }
            }
        }
    }
}

fn the_first_page_tells_the_total_and_has_no_previous(service: &Service) {
    people(service, 5);
    let pages = forward(service, &json!({}), 2);
    let frames: Vec<Value> = pages
        .iter()
        .map(|page| {
            let has = |name: &str| page.get(name).is_some();
            json!([
                page["totalResults"],
                page["itemsPerPage"],
                has("startIndex"),
                has("nextCursor"),
                has("previousCursor")
            ])
        })
        .collect();
    let expected = json!([
        [5, 2, false, true, false],
        [null, 2, false, true, true],
        [null, 1, false, false, true],
    ]);
    assert_eq!(Value::Array(frames), expected);
}

fn cursor_is_stable_across_creates_and_deletes(service: &Service) {
    let ids = people(service, 6);
    let search = json!({"sortBy": "userName"});
    let first = page(service, &search, 3, "");
    assert_eq!(names(&first), ["p00", "p01", "p02"]);
    // Deletes the cursor's own resource and a later one, and creates one before and one after it.
    for id in [&ids[2], &ids[4]] {
        let target = ResourceRef {
            kind: Kind::USER,
            id: id.as_str().into(),
        };
        service
            .scim
            .delete(&service.caller, &target, &vestibule::scim::RequestOptions::default())
            .unwrap();
    }
    service.user("p005");
    service.user("p035");
    let second = page(service, &search, 3, first["nextCursor"].as_str().unwrap());
    assert_eq!(names(&second), ["p03", "p035", "p05"]);
    let before = page(service, &search, 9, second["previousCursor"].as_str().unwrap());
    assert_eq!(names(&before), ["p00", "p005", "p01"]);
}

fn a_cursor_is_good_for_its_own_search_alone(service: &Service) {
    people(service, 3);
    let search = json!({"sortBy": "userName"});
    let cursor = page(service, &search, 1, "")["nextCursor"].clone();
    let mut changed = cursor.as_str().unwrap().to_owned().into_bytes();
    changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
    for other in [
        json!({"sortBy": "userName", "filter": "active eq true", "cursor": cursor}),
        json!({"sortBy": "userName", "sortOrder": "descending", "cursor": cursor}),
        json!({"sortBy": "id", "cursor": cursor}),
        json!({"sortBy": "userName", "cursor": String::from_utf8(changed).unwrap()}),
        json!({"sortBy": "userName", "cursor": "bogus"}),
    ] {
        assert_eq!(
            refused(service, Some(&Kind::USER), &other),
            ScimErrorKind::InvalidCursor,
            "{other}"
        );
    }
    let at_another_type = json!({"sortBy": "userName", "cursor": cursor});
    assert_eq!(
        refused(service, Some(&Kind::GROUP), &at_another_type),
        ScimErrorKind::InvalidCursor
    );
    assert_eq!(refused(service, None, &at_another_type), ScimErrorKind::InvalidCursor);
}

/// Cursors live for ten minutes here, see [`crate::fixtures::stores::service`].
fn a_cursor_expires(service: &Service) {
    people(service, 2);
    let cursor = page(service, &json!({}), 1, "")["nextCursor"].clone();
    let search = json!({"cursor": cursor, "count": 1});
    service.clock.advance(Duration::from_secs(599));
    assert_eq!(names(&service.search(Some(&Kind::USER), &search).unwrap()), ["p01"]);
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(
        refused(service, Some(&Kind::USER), &search),
        ScimErrorKind::ExpiredCursor
    );
}

fn a_cursor_goes_on_with_another_count(service: &Service) {
    people(service, 6);
    let first = page(service, &json!({}), 2, "");
    let second = page(service, &json!({}), 3, first["nextCursor"].as_str().unwrap());
    assert_eq!(names(&second), ["p02", "p03", "p04"]);
}

fn a_page_of_none_leads_nowhere(service: &Service) {
    people(service, 2);
    let none = page(service, &json!({}), 0, "");
    assert_eq!((&none["totalResults"], &none["Resources"]), (&json!(2), &json!([])));
    assert!(none.get("nextCursor").is_none());
}

fn a_search_at_the_root_goes_on_from_type_to_type(service: &Service) {
    people(service, 3);
    for name in ["x", "y"] {
        service.create(&Kind::GROUP, &json!({"displayName": name}));
    }
    for count in 1..7 {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let list = service
                .search(None, &json!({"count": count, "cursor": cursor}))
                .unwrap();
            seen.extend(list["Resources"].as_array().unwrap().iter().map(|one| {
                let name = one.get("userName").unwrap_or(&one["displayName"]);
                name.as_str().unwrap().to_owned()
            }));
            if cursor.is_empty() {
                assert_eq!(list["totalResults"], 5, "{count}");
            }
            match list.get("nextCursor") {
                Some(next) => next.as_str().unwrap().clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen, ["p00", "p01", "p02", "x", "y"], "{count}");
    }
}

fn cursor_and_start_index_exclude_each_other(service: &Service) {
    let both = json!({"cursor": "", "startIndex": 1});
    assert_eq!(refused(service, Some(&Kind::USER), &both), ScimErrorKind::InvalidCursor);
}

pub(crate) fn trials() -> Vec<Trial> {
    crate::fixtures::service::trials(CASES, true)
}

// ---- helpers ----

/// Creates p00, p01 and so on, some with a title or an address, some inactive.
fn people(service: &Service, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..count {
        let mut body = json!({"userName": format!("p{n:02}"), "active": n % 3 != 0});
        if n % 2 == 1 {
            body["title"] = json!(format!("T{}", n % 4));
        }
        if n % 4 != 0 {
            body["emails"] = json!([{"value": format!("{}@example.com", n % 5)}]);
        }
        ids.push(service.create(&Kind::USER, &body).id.to_string());
        service.clock.advance(Duration::from_millis(1 + n as u64 % 2));
    }
    ids
}

fn page(service: &Service, search: &Value, count: usize, cursor: &str) -> Value {
    let mut search = search.clone();
    (search["count"], search["cursor"]) = (json!(count), json!(cursor));
    service.search(Some(&Kind::USER), &search).unwrap()
}

/// All pages, from the first to the last.
fn forward(service: &Service, search: &Value, count: usize) -> Vec<Value> {
    let mut pages = vec![page(service, search, count, "")];
    while let Some(next) = pages.last().unwrap().get("nextCursor") {
        let next = next.as_str().unwrap().to_owned();
        pages.push(page(service, search, count, &next));
    }
    pages
}

/// The names on each page on the way back from the last one.
fn back(service: &Service, search: &Value, count: usize, pages: &[Value]) -> Vec<Vec<String>> {
    let (mut shown, mut at) = (Vec::new(), pages.last().unwrap().clone());
    while let Some(previous) = at.get("previousCursor") {
        at = page(service, search, count, previous.as_str().unwrap());
        shown.insert(0, names(&at));
    }
    shown
}

fn pages_before_the_last(pages: &[Value]) -> Vec<Vec<String>> {
    pages[..pages.len() - 1].iter().map(names).collect()
}

fn names(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().unwrap().iter();
    resources
        .map(|one| one["userName"].as_str().unwrap().to_owned())
        .collect()
}

fn refused(service: &Service, kind: Option<&Kind>, search: &Value) -> ScimErrorKind {
    service.search(kind, search).unwrap_err().fault
}
