//! Every schema and resource type of this installation.

use std::sync::Arc;

use super::load::{Loader, SchemaError};
use super::{ResourceType, Schema};
use crate::domain::ids::Kind;

/// The schema files that are part of the program.
const BUILTIN: [(&str, &str); 4] = [
    ("user.json", include_str!("../../../schemas/user.json")),
    (
        "enterprise_user.json",
        include_str!("../../../schemas/enterprise_user.json"),
    ),
    ("group.json", include_str!("../../../schemas/group.json")),
    (
        "resource_types.json",
        include_str!("../../../schemas/resource_types.json"),
    ),
];

/// Every schema and resource type of this installation.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) schemas: Vec<Arc<Schema>>,
    pub(super) types: Vec<ResourceType>,
}

impl Registry {
    /// Users with the enterprise extension, and groups (RFC 7643 §4).
    ///
    /// # Panics
    ///
    /// Never: the files are part of the program.
    pub fn builtin() -> Self {
        Self::load(&[]).expect("the built-in schemas are part of the program and a test loads them")
    }

    /// The built-in schemas and further files, each a name and its JSON text.
    ///
    /// A file holds one object or a list of them: one with an `endpoint` is a resource type (RFC 7643 §6), any other a
    /// schema (RFC 7643 §7). What has the `id` of a built-in schema or the `name` of a built-in type takes its place.
    /// The error names every problem of every file.
    pub fn load(documents: &[(String, String)]) -> Result<Self, SchemaError> {
        let mut loader = Loader::default();
        for (file, text) in BUILTIN {
            loader.read(file, text);
        }
        loader.builtin_ends();
        for (file, text) in documents {
            loader.read(file, text);
        }
        loader.finish()
    }

    /// The resource types.
    pub fn types(&self) -> &[ResourceType] {
        &self.types
    }

    /// One resource type.
    pub fn resource_type(&self, kind: &Kind) -> Option<&ResourceType> {
        self.types.iter().find(|resource_type| resource_type.kind == *kind)
    }

    /// The resource type that is served at an endpoint, with or without its slash: `Users`, quietly also `users`.
    pub fn by_endpoint(&self, endpoint: &str) -> Option<&ResourceType> {
        let wanted = endpoint.strip_prefix('/').unwrap_or(endpoint);
        self.types.iter().find(|resource_type| {
            let own = resource_type.endpoint.trim_start_matches('/');
            own == wanted || own.to_lowercase() == wanted
        })
    }

    /// The schemas that some resource type uses.
    pub fn schemas(&self) -> &[Arc<Schema>] {
        &self.schemas
    }

