//! The features of this service provider and its schemas (RFC 7644 §4). Needs no authentication, because it has no
//! personal data.

use scim_v2::models::service_provider_config::{AuthenticationScheme, Bulk, Filter, ServiceProviderConfig, Supported};
use scim_v2::schema_urns;
use serde_json::{Value, json};

use super::list::{DEFAULT_PAGE, LARGEST_PAGE};
use super::{Scim, ScimError, ScimErrorKind, bulk, openapi};

impl Scim {
    /// `GET /ServiceProviderConfig` (RFC 7643 §5).
    pub(crate) fn service_provider_config(&self) -> &str {
        self.service_provider_config.get_or_init(|| self.describe())
    }

    fn describe(&self) -> String {
        let supported = |supported| Supported { supported };
        let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let config = ServiceProviderConfig {
            schemas: vec![schema_urns::SERVICE_PROVIDER_CONFIG.to_owned()],
            documentation_uri: None,
            patch: supported(true),
            // Some clients apply maxOperations to their PATCH requests too.
            bulk: Bulk {
                supported: true,
                max_operations: number(bulk::MOST_OPERATIONS),
                max_payload_size: number(bulk::LARGEST_PAYLOAD),
            },
            filter: Filter {
                supported: true,
                max_results: number(LARGEST_PAGE),
            },
            change_password: supported(true),
            sort: supported(true),
            etag: supported(true),
            authentication_schemes: vec![AuthenticationScheme {
                name: "OAuth Bearer Token".to_owned(),
                r#type: Some("oauthbearertoken".to_owned()),
                description: "A bearer token of a service provider, made with `vestibule token create`.".to_owned(),
                spec_uri: Some("https://www.rfc-editor.org/info/rfc6750".to_owned()),
                documentation_uri: None,
                primary: Some(true),
            }],
            meta: None,
        };
        let mut document = serde_json::to_value(config).expect("the configuration always serialises");
        // RFC 9865 §4; the crate has no field for it.
        document["pagination"] = json!({
            "cursor": true, "index": true, "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_PAGE, "maxPageSize": LARGEST_PAGE,
            "cursorTimeout": self.cursor_lifetime.as_secs(),
        });
        document["meta"] = self.meta("ServiceProviderConfig", "/ServiceProviderConfig");
        document.to_string()
    }

    /// `GET /Schemas`.
    pub fn schemas(&self) -> String {
        list(
            self.directory
                .registry()
                .schemas()
                .iter()
                .map(|schema| self.located(schema.to_json(), "Schema", &format!("/Schemas/{}", schema.id))),
        )
    }

    /// `GET /Schemas/{urn}`.
    pub fn schema(&self, urn: &str) -> Result<String, ScimError> {
        let schema = self
            .directory
            .registry()
            .schema(urn)
            .ok_or_else(|| ScimErrorKind::NotFound.because("There is no such schema."))?;
        Ok(self
            .located(schema.to_json(), "Schema", &format!("/Schemas/{}", schema.id))
            .to_string())
    }

    /// `GET /ResourceTypes`.
    pub(crate) fn resource_types(&self) -> String {
        list(
            self.directory
                .registry()
                .types()
                .iter()
                .map(|one| self.located(one.to_json(), "ResourceType", &format!("/ResourceTypes/{}", one.kind))),
        )
    }

    /// `GET /ResourceTypes/{name}`.
    pub(crate) fn one_resource_type(&self, name: &str) -> Result<String, ScimError> {
        let found = self
            .directory
            .registry()
            .types()
            .iter()
            .find(|one| one.kind.as_str() == name);
        let found = found.ok_or_else(|| ScimErrorKind::NotFound.because("There is no such resource type."))?;
        Ok(self
            .located(found.to_json(), "ResourceType", &format!("/ResourceTypes/{name}"))
            .to_string())
    }

    /// `GET /openapi.json`: the OpenAPI description of this API.
    pub fn openapi(&self) -> &str {
        self.openapi
            .get_or_init(|| openapi::describe(self.directory.registry(), &self.base_url).to_string())
    }

    fn located(&self, mut document: Value, kind: &str, path: &str) -> Value {
        document["meta"] = self.meta(kind, path);
        document
    }

    fn meta(&self, kind: &str, path: &str) -> Value {
        json!({ "resourceType": kind, "location": format!("{}{path}", self.base_url) })
    }
}

fn list(documents: impl Iterator<Item = Value>) -> String {
    let documents: Vec<Value> = documents.collect();
    json!({
        "schemas": [schema_urns::LIST_RESPONSE],
        "totalResults": documents.len(),
        "itemsPerPage": documents.len(),
        "startIndex": 1,
        "Resources": documents,
    })
    .to_string()
}
