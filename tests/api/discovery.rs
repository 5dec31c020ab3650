//! Discovery (RFC 7644 §4).

use serde_json::Value;

use crate::support::{GROUP, USER, anonymous};

#[test]
fn discovery_needs_no_token() {
    for path in ["ServiceProviderConfig", "Schemas", "ResourceTypes"] {
        let answer = anonymous().get(&format!("/scim/v2/{path}")).gives(200);
        assert_eq!(answer.header("content-type"), "application/scim+json");
    }
}

#[test]
fn each_listed_schema_and_type_can_be_read_by_itself() {
    for (list, key) in [("Schemas", "id"), ("ResourceTypes", "name")] {
        let all = anonymous().get(&format!("/scim/v2/{list}")).gives(200).body;
        let resources = all["Resources"].as_array().unwrap();
        assert_eq!(all["totalResults"], resources.len());
        for resource in resources {
            let one = anonymous()
                .get(&format!("/scim/v2/{list}/{}", resource[key].as_str().unwrap()))
                .gives(200);
            assert_eq!(one.body, *resource);
        }
    }
}

#[test]
fn users_and_groups_are_there_with_their_schemas() {
    let types = anonymous().get("/scim/v2/ResourceTypes").body;
    let schemas: Vec<&Value> = types["Resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["schema"])
        .collect();
    assert!(schemas.iter().any(|schema| **schema == USER) && schemas.iter().any(|schema| **schema == GROUP));
}

#[test]
fn service_provider_config_lists_the_supported_features() {
    let config = anonymous().get("/scim/v2/ServiceProviderConfig").body;
    for feature in ["patch", "filter", "sort", "etag", "changePassword"] {
        assert_eq!(config[feature]["supported"], true, "{feature}");
    }
    assert_eq!(config["bulk"]["supported"], true);
    for search in [".search", "Users/.search", "Bulk"] {
        anonymous().get(&format!("/scim/v2/{search}")).refuses(405, None);
    }
}

#[test]
fn openapi_description_needs_no_token() {
    let answer = anonymous().get("/scim/v2/openapi.json").gives(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert!(answer.body["paths"]["/Users/{id}"]["patch"].is_object());
    anonymous()
        .send("PUT", "/scim/v2/openapi.json", &[], "{}")
        .refuses(405, None);
}

#[test]
fn discovery_takes_no_filter_and_no_change() {
    anonymous().get("/scim/v2/Schemas?filter=id%20pr").refuses(403, None);
    let refused = anonymous()
        .send("POST", "/scim/v2/Schemas", &[], "{}")
        .refuses(405, None);
    assert!(refused.header("allow").contains("GET"));
    anonymous().get("/scim/v2/Schemas/urn:nothing").refuses(404, None);
}