    /// One schema by its URN, in any case.
    pub fn schema(&self, urn: &str) -> Option<&Arc<Schema>> {
        self.schemas.iter().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::schema::{Mutability, Returned, Uniqueness};

    const BADGE: &str = r#"{"id": "urn:example:2.0:Badge", "name": "Badge", "attributes": [
        {"name": "number", "type": "integer", "required": true, "indexed": true},
        {"name": "doors", "type": "complex", "multiValued": true, "subAttributes": [{"name": "value"}]}]}"#;

    fn load(files: &[(&str, &str)]) -> Result<Registry, SchemaError> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        Registry::load(&files)
    }

    #[test]
    fn the_builtin_registry_has_users_and_groups() {
        let registry = Registry::builtin();
        assert_eq!(registry.types().len(), 2);
        assert_eq!(registry.schemas().len(), 3);
        let user = registry.by_endpoint("/users").expect("built in");
        assert_eq!(user.kind, Kind::USER);
        assert_eq!(
            user.unique_attribute().map(|unique| unique.name.as_str()),
            Some("userName")
        );
        assert_eq!(
            registry.by_endpoint("Groups").map(|group| &group.kind),
            Some(&Kind::GROUP)
        );
        assert!(registry.by_endpoint("USERS").is_none());
        assert!(registry.schema("urn:ietf:params:scim:schemas:CORE:2.0:group").is_some());
    }

    #[test]
    fn the_builtin_characteristics_are_those_of_the_standard_with_its_errata() {
        let registry = Registry::builtin();
        let user = registry.resource_type(&Kind::USER).expect("built in");
        let group = registry.resource_type(&Kind::GROUP).expect("built in");
        let leaf = |resource_type: &ResourceType, path| resource_type.resolve(path).expect("known").leaf().clone();
        let password = leaf(user, "password");
        assert_eq!(
            (password.mutability, password.returned),
            (Mutability::WriteOnly, Returned::Never)
        );
        assert_eq!(leaf(user, "groups").mutability, Mutability::ReadOnly);
        assert_eq!(leaf(user, "groups.$ref").reference_types, ["Group"]);
        assert!(
            leaf(
                user,
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value"
            )
            .case_exact
        );
        assert_eq!(leaf(user, "id").returned, Returned::Always);
        assert!(leaf(group, "displayName").required);
        assert_eq!(leaf(group, "displayName").uniqueness, Uniqueness::Server);
        assert!(group.resolve("members.display").is_some());
        assert!(leaf(group, "members").is_identified_by_value());
        assert!(!leaf(user, "emails").is_identified_by_value());
        assert!(leaf(user, "emails.value").indexed);
    }

    #[test]
    fn a_further_file_adds_an_extension_to_a_builtin_type() {
        let users = r#"{"name": "User", "endpoint": "/Users", "schema": "urn:ietf:params:scim:schemas:core:2.0:User",
            "schemaExtensions": [{"schema": "urn:example:2.0:Badge", "required": true}]}"#;
        let registry = load(&[("users.json", users), ("badge.json", BADGE)]).expect("valid");
        let user = registry.resource_type(&Kind::USER).expect("built in");
        assert_eq!(user.extensions.len(), 1);
        assert!(user.extensions[0].required);
        assert!(
            user.resolve("urn:example:2.0:badge:Number")
                .is_some_and(|number| number.leaf().indexed)
        );
        assert_eq!(registry.types().len(), 2);
    }

    #[test]
    fn a_further_file_may_bring_a_resource_type_of_its_own() {
        let text =
            format!(r#"[{BADGE}, {{"name": "Badge", "endpoint": "/Badges", "schema": "urn:example:2.0:Badge"}}]"#);
        let registry = load(&[("badge.json", &text)]).expect("valid");
        assert_eq!(
            registry.by_endpoint("Badges").map(|found| found.kind.as_str()),
            Some("Badge")
        );
    }

    #[test]
    fn every_problem_is_reported_with_the_name_of_its_file() {
        let error = load(&[
            ("broken.json", "{"),
            ("odd.json", r#"{"id": "urn:x:y", "name": "Odd", "colour": 1, "attributes": [
                {"name": "2x"}, {"name": "a", "type": "text"}, {"name": "b", "mutability": "sometimes"}, {"name": "B"},
                {"name": "c", "type": "complex"}, {"name": "meta"}, {"name": "d", "indexd": true}, 7,
                {"name": "e", "type": "complex", "uniqueness": "server", "subAttributes": [{"name": "f", "type": "complex"}]}]}"#),
            ("type.json", r#"{"name": "Thing", "endpoint": "/Users", "schema": "urn:nowhere"}"#),
        ])
        .expect_err("full of mistakes");
        let text = error.to_string();
        for part in [
            "broken.json: ",
            "odd.json: 2x: ",
            "odd.json: a: ",
            "odd.json: b: ",
            "odd.json: B: ",
            "odd.json: c: ",
            "odd.json: meta: ",
            "odd.json: d: ",
            "odd.json: e: ",
            "odd.json: e.f: ",
            "odd.json: colour",
            "odd.json: each attribute",
            "type.json: Thing: ",
            "urn:nowhere",
            "/Users",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_name_may_be_defined_once_outside_the_builtin_files() {
        assert!(
            load(&[("a.json", BADGE), ("b.json", BADGE)]).is_err_and(|error| error.to_string().contains("b.json: "))
        );
    }

    #[test]
    fn uniqueness_that_no_store_enforces_is_refused() {
        let text = r#"[{"id": "urn:x:y", "name": "X", "attributes": [{"name": "a", "uniqueness": "server"}, {"name": "b", "uniqueness": "server"}]},
            {"name": "X", "endpoint": "/X", "schema": "urn:x:y"}]"#;
        assert!(load(&[("x.json", text)]).is_err_and(|error| error.to_string().contains("unique")));
    }
}
