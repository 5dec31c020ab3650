use serde_json::{Value, json};

use super::*;
use crate::domain::provenance::{Provenance, Writers};
use crate::domain::schema::Registry;
use crate::domain::validate::ordered;
use crate::domain::{
    Attributes, Document, Kind, Member, Membership, Resource, ResourceId, StoreName, Timestamp, Version,
};

const BASE: &str = "https://x.example/scim/v2";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn resource_type(kind: &Kind) -> ResourceType {
    Registry::builtin().resource_type(kind).expect("built in").clone()
}

fn resource(resource_type: &ResourceType, attributes: Value) -> Resource {
    let attributes: Attributes = attributes.as_object().expect("an object").clone();
    Resource {
        store: StoreName::PRIMARY,
        kind: resource_type.kind.clone(),
        id: ResourceId::new("id 1"),
        version: Version(3),
        created: Timestamp(0),
        modified: Timestamp(1),
        document: Document::new(&ordered(resource_type, attributes)),
        writers: Provenance::of(&Writers::new()),
        members: Vec::new(),
        groups: Vec::new(),
    }
}

fn alice() -> Resource {
    let mut alice = resource(
        &resource_type(&Kind::USER),
        json!({"userName": "a\"]", "externalId": "e", "emails": [{"value": "a@x", "type": "work"}, {"type": "home"}],
            "name": {"givenName": "A"}, ENTERPRISE: {"department": "D", "manager": {"value": "1"}}}),
    );
    alice.groups.push(Membership {
        id: ResourceId::new("g"),
        display: "A \"B\"".to_owned(),
        direct: true,
    });
    alice
}

fn staff() -> Resource {
    let mut staff = resource(&resource_type(&Kind::GROUP), json!({"displayName": "Staff"}));
    staff.members = vec![
        Member {
            id: ResourceId::new("1"),
            body: r#"{"value":"1","display":"One"}"#.to_owned(),
        },
        Member {
            id: ResourceId::new("2"),
            body: r#"{"value":"2"}"#.to_owned(),
        },
    ];
    staff
}

fn text(resource: &Resource, attributes: Option<&str>, excluded: Option<&str>) -> String {
    let resource_type = resource_type(&resource.kind);
    let mut out = String::new();
    Projection::parse(&resource_type, attributes, excluded).render(resource, &resource_type, BASE, &mut out);
    out
}

fn shown(resource: &Resource, attributes: Option<&str>, excluded: Option<&str>) -> Value {
    let text = text(resource, attributes, excluded);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn meta() -> Value {
    json!({"resourceType": "User", "created": "1970-01-01T00:00:00.000Z", "lastModified": "1970-01-01T00:00:00.001Z",
        "version": "W/\"3\"", "location": "https://x.example/scim/v2/Users/id%201"})
}

#[test]
fn a_whole_user_is_its_document_with_id_groups_and_meta() {
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "id": "id 1", "externalId": "e", "userName": "a\"]",
        "name": {"givenName": "A"}, "emails": [{"value": "a@x", "type": "work"}, {"type": "home"}],
        ENTERPRISE: {"department": "D", "manager": {"value": "1"}},
        "groups": [{"value": "g", "$ref": "https://x.example/scim/v2/Groups/g", "display": "A \"B\"", "type": "direct"}],
        "meta": meta(),
    });
    assert_eq!(text(&alice(), None, None), expected.to_string());
}

#[test]
fn the_spliced_text_equals_the_rendered_view() {
    for resource in [
        alice(),
        staff(),
        resource(&resource_type(&Kind::GROUP), json!({"displayName": "]"})),
    ] {
        let whole = view(&resource, &resource_type(&resource.kind), BASE);
        assert_eq!(text(&resource, None, None), Value::Object(whole).to_string());
    }
}

#[test]
fn an_empty_members_list_is_shown_unless_excluded() {
    assert_eq!(
        shown(&staff(), None, None)["members"],
        json!([{"value": "1", "display": "One"}, {"value": "2"}])
    );
    let nobody = resource(&resource_type(&Kind::GROUP), json!({"displayName": "G"}));
    assert_eq!(shown(&nobody, None, None)["members"], json!([]));
    assert_eq!(shown(&nobody, Some("members"), None)["members"], json!([]));
    assert_eq!(shown(&staff(), None, Some("members")).get("members"), None);
    assert_eq!(
        shown(&staff(), None, Some("members.display"))["members"],
        json!([{"value": "1"}, {"value": "2"}])
    );
}

