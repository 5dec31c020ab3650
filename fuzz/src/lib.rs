//! Checks that hold for every input: one function for each thing that clients send, which panics if a check fails.
//! cargo-fuzz calls them (`fuzz_targets/`), and so does `tests/fuzz_corpora.rs` with inputs that were found before.

mod cursor;
mod print;

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use vestibule::domain::filter::{self, MOST_NODES, matches, tolerance};
use vestibule::domain::patch::{PatchOp, PatchOperation, apply};
use vestibule::domain::path::Path;
use vestibule::domain::projection::Projection;
use vestibule::domain::replace::merge;
use vestibule::domain::schema::{Registry, ResourceType};
use vestibule::domain::validate::{InvalidKind, check, ordered};
use vestibule::domain::{Attributes, Document, Version};
use vestibule::scim::ScimErrorKind;
use vestibule::scim::etag::Conditions;
use vestibule::scim::list::{LARGEST_PAGE, ListParameters};
use vestibule::scim::normalise::{self, Deviations, rule};

/// The built-in types, and one with attributes of every kind.
fn registry() -> &'static Arc<Registry> {
    static REGISTRY: LazyLock<Arc<Registry>> = LazyLock::new(|| {
        let file = include_str!("../../tests/fixtures/device.json");
        Arc::new(Registry::load(&[("device.json".to_owned(), file.to_owned())]).expect("a test loads it"))
    });
    &REGISTRY
}

fn types() -> &'static [ResourceType] {
    registry().types()
}