#[test]
fn attributes_shows_what_is_named_and_what_is_always_returned() {
    let schemas = shown(&alice(), None, None)["schemas"].clone();
    for (names, mut expected) in [
        ("USERNAME", json!({"userName": "a\"]"})),
        (
            "emails.VALUE, name",
            json!({"emails": [{"value": "a@x"}], "name": {"givenName": "A"}}),
        ),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:externalId",
            json!({"externalId": "e"}),
        ),
        (
            ENTERPRISE,
            json!({ENTERPRISE: {"department": "D", "manager": {"value": "1"}}}),
        ),
        (
            &format!("{ENTERPRISE}.manager.value"),
            json!({ENTERPRISE: {"manager": {"value": "1"}}}),
        ),
        ("manager.value", json!({ENTERPRISE: {"manager": {"value": "1"}}})),
        (
            "meta.version,groups.value",
            json!({"groups": [{"value": "g"}], "meta": {"version": "W/\"3\""}}),
        ),
        ("nonsense,password", json!({})),
    ] {
        expected["schemas"] = schemas.clone();
        expected["id"] = json!("id 1");
        assert_eq!(shown(&alice(), Some(names), None), expected, "{names}");
    }
}

#[test]
fn excluded_attributes_are_left_out_but_never_id_and_schemas() {
    let left = shown(
        &alice(),
        None,
        Some("id,schemas,groups,meta,emails.type,name.givenName,nonsense"),
    );
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE], "id": "id 1", "externalId": "e", "userName": "a\"]",
        "emails": [{"value": "a@x"}], ENTERPRISE: {"department": "D", "manager": {"value": "1"}},
    });
    assert_eq!(left, expected);
    assert_eq!(shown(&alice(), None, Some(ENTERPRISE)).get(ENTERPRISE), None);
}

#[test]
fn attributes_win_over_excluded_ones_and_empty_lists_are_none() {
    assert!(
        shown(&alice(), Some("userName"), Some("userName"))
            .get("userName")
            .is_some()
    );
    assert_eq!(text(&alice(), Some(""), Some(" ")), text(&alice(), None, None));
}

#[test]
fn relations_are_asked_for_only_if_they_are_shown() {
    let (user, group) = (resource_type(&Kind::USER), resource_type(&Kind::GROUP));
    let relations = |kind, attributes, excluded| Projection::parse(kind, attributes, excluded).relations();
    assert_eq!(
        relations(&user, None, None),
        Relations {
            groups: true,
            members: false
        }
    );
    assert_eq!(
        relations(&group, None, None),
        Relations {
            groups: false,
            members: true
        }
    );
    assert_eq!(relations(&group, None, Some("MEMBERS")), Relations::NONE);
    assert_eq!(relations(&group, Some("displayName"), None), Relations::NONE);
    assert!(relations(&group, Some("members.value"), None).members);
    assert!(relations(&group, None, Some("members.display")).members);
}

#[test]
fn values_are_returned_when_their_schema_says() {
    let file = json!([
        {"id": "urn:x:Badge", "name": "Badge", "attributes": [
            {"name": "number"}, {"name": "photo", "returned": "request"}, {"name": "pin", "returned": "never"},
            {"name": "door", "returned": "always"}]},
        {"name": "User", "endpoint": "/Users", "schema": "urn:ietf:params:scim:schemas:core:2.0:User",
         "schemaExtensions": [{"schema": "urn:x:Badge"}]}]);
    let registry = Registry::load(&[("badge.json".to_owned(), file.to_string())]).expect("valid");
    let user = registry.resource_type(&Kind::USER).expect("built in");
    let badge = json!({"number": "1", "photo": "p", "pin": "1234", "door": "d"});
    let holder = resource(user, json!({"userName": "a", "urn:x:Badge": badge}));
    let badge = |attributes| {
        let mut out = String::new();
        Projection::parse(user, attributes, None).render(&holder, user, BASE, &mut out);
        serde_json::from_str::<Value>(&out).expect("JSON")["urn:x:Badge"].clone()
    };
    assert_eq!(badge(None), json!({"number": "1", "door": "d"}));
    assert_eq!(badge(Some("userName")), json!({"door": "d"}));
    assert_eq!(
        badge(Some("urn:x:Badge:photo,urn:x:Badge:pin")),
        json!({"photo": "p", "door": "d"})
    );
}

#[test]
fn repeated_names_are_deduplicated() {
    let user = resource_type(&Kind::USER);
    let once = Projection::parse(&user, Some("userName,name.givenName"), None);
    let often = Projection::parse(
        &user,
        Some("userName,USERNAME,name.givenName,name.givenname,userName"),
        None,
    );
    assert_eq!(often, once);
}