/// Returns a resource of a type, with the attributes that the server adds.
fn sample(resource_type: &ResourceType) -> Attributes {
    let sample = match resource_type.kind.as_str() {
        "User" => json!({
            "id": "1", "userName": "alice", "active": true, "title": "T",
            "name": {"givenName": "Alice", "familyName": "A"},
            "emails": [{"value": "w@x", "type": "work", "primary": true}, {"value": "h@x", "type": "home"}],
            "groups": [{"value": "g", "display": "G"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "D", "manager": {"value": "2"}},
            "urn:example:schemas:2.0:Badge": {"number": 7, "validFrom": "2026-01-01T00:00:00Z"},
            "meta": {"resourceType": "User", "created": "2026-01-01T00:00:00Z"}}),
        "Group" => json!({"id": "9", "displayName": "G", "members": [{"value": "a"}, {"value": "b", "display": "B"}]}),
        _ => json!({
            "id": "5", "serialNumber": "S", "slots": 2, "weight": 1.5, "lent": false, "firmware": "1.0", "tags": ["a", "b"],
            "bought": "2026-01-01T00:00:00Z", "photo": "AAEC", "place": {"value": "p", "floor": 3},
            "cards": [{"value": "c", "type": "wlan", "speed": 100, "primary": true}, {"value": "d", "up": false}]}),
    };
    sample.as_object().expect("an object").clone()
}

/// Filters: a parsed filter, printed in standard syntax, parses again and means the same.
pub fn filter(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for resource_type in types() {
        match filter::parse_with_deviations(text, resource_type) {
            Ok(parsed) => {
                assert!(parsed.filter.size() <= MOST_NODES);
                let answer = matches(&parsed.filter, &sample(resource_type));
                let printed = print::filter(&parsed.filter);
                let Some(again) = parsed_again(&printed, resource_type) else {
                    continue;
                };
                assert_eq!(again.filter, parsed.filter, "{printed}");
                assert_eq!(matches(&again.filter, &sample(resource_type)), answer);
                // A constant is printed as a comparison of an unknown attribute.
                let strict =
                    |name: &&str| *name == tolerance::UNKNOWN_ATTRIBUTE || *name == tolerance::BRACKETS_ON_SINGLE;
                assert!(again.deviations.iter().all(strict), "{printed}: {:?}", again.deviations);
            }
            Err(error) => {
                assert!(matches!(error.kind, InvalidKind::Filter | InvalidKind::TooMany));
            }
        }
    }
}

/// Parses a printed filter; `None` if printing made it longer or deeper than the limits allow.
fn parsed_again(printed: &str, resource_type: &ResourceType) -> Option<filter::Parsed> {
    let is_large = printed.len() > filter::LONGEST || printed.matches(['(', '[']).count() >= filter::DEEPEST / 2;
    match filter::parse_with_deviations(printed, resource_type) {
        Ok(parsed) => Some(parsed),
        Err(_) if is_large => None,
        Err(error) => panic!("{printed}: {error}"),
    }
}

/// PATCH paths: a parsed path, printed in standard syntax, parses again to the same path.
pub fn patch_path(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for resource_type in types() {
        match Path::parse_with_deviations(text, resource_type) {
            Ok(parsed) => {
                let printed = print::path(&parsed.path);
                match Path::parse_with_deviations(&printed, resource_type) {
                    Ok(again) => assert_eq!(again.path, parsed.path, "{printed}"),
                    Err(error) => assert!(
                        printed.len() > filter::LONGEST || printed.matches('(').count() >= filter::DEEPEST / 2,
                        "{printed}: {error}"
                    ),
                }
            }
            Err(error) => {
                assert_eq!(error.kind, InvalidKind::Path);
            }
        }
    }
}

/// PATCH bodies: normalised operations are strict; their result is valid, and leaves read-only attributes unchanged.
pub fn patch_body(data: &[u8]) {
    let Ok(sent) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    for resource_type in types() {
        let Ok(operations) = normalise::patch(resource_type, sent.clone(), &mut Deviations::default()) else {
            continue;
        };
        assert!(operations.iter().all(|operation| operation.path.is_some()));
        normalised_again(resource_type, &operations);
        let before = sample(resource_type);
        let Ok(after) = apply(resource_type, &before, &operations) else {
            continue;
        };
        for read_only in ["id", "meta", "groups", "firmware"] {
            assert_eq!(after.get(read_only), before.get(read_only));
        }
        accepted(resource_type, after);
    }
}

/// Checks that strict operations are normalised to themselves.
fn normalised_again(resource_type: &ResourceType, operations: &[PatchOperation]) {
    let sent: Vec<Value> = operations.iter().map(as_sent).collect();
    if sent
        .iter()
        .any(|one| one["path"].as_str().is_some_and(|path| path.len() > filter::LONGEST))
    {
        return;
    }
    let mut deviations = Deviations::default();
    let request = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": sent});
    match normalise::patch(resource_type, request, &mut deviations) {
        Ok(again) => assert!(again == operations, "{sent:?}\nbecame\n{again:?}"),
        // The printed filter nests too deeply.
        Err(error) if error.kind == InvalidKind::Path => return,
        Err(error) => panic!("{sent:?}: {error}"),
    }
    // A remove is sent as null, an empty list or a list; the rules for those count each use.
    let allowed = [
        rule::UNASSIGNED,
        rule::REFERENCE,
        rule::REMOVE_WITH_VALUE,
        tolerance::UNKNOWN_ATTRIBUTE,
    ];
    let strict =
        |(name, _): &(&'static str, usize)| allowed.contains(name) || name.starts_with('F') || operations.is_empty();
    assert!(deviations.iter().all(|hit| strict(&hit)), "{sent:?}: {deviations:?}");
}

fn as_sent(operation: &PatchOperation) -> Value {
    let op = match operation.op {
        PatchOp::Add => "add",
        PatchOp::Replace => "replace",
        PatchOp::Remove => "remove",
    };
    let mut sent = json!({"op": op, "path": operation.path.as_ref().map(print::path)});
    if let Some(value) = &operation.value {
        sent["value"] = value.clone();
    }
    sent
}

/// Whole resources: the normalised form is strict and valid, and can replace the existing resource.
pub fn resource_body(data: &[u8]) {
    let Ok(sent) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    for resource_type in types() {
        let Ok(strict) = normalise::body(resource_type, sent.clone(), &mut Deviations::default()) else {
            continue;
        };
        let mut deviations = Deviations::default();
        let mut whole = ordered(resource_type, strict.clone());
        let again = normalise::body(resource_type, Value::Object(whole.clone()), &mut deviations);
        assert_eq!(again.as_ref(), Ok(&strict));
        assert!(deviations.is_empty(), "{whole:?}: {deviations:?}");
        if let Ok(merged) = merge(resource_type, &sample(resource_type), strict) {
            for read_only in ["id", "meta", "groups", "firmware"] {
                assert_eq!(merged.get(read_only), sample(resource_type).get(read_only));
            }
            accepted(resource_type, merged);
        }
        whole.shift_remove("schemas");
        accepted(resource_type, whole);
    }
}

/// Checks that a resource is valid, or fails only a check of the whole; a valid one can be stored and read.
fn accepted(resource_type: &ResourceType, attributes: Attributes) {
    const WHOLE: [&str; 6] = [
        "is required",
        "1000 elements",
        "null character",
        "the name is",
        "the name holds",
        "null",
    ];
    match check(resource_type, &attributes) {
        Ok(()) => {
            let document = ordered(resource_type, attributes);
            assert_eq!(ordered(resource_type, document.clone()), document);
            assert_eq!(Document::new(&document).attributes(), document);
        }
        Err(error) => {
            let expected = error.kind == InvalidKind::Value && WHOLE.iter().any(|part| error.detail.contains(part));
            assert!(expected, "{attributes:?}: {error}");
        }
    }
}

/// The query of a list, and the body of a search request.
pub fn query(data: &[u8]) {
    let by_query = str::from_utf8(data)
        .ok()
        .and_then(|text| ListParameters::parse(text).ok());
    let by_body = serde_json::from_slice(data)
        .ok()
        .and_then(|body| ListParameters::of_search_request(&body).ok());
    for parameters in by_query.iter().chain(&by_body) {
        for resource_type in types() {
            assert!(parameters.count() <= LARGEST_PAGE);
            assert!(parameters.start_index() >= 1);
            let _ = parameters.sort(resource_type);
            let _ = parameters.filter(resource_type);
            let projection = parameters.projection(resource_type);
            // Parsing twice gives the same result.
            assert_eq!(projection, parameters.projection(resource_type));
            assert_eq!(
                Projection::parse(resource_type, None, None),
                Projection::parse(resource_type, None, Some(" "))
            );
        }
    }
}

/// Cursors: a cursor that the server did not issue is refused, however similar it is to an issued one.
pub fn cursor(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let service = cursor::service();
    let given = service.cursor.as_str();
    assert!(service.page(given).is_ok());
    // The input itself, and the input added to an issued cursor.
    let at = text.len() % given.len();
    for forged in [
        text.to_owned(),
        format!("{}{text}{}", &given[..at], &given[at..]),
        format!("{}{text}", &given[..at]),
    ] {
        match service.page(&forged) {
            Ok(_) => assert!(forged == given || forged.is_empty(), "{forged} was taken"),
            Err(error) => assert_eq!(error.fault, ScimErrorKind::InvalidCursor),
        }
    }
}

/// `If-Match` and `If-None-Match`: a version that the server issued is recognised, whatever surrounds it.
pub fn entity_tags(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let conditions = |tags: String| Conditions {
        if_match: Some(tags.clone()),
        if_none_match: Some(tags),
    };
    let given = conditions(text.to_owned());
    let _ = given.precondition();
    let _ = given.already_has(Version::FIRST);
    let ours = Version(i64::try_from(text.len()).unwrap_or_default());
    for list in [format!("{ours}, {text}"), format!("{text}, {ours}")] {
        let among = conditions(list);
        assert!(
            among.precondition().is_ok_and(|condition| condition.allows(ours)),
            "{text}"
        );
        assert!(among.already_has(ours), "{text}");
    }
}
